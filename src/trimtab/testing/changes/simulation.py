"""Changes under virtual time and seeded faults: what people push, approve and merge on a hosted repository, and what fails meanwhile.

`simulate(seed)` runs it and returns what the laws found; the same seed always gives the same run. It stands beside the other simulation
(`trimtab.testing.simulation`), with the same engine, faults, crashes and replicas; here Git moves only as people may move it.

    python -m trimtab.testing.changes.simulation --seeds 300          seeds 0 to 299, one line for each that fails
    python -m trimtab.testing.changes.simulation --seed 7 --trace     one seed, with everything that happened in it
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trimtab.core.lifecycle.review import Approved, Drafted, Happening, MergeAsked, Review
from trimtab.core.model.change import Stage
from trimtab.core.model.errors import Refused, TrimtabError
from trimtab.core.model.names import Key
from trimtab.core.model.rights import Principal
from trimtab.core.model.trail import Link
from trimtab.engine.changes.office import Office
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Parts
from trimtab.ports.hosting import HOSTED, RefUpdate
from trimtab.testing.factories import INSTALLATION
from trimtab.testing.faults import Crash, Faults, moment
from trimtab.testing.git import Commit, FakeRemotes
from trimtab.testing.hosting import FakeHosting, Pushed
from trimtab.testing.judge import DirectJudge
from trimtab.testing.objects import World
from trimtab.testing.play import Play, Replica, Result, WatchedJournal, WatchedStore, command, play, profile
from trimtab.testing.targets import FakeTargets
from trimtab.testing.time import GROUP, running
from trimtab.testing.trees import MemoryTree

from . import laws, stories, worlds
from .witness import PROTECTED, ChangesWitness, Said, acts_of

REPOSITORY = "shop"
MAIN = "refs/heads/main"
ANSWER_SECONDS_MAX = 300.0
CONVERGE_SECONDS = 3_600.0
LOOK_SECONDS = 30.0
QUIET_SECONDS = 700.0
"""Long enough for every open Change to be looked at twice."""


def simulate(seed: int) -> Result:
    """Run one seed to its end, or to the first law that does not hold."""
    return play(lambda: ChangesPlay(seed, url=f"{HOSTED}{REPOSITORY}"), "trimtab.testing.changes.simulation")


@dataclass
class WatchedHosting(FakeHosting):
    """The witness sees the protected branch at the moment when it moves."""

    told: Any = None

    def _move(self, name: str, updates: Sequence[RefUpdate]) -> bool:
        before = dict(self._get(name).remote.refs)
        moved = super()._move(name, updates)
        if moved and any(update.ref == MAIN for update in updates):
            self.told(before[MAIN], self._get(name).remote.refs[MAIN])
        return moved


@dataclass
class ChangesPlay(Play):
    """``left_alone``: nobody approves anything at the end. ``wished`` are the Changes that somebody wanted merged at the end."""

    shown: list[Said] = field(default_factory=list)
    wished: set[int] = field(default_factory=set)
    trails: list[list[Link]] = field(default_factory=list)
    quiet_writes: int = 0
    quiet_seconds: float = QUIET_SECONDS
    versions: int = 100
    branches: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(f"changes {self.seed}")  # noqa: S311 - chance that can be repeated is the point
        self.faults = Faults(random.Random(f"faults of changes {self.seed}"), profile(self.chance))  # noqa: S311
        self.left_alone = self.chance.random() < 0.2
        self.rules = worlds.first_rules(self.chance)
        self.witness = ChangesWitness(self.rules, laws.MERGES, laws.ACTS, self.faults.note, _tree_id)
        self.store = WatchedStore(self.faults, self.witness)
        ready = self.chance.choice(((0.0, 0.0), (0.0, 3.0), (0.5, 20.0)))
        world = World(self.faults, INSTALLATION, ready, echo=self.chance.random() < 0.5, journal=WatchedJournal(self))
        self.targets = FakeTargets(world)
        self.remotes = FakeRemotes(self.faults)
        self.hosting = WatchedHosting(self.remotes, told=self.witness.moved)
        self.remote = self.remotes.get(self.url)

    def parts(self, replica: Replica) -> Parts:
        return replace(super().parts(replica), hosting=self.hosting, judge=DirectJudge())

    async def tell(self) -> None:
        running().set_exception_handler(self.unhandled)
        await self.hosting.create(REPOSITORY)
        self.remote.commit(worlds.first_files(self.rules), whole=True, message="the beginning")
        self.start_replicas()
        supervisor = asyncio.create_task(self.supervise())
        await asyncio.sleep(self.chance.choice((5, 40)))
        for _ in range(self.chance.randint(8, 24)):
            await self._happen()
            if self.witness.violations:
                return
        await self._finish()
        supervisor.cancel()

    async def _happen(self) -> None:
        (chosen,) = self.chance.choices(list(stories.OPERATIONS), list(stories.OPERATIONS.values()))
        said = await chosen(self)
        if said:
            self.faults.note("STORY", said)
        await asyncio.sleep(self.chance.choice((0, 0.1, 1, 3, 8, 20, 40)))

    # --- what a story may do ------------------------------------------------------------------------------------------------

    async def request(self, doing: Coroutine[Any, Any, Any]) -> Any:
        """Have the leader answer a question of somebody outside: the answer, or why there is none (None: nobody knows)."""
        process = self.store.holder
        token = GROUP.set(process)
        try:
            task = asyncio.create_task(doing, name=f"somebody asks {process}")
        finally:
            GROUP.reset(token)
        await asyncio.wait({task}, timeout=ANSWER_SECONDS_MAX)
        if not task.done():
            task.cancel()
            if process not in self.faults.crashed:
                self.witness.blame("nothing-of-ours-breaks", "somebody asked, and never got an answer")
            return None
        if task.cancelled():
            return None
        error = task.exception()
        if error is not None and not isinstance(error, (TrimtabError, Crash)):
            self.witness.blame("nothing-of-ours-breaks", f"somebody asked, and got {error!r}")
        return error if error is not None else task.result()

    def office(self) -> Office | None:
        engine = self.leader()
        return engine.session.office if engine is not None and engine.session is not None else None

    async def say(self, number: int, happening: Happening) -> bool:
        """Somebody says something about a Change; False when it was refused for certain."""
        office = self.office()
        if office is None or number not in office.desk.reviews:
            return False
        return not isinstance(await self.request(office.desk.ask(number, happening)), Refused)

    async def push(self, refs: Mapping[str, str], who: str, *options: str) -> Pushed | None:
        office = self.office()
        if office is None:
            return None
        answer = await self.request(
            self.hosting.push(REPOSITORY, refs, office.gate, who=Principal(who), options=[one for one in options if one])
        )
        return answer if isinstance(answer, Pushed) else None

    def commit(self, *below: str, sound: bool = False) -> tuple[str, str]:
        """Somebody's commit on top of another (main unless given), with something new; and what they call it."""
        base = below[0] if below else self.remote.refs[MAIN].revision
        self.versions += 1
        found, why = worlds.altered(self.hosting.history(REPOSITORY).find(base).files, self.chance, self.versions, sound=sound)
        return self.hosting.write(REPOSITORY, found, base, message=why), why

    def open(self) -> list[Review]:
        return [one for _, one in sorted(self.witness.reviews.items()) if one.change.stage == Stage.OPEN]

    def plans(self, number: int) -> list[Said]:
        """What is shown of a Change now, to whoever may approve it."""
        office, review = self.office(), self.witness.reviews[number]
        found = office.looker.shown.get(number) if office is not None else None
        made = found.plans if found is not None else {}
        said = [Said("", number, "", review.hashes[""], frozenset())]
        for plan in review.plans:
            plans = [(one, made.get(Key(plan.environment, one.application))) for one in plan.planned if one.application]
            if all(known is not None and known.hash == one.hash for one, known in plans):
                acts = acts_of(known for _, known in plans if known is not None)
                said.append(Said("", number, plan.environment, plan.hash, acts))
        self.shown += said
        return said

    async def approve(self, who: str, shown: Said) -> bool:
        """Somebody says yes to what they were shown, now or long ago."""
        said = replace(shown, who=who)
        self.witness.said.append(said)
        taken = await self.say(said.change, Approved(who, said.environment, said.hash))
        if not taken:
            self.witness.said.remove(said)
        return taken

    async def let_in(self) -> str:
        """Somebody approves what is held in the protected Environment, as it is."""
        engine = self.leader()
        if engine is None or engine.session is None:
            return ""
        said = []
        for key, live in list(engine.session.world.live.items()):
            if key.environment == PROTECTED and live.plan and any(hold.approvable for hold in live.plan.holds):
                acts, hash_ = acts_of([live.plan]), live.plan.hash
                people = ("sue", "sam")[: self.chance.choice((1, 2, 2))]
                for number, who in enumerate(people, start=1):
                    if number >= worlds.required(self.remote.refs[MAIN].files):
                        self.witness.cleared |= acts
                    await self.request(Commands(engine).approve(key.application, key.environment, hash_, who))
                said.append(f"let {hash_[:14]} of {key} in")
        return ", ".join(said)

    # --- the end ------------------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        self.faults.stop()
        for target in self.targets.made.values():
            target.down = False
        self.faults.note("STORY", "the faults stop")
        end = moment() + CONVERGE_SECONDS
        while moment() < end and not self.witness.violations:
            if not self.left_alone:
                await self._tidy()
            await asyncio.sleep(LOOK_SECONDS)
            if not any(laws.wanted_changes_get_merged(self)) and not any(laws.it_converges(self)):
                break
        await asyncio.sleep(LOOK_SECONDS)
        writes = self.witness.writes
        await asyncio.sleep(QUIET_SECONDS)
        self.quiet_writes = self.witness.writes - writes
        self.trails = [await self.store.trail(name, limit=100_000) for name in await self.store.trails()]
        for law, check in laws.ENDS.items():
            for what in check(self):
                self.witness.blame(law, what)

    async def _tidy(self) -> None:
        """Everybody approves what they are shown, and wants it merged."""
        await self.let_in()
        for review in self.open():
            number = review.change.number
            asked = {one.environment for one in review.requirements}
            for shown in self.plans(number):
                for who in worlds.REVIEWERS if shown.environment in asked else ():
                    if not any(
                        (one.who, one.environment, one.hash) == (who, shown.environment, shown.hash) for one in review.approvals
                    ):
                        await self.approve(who, shown)
            if review.change.draft:
                await self.say(number, Drafted(draft=False, who="ada"))
            if review.wish is None and not review.change.emergency and await self.say(number, MergeAsked("ada")):
                self.wished.add(number)


def _tree_id(commit: Commit) -> str:
    entry = MemoryTree(commit.files).entry("")
    assert entry is not None, "a tree has a root"
    return entry.id


def main(arguments: list[str] | None = None) -> int:
    """0: every law held for every seed. 1: one line for each seed that failed."""
    return command(simulate, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
