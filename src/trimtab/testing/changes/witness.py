"""What stands beside the hosted repository, the store and the targets, and asks the laws at the moment when something takes effect.

It believes nothing that the engine says of itself. What was approved are the *acts* that were shown to whoever approved: action, object,
digest. What was merged is read from the commits that the branch moved over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from trimtab.core.lifecycle.review import Review
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.event import Event
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.plan import Plan
from trimtab.ports.store import Writes
from trimtab.testing.faults import moment
from trimtab.testing.git import Commit
from trimtab.testing.objects import Mutation, Thing
from trimtab.testing.play import Violation

from . import worlds
from .worlds import Pair

Act = tuple[str, Identity, str]
PROTECTED = "production"


@dataclass(frozen=True)
class Said:
    """Somebody said yes to what they were shown of a Change."""

    who: str
    change: int
    environment: str
    hash: str
    acts: frozenset[Act]


@dataclass(frozen=True)
class Landing:
    """A merge of one Change, as the branch moved over it: ``onto`` is the commit below, ``start`` where the branch was before."""

    change: int
    commit: Commit
    onto: Commit
    start: Commit
    hashes: Mapping[str, str]
    approvers: frozenset[str]


@dataclass
class ChangesWitness:
    """``merges`` are the laws of a merge, ``acts`` those of a mutation in the protected Environment."""

    rules: worlds.Rules
    merges: Mapping[str, Callable[[ChangesWitness, Landing], Iterator[str]]]
    acts: Mapping[str, Callable[[ChangesWitness, Mutation], Iterator[str]]]
    tell: Callable[[str, str], None]
    tree_id: Callable[[Commit], str]
    violations: list[Violation] = field(default_factory=list)
    reviews: dict[int, Review] = field(default_factory=dict)
    states: dict[Key, Reconciliation] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    merged: dict[int, str] = field(default_factory=dict)
    told: Counter[tuple[str, int]] = field(default_factory=Counter)
    cleared: set[Act] = field(default_factory=set)
    """What may be done: approved with a merge that has happened, or as it was held."""
    free: set[Pair] = field(default_factory=set)
    """What an emergency brought, or goes on although it moved."""
    standing: dict[Identity, str] = field(default_factory=lambda: defaultdict(str))
    """What was let in last: whoever alters it by hand is put right without asking anybody."""
    begun: set[tuple[Key, int]] = field(default_factory=set)
    emergency: str = ""
    writes: int = 0
    """Of Changes."""

    def blame(self, law: str, what: str) -> None:
        self.violations.append(Violation(law, what, moment()))
        self.tell("LAW", f"{law}: {what}")

    def new_life(self) -> None:
        raise AssertionError("the store of a play with Changes is not lost")

    # --- people -------------------------------------------------------------------------------------------------------------

    def yes(self, said: Said) -> int:
        """How many approvals there are of that now."""
        self.said.append(said)
        return len(self.said)

    def approved(self, landing: Landing, environment: str) -> list[Said]:
        """What eligible people said of the plan that a merge names, each person once."""
        review = self.reviews[landing.change]
        not_these = {review.change.author, review.change.last_pusher}
        found = {
            one.who: one
            for one in self.said
            if (one.change, one.environment, one.hash) == (landing.change, environment, landing.hashes.get(environment))
            and one.who in worlds.REVIEWERS
            and one.who not in not_these
        }
        return list(found.values())

    # --- Git ----------------------------------------------------------------------------------------------------------------

    def moved(self, old: Commit, new: Commit) -> None:
        """The protected branch has moved."""
        self.tell("GIT", f"main from {old.revision[:7]} to {new.revision[:7]}: {new.message.partition(chr(10))[0]}")
        if new.revision == self.emergency:
            self.free |= {*worlds.wanted(new.files, PROTECTED).items(), *worlds.differing(old.files, new.files, PROTECTED)}
            return
        chain: list[Commit] = []
        step: Commit | None = new
        while step is not None and step.revision != old.revision:
            chain.append(step)
            step = step.parent
        below = old
        for commit in reversed(chain if step is not None else [new]):
            landing = _landing(commit, below, old)
            if landing is None:
                self.blame("main-moves-by-changes-alone", f"{commit.revision[:7]} is no merge of a change")
                return
            self._land(landing)
            below = commit

    def _land(self, landing: Landing) -> None:
        for law, check in self.merges.items():
            for what in check(self, landing):
                self.blame(law, f"change {landing.change}: {what}")
        self.merged[landing.change] = landing.commit.revision
        said = self.approved(landing, PROTECTED)
        if len(said) >= worlds.required(landing.start.files):
            self.cleared |= said[0].acts
            if self.rules.moved == "go":
                wanted = worlds.wanted(landing.commit.files, PROTECTED)
                self.free |= {*wanted.items(), *((identity, "") for identity in self.standing.keys() - wanted)}

    # --- the store ----------------------------------------------------------------------------------------------------------

    def wrote(self, writes: Writes, events: tuple[Event, ...], holder: str) -> None:
        self.writes += bool(writes.reviews)
        names = [name for name, _ in writes.documents] + [f"review {one.change.number}" for one in writes.reviews]
        self.tell("WRITE", ", ".join(names))
        for event in events:
            self.tell("EVENT", f"{event.kind} {event.application}@{event.environment} {event.revision[:7]} {event.message}")
            if "change" in event.data:
                self.told[event.kind, int(event.data["change"])] += 1
        self.reviews.update((one.change.number, one) for one in writes.reviews)
        for name, body in writes.documents:
            if name.startswith("state/") and body is not None:
                _, environment, application = name.split("/")
                self.states[Key(environment, application)] = msgspec.json.decode(body, type=Reconciliation)

    # --- the targets --------------------------------------------------------------------------------------------------------

    def acted(self, mutation: Mutation, there: Mapping[Identity, Thing], holder: str) -> None:
        if not mutation.action or mutation.environment != PROTECTED:
            return
        for law, check in self.acts.items():
            for what in check(self, mutation):
                self.blame(law, f"{mutation.action} {mutation.ref}: {what}")
        self.standing[mutation.ref.identity] = mutation.digest
        self.begun.add(self.deployment(mutation))

    def deployment(self, mutation: Mutation) -> tuple[Key, int]:
        key = Key(mutation.environment, mutation.application)
        state = self.states.get(key)
        return key, state.current.sequence if state is not None and state.current is not None else 0


def acts_of(plans: Iterable[Plan]) -> frozenset[Act]:
    """All that plans would do, held or not."""
    return frozenset(
        (str(step.action), step.ref.identity, step.manifest.digest if step.manifest and step.action != "remove" else "")
        for plan in plans
        for step in (*plan.steps, *(hold.step for hold in plan.holds if hold.step is not None))
    )


def _landing(commit: Commit, below: Commit, start: Commit) -> Landing | None:
    lines = [line.partition(": ") for line in commit.message.rstrip().rpartition("\n\n")[2].splitlines()]
    numbers = [int(value) for name, _, value in lines if name == "Change"]
    if len(numbers) != 1:
        return None
    hashes = {name.removeprefix("Plan-"): value for name, _, value in lines if name.startswith("Plan-")}
    approvers = frozenset(value.partition("<")[2].partition("@")[0] for name, _, value in lines if name == "Approved-by")
    return Landing(numbers[0], commit, below, start, hashes, approvers)
