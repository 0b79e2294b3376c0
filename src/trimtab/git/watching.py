"""Wakes when the refs of a repository on this disk may have moved, from the kernel; by looking now and then where it cannot tell.

A Remote goes in, an endless iteration of None comes out: one for each burst of changes. What has changed is not said; the caller
fetches. A repository that is not there (yet, or any more) is looked for every second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from trimtab.plumbing import inotify
from trimtab.plumbing.inotify import Event, Inotify

from . import refs
from .refs import Refs
from .remote import Remote

LOOK_SECONDS = 1.0
POLL_SECONDS = 0.5

_MASK = (
    inotify.CREATE
    | inotify.MOVED_TO
    | inotify.MOVED_FROM
    | inotify.DELETE
    | inotify.CLOSE_WRITE
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
)
_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT
_TOP = frozenset({"HEAD", "packed-refs", "refs", "reftable"})


async def watch(remote: Remote) -> AsyncIterator[None]:
    """Ends at once for a remote that is not on this disk."""
    if remote.path is None:
        return
    known: Refs | None = None
    while True:
        directory = _directory(remote.path)
        if directory is None:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        async for state in _changes(directory, known):
            known = state
            yield
        await asyncio.sleep(0.01)  # deleted, moved or replaced: look again


def _directory(path: Path) -> Path | None:
    try:
        return refs.git_directory(path)
    except OSError:
        return None


async def _changes(directory: Path, known: Refs | None) -> AsyncIterator[Refs | None]:
    """The refs after each change, until the directory is gone. What changed while nobody watched comes first."""
    try:
        with Inotify() as events:
            _add_all(events, directory)
            state = refs.read(directory)
            if state != known and known is not None:
                yield state
            async for event in events:
                burst = [event, *events.pending()]
                if any(each.mask & _GONE and each.path in _tops(directory) for each in burst):
                    return
                if _add_new(events, directory, burst) or any(_matters(each, directory) for each in burst):
                    yield refs.read(directory)
    except OSError:  # the user has no inotify watches left, or the file system is away
        async for state in _polled(directory, known):
            yield state


async def _polled(directory: Path, known: Refs | None) -> AsyncIterator[Refs | None]:
    while (directory / "HEAD").exists():
        state = refs.read(directory)
        if state != known or state is None:
            known = state
            yield state
        await asyncio.sleep(POLL_SECONDS)


def _tops(directory: Path) -> set[Path]:
    common = refs.common_directory(directory)
    return {directory, common, common / "refs"}


def _add_all(events: Inotify, directory: Path) -> None:
    common = refs.common_directory(directory)
    events.add_watch(directory, _MASK)
    if common != directory:
        events.add_watch(common, _MASK)
    if (common / "reftable").is_dir():
        events.add_watch(common / "reftable", _MASK)
    events.add_watch(common / "refs", _MASK)
    for name in ("heads", "tags"):
        for below in _below(common / "refs" / name):
            events.add_watch(below, _MASK)


def _below(directory: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(directory):
        yield Path(path)


def _add_new(events: Inotify, directory: Path, burst: list[Event]) -> bool:
    """Watch directories that have come up ("feature/" of a new branch); True when there may be refs in them already."""
    fresh = any(each.mask & inotify.OVERFLOW or (each.mask & inotify.ISDIR and _matters(each, directory)) for each in burst)
    if fresh:
        _add_all(events, directory)
    return fresh


def _matters(event: Event, directory: Path) -> bool:
    if event.mask & inotify.OVERFLOW:
        return True
    if event.name.endswith(".lock") or not event.name:
        return False
    common = refs.common_directory(directory)
    if event.path in (directory, common):
        return event.name in _TOP
    return event.path != common / "refs" or event.name in ("heads", "tags")
