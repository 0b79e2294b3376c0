"""Trimtab, in a process of its own: an engine with everything real but the web."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.clusters.contents import Repository
from bench.clusters.cost import cpu_seconds
from bench.clusters.raw import Server

QUIET_SECONDS = 0.4
WAIT_SECONDS_MAX = 1_200.0


class Recorded:
    """A Store that notes when what was applied is on the record."""

    def __init__(self, store: Any, heard: Callable[[], None]) -> None:
        self._store, self._heard = store, heard
        self.applied = 0
        self.of: Counter[str] = Counter()

    async def write(self, writes: Any, *, epoch: int) -> Any:
        stored = await self._store.write(writes, epoch=epoch)
        for entry in writes.entries:
            if entry.state == "applied":
                self.applied += 1
                self.of[entry.application] += 1
        self._heard()
        return stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class Bench:
    """An engine with everything real but the web."""

    server: Server
    repository: Repository
    data: Path
    namespace: str
    healthy: dict[tuple[str, str], float] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    engine: Any = None
    began: float = 0.0
    cpu: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        from trimtab.engine.engine import Engine, Parts
        from trimtab.git.repositories import GitRepositories
        from trimtab.plumbing.clock import SystemChance, SystemClock
        from trimtab.render.renderer import TreeRenderer
        from trimtab.store.store import SqlStore
        from trimtab.targets.kubernetes.target import KubernetesTargets
        from trimtab.wiring.adapters import SETTINGS

        clock, chance = SystemClock(), SystemChance()
        self.targets = KubernetesTargets(installation=f"bench-{self.namespace}", clock=clock, chance=chance)
        self.store = Recorded(SqlStore.open(self.data / "trimtab.db"), self.bell.set)
        renderer, repositories = TreeRenderer(self.data / "cache"), GitRepositories(self.data / "git")
        parts = Parts(
            installation=f"bench-{self.namespace}",
            holder="bench",
            repository=str(self.repository.path),
            repositories=repositories,
            renderer=renderer,
            targets=self.targets,
            adapters=SETTINGS,
            store=self.store,
            clock=clock,
            chance=chance,
            poll_seconds=3600,
            newborn=True,
        )
        self.engine = Engine(parts)
        self.engine.journal.on_event(self._heard)
        self.cpu = cpu_seconds()
        self.began = time.perf_counter()  # the next thing that it does is to fetch
        task = asyncio.create_task(self.engine.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for part in (renderer, repositories, self.store, self.targets):
                await part.close()
            await asyncio.sleep(0.05)

    def _heard(self, event: Any) -> None:
        if event.kind == "deployment.healthy":
            self.healthy[event.application, event.revision] = time.perf_counter()
        if event.kind in ("deployment.failed", "deployment.held", "render.failed", "reconcile.broken"):
            print(f"{event.kind} {event.application}: {event.message}", file=sys.stderr)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not condition():
                self.bell.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.bell.wait(), 0.005)

    async def quiet(self) -> None:
        """Until nothing has been asked and nothing been done for a while."""
        before = None
        while before != (before := (self.calls(), self.store.applied, self.engine.session.workers.busy)):
            await asyncio.sleep(QUIET_SECONDS)

    def calls(self) -> int:
        return sum(target.cluster.client.transport.counts.requests for target in self.targets._targets.values())

    def look_at_git(self) -> None:
        self.engine.session.follower.wake()
