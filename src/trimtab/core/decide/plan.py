"""The heart: ``plan(situation) -> Plan``. What Git wants, what is there and what we own go in; Steps and Holds come out.

For each object that Git wants:

    not there                                        create
    there, ours                                      update, when a field differs
    there, another application's, which lets it go   handover, or a Hold while that one is suspended
    there, another application's, which wants it     Hold
    there, another installation's or environment's   Hold
    there, nobody's                                  adopt when declared, else Hold

For each object that we own and Git no longer wants:

    wanted by another application                    nothing: that one's plan hands it over
    wanted by our own content that waits             nothing: it will be wanted again
    opted out of removal                             nothing
    there, and still ours by uid and owner           remove, or a Hold when doubt or the budget says so
    there, another application's of the environment  given back (`given_back`): a hand-over that was wanted no more before it came about
    not there, or no longer ours                     forgotten (`forgotten`): the inventory was wrong, the world is left alone

An approval of the plan's hash turns its approvable Holds into Steps; the hash covers both, so approving changes nothing else. What
was approved once is granted from then on, object by object: what is left of a plan that is carried out in stages, or tried again
after a failure, has another hash and is the same decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from trimtab.core.model.config import RemovalBudget
from trimtab.core.model.inventory import Entry, Inventory
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.manifest import KEEP_ANNOTATIONS, Body, Manifest, digest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Observed, Owner
from trimtab.core.model.plan import Action, Hold, LeftField, Plan, Step

from .budget import held_because
from .diff import carry_over, changes, without
from .pointers import places, shown

ABSENT = "absent"


@dataclass(frozen=True)
class Elsewhere:
    """``removals`` of other applications at the same Revision, done or to come. ``gone`` is how many objects of the environment this
    Revision has removed already, by whichever application.
    """

    removals: int = 0
    gone: int = 0


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that a plan is made from.

    ``predicted`` is what the target would store for each of ``desired``; ``observed`` covers ``desired`` and all that the
    application owns. ``waves`` is the target's word on when each is applied. ``claims`` says which other applications of the
    environment want an object, now or at a Revision that waits, and whether this one does at its newest; ``contenders`` which of all
    want it at their newest, where several do or did. ``suspended`` are applications that must not be touched. ``doubts`` are reasons why "Git no longer wants it" cannot be trusted now. ``granted`` are uids whose removal somebody approved,
    ``removed`` what has begun to be removed without that since Git and the target last agreed, ``owned`` how many objects there were
    then (None: they agreed until now). ``leave`` is what the ignore rules leave of an object to others, ``left`` what the target has
    found to be theirs. ``elsewhere`` is what other applications of the environment remove at the same Revision.
    """

    key: Key
    installation: str
    desired: Sequence[Manifest]
    predicted: Mapping[Identity, Body]
    observed: Mapping[Identity, Observed]
    inventory: Inventory
    waves: Mapping[Identity, int] = field(default_factory=dict)
    claims: Mapping[Identity, frozenset[str]] = field(default_factory=dict)
    contenders: Mapping[Identity, frozenset[str]] = field(default_factory=dict)
    suspended: frozenset[str] = frozenset()
    doubts: tuple[str, ...] = ()
    budget: RemovalBudget = field(default_factory=RemovalBudget)
    granted: frozenset[str] = frozenset()
    removed: frozenset[Identity] = frozenset()
    owned: int | None = None
    elsewhere: Elsewhere = Elsewhere()
    leave: Mapping[Identity, Leave] = field(default_factory=dict)
    left: Mapping[Identity, tuple[Left, ...]] = field(default_factory=dict)
    adopt: bool = False
    approved: frozenset[str] = frozenset()

    def wave(self, manifest: Manifest) -> int:
        return self.waves.get(manifest.identity, manifest.wave)

    def ignored(self, manifest: Manifest) -> tuple[str, ...]:
        """Patterns of the fields that are left to others."""
        rules, found = self.leave.get(manifest.identity, Leave()), self.left.get(manifest.identity, ())
        return (*rules.pointers, *(left.pointer for left in found))

    @property
    def owner(self) -> Owner:
        return Owner(self.installation, self.key.environment, self.key.application)


