"""Stands beside the store and the targets and sees every effect at the moment when it takes place; asks the laws each time.

It believes nothing that the engine says of itself: in come the writes that the store took and the mutations of the targets, and
beside them what people committed and allowed. Out come `violations`, each with the law that does not hold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from trimtab.core.lifecycle.occasion import PROVEN_MAX
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.event import Event
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.plan import Plan
from trimtab.engine.following import Saved
from trimtab.ports.store import Writes

from .faults import moment
from .objects import Mutation, Thing, shared
from .play import Violation
from .time import GROUP
from .worlds import Content, View, Wanted


@dataclass(frozen=True)
class Grant:
    """Somebody approved a plan: the removals that it held, by identity and uid. ``sequence`` is that of the Deployment then on record,
    ``acts`` how many mutations there had been of the plan's ``objects``. ``doubted``: it was held since some of Git could not be read. ``fresh``: it
    was the plan that held when they said so; else it counts only where that very plan holds.
    """

    key: Key
    sequence: int
    removals: frozenset[tuple[Identity, str]]
    objects: frozenset[Identity]
    acts: int
    doubted: bool
    hash: str
    fresh: bool


@dataclass
class Life:
    """What one store has been told since it was made. A lost store begins a new life."""

    states: dict[Key, Reconciliation] = field(default_factory=dict)
    entries: dict[tuple[str, Identity], Entry] = field(default_factory=dict)
    deployments: dict[Key, dict[int, Deployment]] = field(default_factory=lambda: defaultdict(dict))
    heads: list[Saved] = field(default_factory=list)
    event_id: int = 0
    owned_before: dict[Key, set[Identity]] = field(default_factory=dict)
    owned_since: dict[tuple[str, int], set[Identity]] = field(default_factory=lambda: defaultdict(set))
    left: dict[Key, set[Identity]] = field(default_factory=lambda: defaultdict(set))
    removals: dict[Key, list[Removal]] = field(default_factory=lambda: defaultdict(list))
    changed: dict[Key, dict[Identity, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    told: dict[tuple[Key, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    suspended: dict[Key, float] = field(default_factory=dict)
    led: dict[str, float] = field(default_factory=dict)
    hooks: dict[Key, dict[tuple[str, Identity], HookSeen]] = field(default_factory=lambda: defaultdict(dict))
    well: dict[Key, dict[Identity, Wanted]] = field(default_factory=lambda: defaultdict(dict))
    """What each Key wanted when it was last healthy and declared."""
    line: dict[Key, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The contents that were healthy, oldest first, cut at one that is so again."""
    back: dict[Key, bool] = field(default_factory=dict)
    """Whether the Deployment that is current goes back."""

    def goes_back(self, key: Key, digest: str, before: Reconciliation | None) -> bool:
        """Whether a Deployment that takes the place of ``before`` brings back what was healthy before others."""
        line = self.line[key]
        return digest in (line[:-1] if before is not None and before.settled else line)

    def views(self, first: int) -> Iterator[View]:
        """Git as it was seen at the sequence ``first`` and at each move since."""
        at = {head.expression: head.revision for head in self.heads if head.sequence <= first}
        yield View(self._contents(at))
        for head in self.heads:
            if head.sequence > first:
                at[head.expression] = head.revision
                yield View(self._contents(at))

    def _contents(self, at: Mapping[str, str]) -> dict[str, Content]:
        return {expression: self.known[revision] for expression, revision in at.items() if revision in self.known}

    known: dict[str, Content] = field(default_factory=dict)


@dataclass
class HookSeen:
    """The object that a hook was run as, for the Deployment that is current; ``answered``: the record knows of it. ``tries`` is how often
    another try had been asked for then.
    """

    uid: str
    tries: int
    answered: bool = False


@dataclass(frozen=True)
class Removal:
    """One that nobody had approved."""

    identity: Identity
    sequence: int


@dataclass
class Writing:
    """A write as it was taken, and what it changed: the states before and after."""

    life: Life
    writes: Writes
    events: tuple[Event, ...]
    process: str
    holder: str
    before: dict[Key, Reconciliation | None]
    after: dict[Key, Reconciliation | None]


@dataclass
class Acting:
    """A mutation by an engine: the Deployment that it acted for, and what is there."""

    life: Life
    mutation: Mutation
    process: str
    holder: str
    key: Key
    there: Mapping[Identity, Thing]

    @property
    def state(self) -> Reconciliation | None:
        return self.life.states.get(self.key)

    @property
    def sequence(self) -> int:
        """That of the Deployment acted for; 0 when the record knows none."""
        state = self.state
        return state.current.sequence if state is not None and state.current is not None else 0


