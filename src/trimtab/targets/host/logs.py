"""The output of an object: the last lines of all its instances, then what comes. In: the instances, asked for anew now and then.
Out: lines without terminal escapes, bounded. Follows a log across its turning over (the file is truncated in place).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from trimtab.core.model.text import one_line
from trimtab.ports.target import LogLine

from .instances import place

LINE_BYTES_MAX = 16 * 1024
TAIL_BYTES_MAX = 8 * 1024 * 1024
LOOK_SECONDS = 0.1


class _Follower:
    """One log. ``offset`` is how far it was read."""

    def __init__(self, root: Path, instance: str) -> None:
        self._path = root / place(instance) / "log"
        self.source = instance.split("~", 1)[-1].replace("~", "/").strip("/")
        self.offset = 0
        self._rest = b""

    def tail(self, lines: int) -> list[LogLine]:
        """The last ``lines`` lines, from the file that was turned over too, if this one is short."""
        data = _end(self._path, TAIL_BYTES_MAX)
        self.offset = self._size()
        if data.count(b"\n") < lines:
            data = _end(self._path.with_name("log.1"), TAIL_BYTES_MAX) + data
        whole, _, self._rest = data.rpartition(b"\n")
        found = whole.split(b"\n") if whole else []
        return [self._line(raw) for raw in found[-lines:]] if lines > 0 else []

    def new(self) -> list[LogLine]:
        size = self._size()
        if size < self.offset:  # turned over
            self.offset, self._rest = 0, b""
        if size == self.offset:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(TAIL_BYTES_MAX)
        except OSError:
            return []
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LINE_BYTES_MAX:]
        return [self._line(raw) for raw in lines]

    def _line(self, raw: bytes) -> LogLine:
        return LogLine(self.source, one_line(raw[:LINE_BYTES_MAX].decode(errors="replace"), characters_max=LINE_BYTES_MAX))

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0


async def lines_of(root: Path, instances: Callable[[], list[str]], *, lines: int, follow: bool) -> AsyncIterator[LogLine]:
    """The last ``lines`` lines over all instances (older instances first), then, with ``follow``, what comes until cancelled."""
    followers = {name: _Follower(root, name) for name in instances()}
    tails = [line for follower in followers.values() for line in follower.tail(lines)]
    for line in tails[-lines:] if lines > 0 else []:
        yield line
    while follow:
        await asyncio.sleep(LOOK_SECONDS)
        names = instances()
        for name in names:
            followers.setdefault(name, _Follower(root, name))
        for name in list(followers):
            for line in followers[name].new():
                yield line
            if name not in names:
                del followers[name]


def _end(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            return file.read(bytes_max)
    except OSError:
        return b""
