"""A whole engine on fakes, calm unless a test plans a fault: for tests that tell one small story, in a few lines.

In: commits as values. Out: what is on the targets, what was told. Whatever may go wrong is left to the simulation.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from trimtab.core.model.config import Document
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.engine.engine import Engine, Parts
from trimtab.ports.hosting import HOSTED

from .factories import INSTALLATION, files
from .faults import Faults
from .git import FakeRemotes, FakeRepositories
from .hosting import FakeHosting
from .judge import DirectJudge
from .objects import World
from .render import FakeRenderer
from .store import MemoryStore
from .targets import FakeTargets
from .time import SeededChance, VirtualClock, run

URL = "configuration.git"


class Stage:
    """The world around one or more servers."""

    def __init__(self, clock: VirtualClock, *, ready_seconds: tuple[float, float] = (0, 0), hosted: str = "") -> None:
        """``hosted`` is the name of a hosted repository that the configuration is in, instead of one elsewhere."""
        self.clock = clock
        self.faults = Faults.none()
        self.store = MemoryStore(hook=self.faults.point)
        self.targets = FakeTargets(World(self.faults, INSTALLATION, ready_seconds, echo=True))
        self.remotes = FakeRemotes(self.faults)
        self.hosting = FakeHosting(self.remotes)
        self.hosted = hosted
        self.url = f"{HOSTED}{hosted}" if hosted else URL
        self.remote = self.remotes.get(self.url)
        self.events: list[Any] = []

    def start(
        self, holder: str = "a", *, clock: VirtualClock | None = None, newborn: bool = False
    ) -> tuple[Engine, asyncio.Task[None]]:
        engine = Engine(
            Parts(
                installation=INSTALLATION,
                newborn=newborn,
                holder=holder,
                repository=self.url,
                hosting=self.hosting if self.hosted else None,
                judge=DirectJudge() if self.hosted else None,
                repositories=FakeRepositories(self.remotes),
                renderer=FakeRenderer(self.faults),
                targets=self.targets,
                store=self.store,
                clock=clock or self.clock,
                chance=SeededChance(random.Random(1)),  # noqa: S311 - chance that can be repeated is the point
            )
        )
        engine.journal.on_event(self.events.append)
        return engine, asyncio.create_task(engine.run())

    async def stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def commit(self, *documents: Document, **directories: list[Manifest]) -> str:
        """All that there is: the documents, and for each application the objects of its directory."""
        return self.remote.commit(self.files(*documents, **directories), whole=True)

    def files(self, *documents: Document, **directories: list[Manifest]) -> dict[str, bytes]:
        """What `commit` commits."""
        found: dict[str, bytes] = {}
        for one in documents:
            kind = type(one).__name__
            body = {"apiVersion": "trimtab.dev/v1", "kind": kind, **msgspec.to_builtins(one)}
            found[f".trimtab/{kind.lower()}-{one.metadata.name}.yaml"] = msgspec.json.encode(body)
        for name, manifests in directories.items():
            found |= {f"apps/{name}/README": b"", **files(f"apps/{name}", *manifests)}
        return found

    def there(self, environment: str = "host") -> dict[str, tuple[str, str]]:
        """Name to uid and owning application."""
        objects = self.targets.get(environment).objects.there.values()
        return {thing.ref.name: (thing.uid, thing.owner.application if thing.owner else "") for thing in objects}

    def phase(self, engine: Engine, application: str, environment: str = "host") -> str:
        state = engine.current().world.states[Key(environment, application)]
        return state.current.phase if state.current is not None else ""

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def on_stage(story: Callable[[Stage], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run ``story`` under virtual time."""

    async def main(clock: VirtualClock) -> None:
        await story(Stage(clock, **options))

    run(main)
