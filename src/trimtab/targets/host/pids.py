"""Processes that are not our children: who are they, do they live, when do they end.

A pid alone names nobody, because numbers are used again. A process is recognised by its pid, the time of its start
(proc(5), field 22 of stat) and a variable of its environment. Its end is learnt at once through a pidfd (pidfd_open(2)).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Hashable
from pathlib import Path

MARK = "TRIMTAB_INSTANCE"


def start_time(pid: int) -> int | None:
    """Clock ticks since boot; None when there is no such process, or only a zombie."""
    try:
        return stat_start_time(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except OSError:
        return None


def stat_start_time(text: str) -> int | None:
    """From a line of /proc/PID/stat. The name in brackets may itself hold brackets and spaces, so count from the last one."""
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in ("Z", "X"):
        return None
    return int(fields[19])


def ending_signal(pid: int) -> int:
    """The signal that a process died of which nobody has fetched yet (proc(5), field 52 of stat); 0 when none, or not known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        status = int(fields[49])
    except (OSError, ValueError, IndexError):
        return 0
    return os.WTERMSIG(status) if fields[0] == "Z" and os.WIFSIGNALED(status) else 0


def noted(path: Path) -> tuple[int, int] | None:
    """(pid, start time) as a run script has noted them: its own line of /proc/self/stat."""
    try:
        text = path.read_text(errors="replace")
        started = stat_start_time(text)
        return None if started is None else (int(text.split(" ", 1)[0]), started)
    except (OSError, ValueError):
        return None


def marked(pid: int, value: str) -> bool:
    """True when the process carries our mark. An unreadable environment (another user's process) is no."""
    try:
        return f"{MARK}={value}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group that ``pid`` leads, or the process alone when it leads none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def group_lives(leader: int, value: str) -> bool:
    """True when the process group of a process that has ended still has members that carry our mark."""
    if leader <= 1:  # killpg(2) would mean our own group
        return False
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _in_group(entry, leader) and marked(int(entry.name), value):
            return True
    return False


async def end_group(leader: int, value: str, *, within_seconds: float) -> None:
    """What a process leaves behind in its group gets this long to end, and is then killed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_seconds
    while group_lives(leader, value):
        if loop.time() >= deadline:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)
        await asyncio.sleep(0.02)


def _in_group(entry: Path, leader: int) -> bool:
    try:
        fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X") and int(fields[2]) == leader


class PidWatch:
    """Calls back once when a process ends. Must be made and used inside a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fds: dict[Hashable, int] = {}

    def add(self, pid: int, ended: Callable[[], None], *, watcher: Hashable = None) -> None:
        """``ended`` is called soon when the process is gone already. Each ``watcher`` has one callback for a pid, the last one given."""
        key = (pid, watcher)
        self.remove(key)
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            self._loop.call_soon(ended)
            return
        self._fds[key] = fd
        self._loop.add_reader(fd, self._ended, key, ended)

    def remove(self, key: Hashable) -> None:
        fd = self._fds.pop(key, None)
        if fd is not None:
            self._loop.remove_reader(fd)
            os.close(fd)

    def close(self) -> None:
        for key in list(self._fds):
            self.remove(key)

    def _ended(self, key: Hashable, ended: Callable[[], None]) -> None:
        self.remove(key)
        ended()
