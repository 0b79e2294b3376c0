"""Which hooks are to be run now. Pure: what became of each, and what the target shows, go in; Steps, or what is waited for, come out.

A hook runs once for each Deployment. That is known from two places, so that a crash between any two writes is harmless: the
lifecycle's state says that it was begun, in the write that precedes the act, and the object itself carries the run's mark. So:

    begun, its object is there        it runs, or has ended: its health says which
    begun, seen, and gone since       failed: nobody has seen its end, and running it once more might be once too often
    begun, never seen                 the act, or only its answer, was lost: it is run, with the same mark
    ended                             whatever becomes of its object: nothing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from trimtab.core.model.deployment import Deployment
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.hook import ENDING, Deletion, Hook, HookPhase, HookRun
from trimtab.core.model.manifest import RUN_ANNOTATION, Manifest, digest
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.observed import Observed
from trimtab.core.model.plan import Action, Plan, Step

MARK_CHARACTERS = 16
OVER = "over"
"""`Step.hook` of the removal of what a hook has left."""

Occasion = Literal["", "first", "later", "back", "found"]
"""Which Deployment this is for hooks: the Application's first, a later one, one that goes back to what was healthy before, or one that a
lost record has only found as it stood, so that its hooks have been run. "": nobody has looked yet.
"""

Place = tuple[HookPhase, Identity]


def phases_at(occasion: Occasion, hook: Hook) -> tuple[HookPhase, ...]:
    """Those that a hook runs in at such a Deployment."""
    match occasion:
        case "first":
            return hook.first
        case "back":
            return hook.back
        case "found":
            return ()
        case "later" | "":
            return hook.later


class Hooked(msgspec.Struct, frozen=True):
    """A hook that Git has, and the phases that it runs in at the Deployment in question."""

    manifest: Manifest
    hook: Hook
    phases: tuple[HookPhase, ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """A hook in one of its phases, as the target shows it. ``uid`` is that of the object of its name ("": there is none); ``mine``: that
    object is of this very run, and ``health`` is its.
    """

    phase: HookPhase
    ref: ObjectRef
    wave: int = 0
    turn: int = 0
    delete: frozenset[Deletion] = frozenset()
    uid: str = ""
    mine: bool = False
    health: Health | None = None

    @property
    def place(self) -> Place:
        return (self.phase, self.ref.identity)


class Waits(msgspec.Struct, frozen=True):
    """Nothing can be done about a phase now. ``message`` says what is waited for; ``held``: a Hold of the plan says it; ``ended``: it is
    somebody's hooked for another try, or another commit.
    """

    message: str
    held: bool = False
    ended: bool = False


# --- marks ------------------------------------------------------------------------------------------------------------------


def mark_of(deployment: Deployment, tries: int) -> str:
    """What tells the runs of one Deployment from those of all others, also after a lost store has begun to count anew."""
    said = [deployment.application, deployment.environment, deployment.revision, deployment.sequence, deployment.started, tries]
    return digest(said).removeprefix("sha256:")[:MARK_CHARACTERS]


def marked(manifest: Manifest, phase: HookPhase, mark: str) -> Manifest:
    """The Manifest as it is applied for one run."""
    metadata = manifest.body.get("metadata") or {}
    notes = {**(metadata.get("annotations") or {}), RUN_ANNOTATION: f"{phase}-{mark}"}
    return msgspec.structs.replace(manifest, body={**manifest.body, "metadata": {**metadata, "annotations": notes}})


def is_mine(run: HookRun | None, manifest: Manifest, observed: Observed | None) -> bool:
    """True when the object that is there was made by this run."""
    if run is None or observed is None:
        return False
    return observed.uid == run.uid or observed.digest == marked(manifest, run.phase, run.mark).digest


# --- what has become of them ------------------------------------------------------------------------------------------------


def followed(runs: Sequence[HookRun], seen: Iterable[Seen]) -> tuple[HookRun, ...]:
    """The runs, each with what the target shows of it now."""
    shown = {one.place: one for one in seen}
    return tuple(_followed(run, shown.get(run.place)) for run in runs)


def _followed(run: HookRun, seen: Seen | None) -> HookRun:
    if run.ended or seen is None:
        return run
    if not seen.mine:
        if run.state == "begun":
            return run
        message = "it is gone, and nobody has seen how it ended"
        return msgspec.structs.replace(run, state="failed", message=message)
    status = seen.health.status if seen.health is not None else HealthStatus.UNKNOWN
    if status == HealthStatus.HEALTHY:
        return msgspec.structs.replace(run, state="succeeded", uid=seen.uid, message="")
    if status == HealthStatus.DEGRADED and seen.health is not None:
        health = seen.health
        return msgspec.structs.replace(
            run, state="failed", uid=seen.uid, message=health.message, last_log_line=health.last_log_line
        )
    return msgspec.structs.replace(run, state="there", uid=seen.uid)


def broken(runs: Iterable[HookRun]) -> HookRun | None:
    """The first run that fails the Deployment. One of the phase ``failed`` does not: that has happened already."""
    return next((run for run in runs if run.state == "failed" and run.phase != HookPhase.FAILED), None)


def tried_again(runs: Iterable[HookRun]) -> tuple[HookRun, ...]:
    """The runs that stand when somebody asks for another try: what has failed is forgotten, and what was run because of it."""
    return tuple(run for run in runs if run.state != "failed" and run.phase != HookPhase.FAILED)


# --- what is next -----------------------------------------------------------------------------------------------------------


def main_of(plan: Plan) -> Plan:
    """The plan without the hooks of other phases than ``main``."""
    return msgspec.structs.replace(plan, steps=tuple(step for step in plan.steps if step.hook in ("", HookPhase.MAIN, OVER)))


def next_in(phase: HookPhase, plan: Plan, runs: Sequence[HookRun], seen: Sequence[Seen]) -> tuple[Step, ...] | Waits:
    """What is to be done about ``phase`` now: nothing at all (an empty stage) when its hooks are done and what is to go is gone."""
    ended = {run.place for run in runs if run.ended}
    left = [one for one in seen if one.phase == phase and one.place not in ended]
    if not left:
        return leftovers(phase, runs, seen)
    first = min((one.wave, one.turn) for one in left)
    turn = {one.ref.identity: one for one in left if (one.wave, one.turn) == first}
    steps = tuple(step for step in plan.steps if step.hook == phase and step.ref.identity in turn)
    if steps:
        return steps
    held = any(hold.object is not None and hold.object.identity in turn for hold in plan.holds)
    one = next(iter(turn.values()))
    said = f": {one.health.message}" if one.mine and one.health is not None and one.health.message else ""
    return Waits(f"waits for the {phase} hook {one.ref}{said}", held)


def leftovers(phase: HookPhase, runs: Iterable[HookRun], seen: Iterable[Seen]) -> tuple[Step, ...]:
    """Removals, without the application and environment that they are for, of what ended runs of ``phase`` have left."""
    ends = {run.place: Deletion.SUCCEEDED if run.state == "succeeded" else Deletion.FAILED for run in runs if run.ended}
    return tuple(_over(one) for one in seen if one.phase == phase and one.mine and ends.get(one.place) in one.delete)


def remains(runs: Iterable[HookRun], seen: Iterable[Seen]) -> tuple[Step, ...]:
    """The same for all that the hooks of an ending have left, whatever their policies say: no run comes that it would make way for."""
    ended = {run.place for run in runs if run.ended}
    return tuple(_over(one) for one in seen if one.phase in ENDING and one.mine and one.place in ended)


def _over(one: Seen) -> Step:
    return Step(Action.REMOVE, one.ref, "", "", wave=one.wave, uid=one.uid, presupposes=one.uid, hook=OVER)


def all_succeeded(runs: Iterable[HookRun], seen: Iterable[Seen]) -> bool:
    """True when nothing is left to be run, and nothing has failed."""
    done = {run.place for run in runs if run.state == "succeeded"}
    return all(one.place in done for one in seen)


def begun(steps: Iterable[Step], runs: Sequence[HookRun], mark: str) -> tuple[tuple[Step, ...], tuple[HookRun, ...]]:
    """The Steps with their Manifests marked, and the runs with those that they begin."""
    known: dict[Place, HookRun] = {run.place: run for run in runs}
    taken = []
    for step in steps:
        if step.action == Action.RUN and step.manifest is not None:
            phase = HookPhase(step.hook)
            run = known.setdefault((phase, step.ref.identity), HookRun(phase, step.ref, mark))
            step = msgspec.structs.replace(step, manifest=marked(step.manifest, phase, run.mark))
        taken.append(step)
    return tuple(taken), tuple(known.values())


def by_place(runs: Iterable[HookRun]) -> Mapping[Place, HookRun]:
    return {run.place: run for run in runs}