def plan(situation: Situation) -> Plan:
    """What to do, in order: waves ascending for what Git wants, then removals with waves descending."""
    steps: list[Step] = []
    holds: list[Hold] = []
    for manifest in sorted(situation.desired, key=lambda wanted: (situation.wave(wanted), wanted.identity)):
        decided = _want(situation, manifest)
        if isinstance(decided, Step):
            steps.append(decided)
        elif decided is not None:
            holds.append(decided)
    removals = _removals(situation)
    asking = [step for step in removals if step.uid not in situation.granted]
    reason = _doubt(situation, asking)
    if reason:
        lifted_by = f"approving this plan: trimtab app approve {situation.key.application} HASH"
        holds += [Hold(step.ref, reason, lifted_by, approvable=True, step=step) for step in asking]
        removals = [step for step in removals if step not in asking]
    steps += removals
    made = Plan(situation.key.application, situation.key.environment, tuple(steps), tuple(holds), _left(situation))
    return _lift(made) if made.hash in situation.approved else made


def forgotten(situation: Situation) -> tuple[ObjectRef, ...]:
    """Entries of the inventory that no longer stand for anything of ours and that Git does not want: to be dropped, not removed."""
    return tuple(
        entry.ref
        for identity, entry in sorted(_unwanted(situation).items())
        if not _still_ours(situation, entry, situation.observed.get(identity)) and _other_owner(situation, identity) is None
    )


def given_back(situation: Situation) -> tuple[Entry, ...]:
    """Entries of the inventory that say what we meant to take over and what is another application's to this day."""
    return tuple(
        Entry(entry.environment, owner, entry.ref, observed.digest, entry.wave, "applied", observed.uid, entry.since)
        for identity, entry in sorted(_unwanted(situation).items())
        if (owner := _other_owner(situation, identity)) and (observed := situation.observed.get(identity))
    )


def _want(situation: Situation, manifest: Manifest) -> Step | Hold | None:
    identity = manifest.identity
    observed = situation.observed.get(identity)
    rival = _rival(situation, identity)
    if rival:
        return Hold(manifest.ref, f"application {rival} declares it too", f"removing it from {rival} or from this application")
    if observed is None:
        return _step(situation, Action.CREATE, manifest, None)
    entry = situation.inventory.get(identity)
    owner = observed.owner
    if owner == situation.owner or (owner is None and _recorded(entry, observed, situation.key.application)):
        step = _step(situation, Action.UPDATE, manifest, observed)
        return step if step.changes or entry is None or entry.application != situation.key.application else None
    if owner is None:
        if situation.adopt or manifest.adopts:
            return _step(situation, Action.ADOPT, manifest, observed)
        return Hold(
            manifest.ref,
            "it is there already and belongs to nobody",
            'annotating it in Git with trimtab.dev/adopt: "true", or removing it from the target',
        )
    if owner.installation != situation.installation:
        return Hold(manifest.ref, f"it belongs to another Trimtab, installation {owner.installation}", "removing it there")
    if owner.environment != situation.key.environment:
        return Hold(manifest.ref, f"it belongs to environment {owner.environment}", "removing it there")
    if owner.application in situation.suspended:
        return Hold(manifest.ref, f"it is application {owner.application}'s, which is suspended", f"resuming {owner.application}")
    return _step(situation, Action.HANDOVER, manifest, observed)


def _rival(situation: Situation, identity: Identity) -> str:
    """The application that has the better claim: the one that owns it, else the first by name. "" when it is ours."""
    entry = situation.inventory.get(identity)
    ours = frozenset((situation.key.application,))
    # Where nobody wants it at the newest Revision, the older contents that still run are no worse than each other.
    contenders = situation.contenders.get(identity) or situation.claims.get(identity, ours) | ours
    best = entry.application if entry is not None and entry.application in contenders | ours else min(contenders)
    return "" if best == situation.key.application else best


def _recorded(entry: Entry | None, observed: Observed, application: str) -> bool:
    """True for a target that keeps no owner on the object: the very object that our inventory says we wrote."""
    return entry is not None and entry.application == application and entry.uid != "" and entry.uid == observed.uid


