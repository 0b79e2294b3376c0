"""What every play of the simulations has: replicas of the real engine on virtual time, a store and targets that a witness sees, faults,
and whoever starts again what has crashed. What happens in a play, and what has to hold, is for those who make one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Identity
from trimtab.engine.engine import Engine, Parts
from trimtab.ports.store import Lease, Loaded, Writes

from .factories import INSTALLATION
from .faults import Crash, Faults, Profile
from .git import FakeRemotes, FakeRepositories
from .objects import Mutation, Thing
from .render import FakeRenderer
from .store import MemoryStore
from .targets import FakeTargets
from .time import GROUP, SeededChance, VirtualClock, run, running


@dataclass(frozen=True)
class Violation:
    law: str
    what: str
    time: float


@dataclass(frozen=True)
class Result:
    """What the laws found for a seed, and how it was: ``trace`` is every line of it. ``module`` is what repeats it."""

    seed: int
    violations: tuple[Violation, ...]
    trace: tuple[str, ...]
    seconds: float
    module: str

    def line(self) -> str:
        first = self.violations[0]
        replay = f"python -m {self.module} --seed {self.seed} --trace"
        return f"seed {self.seed}: {first.law}: {first.what} (at {first.time:.1f} s; replay: {replay})"


class Beside(Protocol):
    """A witness: it sees every write and every mutation at the moment when it takes effect, and says which law was broken."""

    def wrote(self, writes: Writes, events: tuple[Event, ...], holder: str) -> None: ...

    def acted(self, mutation: Mutation, there: Mapping[Identity, Thing], holder: str) -> None: ...

    def new_life(self) -> None: ...

    def blame(self, law: str, what: str) -> None: ...


class WatchedStore(MemoryStore):
    """The store of all replicas. Every write is shown to the witness; taking the lease and loading may fail like everything else."""

    def __init__(self, faults: Faults, witness: Beside) -> None:
        super().__init__(faults.point)
        self._witness = witness

    @property
    def holder(self) -> str:
        return self._lease.holder

    def lose(self) -> None:
        MemoryStore.__init__(self, self.hook)
        self._witness.new_life()

    async def lease(self, holder: str, *, now: datetime, seconds: float) -> Lease:
        await self._call("store.lease:before")
        return await super().lease(holder, now=now, seconds=seconds)

    async def load(self) -> Loaded:
        await self._call("store.load:before")
        return await super().load()

    def _put(self, writes: Writes) -> tuple[Event, ...]:
        stored = super()._put(writes)
        self._witness.wrote(writes, stored, self._lease.holder)
        return stored


class WatchedJournal(list[Mutation]):
    """The journal of the targets' world. Every mutation is shown to the witness as it takes place."""

    def __init__(self, play: Play) -> None:
        super().__init__()
        self._play = play

    def append(self, mutation: Mutation) -> None:
        super().append(mutation)
        play = self._play
        there = play.targets.get(mutation.environment).objects.there
        play.witness.acted(mutation, there, play.store.holder)


@dataclass
class Replica:
    """One machine: its wall clock, its mirrors and its cache outlive the server process on it."""

    name: str
    play: Play
    clock: VirtualClock
    repositories: FakeRepositories
    renderer: FakeRenderer
    starts: int = 0
    engine: Engine | None = None
    task: asyncio.Task[None] | None = None

    @property
    def process(self) -> str:
        return f"{self.name}{self.starts}"

    def start(self) -> None:
        self.starts += 1
        token = GROUP.set(self.process)
        try:
            self.engine = Engine(self.play.parts(self))
            self.task = asyncio.create_task(self.engine.run(), name=f"engine {self.process}")
            self.task.add_done_callback(self._ended)
        finally:
            GROUP.reset(token)

    async def restart(self) -> None:
        """SIGTERM and start: the server ends by itself, and leaves nothing behind that runs."""
        process, task = self.process, self.task
        assert task is not None, "it was started"
        task.cancel()
        await asyncio.wait({task})
        for _ in range(10):
            await asyncio.sleep(0)
        if process not in self.play.faults.crashed and running().pending(process):
            self.play.witness.blame("nothing-of-ours-breaks", f"left running: {running().waiting(process)}")
        if self.process == process:
            self.start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and f"{task.get_name()}".removeprefix("engine ") not in self.play.faults.crashed:
            self.play.witness.blame("nothing-of-ours-breaks", f"the engine fell over: {error!r}")