@dataclass
class Witness:
    """``contents`` is what people committed, ``parents`` the history, ``accepted`` rewritten heads that somebody took."""

    contents: dict[str, Content] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    grants: list[Grant] = field(default_factory=list)
    healthy: set[tuple[Key, str]] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)
    life: Life = field(default_factory=Life)
    writes: int = 0
    lives: int = 1
    acts: Counter[tuple[Key, Identity]] = field(default_factory=Counter)
    places: Mapping[str, str] = field(default_factory=dict)
    """Which Environments are at one place."""
    tell: Callable[[str, str], None] = lambda name, what: None
    on_write: Mapping[str, Callable[[Witness, Writing], Iterator[str]]] = field(default_factory=dict)
    on_act: Mapping[str, Callable[[Witness, Acting], Iterator[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.life.known = self.contents

    def beside(self, environment: str, identity: Identity) -> list[str]:
        """The other Environments that see this very object."""
        place = self.places.get(environment)
        return (
            [name for name, one in self.places.items() if one == place and name != environment]
            if place and shared(identity)
            else []
        )

    def blame(self, law: str, what: str) -> None:
        self.violations.append(Violation(law, what, moment()))
        self.tell("LAW", f"{law}: {what}")

    def new_life(self) -> None:
        """The store was lost."""
        self.life = Life(known=self.contents)
        self.lives += 1

    # --- the store ----------------------------------------------------------------------------------------------------------

    def wrote(self, writes: Writes, events: tuple[Event, ...], holder: str) -> None:
        """Called by the store at the moment when it takes a write."""
        self.writes += 1
        before: dict[Key, Reconciliation | None] = {}
        after: dict[Key, Reconciliation | None] = {}
        for name, body in writes.documents:
            if name.startswith("state/"):
                _, environment, application = name.split("/")
                key = Key(environment, application)
                before[key] = self.life.states.get(key)
                after[key] = msgspec.json.decode(body, type=Reconciliation) if body is not None else None
        writing = Writing(self.life, writes, events, GROUP.get(), holder, before, after)
        for law, check in self.on_write.items():
            for what in check(self, writing):
                self.blame(law, what)
        self._take(writing)

    def _take(self, writing: Writing) -> None:
        life = self.life
        life.led[writing.holder] = moment()
        life.event_id = max([life.event_id, *(event.id for event in writing.events)])
        self.tell("WRITE", ", ".join(name for name, _ in writing.writes.documents).replace("\n", " "))
        for event in writing.events:
            if event.kind in ("deployment.held", "deployment.started"):
                self._held(Key(event.environment, event.application), writing, event.data["hash"])
            self.tell("EVENT", f"{event.kind} {event.application}@{event.environment} {event.revision[:7]} {event.message}")
        for key, state in writing.after.items():
            before = writing.before[key]
            if state is not None and state.suspension is not None and (before is None or before.suspension is None):
                life.suspended[key] = moment()
            self._start(key, before, state)
            life.left[key].clear()
        for environment, ref in writing.writes.dropped:
            life.entries.pop((environment, ref.identity), None)
        rebuilt = any(event.kind == "inventory.rebuilt" for event in writing.events)
        for entry in writing.writes.entries:
            self._own(entry, rebuilt=rebuilt)
        for deployment in writing.writes.deployments:
            life.deployments[deployment.key][deployment.sequence] = deployment
            if deployment.phase == Phase.HEALTHY:
                self.healthy.add((deployment.key, deployment.digest))
        for key, state in writing.after.items():
            if state is None:
                life.states.pop(key, None)
                life.well.pop(key, None)
                life.line.pop(key, None)
            else:
                life.states[key] = state
                self._remember_well(key, state)
        for name, body in writing.writes.documents:
            if name.startswith("head/") and body is not None:
                self._move(msgspec.json.decode(body, type=Saved))

    def _remember_well(self, key: Key, state: Reconciliation) -> None:
        current = state.current
        if current is None or not state.settled or state.undeclared:
            return
        views = self.life.views(current.sequence)
        place = (key.application, key.environment)
        wanted = next((view.wants(*place) for view in views if view.digest(*place) == current.digest), None)
        self.life.well[key] = wanted or {}

    def _start(self, key: Key, before: Reconciliation | None, after: Reconciliation | None) -> None:
        """Remember what was owned when Git and the target last agreed: the budget of what follows is a share of that."""
        current = after.current if after is not None else None
        if current is None:
            return
        self._follow_line(key, before, after, current)
        if started(before, after):
            if before is None or before.current is None or before.settled:
                owned = {
                    identity
                    for (place, identity), entry in self.life.entries.items()
                    if _owns(entry, place, key) and not entry.hook
                }
                self.life.owned_before[key] = owned | self.life.left[key]
            self.life.changed[key].clear()
            self.life.hooks[key].clear()
        elif after is not None and after.settled:
            self.life.changed[key].clear()

    def _follow_line(self, key: Key, before: Reconciliation | None, after: Reconciliation | None, current: Deployment) -> None:
        if started(before, after):
            self.life.back[key] = self.life.goes_back(key, current.digest, before)
        if after is not None and after.settled:
            line = self.life.line[key]
            at = line.index(current.digest) if current.digest in line else len(line)
            line[at:] = [current.digest]
            del line[: -PROVEN_MAX - 1]

    def _held(self, key: Key, writing: Writing, hash_: str) -> None:
        state = writing.after.get(key)
        if state is not None and state.current is not None:
            self.life.told[key, state.current.sequence].add(hash_)

    def _own(self, entry: Entry, *, rebuilt: bool) -> None:
        key = Key(entry.environment, entry.application)
        if rebuilt:
            self.life.owned_before.setdefault(key, set()).add(entry.ref.identity)
        owner = self.life.entries.get((entry.environment, entry.ref.identity))
        if owner is not None and owner.application != entry.application:
            # The look that a write of the former owner follows from may be older than this.
            self.life.left[Key(entry.environment, owner.application)].add(entry.ref.identity)
        self.life.entries[entry.environment, entry.ref.identity] = entry
        for (_, identity), run in self.life.hooks[key].items():
            run.answered |= identity == entry.ref.identity and entry.uid == run.uid
        if entry.hook:
            return
        for head in self.life.heads:
            self.life.owned_since[entry.environment, head.sequence].add(entry.ref.identity)

    def _move(self, saved: Saved) -> None:
        self.life.heads.append(saved)
        for environment, identity in [place for place, entry in self.life.entries.items() if not entry.hook]:
            self.life.owned_since[environment, saved.sequence].add(identity)

    # --- the targets --------------------------------------------------------------------------------------------------------

    def acted(self, mutation: Mutation, there: Mapping[Identity, Thing], holder: str) -> None:
        """Called at the moment when a target changed; ``there`` is what is there just before or after."""
        key = Key(mutation.environment, mutation.application)
        identity = mutation.ref.identity
        if not mutation.action:
            for changed in self.life.changed.values():
                changed.pop(identity, None)  # the world did it: no law of order speaks of it any more
            return
        self.acts[key, identity] += 1
        acting = Acting(self.life, mutation, GROUP.get(), holder, key, there)
        for law, check in self.on_act.items():
            for what in check(self, acting):
                self.blame(law, f"{key} {mutation.action} {mutation.ref}: {what}")
        if mutation.hook and mutation.hook != "main":
            pass
        elif mutation.verb == "removed":
            if not self.granted(acting):
                self.life.removals[key].append(Removal(identity, acting.sequence))
        else:
            entry = self.life.entries.get((mutation.environment, identity))
            self.life.changed[key][identity] = (entry.wave if entry is not None else 0, acting.sequence)
        if mutation.action == "run":
            tries = acting.state.tries if acting.state is not None else 0
            self.life.hooks[key][mutation.hook, identity] = HookSeen(mutation.made, tries)

    def granted(self, acting: Acting, *, doubted: bool = False) -> bool:
        """True when somebody approved a plan that removes this very object (``doubted``: knowing that it may be wanted).

        It counts for another Deployment, too, that comes to the very same plan: the same steps on the same objects, whatever its
        commit says besides. That is what was approved.
        """
        this = (acting.mutation.ref.identity, acting.mutation.uid)
        told = acting.life.told[acting.key, acting.sequence]
        return any(
            grant.key == acting.key
            and this in grant.removals
            and (grant.doubted or not doubted)
            and (grant.fresh or grant.sequence == acting.sequence or grant.hash in told)
            for grant in self.grants
        )

    def grant(self, key: Key, plan: Plan, *, sequence: int | None = None) -> Grant:
        """Somebody says yes to ``plan``, which holds now, or held for the Deployment with ``sequence``."""
        state = self.life.states.get(key)
        now = state.current.sequence if state is not None and state.current is not None else 0
        held = frozenset((hold.step.ref.identity, hold.step.uid) for hold in plan.holds if hold.approvable and hold.step)
        doubted = any(hold.reason.startswith(("it cannot be told", "it may ")) for hold in plan.holds)
        known = now if sequence is None else sequence
        objects = frozenset(step.ref.identity for step in plan.steps) | {identity for identity, _ in held}
        acts = sum(self.acts[key, identity] for identity in objects)
        made = Grant(key, known, held, objects, acts, doubted, plan.hash, fresh=sequence is None)
        self.grants.append(made)
        return made

    def begun(self, grant: Grant) -> bool:
        """True when something of the approved plan has been done since, so that the approval was in force."""
        return sum(self.acts[grant.key, identity] for identity in grant.objects) > grant.acts

    def descends(self, new: str, old: str) -> bool:
        step = new
        while step and step != old:
            step = self.parents.get(step, "")
        return bool(step)


def started(before: Reconciliation | None, after: Reconciliation | None) -> bool:
    """True when ``after`` has another Deployment as its current one than ``before``."""
    then = before.current if before is not None else None
    now = after.current if after is not None else None
    if now is None:
        return False
    return then is None or (then.sequence, then.revision, then.started) != (now.sequence, now.revision, now.started)


def _owns(entry: Entry, environment: str, key: Key) -> bool:
    return environment == key.environment and entry.application == key.application