def _step(situation: Situation, action: Action, manifest: Manifest, observed: Observed | None) -> Step:
    ignored = situation.ignored(manifest)
    before = observed.body if observed is not None else None
    after = situation.predicted.get(manifest.identity, manifest.body)
    if before is not None and ignored:
        body = carry_over(manifest.body, before, ignored)
        manifest = msgspec.structs.replace(manifest, body=body, declared=manifest.digest)
    return Step(
        action=action,
        ref=manifest.ref,
        application=situation.key.application,
        environment=situation.key.environment,
        wave=situation.wave(manifest),
        changes=changes(before, after, ignored),
        manifest=manifest,
        uid=observed.uid if observed is not None else "",
        presupposes=digest([observed.uid, without(observed.body, ignored)]) if observed is not None else ABSENT,
        left=ignored,
    )


def _left(situation: Situation) -> tuple[LeftField, ...]:
    """What Git names and is left to others; of the rules only what is there."""
    return tuple(
        LeftField(manifest.ref, pointer, to)
        for manifest in situation.desired
        for pointer, to in [
            *((shown(place), "others, by an ignore rule") for place in places(_rules_of(situation, manifest), manifest.body)),
            *((left.pointer, left.to) for left in situation.left.get(manifest.identity, ())),
        ]
    )


def _rules_of(situation: Situation, manifest: Manifest) -> tuple[str, ...]:
    return situation.leave.get(manifest.identity, Leave()).pointers


def _unwanted(situation: Situation) -> Mapping[Identity, Entry]:
    wanted = {manifest.identity for manifest in situation.desired}
    return {
        identity: entry
        for identity, entry in situation.inventory.of(situation.key.application).items()
        if identity not in wanted and not situation.claims.get(identity)
    }


def _removals(situation: Situation) -> list[Step]:
    steps = []
    for identity, entry in _unwanted(situation).items():
        observed = situation.observed.get(identity)
        if observed is None or not _still_ours(situation, entry, observed) or _opted_out(observed):
            continue
        steps.append(
            Step(
                action=Action.REMOVE,
                ref=observed.ref,
                application=situation.key.application,
                environment=situation.key.environment,
                wave=entry.wave,
                uid=observed.uid,
                presupposes=observed.uid,
            )
        )
    return sorted(steps, key=lambda step: (-step.wave, step.ref.identity))


def _still_ours(situation: Situation, entry: Entry, observed: Observed | None) -> bool:
    if observed is None:
        return False
    if observed.owner is not None:
        return observed.owner == situation.owner
    return _recorded(entry, observed, situation.key.application)


def _other_owner(situation: Situation, identity: Identity) -> str | None:
    """The other application of the same environment that the target says the object belongs to."""
    observed = situation.observed.get(identity)
    if observed is None or observed.owner is None or observed.owner.application == situation.key.application:
        return None
    same = (observed.owner.installation, observed.owner.environment) == (situation.installation, situation.key.environment)
    return observed.owner.application if same else None


def _opted_out(observed: Observed) -> bool:
    annotations = (observed.body.get("metadata") or {}).get("annotations") or {}
    return any(annotations.get(name) == value for name, value in KEEP_ANNOTATIONS.items())


def _doubt(situation: Situation, removals: list[Step]) -> str:
    if not removals:
        return ""
    if situation.doubts:
        return f"it cannot be told whether Git still wants it: {'; '.join(situation.doubts[:3])}"
    return held_because(
        situation.budget,
        removals=len(situation.removed.union(step.ref.identity for step in removals)),
        owned=len(situation.inventory.of(situation.key.application)) if situation.owned is None else situation.owned,
        desired=len(situation.desired),
        removed_elsewhere=situation.elsewhere.removals,
        owned_in_environment=len(situation.inventory) + situation.elsewhere.gone,
    )


def _lift(made: Plan) -> Plan:
    lifted = tuple(hold.step for hold in made.holds if hold.approvable and hold.step is not None)
    rest = tuple(hold for hold in made.holds if not hold.approvable)
    return Plan(made.application, made.environment, made.steps + lifted, rest, made.left)
