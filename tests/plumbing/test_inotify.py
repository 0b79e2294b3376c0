"""File-system events arrive, in order, bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trimtab.plumbing import inotify
from trimtab.plumbing.inotify import Event, Inotify


async def _next(watcher: Inotify) -> Event:
    return await asyncio.wait_for(anext(watcher), 2)


async def test_a_new_file_is_reported_with_its_name(tmp_path: Path):
    """Creating and closing a file gives two events, in order."""
    with Inotify() as watcher:
        watcher.add_watch(tmp_path, inotify.CREATE | inotify.CLOSE_WRITE)
        (tmp_path / "a").write_text("x")
        assert await _next(watcher) == Event(tmp_path, inotify.CREATE, "a")
        assert await _next(watcher) == Event(tmp_path, inotify.CLOSE_WRITE, "a")


async def test_a_watched_file_reports_its_own_end(tmp_path: Path):
    """A deleted file is reported and no longer watched."""
    path = tmp_path / "a"
    path.write_text("x")
    with Inotify() as watcher:
        watcher.add_watch(path, inotify.DELETE_SELF)
        path.unlink()
        assert await _next(watcher) == Event(path, inotify.DELETE_SELF, "")
        await asyncio.sleep(0)
        assert watcher.watched == frozenset()


async def test_names_that_are_not_utf8_come_with_surrogate_escapes(tmp_path: Path):
    """A name is what os.fsdecode makes of it."""
    with Inotify() as watcher:
        watcher.add_watch(tmp_path, inotify.CREATE)
        (tmp_path / "caf\udce9").touch()
        assert (await _next(watcher)).name == "caf\udce9"


async def test_what_is_removed_is_silent(tmp_path: Path):
    """After `remove` no event comes from that path; removing twice is fine."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with Inotify() as watcher:
        watcher.add_watch(one, inotify.CREATE)
        watcher.add_watch(two, inotify.CREATE)
        (one / "early").touch()
        watcher.remove(one)
        watcher.remove(one)
        (one / "late").touch()
        (two / "b").touch()
        assert await _next(watcher) == Event(two, inotify.CREATE, "b")


async def test_too_many_events_become_one_overflow(tmp_path: Path):
    """A consumer that is slow learns that it missed something."""
    with Inotify(events_max=10) as watcher:
        watcher.add_watch(tmp_path, inotify.CREATE)
        for number in range(15):
            (tmp_path / str(number)).touch()
        first = await _next(watcher)
        assert first == Event(Path(), inotify.OVERFLOW, "")
        assert [event.name for event in watcher.pending()] == ["11", "12", "13", "14"]


async def test_closing_ends_the_iteration(tmp_path: Path):
    """A consumer that waits is released, and nothing can be added any more."""
    watcher = Inotify()
    watcher.add_watch(tmp_path)

    async def consume() -> list[Event]:
        return [event async for event in watcher]

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    watcher.close()
    watcher.close()
    assert await asyncio.wait_for(task, 2) == []
    with pytest.raises(ValueError, match="closed"):
        watcher.add_watch(tmp_path)


async def test_a_missing_path_is_named(tmp_path: Path):
    """The error says which path."""
    with Inotify() as watcher, pytest.raises(FileNotFoundError, match="missing"):
        watcher.add_watch(tmp_path / "missing")
