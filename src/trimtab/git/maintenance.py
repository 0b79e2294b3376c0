"""Housekeeping of mirrors, rarely and in the background: the commit graph with changed paths, and gc when git thinks it is due.

A fetch never waits for it. Unreachable objects are kept for six weeks (`gc.pruneExpire` in command.py), and whatever was resolved
lately has a ref of its own (keeping.py).
"""

from __future__ import annotations

import asyncio

from trimtab.core.model.errors import TrimtabError

from .command import Git
from .mirrors import Mirror

DELAY_SECONDS = 5.0  # what the fetch brought is deployed first
PAUSE_SECONDS = 900.0
LOOSE_REFS_MAX = 500
PACKS_MAX = 60  # each fetch may leave one
TIMEOUT_SECONDS = 1800.0


class Maintenance:
    """One at a time for all mirrors."""

    def __init__(self, git: Git, *, delay_seconds: float = DELAY_SECONDS) -> None:
        self._git, self._delay = git, delay_seconds
        self._one = asyncio.Lock()
        self._tasks: dict[Mirror, asyncio.Task[None]] = {}
        self._due: dict[Mirror, float] = {}

    def moved(self, mirror: Mirror) -> None:
        """A fetch brought something."""
        now = asyncio.get_running_loop().time()
        if mirror not in self._tasks and (now >= self._due.get(mirror, now) or _packs(mirror) > PACKS_MAX):
            self._due[mirror] = now + PAUSE_SECONDS
            task = asyncio.create_task(self._maintain(mirror))
            self._tasks[mirror] = task
            task.add_done_callback(lambda _: self._tasks.pop(mirror, None))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _maintain(self, mirror: Mirror) -> None:
        await asyncio.sleep(self._delay)
        async with self._one:
            try:
                await self.graph(mirror)
                await self.collect(mirror)
            except TrimtabError:
                return  # nobody waits for it; the next time is soon enough

    async def graph(self, mirror: Mirror) -> None:
        await self._git.local(
            mirror.path, "commit-graph", "write", "--reachable", "--changed-paths", "--split", timeout_seconds=TIMEOUT_SECONDS
        )

    async def collect(self, mirror: Mirror) -> None:
        """Let git pack loose objects and refs, if there are enough of them."""
        if len(mirror.refs.ids) > LOOSE_REFS_MAX:
            await self._git.local(mirror.path, "pack-refs", "--all", timeout_seconds=TIMEOUT_SECONDS)
        options = ("-c", "gc.auto=3000", "-c", f"gc.autoPackLimit={PACKS_MAX - 10}")
        await self._git.local(mirror.path, *options, "gc", "--auto", "--quiet", timeout_seconds=TIMEOUT_SECONDS)
        mirror.objects.reopen()


def _packs(mirror: Mirror) -> int:
    try:
        return sum(place.suffix == ".pack" for place in (mirror.path / "objects" / "pack").iterdir())
    except OSError:
        return 0
