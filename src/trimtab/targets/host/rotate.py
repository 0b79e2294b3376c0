"""Turning over the logs of instances: copy, then truncate, because the processes hold the file open (for appending).

In: the directory of all instances, each with its bounds in instance.json. What a process writes between the copy's last byte and
the truncation is lost; that is the price of needing nobody between a process and its log. No imports beyond the standard
library: the front uses this.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

BYTES_MAX = 10_000_000
FILES = 3


def turn_over(instances: Path) -> None:
    """Turn over every log that has outgrown its bound. Trouble with one does not stop the others."""
    for log in instances.glob("*/log"):
        with contextlib.suppress(OSError):
            size = log.stat().st_size
            if size >= 4_096:
                bytes_max, files = _bounds(log.parent / "instance.json")
                if size > bytes_max:
                    turn_over_one(log, files)


def turn_over_one(log: Path, files: int) -> None:
    """``log`` becomes ``log.1``, that becomes ``log.2``, and so on; ``log`` itself stays the same file, now empty."""
    if files:
        for number in range(files - 1, 0, -1):
            earlier = log.with_name(f"log.{number}")
            if earlier.exists():
                earlier.rename(log.with_name(f"log.{number + 1}"))
        try:
            shutil.copyfile(log, log.with_name("log.1"))
        except OSError:
            # No space for the copy: the bound holds all the same, or the disk would never have space again.
            log.with_name("log.1").unlink(missing_ok=True)
    os.truncate(log, 0)


def _bounds(record: Path) -> tuple[int, int]:
    try:
        found = json.loads(record.read_text())
        return int(found.get("logBytesMax", BYTES_MAX)), int(found.get("logFiles", FILES))
    except (OSError, ValueError):
        return BYTES_MAX, FILES
