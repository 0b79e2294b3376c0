"""The engine under virtual time and seeded faults: one seed makes a world, a story of what happens in it, and what fails meanwhile.

`simulate(seed)` runs it and returns what the laws found; the same seed always gives the same run. Two replicas of the real engine
may share one store; everything around them is a fake of this package, and everything they do is seen by the `Witness`. When the
story is told the faults stop, what is broken is mended, and the world has to converge and then stay quiet.

    python -m trimtab.testing.simulation --seeds 10000           seeds 0 to 9999, one line for each that fails
    python -m trimtab.testing.simulation --seed 7 --trace        one seed, with everything that happened in it
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

from trimtab.core.decide.hooks import broken
from trimtab.core.decide.order import WELL
from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.observed import Owner
from trimtab.core.model.plan import Plan
from trimtab.engine.commands import Commands

from . import laws, stories
from .factories import INSTALLATION
from .faults import Faults, moment
from .git import Commit, FakeRemotes
from .objects import World
from .play import Play, Result, WatchedJournal, WatchedStore, command, play, profile
from .targets import FakeTargets
from .time import running
from .witness import Grant, Witness
from .worlds import NEIGHBOURS, RELEASE, Content, View, Wanted, add_neighbours, first_content

URL = "configuration.git"
CONVERGE_SECONDS = 2_400.0
LOOK_SECONDS = 20.0
QUIET_SECONDS = 640.0
RESYNCS = 3
"""Looks at one application that the quiet time may cost: one for each resync that falls into it, and one to spare."""


def simulate(seed: int) -> Result:
    """Run one seed to its end, or to the first law that does not hold."""
    return play(lambda: Simulation(seed), "trimtab.testing.simulation")


# --- one run ----------------------------------------------------------------------------------------------------------------


@dataclass
class Simulation(Play):
    """A world and its story. ``branches`` is what each branch of the one repository says now, ``history`` its Revisions."""

    branches: dict[str, Content] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    held_once: list[tuple[Key, Plan, int]] = field(default_factory=list)
    refixed: set[Identity] = field(default_factory=set)
    asked_again: list[Grant] = field(default_factory=list)
    approved_at_the_end: list[Grant] = field(default_factory=list)
    commits: dict[str, Commit] = field(default_factory=dict)
    names: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        # Two generators, so that a change of the story does not change every fault.
        self.chance = random.Random(f"story {self.seed}")  # noqa: S311 - chance that can be repeated is the point
        self.faults = Faults(random.Random(f"faults {self.seed}"), profile(self.chance))  # noqa: S311
        self.left_held = self.chance.random() < 0.3
        self.witness = Witness(on_act=laws.ACTS, on_write=laws.WRITES, tell=self.faults.note)
        self.store = WatchedStore(self.faults, self.witness)
        ready = self.chance.choice(((0.0, 0.0), (0.0, 3.0), (0.5, 20.0)))
        world = World(self.faults, INSTALLATION, ready, echo=self.chance.random() < 0.5, journal=WatchedJournal(self))
        self.shared = self.seed % 8 == 3  # in every eighth world two Environments are at one place
        self.targets = FakeTargets(world, places=dict.fromkeys(NEIGHBOURS, "shared") if self.shared else {})
        self.witness.places = self.targets.places
        self.remotes = FakeRemotes(self.faults)
        self.remote = self.remotes.get(URL)

    async def tell(self) -> None:
        running().set_exception_handler(self.unhandled)
        self._begin()
        supervisor = asyncio.create_task(self.supervise())
        await asyncio.sleep(self.chance.choice((5, 40, 40)))
        for _ in range(self.chance.randint(4, 14)):
            await self._happen()
            if self.witness.violations:
                return
        await self._finish()
        supervisor.cancel()

    def _begin(self) -> None:
        content = first_content(self.chance)
        if self.shared:
            add_neighbours(content, self.chance)
        if any(app.revision for app in content.applications.values()):
            self.commit(RELEASE, content, "the beginning")
        self.commit("main", content, "the beginning")
        self.start_replicas()

    async def _happen(self) -> None:
        operations = {one: weight for one, weight in stories.OPERATIONS.items() if self.shared or one not in stories.SHARED}
        (chosen,) = self.chance.choices(list(operations), list(operations.values()))
        said = await chosen(self)
        if said:
            self.faults.note("STORY", said)
        await asyncio.sleep(self.chance.choice((0, 0.1, 1, 3, 8, 20, 40, 90)))

    # --- what a story may do ------------------------------------------------------------------------------------------------

    def number(self) -> int:
        self.names += 1
        return self.names

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
                ours = thing.owner is not None and thing.owner == Owner(INSTALLATION, environment, thing.owner.application)
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
            elif thing.owner != Owner(INSTALLATION, key.environment, key.application):
                yield f"{key}: {thing.ref} belongs to {thing.owner or 'nobody'}"

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


def main(arguments: list[str] | None = None) -> int:
    """0: every law held for every seed. 1: one line for each seed that failed."""
    return command(simulate, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