@dataclass
class Play(ABC):
    """``url`` is the configuration repository. Whoever makes one sets what has no default before anything starts."""

    seed: int
    replicas: list[Replica] = field(default_factory=list)
    losing_store: bool = False
    url: str = "configuration.git"
    chance: random.Random = field(init=False)
    faults: Faults = field(init=False)
    store: WatchedStore = field(init=False)
    targets: FakeTargets = field(init=False)
    remotes: FakeRemotes = field(init=False)
    witness: Any = field(init=False)
    """A `Beside`."""

    @abstractmethod
    async def tell(self) -> None:
        """The whole of it."""

    def parts(self, replica: Replica) -> Parts:
        return Parts(
            installation=INSTALLATION,
            holder=replica.process,
            repository=self.url,
            repositories=replica.repositories,
            renderer=replica.renderer,
            targets=self.targets,
            store=self.store,
            clock=replica.clock,
            chance=SeededChance(self.faults.random),
        )

    def start_replicas(self) -> None:
        for name in ("a", "b")[: self.chance.choice((1, 2))]:
            clock = VirtualClock(running())
            replica = Replica(name, self, clock, FakeRepositories(self.remotes), FakeRenderer(self.faults))
            self.replicas.append(replica)
            replica.start()

    def leader(self) -> Engine | None:
        """The engine that answers now."""
        for replica in self.replicas:
            if replica.engine is not None and replica.engine.ready and replica.process == self.store.holder:
                return replica.engine
        return None

    async def ask(self, answer: Awaitable[object]) -> bool:
        """Have the leader do something, inside its process; False when it refused or died over it."""
        token = GROUP.set(self.store.holder)
        try:
            await answer
        except (TrimtabError, Crash):
            return False
        finally:
            GROUP.reset(token)
        return True

    def unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task died and nobody looked: as it should be after a crash, and a mistake otherwise."""
        error = context.get("exception")
        if error is None or not crashes(error):
            self.witness.blame("nothing-of-ours-breaks", f"{context.get('message')}: {error!r}")

    async def supervise(self) -> None:
        """Starts again what has crashed, after a while."""
        while True:
            await self.faults.crashes.wait()
            self.faults.crashes.clear()
            for replica in self.replicas:
                process = replica.process
                if process in self.faults.crashed:
                    await running().kill(process)
                    await asyncio.sleep(self.chance.choice((0, 1, 10)))
                    if replica.process == process and not self.losing_store:
                        replica.start()


def play(made: Callable[[], Play], module: str) -> Result:
    """From the beginning to the end of one play, or to the first law that does not hold."""
    logger = logging.getLogger("trimtab")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    holder: list[Play] = []

    async def story(clock: VirtualClock) -> float:
        holder.append(made())
        await holder[0].tell()
        return clock.monotonic()

    try:
        seconds = run(story, seconds_max=1e6)
    finally:
        logger.setLevel(level)
    told = holder[0]
    return Result(told.seed, tuple(told.witness.violations), tuple(told.faults.trace), seconds, module)


def crashes(error: BaseException) -> bool:
    return isinstance(error, Crash) or (isinstance(error, BaseExceptionGroup) and all(crashes(one) for one in error.exceptions))


def profile(chance: random.Random) -> Profile:
    """Some worlds are calm, some are rough."""
    calm = Profile(failed=0, lost=0, crash=0, dropped=0, slow=0, delay_seconds=0)
    some = Profile(failed=0.02, lost=0.03, crash=0.003, dropped=0.1, slow=0.01, slow_seconds=3)
    rough = Profile(failed=0.08, lost=0.08, crash=0.012, dropped=0.4, slow=0.03)
    return chance.choice((calm, some, some, rough))


# --- from the shell ---------------------------------------------------------------------------------------------------------


def command(simulate: Callable[[int], Result], about: str | None, arguments: list[str] | None = None) -> int:
    """0: every law held for every seed. 1: one line for each seed that failed."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (default: 200)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.first, chosen.first + chosen.seeds) if chosen.seed is None else [chosen.seed]
    began = time.monotonic()
    failed = sum(_report(simulate(seed), trace=chosen.trace) for seed in seeds)
    took = time.monotonic() - began
    sys.stdout.write(f"{len(seeds)} seeds, {failed} failed, {len(seeds) / max(took, 1e-9):.1f} seeds a second\n")
    return 1 if failed else 0


def _report(result: Result, *, trace: bool) -> bool:
    if trace:
        sys.stdout.write("".join(f"{line}\n" for line in result.trace))
    if result.violations:
        sys.stdout.write(result.line() + "\n")
        sys.stdout.flush()
    return bool(result.violations)
