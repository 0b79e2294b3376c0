"""What a process and everything that it has started use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def family() -> list[Path]:
    """The entries in /proc of this process and of everything that it has started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [os.getpid()]
    for pid in found:
        found += parents.get(pid, [])
    return [Path("/proc", str(pid)) for pid in found]


def cpu_seconds() -> float:
    """Of all of them since they began, those included that have ended."""
    ticks = 0
    for entry in family():
        with suppress(OSError):
            ticks += sum(int(value) for value in (entry / "stat").read_text().rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib() -> float:
    pages = 0
    for entry in family():
        with suppress(OSError):
            pages += int((entry / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
