"""A commit or push to a repository on this disk wakes at once; nothing else does."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from trimtab.plumbing.inotify import Inotify

WITHIN_SECONDS = 0.1


class Wakes:
    """Collects wakes; `caused_by` measures how long one takes."""

    def __init__(self, iterator):
        self.times: list[float] = []
        self._new = asyncio.Event()
        self._task = asyncio.create_task(self._collect(iterator))

    async def _collect(self, iterator):
        async for _ in iterator:
            self.times.append(time.monotonic())
            self._new.set()

    async def caused_by(self, function, *arguments, **options) -> float:
        """Seconds from the end of the change to the first wake (negative where the wake came before the end)."""
        await self.settled()
        self._new.clear()
        await asyncio.to_thread(function, *arguments, **options)
        done = time.monotonic()
        count = len(self.times)
        await asyncio.wait_for(self._new.wait(), 3)
        return self.times[count - 1 if count else 0] - done

    async def settled(self):
        """Wait until nothing comes any more."""
        while True:
            count = len(self.times)
            await asyncio.sleep(0.05)
            if len(self.times) == count:
                return

    async def stop(self):
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def watching(repositories):
    started = []

    def watch(name) -> Wakes:
        started.append(Wakes(repositories.watch(str(name))))
        return started[-1]

    yield watch
    for wakes in started:
        await wakes.stop()


async def test_a_commit_in_a_work_tree(source, watching):
    """The wake is there within a tenth of a second, for loose and for packed refs."""
    wakes = watching(source.path)
    assert await wakes.caused_by(source.commit, b="1") < WITHIN_SECONDS
    assert await wakes.caused_by(source.git, "pack-refs", "--all") < WITHIN_SECONDS
    assert await wakes.caused_by(source.commit, b="2") < WITHIN_SECONDS


async def test_a_push_to_a_bare_repository(source, bare, watching):
    """Pushes to known and to new branches, in directories that did not exist, wake."""
    wakes = watching(bare.path)
    source.commit(b="1")
    assert await wakes.caused_by(source.git, "push", "--quiet", "origin", "main") < WITHIN_SECONDS
    assert await wakes.caused_by(source.git, "push", "--quiet", "origin", "main:feature/x/y") < WITHIN_SECONDS
    source.commit(b="2")
    assert await wakes.caused_by(source.git, "push", "--quiet", "origin", "main:feature/x/y") < WITHIN_SECONDS
    assert await wakes.caused_by(source.git, "push", "--quiet", "origin", ":feature/x/y") < WITHIN_SECONDS
    assert await wakes.caused_by(bare.git, "symbolic-ref", "HEAD", "refs/heads/other") < WITHIN_SECONDS


async def test_editing_staging_and_notes_do_not_wake(source, watching, repositories):
    """Only branches, tags and HEAD matter."""
    wakes = watching(source.path)
    await wakes.caused_by(source.commit, b="1")
    await wakes.settled()
    before = len(wakes.times)
    (source.path / "a.yaml").write_text("edited")
    source.git("add", "--all")
    source.git("status")
    source.git("notes", "--ref=trimtab", "add", "-m", "x")
    await wakes.settled()
    assert len(wakes.times) == before


async def test_a_linked_work_tree(source, watching, tmp_path):
    """Its own HEAD and the shared branches both wake."""
    source.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    wakes = watching(tmp_path / "linked")
    assert await wakes.caused_by(source.commit, b="1") < WITHIN_SECONDS
    assert await wakes.caused_by(source.git, "-C", str(tmp_path / "linked"), "switch", "--quiet", "-c", "more") < WITHIN_SECONDS


async def test_a_repository_that_comes_and_goes(make, source, watching, tmp_path, monkeypatch):
    """One that is not there yet is waited for; one that was replaced is found again."""
    monkeypatch.setattr("trimtab.git.watching.LOOK_SECONDS", 0.1)
    wakes = watching(tmp_path / "later")
    await asyncio.sleep(0.05)
    later = make("later")
    await asyncio.sleep(0.2)
    assert await wakes.caused_by(later.commit, a="1") < WITHIN_SECONDS
    shutil.rmtree(later.path)
    shutil.copytree(source.path, later.path)
    await asyncio.sleep(0.3)
    assert await wakes.caused_by(later.commit, z="1") < WITHIN_SECONDS


async def test_without_inotify_it_looks_now_and_then(source, watching, monkeypatch):
    """Where the kernel has no watches left, a change is still seen, later."""

    def full(self, path, mask=0):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Inotify, "add_watch", full)
    wakes = watching(source.path)
    assert await wakes.caused_by(source.commit, b="1") < 1.0


async def test_a_remote_repository_is_not_watched(repositories):
    """The iteration ends at once."""
    assert [wake async for wake in repositories.watch("https://host.invalid/x.git")] == []
    assert [wake async for wake in repositories.watch("git@host.invalid:x.git")] == []
