"""The engine under virtual time and seeded faults: one seed makes a world, a story of what happens in it, and what fails meanwhile.

`simulate(seed)` runs it and returns what the laws found; the same seed always gives the same run. Two replicas of the real engine
may share one store; everything around them is a fake of this package, and everything they do is seen by the `Witness`. When the
story is told the faults stop, what is broken is mended, and the world has to converge and then stay quiet.

    python -m trimtab.testing.simulation --seeds 10000           seeds 0 to 9999, one line for each that fails
    python -m trimtab.testing.simulation --seed 7 --trace        one seed, with everything that happened in it
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trimtab.core.decide.hooks import broken
from trimtab.core.decide.order import WELL
from trimtab.core.model.deployment import Phase
from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.plan import Plan
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Engine, Parts
from trimtab.ports.store import Lease, Loaded, Writes

from . import laws, stories
from .factories import INSTALLATION
from .faults import Crash, Faults, Profile, moment
from .git import Commit, FakeRemotes, FakeRepositories
from .objects import Mutation, World
from .render import FakeRenderer
from .store import MemoryStore
from .targets import FakeTargets
from .time import GROUP, SeededChance, VirtualClock, run, running
from .witness import Grant, Violation, Witness
from .worlds import RELEASE, Content, View, Wanted, first_content

URL = "configuration.git"
CONVERGE_SECONDS = 2_400.0
LOOK_SECONDS = 20.0
QUIET_SECONDS = 640.0
RESYNCS = 3
"""Looks at one application that the quiet time may cost: one for each resync that falls into it, and one to spare."""


@dataclass(frozen=True)
class Result:
    """What the laws found for a seed, and how it was: ``trace`` is every line of it."""

    seed: int
    violations: tuple[Violation, ...]
    trace: tuple[str, ...]
    seconds: float

    def line(self) -> str:
        first = self.violations[0]
        replay = f"python -m trimtab.testing.simulation --seed {self.seed} --trace"
        return f"seed {self.seed}: {first.law}: {first.what} (at {first.time:.1f} s; replay: {replay})"


def simulate(seed: int) -> Result:
    """Run one seed to its end, or to the first law that does not hold."""
    logger = logging.getLogger("trimtab")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    holder: list[Simulation] = []

    async def main(clock: VirtualClock) -> float:
        simulation = Simulation(seed)
        holder.append(simulation)
        await simulation.tell()
        return clock.monotonic()

    try:
        seconds = run(main, seconds_max=1e6)
    finally:
        logger.setLevel(level)
    simulation = holder[0]
    return Result(seed, tuple(simulation.witness.violations), tuple(simulation.faults.trace), seconds)


# --- the parts that are watched ---------------------------------------------------------------------------------------------


class WatchedStore(MemoryStore):
    """The store of all replicas. Every write is shown to the witness; taking the lease and loading may fail like everything else."""

    def __init__(self, faults: Faults, witness: Witness) -> None:
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

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation

    def append(self, mutation: Mutation) -> None:
        super().append(mutation)
        simulation = self._simulation
        there = simulation.targets.get(mutation.environment).objects.there
        simulation.witness.acted(mutation, there, simulation.store.holder)


@dataclass
class Replica:
    """One machine: its wall clock, its mirrors and its cache outlive the server process on it."""

    name: str
    simulation: Simulation
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
        simulation = self.simulation
        token = GROUP.set(self.process)
        try:
            self.engine = Engine(
                Parts(
                    installation=INSTALLATION,
                    holder=self.process,
                    repository=URL,
                    repositories=self.repositories,
                    renderer=self.renderer,
                    targets=simulation.targets,
                    store=simulation.store,
                    clock=self.clock,
                    chance=SeededChance(simulation.faults.random),
                )
            )
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
        if process not in self.simulation.faults.crashed and running().pending(process):
            self.simulation.witness.blame("nothing-of-ours-breaks", f"left running: {running().waiting(process)}")
        if self.process == process:
            self.start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and f"{task.get_name()}".removeprefix("engine ") not in self.simulation.faults.crashed:
            self.simulation.witness.blame("nothing-of-ours-breaks", f"the engine fell over: {error!r}")


# --- one run ----------------------------------------------------------------------------------------------------------------


@dataclass
class Simulation:
    """A world and its story. ``branches`` is what each branch of the one repository says now, ``history`` its Revisions."""

    seed: int
    branches: dict[str, Content] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    held_once: list[tuple[Key, Plan, int]] = field(default_factory=list)
    refixed: set[Identity] = field(default_factory=set)
    asked_again: list[Grant] = field(default_factory=list)
    approved_at_the_end: list[Grant] = field(default_factory=list)
    commits: dict[str, Commit] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    names: int = 0
    losing_store: bool = False

    def __post_init__(self) -> None:
        # Two generators, so that a change of the story does not change every fault.
        self.chance = random.Random(f"story {self.seed}")  # noqa: S311 - chance that can be repeated is the point
        self.faults = Faults(random.Random(f"faults {self.seed}"), _profile(self.chance))  # noqa: S311
        self.left_held = self.chance.random() < 0.3
        self.witness = Witness(on_act=laws.ACTS, on_write=laws.WRITES, tell=self.faults.note)
        self.store = WatchedStore(self.faults, self.witness)
        ready = self.chance.choice(((0.0, 0.0), (0.0, 3.0), (0.5, 20.0)))
        world = World(self.faults, INSTALLATION, ready, echo=self.chance.random() < 0.5, journal=WatchedJournal(self))
        self.targets = FakeTargets(world)
        self.remotes = FakeRemotes(self.faults)
        self.remote = self.remotes.get(URL)

    async def tell(self) -> None:
        running().set_exception_handler(self._unhandled)
        self._begin()
        supervisor = asyncio.create_task(self._supervise())
        await asyncio.sleep(self.chance.choice((5, 40, 40)))
        for _ in range(self.chance.randint(4, 14)):
            await self._happen()
            if self.witness.violations:
                return
        await self._finish()
        supervisor.cancel()

    def _begin(self) -> None:
        content = first_content(self.chance)
        if any(app.revision for app in content.applications.values()):
            self.commit(RELEASE, content, "the beginning")
        self.commit("main", content, "the beginning")
        for name in ("a", "b")[: self.chance.choice((1, 2))]:
            clock = VirtualClock(running())
            replica = Replica(name, self, clock, FakeRepositories(self.remotes), FakeRenderer(self.faults))
            self.replicas.append(replica)
            replica.start()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task died and nobody looked: as it should be after a crash, and a mistake otherwise."""
        error = context.get("exception")
        if error is None or not _crashes(error):
            self.witness.blame("nothing-of-ours-breaks", f"{context.get('message')}: {error!r}")

    async def _happen(self) -> None:
        operations = list(stories.OPERATIONS)
        (chosen,) = self.chance.choices(operations, list(stories.OPERATIONS.values()))
        said = await chosen(self)
        if said:
            self.faults.note("STORY", said)
        await asyncio.sleep(self.chance.choice((0, 0.1, 1, 3, 8, 20, 40, 90)))

    async def _supervise(self) -> None:
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

    # --- what a story may do ------------------------------------------------------------------------------------------------

    def number(self) -> int:
        self.names += 1
        return self.names

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

    def commit(self, branch: str, content: Content, why: str) -> str:
        history = self.history.setdefault(branch, [])
        parent = history[-1] if history else ""
        self.restore(branch)
        # Known before anybody is woken by it.
        self.branches[branch] = content
        revision = self.remote.commit(content.files(), branch=branch, whole=True, message=why)
        self.commits[revision] = self.remote.refs[f"refs/heads/{branch}"]
        self.witness.contents[revision] = content.copy()
        self.witness.parents[revision] = parent
        history.append(revision)
        return f"commit {revision[:7]} to {branch}: {why}"

    def rewind(self, branch: str, back: int) -> None:
        """Take the newest commits off, as a force-push does, before another is put there."""
        history = self.history[branch]
        del history[-back:]
        self.remote.refs[f"refs/heads/{branch}"] = self.commits[history[-1]]

    def restore(self, branch: str) -> bool:
        """Bring a deleted branch back where it was; True when it was gone."""
        ref = f"refs/heads/{branch}"
        if ref in self.remote.refs or not self.history.get(branch):
            return False
        self.remote.refs[ref] = self.commits[self.history[branch][-1]]
        self.remote.wakes.send(None)
        return True

    async def approve(self, chance: random.Random | None = None) -> str:
        """Approve what one application (by ``chance``), or each that waits for it, holds."""
        engine = self.leader()
        session = engine.session if engine is not None else None
        if engine is None or session is None:
            return ""
        plans = {
            key: live.plan for key, live in session.world.live.items() if live.plan and any(h.approvable for h in live.plan.holds)
        }
        keys = sorted(plans)
        said = []
        for key in [chance.choice(keys)] if chance is not None and keys else keys:
            if chance is None and not self._waits(key):
                continue
            grant = self.witness.grant(key, plans[key])
            self.held_once.append((key, plans[key], grant.sequence))
            if chance is None:
                self._ask_again(grant)
            if await self.ask(Commands(engine).approve(key.application, key.environment, plans[key].hash, "ada")):
                said.append(f"approve {plans[key].hash[:14]} of {key}")
            else:
                self.witness.grants.remove(grant)
        return ", ".join(said)

    def _waits(self, key: Key) -> bool:
        state = self.witness.life.states.get(key)
        return state is not None and state.current is not None and state.current.phase == Phase.HELD

    def _ask_again(self, grant: Grant) -> None:
        for before in self.approved_at_the_end:
            same = (before.key, before.sequence) == (grant.key, grant.sequence) and grant.removals <= before.removals
            if same and self.witness.begun(before):
                self.asked_again.append(grant)
        # One that had no effect until now, since the plan had moved meanwhile, has none later either.
        in_force = [one for one in self.approved_at_the_end if one.key != grant.key or self.witness.begun(one)]
        self.approved_at_the_end = [*in_force, grant]

    async def accept(self) -> str:
        """Accept whatever rewritten history waits."""
        engine = self.leader()
        session = engine.session if engine is not None else None
        if engine is None or session is None:
            return ""
        said = []
        for head in [head for head in session.world.heads.values() if head.rewritten is not None]:
            self.witness.accepted.add(str(head.rewritten))
            if await self.ask(Commands(engine).accept(URL, str(head.rewritten), "ada")):
                said.append(f"accept {str(head.rewritten)[:7]}")
        return ", ".join(said)

    async def lose_store(self) -> None:
        self.losing_store = True
        for replica in self.replicas:
            self.faults.crash(replica.process)
            await running().kill(replica.process)
        self.store.lose()
        for replica in self.replicas:
            replica.start()
        self.losing_store = False

    # --- the end ------------------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        await stories.mend(self)
        self.faults.note("STORY", "the faults stop, what is broken is mended")
        end = moment() + CONVERGE_SECONDS
        still = 0.0
        writes = self.witness.writes
        while moment() < end and not self.witness.violations and not self.asked_again:
            await self._tidy()
            await asyncio.sleep(LOOK_SECONDS)
            still = still + LOOK_SECONDS if self.witness.writes == writes else 0.0
            writes = self.witness.writes
            # What is held stays as it is; then standing still is the end.
            if still >= (QUIET_SECONDS if self.left_held else 2 * LOOK_SECONDS) and not any(self.differences()):
                break
        self._before = self._activity()
        await asyncio.sleep(QUIET_SECONDS)
        for law, check in laws.ENDS.items():
            for what in check(self):
                self.witness.blame(law, what)

    async def _tidy(self) -> None:
        """What operators would do."""
        await self.accept()
        engine = self.leader()
        for key, state in list(self.witness.life.states.items()):
            if state.suspension is not None and engine is not None:
                await self.ask(Commands(engine).resume(key.application, key.environment, "ada"))
            if broken(state.runs) is not None and not state.settled and engine is not None:
                await self.ask(Commands(engine).sync(key.application, key.environment, "ada"))
        if not self.left_held and (said := await self.approve()):
            self.faults.note("STORY", said)

    @property
    def view(self) -> View:
        """Git as it is now."""
        return View({("" if name == "main" else name): content for name, content in self.branches.items()})

    def differences(self) -> Iterator[str]:
        """Where the world is not as Git says, and nothing that is held explains it."""
        view = self.view
        assert view.home is not None, "there is a main branch"
        wanted_anywhere: dict[str, set[Identity]] = {environment: set() for environment in view.home.environments}
        for environment in view.home.environments:
            for application, wanted in view.applications(environment):
                wanted_anywhere[environment] |= (wanted or {}).keys()
                yield from self._of_key(Key(environment, application), wanted or {})
        for key in self.witness.life.states:
            owns = any(
                (place, entry.application) == (key.environment, key.application)
                for (place, _), entry in self.witness.life.entries.items()
            )
            if view.place(key.application, key.environment) is None and not owns:
                yield f"{key} has nothing left, and is not forgotten"
        for (environment, identity), entry in self.witness.life.entries.items():
            if entry.hook and identity not in self.targets.get(environment).objects.there and not self.left_held:
                yield f"the inventory has yet to find that the hook {entry.ref} in {environment} has left nothing"
        for environment, wanted_here in wanted_anywhere.items():
            for identity, thing in self.targets.get(environment).objects.there.items():
                ours = thing.owner is not None and thing.owner.installation == INSTALLATION
                kept = (
                    "annotations" in (thing.body.get("metadata") or {})
                    and "trimtab.dev/prune" in thing.body["metadata"]["annotations"]
                )
                if ours and identity not in wanted_here and not kept and not self.left_held:
                    yield f"{thing.ref} in {environment} is still there, and Git does not want it"

    def _of_key(self, key: Key, wanted: dict[Identity, Wanted]) -> Iterator[str]:
        state = self.witness.life.states.get(key)
        current = state.current if state is not None else None
        if state is None or (current is None and state.pending is None):
            yield f"{key} has not even begun"
            return
        if state.pending is not None or current is None or current.phase != Phase.HEALTHY:
            slot = state.pending or current
            waits = slot is not None and (slot.phase == Phase.HELD or slot.message.startswith(("waits for", "stopped")))
            if not (self.left_held and waits) and slot is not None:
                yield f"{key} at {slot.revision[:7]} is {slot.phase}: {slot.message}"
            return
        if state.health.status not in WELL:
            yield f"{key} is {state.health.status}: {state.health.message}"
        there = self.targets.get(key.environment).objects.there
        for identity, one in wanted.items():
            if one.hook:
                continue  # it has been run; whatever became of its object since
            thing = there.get(identity)
            if thing is None:
                yield f"{key}: {identity[1]}/{identity[3]} is not there"
            elif thing.body != one.manifest.body:
                yield f"{key}: {thing.ref} is not as Git says"
            elif thing.owner is None or thing.owner.application != key.application:
                yield f"{key}: {thing.ref} belongs to {thing.owner.application if thing.owner else 'nobody'}"

    def _activity(self) -> tuple[int, int, int]:
        asked = sum(count for target in self.targets.made.values() for verb, count in target.calls.items() if verb != "watch")
        return len(self.targets.world.journal), self.witness.writes, asked

    def unrest(self) -> Iterator[str]:
        """What went on in the quiet time. Where a hold keeps something ill from being replaced, it is tried again and again."""
        states = self.witness.life.states.values()
        ill = any(one.current and (one.current.phase == Phase.FAILED or one.health.status not in WELL) for one in states)
        if self.left_held and ill:
            return
        mutations, writes, asked = (now - before for now, before in zip(self._activity(), self._before, strict=True))
        if mutations:
            last = self.targets.world.journal[-1]
            yield f"{mutations} mutations in {QUIET_SECONDS:.0f} quiet seconds, the last: {last.verb} {last.ref} in {last.environment}"
        if writes:
            yield f"{writes} writes in {QUIET_SECONDS:.0f} quiet seconds"
        most = 2 * RESYNCS * len(self.witness.life.states)
        if asked > most:
            yield f"the targets were asked {asked} times in {QUIET_SECONDS:.0f} quiet seconds; {most} would do"


def _crashes(error: BaseException) -> bool:
    return isinstance(error, Crash) or (isinstance(error, BaseExceptionGroup) and all(_crashes(one) for one in error.exceptions))


def _profile(chance: random.Random) -> Profile:
    """Some worlds are calm, some are rough."""
    calm = Profile(failed=0, lost=0, crash=0, dropped=0, slow=0, delay_seconds=0)
    some = Profile(failed=0.02, lost=0.03, crash=0.003, dropped=0.1, slow=0.01, slow_seconds=3)
    rough = Profile(failed=0.08, lost=0.08, crash=0.012, dropped=0.4, slow=0.03)
    return chance.choice((calm, some, some, rough))


# --- from the shell ---------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """0: every law held for every seed. 1: one line for each seed that failed."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.testing.simulation", description=(__doc__ or "").splitlines()[0])
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


if __name__ == "__main__":
    sys.exit(main())
