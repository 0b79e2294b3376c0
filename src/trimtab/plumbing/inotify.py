"""File-system events from the Linux kernel (inotify(7)), as an asynchronous iterator.

Paths to watch come in; `Event` values go out, in the kernel's order. The kernel's queue and ours are bounded: when either is
full, events are lost and one Event with `OVERFLOW` says so, which means "look at everything". Spoken to through ctypes, because
the four calls need no dependency.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import struct
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# inotify(7), linux/inotify.h
ACCESS = 0x1
MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
CLOSE_NOWRITE = 0x10
OPEN = 0x20
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000
DONT_FOLLOW = 0x2000000
EXCL_UNLINK = 0x4000000
ISDIR = 0x40000000

CHANGED = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
"""Whatever alters a file or what a directory holds."""

EVENTS_MAX = 16_384

_HEADER = struct.Struct("iIII")  # wd, mask, cookie, length of the name
_LIBC = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """``path`` is what was watched, as given to `Inotify.add_watch`; ``name`` the entry of that directory which it is about ("" when
    it is about ``path`` itself). With `OVERFLOW` in ``mask`` the path is ``Path()`` and anything may have happened.
    """

    path: Path
    mask: int
    name: str


class Inotify:
    """One inotify instance, to be made and used inside a running event loop by one consumer. Close it, or use it as a context.

    >>> async def example(directory: Path) -> None:
    ...     with Inotify() as inotify:
    ...         inotify.add_watch(directory, CREATE | MOVED_TO)
    ...         async for path, mask, name in inotify:
    ...             print(path / name)
    """

    def __init__(self, *, events_max: int = EVENTS_MAX) -> None:
        """Raises OSError when the user has no instance left (fs.inotify.max_user_instances)."""
        self._fd = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self._paths: dict[int, Path] = {}
        self._watches: dict[Path, int] = {}
        self._events: deque[Event] = deque()
        self._events_max = events_max
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def add_watch(self, path: Path, mask: int = CHANGED) -> None:
        """Watch a file or directory (not what is below it). A path that is watched already gets the new mask.

        Raises OSError: FileNotFoundError, PermissionError, or ENOSPC when fs.inotify.max_user_watches is used up.
        """
        if self._fd < 0:
            raise ValueError("inotify instance is closed")
        watch = _checked(_LIBC.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)), str(path))
        old = self._paths.get(watch)
        if old is not None and old != path:  # two names of one inode share the kernel's watch: the last name counts
            self._watches.pop(old, None)
        self._paths[watch], self._watches[path] = path, watch

    def remove(self, path: Path) -> None:
        """Watch it no longer. Removing what is not watched does nothing."""
        watch = self._watches.pop(path, None)
        if watch is not None:
            self._paths.pop(watch, None)
            _LIBC.inotify_rm_watch(self._fd, watch)  # fails only when the kernel has dropped it already

    @property
    def watched(self) -> frozenset[Path]:
        """What is watched now. A path leaves it by itself when it is deleted or its file system is unmounted."""
        return frozenset(self._watches)

    def close(self) -> None:
        """Give the instance back; an iteration that waits ends."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._wake()

    def pending(self) -> list[Event]:
        """The events that have arrived and were not iterated over yet; takes them. For draining a burst without waiting."""
        events = list(self._events)
        self._events.clear()
        return events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._fd < 0:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._events.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._parse(os.read(self._fd, 64 * 1024))
        self._wake()

    def _parse(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            self._take(watch, mask, name)

    def _take(self, watch: int, mask: int, name: str) -> None:
        path = Path() if mask & OVERFLOW else self._paths.get(watch)
        if path is None:  # an event that was queued before `remove`
            return
        if mask & IGNORED:
            self._paths.pop(watch, None)
            self._watches.pop(path, None)
            return
        if len(self._events) >= self._events_max:
            self._events.clear()
            path, mask, name = Path(), OVERFLOW, ""
        self._events.append(Event(path, mask, name))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _checked(result: int, what: str) -> int:
    if result >= 0:
        return result
    number = ctypes.get_errno()
    raise OSError(number or errno.EIO, os.strerror(number or errno.EIO), what)
