"""The heart: ``plan(situation) -> Plan``. What Git wants, what is there and what we own go in; Steps and Holds come out.

For each object that Git wants:

    not there                                        create, unless it has gone by itself with its work done
    there, ours                                      update, when a field differs
    there, and a field cannot be changed in place    replace when declared, else Hold
    there, another application's, which lets it go   handover, or a Hold while that one is suspended
    there, another application's, which wants it     Hold
    there, another environment's                     the same by what its owner there wants (`abroad.py`); unknown: Hold, to be approved
    there, another installation's                    Hold
    there, nobody's                                  adopt when declared, else Hold

For each object that we own and Git no longer wants:

    wanted by another application                    nothing: that one's plan hands it over
    wanted in another environment of the same place  nothing: that one's plan hands it over
    perhaps, as that does not answer or render       a Hold, to be approved
    wanted by our own content that waits             nothing: it will be wanted again
    opted out of removal                             nothing
    there, and still ours by uid and owner           remove, or a Hold when doubt or the budget says so
    there, another application's of the environment  given back (`given_back`): a hand-over that was wanted no more before it came about
    not there, or no longer ours                     forgotten (`forgotten`): the inventory was wrong, the world is left alone

For each hook that Git has, in each phase that it has at this Deployment: run, unless it was run (`hooks.py`), or a Hold when what is
there under its name is somebody else's. It is never compared with what is there, and an object that a hook has left counts for no budget.
Hooks of an ending are no others; while every removal is held, so are those that come before them.

An approval of the plan's hash turns its approvable Holds into Steps; the hash covers both, so approving changes nothing else. What
was approved once is granted from then on, object by object: what is left of a plan that is carried out in stages, or tried again
after a failure, has another hash and is the same decision.

In an Environment that asks for approvals, a Deployment that has not begun is held as a whole until its plan is approved, by a person
or by the merge of a Change that was approved with that very plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from trimtab.core.model.config import RemovalBudget
from trimtab.core.model.errors import Problem
from trimtab.core.model.health import Health
from trimtab.core.model.hook import ENDING, HookPhase, HookRun
from trimtab.core.model.inventory import Entry, Inventory
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.manifest import (
    CONFIRM,
    END_ANNOTATION,
    KEEP_ANNOTATIONS,
    PRUNE_ANNOTATION,
    REPLACE_ANNOTATION,
    Body,
    Manifest,
    digest,
)
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Fixed, Observed, Owner
from trimtab.core.model.plan import Action, Hold, LeftField, Plan, Step

from .abroad import NOBODY, Abroad, kept, may_be_wanted
from .budget import held_because
from .diff import carry_over, changes, without
from .hooks import OVER, Hooked, Occasion, by_place, is_mine
from .pointers import places, shown

ABSENT = "absent"
FIELDS_SHOWN_MAX = 10


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
    want it at their newest, where several do or did. ``abroad`` is what other environments have to do with what is not wanted here any more, and
    with what is theirs. ``suspended`` are applications that must not be touched. ``doubts`` are reasons why "Git no longer wants it" cannot be trusted now. ``granted`` are uids whose removal or taking over somebody approved,
    ``removed`` what has begun to be removed without that since Git and the target last agreed, ``owned`` how many objects there were
    then (None: they agreed until now). ``leave`` is what the ignore rules leave of an object to others, ``left`` what the target has
    found to be theirs; ``fixed`` are objects that can only be made anew, ``notes`` what has no effect on the target. ``elsewhere`` is what other applications of the environment remove at the same Revision.
    ``hooks`` are those that Git has, or had when the application ends, which are not among ``desired``, ``withheld`` those of the ending that nobody has any more, ``runs`` what became of them in this Deployment, ``failed`` that the
    Deployment has failed, ``occasion`` which Deployment this is for them. ``ending``: Git declares the application no more.
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
    abroad: Mapping[Identity, Abroad] = field(default_factory=lambda: NOBODY)
    suspended: frozenset[str] = frozenset()
    doubts: tuple[str, ...] = ()
    budget: RemovalBudget = field(default_factory=RemovalBudget)
    granted: frozenset[str] = frozenset()
    removed: frozenset[Identity] = frozenset()
    owned: int | None = None
    elsewhere: Elsewhere = Elsewhere()
    leave: Mapping[Identity, Leave] = field(default_factory=dict)
    left: Mapping[Identity, tuple[Left, ...]] = field(default_factory=dict)
    fixed: Mapping[Identity, Fixed] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()
    adopt: bool = False
    approved: frozenset[str] = frozenset()
    hooks: Sequence[Hooked] = ()
    runs: Sequence[HookRun] = ()
    failed: bool = False
    occasion: Occasion = "later"
    ending: bool = False
    withheld: tuple[ObjectRef, ...] = ()
    passed: Mapping[Identity, Health] = field(default_factory=dict)
    """How those of ``desired`` were that have gone by themselves."""
    guard: str = ""
    """Why nothing may begin without an approval; "" where it may, or has begun."""

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
    """What to do, in order: ``pre`` hooks, waves ascending for what Git wants, removals with waves descending, ``post`` hooks."""
    steps: list[Step] = []
    holds: list[Hold] = []
    wanted = [decided for manifest in situation.desired if (decided := _want(situation, manifest)) is not None]
    runs = [
        decided
        for hooked in situation.hooks
        for phase in hooked.phases
        if (decided := _run(situation, hooked, phase)) is not None
    ]
    for decided in (*wanted, *runs):
        if isinstance(decided, Step):
            steps.append(decided)
        else:
            holds.append(decided)
    removals, held = _removals(situation)
    if held and not removals:
        steps, before = _with_removals(steps, held[0])
        holds += before
    steps, holds = sorted([*steps, *removals], key=_in_order), [*sorted(holds, key=_by_object), *held]
    made = Plan(
        situation.key.application, situation.key.environment, tuple(steps), tuple(holds), _left(situation), situation.notes
    )
    if made.hash in situation.approved:
        return _lift(made)
    return _guarded(made, situation.guard) if situation.guard else made


def _with_removals(steps: list[Step], held: Hold) -> tuple[list[Step], list[Hold]]:
    """The steps without the hooks that come before a removal, as nothing is removed, and Holds of those."""
    before = [step for step in steps if step.hook == HookPhase.PRE_REMOVAL]
    holds = [
        Hold(step.ref, "it comes before removals that are held", held.lifted_by, approvable=True, step=step) for step in before
    ]
    return [step for step in steps if step.hook != HookPhase.PRE_REMOVAL], holds


_PHASES = {HookPhase.PRE: 0, HookPhase.PRE_REMOVAL: 0, HookPhase.POST: 3, HookPhase.POST_REMOVAL: 3, HookPhase.FAILED: 4}


def _in_order(step: Step) -> tuple[int, int, Identity]:
    if step.action == Action.REMOVE:
        return (2, -step.wave, step.ref.identity)
    return (_PHASES.get(HookPhase(step.hook), 1) if step.hook else 1, step.wave, step.ref.identity)


def _by_object(hold: Hold) -> Identity:
    assert hold.object is not None, "what is held here is an object"
    return hold.object.identity


def forgotten(situation: Situation) -> tuple[ObjectRef, ...]:
    """Entries of the inventory that no longer stand for anything of ours and that Git does not want: to be dropped, not removed.

    So are those of hooks of which the object has gone by itself, unless one is just being run.
    """
    begun = {run.ref.identity for run in situation.runs if run.state == "begun"}
    hooks = {hooked.manifest.identity for hooked in situation.hooks} - begun - situation.observed.keys()
    gone = {
        identity: entry
        for identity, entry in situation.inventory.of(situation.key.application).items()
        if identity in hooks and entry.hook
    }
    return tuple(
        entry.ref
        for identity, entry in sorted({**_unwanted(situation), **gone}.items())
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
    held = _in_the_way(situation, manifest, observed)
    if held is not None:
        return _approvable(held, _step(situation, Action.HANDOVER, manifest, observed))
    if observed is None:
        return None if identity in situation.passed else _step(situation, Action.CREATE, manifest, None)
    entry, fixed = situation.inventory.get(identity), situation.fixed.get(identity)
    ours = _ours(situation, entry, observed)
    if fixed is not None and not fixed.replaces and (ours or observed.owner is not None or situation.adopt or manifest.adopts):
        return _fixed(manifest, fixed)
    if ours:
        step = _step(situation, Action.REPLACE if fixed is not None else Action.UPDATE, manifest, observed)
        return step if step.changes or entry is None or entry.application != situation.key.application else None
    if observed.owner is not None:
        return _step(situation, Action.HANDOVER, manifest, observed)
    if situation.adopt or manifest.adopts:
        return _step(situation, Action.ADOPT, manifest, observed)
    return Hold(
        manifest.ref,
        "it is there already and belongs to nobody",
        'annotating it in Git with trimtab.dev/adopt: "true", or removing it from the target',
    )


def _fixed(manifest: Manifest, fixed: Fixed) -> Hold:
    fields = ", ".join(fixed.fields[:FIELDS_SHOWN_MAX]) or "a field"
    lifted_by = f'putting that back, or annotating the object in Git with {REPLACE_ANNOTATION}: "true", so that it is made anew'
    return Hold(manifest.ref, f"{fields} cannot be changed in place", lifted_by)


def _in_the_way(situation: Situation, manifest: Manifest, observed: Observed | None) -> Hold | None:
    """Why the object may not be written to, whatever is to be done to it."""
    rival = _rival(situation, manifest.identity)
    if rival:
        return Hold(manifest.ref, f"application {rival} declares it too", f"removing it from {rival} or from this application")
    owner = observed.owner if observed is not None else None
    if owner is None or owner == situation.owner:
        return None
    if owner.installation != situation.installation:
        return Hold(manifest.ref, f"it belongs to another Trimtab, installation {owner.installation}", "removing it there")
    if owner.environment != situation.key.environment:
        held = kept(manifest.ref, owner, situation.abroad)
        granted = held is not None and held.approvable and observed is not None and observed.uid in situation.granted
        return None if granted else held
    if owner.application in situation.suspended:
        return Hold(manifest.ref, f"it is application {owner.application}'s, which is suspended", f"resuming {owner.application}")
    return None


def _approvable(held: Hold, step: Step) -> Hold:
    """With what an approval allows, where one does."""
    return msgspec.structs.replace(held, step=step) if held.approvable else held


def _run(situation: Situation, hooked: Hooked, phase: HookPhase) -> Step | Hold | None:
    manifest = hooked.manifest
    observed = situation.observed.get(manifest.identity)
    run = by_place(situation.runs).get((phase, manifest.identity))
    if run is not None and (run.state != "begun" or is_mine(run, manifest, observed)):
        return None
    if phase == HookPhase.FAILED and not situation.failed:
        return None
    step = _run_step(situation, hooked, phase, observed)
    held = _in_the_way(situation, manifest, observed)
    if held is not None:
        return _approvable(held, step)
    if (
        observed is not None
        and observed.owner is None
        and not _ours(situation, situation.inventory.get(manifest.identity), observed)
    ):
        return Hold(manifest.ref, "a hook would run under this name, which belongs to nobody", "removing it from the target")
    owner = observed.owner if observed is not None and observed.owner is not None else situation.owner
    if phase in ENDING and owner != situation.owner:
        return Hold(manifest.ref, f"it belongs to application {owner.application}", f"removing it from {owner.application}")
    return step


def _run_step(situation: Situation, hooked: Hooked, phase: HookPhase, observed: Observed | None) -> Step:
    manifest = hooked.manifest
    return Step(
        action=Action.RUN,
        ref=manifest.ref,
        application=situation.key.application,
        environment=situation.key.environment,
        wave=hooked.hook.wave,
        manifest=manifest,
        uid=observed.uid if observed is not None else "",
        presupposes=observed.uid if observed is not None else ABSENT,
        hook=phase,
    )


def _ours(situation: Situation, entry: Entry | None, observed: Observed) -> bool:
    owner = observed.owner
    return owner == situation.owner or (owner is None and _recorded(entry, observed, situation.key.application))


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
    wanted = {manifest.identity for manifest in situation.desired} | {hooked.manifest.identity for hooked in situation.hooks}
    return {
        identity: entry
        for identity, entry in situation.inventory.of(situation.key.application).items()
        if identity not in wanted and not situation.claims.get(identity)
    }


def _removals(situation: Situation) -> tuple[list[Step], list[Hold]]:
    """What goes, and what would go once somebody approves it."""
    found = [
        (_removal(situation, entry, observed), may_be_wanted(situation.abroad.get(identity)), _confirm(situation, observed))
        for identity, entry in _unwanted(situation).items()
        if (observed := situation.observed.get(identity)) is not None
        and _still_ours(situation, entry, observed)
        and not _opted_out(situation, observed)
        and not _goes_abroad(situation, identity)
    ]
    asking = [step for step, _, _ in found if step.uid not in situation.granted]
    reason = _doubt(situation, asking)
    lifted_by = f"approving this plan: trimtab app approve {situation.key.application} HASH"
    holds = [
        Hold(step.ref, perhaps or reason or confirm, lifted_by, approvable=True, step=step)
        for step, perhaps, confirm in found
        if step.uid not in situation.granted and (perhaps or reason or confirm)
    ]
    held = {hold.object for hold in holds}
    return [step for step, _, _ in found if step.ref not in held], sorted(
        holds, key=lambda hold: _in_order(hold.step or asking[0])
    )


def _goes_abroad(situation: Situation, identity: Identity) -> bool:
    """True for what another environment takes over in its place."""
    found = situation.abroad.get(identity)
    return found is not None and bool(found.wanted)


def _confirm(situation: Situation, observed: Observed) -> str:
    asks = _annotated(situation, observed) == CONFIRM
    return "it is annotated to be removed only when somebody approves it" if asks else ""


def _removal(situation: Situation, entry: Entry, observed: Observed) -> Step:
    return Step(
        action=Action.REMOVE,
        ref=observed.ref,
        application=situation.key.application,
        environment=situation.key.environment,
        wave=entry.wave,
        uid=observed.uid,
        presupposes=observed.uid,
        hook=OVER if entry.hook else "",
    )


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


def _opted_out(situation: Situation, observed: Observed) -> bool:
    annotations = (observed.body.get("metadata") or {}).get("annotations") or {}
    kept = any(annotations.get(name) == value for name, value in KEEP_ANNOTATIONS.items())
    return kept or (situation.ending and annotations.get(END_ANNOTATION) == KEEP_ANNOTATIONS[PRUNE_ANNOTATION])


def _annotated(situation: Situation, observed: Observed) -> str:
    """What the object says about its removal in this situation."""
    annotations = (observed.body.get("metadata") or {}).get("annotations") or {}
    ends = annotations.get(END_ANNOTATION, "") if situation.ending else ""
    return str(ends or annotations.get(PRUNE_ANNOTATION, ""))


def _doubt(situation: Situation, asking: list[Step]) -> str:
    if not asking:
        return ""
    if situation.doubts:
        return f"it cannot be told whether Git still wants it: {'; '.join(situation.doubts[:3])}"
    if situation.withheld:
        named = ", ".join(str(ref) for ref in situation.withheld[:3])
        return f"hooks of its ending cannot be run: a secret stands in {named}, which is kept nowhere but in Git"
    lasting = {step.ref.identity for step in asking if not step.hook}
    return held_because(
        situation.budget,
        removals=len(situation.removed | lasting) if lasting else 0,
        owned=situation.inventory.lasting_of(situation.key.application) if situation.owned is None else situation.owned,
        desired=len(situation.desired),
        removed_elsewhere=situation.elsewhere.removals,
        owned_in_environment=situation.inventory.lasting + situation.elsewhere.gone,
    )


def _guarded(made: Plan, reason: str) -> Plan:
    """The same plan with nothing of it to be done: another plan than the approved one must not even begin."""
    lifted_by = f"approving this plan: trimtab app approve {made.application} HASH"
    held = tuple(Hold(step.ref, reason, lifted_by, approvable=True, step=step) for step in made.steps)
    return Plan(made.application, made.environment, (), (*held, *made.holds), made.left, made.notes)


def _lift(made: Plan) -> Plan:
    lifted = tuple(hold.step for hold in made.holds if hold.approvable and hold.step is not None)
    rest = tuple(hold for hold in made.holds if not hold.approvable)
    return Plan(made.application, made.environment, made.steps + lifted, rest, made.left, made.notes)
