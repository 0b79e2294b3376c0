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
GRAPH_SECONDS = 600.0
GC_SECONDS = 3600.0
TIMEOUT_SECONDS = 1800.0


class Maintenance:
    """One at a time for all mirrors."""

    def __init__(self, git: Git, *, delay_seconds: float = DELAY_SECONDS) -> None:
        self._git, self._delay = git, delay_seconds
        self._one = asyncio.Lock()
        self._tasks: dict[Mirror, asyncio.Task[None]] = {}
        self._graphs: dict[Mirror, float] = {}  # when the next one may be
        self._gcs: dict[Mirror, float] = {}

    def moved(self, mirror: Mirror) -> None:
        """A fetch brought something."""
        now = asyncio.get_running_loop().time()
        if mirror in self._tasks or now < self._graphs.get(mirror, now):
            return
        self._graphs[mirror] = now + GRAPH_SECONDS
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
                await self._collect(mirror)
            except TrimtabError:
                return  # nobody waits for it; the next time is soon enough

    async def graph(self, mirror: Mirror) -> None:
        await self._git.local(
            mirror.path, "commit-graph", "write", "--reachable", "--changed-paths", "--split", timeout_seconds=TIMEOUT_SECONDS
        )

    async def _collect(self, mirror: Mirror) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._gcs.get(mirror, now):
            return
        self._gcs[mirror] = now + GC_SECONDS
        await self.collect(mirror)

    async def collect(self, mirror: Mirror) -> None:
        """Let git pack loose objects and refs, if there are enough of them."""
        options = ("-c", "gc.auto=3000", "-c", "gc.autoPackLimit=50")
        await self._git.local(mirror.path, *options, "gc", "--auto", "--quiet", timeout_seconds=TIMEOUT_SECONDS)
        mirror.objects.reopen()
