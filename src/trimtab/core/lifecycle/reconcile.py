"""The reconcile lifecycle: ``step(key, state, happening, now) -> Decision``. One instance per Application and Environment.

Theory. The loop is *look, decide, act, look*: nothing is believed that was not looked at after the last act, so a lost answer, a
crash between any two lines, or a second hand on the target only costs another look. There are two slots. ``pending`` is what Git
wants; it moves to ``current`` when its gates (promotion, dependencies) open. ``current`` is what is kept true, so a Revision that
cannot be rendered or may not start yet never disturbs what runs.

    happening       guard                                  next
    Declared        same content as current, none pending  nothing: the commit is carried by the Deployment before it
    Declared        other content                          pending (an older pending one is superseded)
    Unrenderable                                           pending, failed; current goes on
    Woken           pending, gates open, not suspended     pending becomes current; Look
    Woken           else                                   Look at current
    Looked          a hook of this Deployment has failed   failed; the hooks for that are run
    Looked          hooks `pre` are not done               record the intent, Take; or Rest until they are
    Looked          a stage of Steps may be taken          record the intent, Take
    Looked          Steps wait for health, or not well     Rest until health moves or the deadline; degraded or late: failed
    Looked          only Holds are left                    held
    Looked          hooks `post` are not done              record the intent, Take; or Rest until they are
    Looked          nothing left, well                     healthy, settled
    Looked          undeclared, hooks `pre-removal` to do  record the intent, Take; or Rest until they are
    Looked          undeclared, all gone, `post-removal`   record the intent, Take; or Rest until they are
    Looked          undeclared, nothing left, hooks done   Finish
    Took            some failed                            back off, then Look
    Took            all applied                            Look
    Stumbled                                               back off, then Look

The intent (inventory entries ``intended`` and ``removing``) is part of the write that precedes the act.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from trimtab.core.decide.hooks import Waits, all_succeeded, main_of
from trimtab.core.decide.order import WELL, next_stage
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.health import Health, HealthStatus, worst
from trimtab.core.model.hook import HookPhase
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.plan import Action, Applied, Failed, Hold, Plan, Step

from . import hooks
from .draft import BACKOFF_SECONDS_MAX, Draft
from .occasion import occasion, proven
from .state import (
    Approved,
    Decision,
    Declared,
    Finish,
    Happening,
    Look,
    Looked,
    Reconciliation,
    Requested,
    Rest,
    Resumed,
    Stumbled,
    Suspended,
    Take,
    Took,
    Unrenderable,
    Woken,
)

BACKOFF_SECONDS_FIRST = 1.0
PATIENCE_ATTEMPTS = 3
"""Transient failures in a row before a Deployment is called failed."""
SETTLE_SECONDS = 2.0
"""While health is awaited, we look this often even if the target tells nothing."""
RESYNC_SECONDS = 300.0
"""A settled Application is looked at this often even if nothing tells us to."""
HEALS_MAX = 30
HEALS_WINDOW_SECONDS = 60.0
"""More heals of one Application in this time mean that somebody fights us; healing backs off."""
COMING = Health(HealthStatus.PROGRESSING, "being created")
"""Nothing of a first release is there yet."""
LISTED_MAX = 20
"""Objects that an event names at the most."""


def step(key: Key, state: Reconciliation, happening: Happening, now: datetime) -> Decision:
    """The next state and what to do. Total: every happening is answered in every state."""
    draft = Draft(key, state, now)
    match happening:
        case Declared():
            return _declared(draft, happening)
        case Unrenderable():
            return _unrenderable(draft, happening)
        case Woken():
            return _woken(draft, happening)
        case Looked():
            return _looked(draft, happening)
        case Took():
            return _took(draft, happening)
        case Stumbled():
            return _stumbled(draft, happening)
        case Approved():
            draft.change(approved=state.approved | {happening.hash}, retry_at=None)
            draft.tell("plan.approved", f"{happening.who} approved plan {happening.hash}", who=happening.who, hash=happening.hash)
            return draft.decide(Look())
        case Suspended():
            draft.change(suspension=happening.suspension)
            until = f" until {happening.suspension.until.isoformat()}" if happening.suspension.until else ""
            draft.tell("application.suspended", f"{happening.suspension.who}: {happening.suspension.reason}{until}")
            return draft.decide(Look())
        case Resumed():
            draft.change(suspension=None, retry_at=None)
            draft.tell("application.resumed", f"{happening.who} resumed it")
            return draft.decide(Look())
        case Requested():
            draft.change(retry_at=None, attempt=0, heals=0)
            hooks.try_again(draft)
            return draft.decide(Look())


def backoff_seconds(attempt: int) -> float:
    """How long to wait after the ``attempt``-th failure in a row (from 1): doubling, bounded. The engine adds jitter."""
    return float(min(BACKOFF_SECONDS_FIRST * 2 ** min(attempt - 1, 30), BACKOFF_SECONDS_MAX))


# --- Git moved --------------------------------------------------------------------------------------------------------------


def _declared(draft: Draft, declared: Declared) -> Decision:
    state = draft.state
    newest = state.pending or state.current
    draft.change(undeclared=declared.undeclared)
    if newest is not None and newest.digest == declared.digest:
        return draft.decide(Look())
    if newest is not None and declared.sequence < newest.sequence:
        return draft.decide(Look())
    _supersede_pending(draft, declared.revision)
    draft.pend(Phase.PENDING, declared.revision, declared.sequence, declared.digest, "", first=declared.first)
    return draft.decide(Look())


def _unrenderable(draft: Draft, failed: Unrenderable) -> Decision:
    newest = draft.state.pending or draft.state.current
    if newest is not None and newest.sequence == failed.sequence and (newest.digest or newest.message == failed.message):
        return draft.decide(Look())  # known; or it was rendered before, so that it will be again
    _supersede_pending(draft, failed.revision)
    draft.pend(Phase.FAILED, failed.revision, failed.sequence, "", failed.message, first=failed.first)
    draft.tell("render.failed", failed.message, revision=failed.revision)
    return draft.decide(Look())


def _supersede_pending(draft: Draft, by: str) -> None:
    pending = draft.state.pending
    if pending is not None:
        draft.deployments.append(draft.ended(pending, Phase.SUPERSEDED, by))


def _woken(draft: Draft, woken: Woken) -> Decision:
    _expire_suspension(draft)
    pending = draft.state.pending
    if pending is not None and pending.digest:
        if draft.state.suspension is not None:
            draft.mark_pending(f"waits while the application is suspended: {draft.state.suspension.reason}")
        elif woken.gates:
            draft.mark_pending("; ".join(woken.gates))
        else:
            _start(draft, pending, woken.progress_seconds)
    return draft.decide(Look() if draft.state.current is not None else Rest())


def _expire_suspension(draft: Draft) -> None:
    suspension = draft.state.suspension
    if suspension is not None and suspension.until is not None and suspension.until <= draft.now:
        draft.change(suspension=None)
        draft.tell("application.resumed", "the suspension ended")


def _start(draft: Draft, pending: Deployment, progress_seconds: float) -> None:
    """``pending`` becomes ``current``; what ran before is superseded, or reverted when its predecessor's content is back."""
    before, settled = draft.state.current, draft.state.settled
    if before is not None:
        phase = Phase.REVERTED if pending.digest == draft.state.previous_digest else Phase.SUPERSEDED
        draft.deployments.append(draft.ended(before, phase, pending.revision))
        draft.tell(f"deployment.{phase}", f"{phase} by {pending.revision[:12]}", revision=before.revision)
    started = msgspec.structs.replace(pending, phase=Phase.APPLYING, since=draft.now, message="")
    draft.deployments.append(started)
    draft.change(
        current=started,
        pending=None,
        behind=0,
        previous_digest=before.digest if before is not None else "",
        touched=(),
        announced=False,
        settled=False,
        deadline=draft.now + timedelta(seconds=progress_seconds),
        attempt=0,
        retry_at=None,
        granted=frozenset(),
        held="",
        runs=(),
        tries=0,
        deployed=draft.state.deployed or settled,
        occasion=occasion(draft.state, pending.digest),
        proven=proven(draft.state),
        progress_seconds=progress_seconds,
    )
    if before is None or settled:
        # Otherwise the budget goes on: what was held at one Revision is not let go by the next one that comes along.
        draft.change(owned=None, removed=frozenset())


# --- we looked --------------------------------------------------------------------------------------------------------------


def _looked(draft: Draft, looked: Looked) -> Decision:
    state = draft.state
    assert state.current is not None, "only current content is looked at"
    draft.dropped += looked.dropped
    draft.entries += looked.given_back
    _tell_health(draft, _health(state, looked))
    if state.owned is None:
        draft.change(owned=looked.owned)
    if state.approved or looked.lifted:
        _grant(draft, looked)
    draft.change(sync="drifted" if looked.plan.steps else "held" if looked.plan.holds else "synced")
    if _is_over(state, looked):
        draft.tell("application.removed", "nothing of it is left")
        draft.mark(Phase.SUPERSEDED, "the application is no longer declared")
        return draft.decide(Finish())
    if state.suspension is not None:
        return draft.decide(Rest(state.suspension.until))
    first = hooks.first(draft, looked)
    if first is not None:
        return _obey(draft, looked, first)
    plan, waves, health = hooks.beside(draft, looked)
    stage = next_stage(plan, touched=state.touched, waves=waves, health=health, settled=state.settled)
    if stage:
        return _take(draft, stage, looked.plan) if draft.may_try() else draft.decide(Rest(draft.state.retry_at))
    return _settle(draft, looked)


def _is_over(state: Reconciliation, looked: Looked) -> bool:
    gone = looked.plan.empty and looked.owned + looked.remains == 0
    return state.undeclared and state.pending is None and gone and all_succeeded(state.runs, looked.hooks)


def _obey(draft: Draft, looked: Looked, found: hooks.Next) -> Decision:
    """Do what hooks call for."""
    match found:
        case Look():
            return draft.decide(found)
        case Waits(held=True):
            return _hold(draft, looked.plan)
        case Waits():
            if draft.current.phase != Phase.FAILED:
                draft.mark(Phase.APPLYING, found.message, draft.state.health)
            return draft.decide(Rest(draft.now + timedelta(seconds=RESYNC_SECONDS if found.ended else SETTLE_SECONDS)))
        case _:
            return _take(draft, found, looked.plan) if draft.may_try() else draft.decide(Rest(draft.state.retry_at))


def _grant(draft: Draft, looked: Looked) -> None:
    """What an approved plan removes or takes over is granted, whatever becomes of the rest of it. An approval of what the plan was before
    is void.
    """
    approved = looked.lifted or looked.plan.hash in draft.state.approved
    uids = {step.uid for step in looked.plan.steps if step.action in (Action.REMOVE, Action.HANDOVER)} if approved else set()
    draft.change(granted=draft.state.granted | uids, approved=frozenset())


def _take(draft: Draft, stage: tuple[Step, ...], plan: Plan) -> Decision:
    """Record what we are about to do, then do it."""
    stage = hooks.begin(draft, stage)
    state = draft.state
    if state.settled:
        _tell_drift(draft, stage)
    elif not state.announced:
        back = "; it goes back to what was healthy before" if state.occasion == "back" else ""
        message = f"{len(stage)} step{'s' if len(stage) != 1 else ''} in the first stage{back}"
        draft.tell("deployment.started", message, hash=plan.hash, steps=_listed(stage))
        draft.change(announced=True)
    if not state.settled and draft.current.phase == Phase.HELD:
        draft.mark(Phase.APPLYING, "")
    draft.entries += [_intent(step, draft.now) for step in stage]
    touched = dict.fromkeys((*state.touched, *(step.ref.identity for step in stage if step.action != Action.REMOVE)))
    counted = [step for step in stage if step.action == Action.REMOVE and not step.hook]
    removed = {step.ref.identity for step in counted if step.uid not in draft.state.granted}
    draft.change(touched=tuple(touched), removed=draft.state.removed | removed)
    return draft.decide(Take(stage))


def _intent(step: Step, now: datetime) -> Entry:
    return Entry(
        environment=step.environment,
        application=step.application,
        ref=step.ref,
        digest=step.manifest.digest if step.manifest is not None else "",
        wave=step.wave,
        state="removing" if step.action == Action.REMOVE else "intended",
        # What we mean to adopt is not ours before it is done: should Git take that back, the object stays its owner's.
        uid="" if step.action == Action.ADOPT else step.uid,
        since=now,
        hook=bool(step.hook),
    )


def _tell_drift(draft: Draft, stage: tuple[Step, ...]) -> None:
    since = draft.state.heals_since
    if since is None or not timedelta(0) <= draft.now - since <= timedelta(seconds=HEALS_WINDOW_SECONDS):
        draft.change(heals=0, heals_since=draft.now)
    heals = draft.state.heals + 1
    message = ", ".join(f"{step.ref} {_lost(step)}" for step in stage[:LISTED_MAX])
    if heals > HEALS_MAX:
        seconds = backoff_seconds(heals - HEALS_MAX)
        message += (
            f"; it was healed {heals} times in a short while, so somebody keeps changing it: the next try is in {seconds:.0f} s"
        )
        draft.change(retry_at=draft.now + timedelta(seconds=seconds))
    draft.change(heals=heals)
    draft.tell("drift.detected", message, steps=_listed(stage))


def _lost(step: Step) -> str:
    return "is missing" if step.action == Action.CREATE else "was changed"


def _settle(draft: Draft, looked: Looked) -> Decision:
    """No Step of the release may be taken now: wait for health, be held, run what comes last, or be healthy."""
    health, steps = draft.state.health, main_of(looked.plan).steps
    beside = hooks.of_phase(draft, looked, HookPhase.MAIN)
    if isinstance(beside, Waits) and health.status in WELL:
        return _obey(draft, looked, beside)
    if health == COMING and looked.plan.holds:
        return _hold(draft, looked.plan)  # nothing is there to get well, and what is to come waits behind what is held (seed 746)
    if health.status not in WELL or (steps and not looked.plan.holds):
        return _await_health(draft, health)
    if beside is not None:
        return _obey(draft, looked, beside)
    if looked.plan.holds:
        return _hold(draft, looked.plan)
    last = hooks.last(draft, looked)
    if last is not None:
        return _obey(draft, looked, last)
    if draft.current.phase != Phase.HEALTHY:
        draft.mark(Phase.HEALTHY, "", health)
        draft.tell("deployment.healthy", "everything is applied and healthy")
    # Who fights us has lost this round, not the fight: what comes next still waits.
    retry_at = draft.state.retry_at if draft.state.heals > HEALS_MAX else None
    draft.change(deployed=True, settled=True, touched=(), attempt=0, retry_at=retry_at)
    draft.change(approved=frozenset(), held="", announced=True)
    if not draft.state.undeclared:
        draft.ending = looked.ending
    return draft.decide(Rest(draft.now + timedelta(seconds=RESYNC_SECONDS)))


def _await_health(draft: Draft, health: Health) -> Decision:
    state = draft.state
    late = state.deadline is not None and draft.now >= state.deadline and not state.settled
    if health.status == HealthStatus.DEGRADED or late:
        message = health.message or f"not healthy in time: {health.status}"
        if draft.current.phase != Phase.FAILED or draft.current.message != message:
            first = draft.current.phase != Phase.FAILED
            draft.mark(Phase.FAILED, message, health)
            if first:
                draft.tell("deployment.failed", message, object=str(health.object or ""), lastLogLine=health.last_log_line)
    elif not state.settled and draft.current.phase in (Phase.HELD, Phase.PENDING):
        draft.mark(Phase.APPLYING, health.message, health)
    return draft.decide(Rest(draft.now + timedelta(seconds=SETTLE_SECONDS)))


def _hold(draft: Draft, plan: Plan) -> Decision:
    message = _held_message(plan.holds)
    if draft.state.held != plan.hash or draft.current.phase != Phase.HELD:
        draft.mark(Phase.HELD, message, draft.state.health, plan.holds[0].object)
        draft.tell(
            "deployment.held",
            message,
            hash=plan.hash,
            holds=[
                {"object": str(hold.object or ""), "reason": hold.reason, "liftedBy": hold.lifted_by}
                for hold in plan.holds[:LISTED_MAX]
            ],
        )
    draft.change(held=plan.hash, attempt=0, retry_at=None)
    return draft.decide(Rest(draft.now + timedelta(seconds=RESYNC_SECONDS)))


def _held_message(holds: tuple[Hold, ...]) -> str:
    """Named are those that are counted: what a hook has left counts for no budget."""
    reasons = dict.fromkeys(hold.reason for hold in holds)
    counted = [hold for hold in holds if hold.step is None or not hold.step.hook] or list(holds)
    objects = ", ".join(str(hold.object) for hold in counted[:5] if hold.object is not None)
    more = f" and {len(counted) - 5} more" if len(counted) > 5 else ""
    left = f", and {len(holds) - len(counted)} of hooks" if len(counted) < len(holds) else ""
    return f"{'; '.join(list(reasons)[:3])} ({objects}{more}{left})"


def _health(state: Reconciliation, looked: Looked) -> Health:
    """The worst of what is there. What a first release has yet to create is no cause of anything."""
    coming: set[Identity] = set()
    if not state.settled:
        coming = {step.ref.identity for step in looked.plan.steps if step.action == Action.CREATE} - set(state.touched)
    there = [health for identity, health in looked.health.items() if identity not in coming]
    return worst(there) if there or not coming else COMING


def _tell_health(draft: Draft, health: Health) -> None:
    before = draft.state.health
    if before.status != health.status and draft.state.settled:
        draft.tell(
            "health.changed", health.message or f"{before.status} → {health.status}", before=before.status, after=health.status
        )
    draft.change(health=health)
    # Messages of a progressing object (counts, ages) change all the time; the record wants what people act on.
    if draft.current.health != health.status:
        failed = draft.current.phase in (Phase.FAILED, Phase.HELD)
        draft.mark(draft.current.phase, draft.current.message if failed else health.message, health)


# --- we acted ---------------------------------------------------------------------------------------------------------------


def _took(draft: Draft, took: Took) -> Decision:
    state = draft.state
    failures: list[Failed] = []
    for taken, outcome in zip(took.steps, took.outcomes, strict=True):
        match outcome:
            case Applied():
                _applied(draft, taken, outcome)
            case Failed():
                if not hooks.refused(draft, taken, outcome):
                    failures.append(outcome)
                draft.tell("step.failed", f"{taken.action} {taken.ref}: {outcome.message}", remedy=outcome.remedy)
    if not failures:
        draft.change(attempt=0)
        if state.settled:
            draft.tell("drift.healed", ", ".join(str(taken.ref) for taken in took.steps[:LISTED_MAX]))
        return draft.decide(Look())
    first = failures[0]
    message = f"{first.ref}: {first.message}" + (f". {first.remedy}" if first.remedy else "")
    lasting = not all(failure.transient for failure in failures)
    blame = (lasting and not state.settled) or state.attempt + 1 >= PATIENCE_ATTEMPTS
    return _fail(draft, message, first.ref, blame=blame, lasting=lasting)


def _applied(draft: Draft, taken: Step, outcome: Applied) -> None:
    draft.tell("step.applied", f"{taken.action} {taken.ref}", action=taken.action)
    if taken.action == Action.REMOVE:
        draft.dropped.append(taken.ref)
        return
    draft.entries.append(msgspec.structs.replace(_intent(taken, draft.now), state="applied", uid=outcome.uid))
    hooks.made(draft, taken, outcome)


def _stumbled(draft: Draft, stumbled: Stumbled) -> Decision:
    if draft.state.current is None:
        return draft.decide(Rest(draft.now + timedelta(seconds=SETTLE_SECONDS)))
    if stumbled.transient:
        draft.change(health=Health(HealthStatus.UNKNOWN, stumbled.message), sync="unknown")
    # A target that does not answer says nothing about what runs there, so a settled Deployment is not called failed for it.
    patient = stumbled.transient and (draft.state.settled or draft.state.attempt + 1 < PATIENCE_ATTEMPTS)
    return _fail(draft, stumbled.message, stumbled.object, blame=not patient, lasting=not stumbled.transient)


def _fail(draft: Draft, message: str, object_: ObjectRef | None, *, blame: bool, lasting: bool) -> Decision:
    """Back off; ``blame`` the Deployment where the failure is its own or has lasted. A ``lasting`` one the next try meets again."""
    attempt = draft.state.attempt + 1
    retry_at = draft.now + timedelta(seconds=backoff_seconds(attempt))
    draft.change(attempt=attempt, retry_at=retry_at, lasting=lasting)
    if blame:
        if draft.current.phase != Phase.FAILED:
            draft.tell("deployment.failed", message, object=str(object_ or ""))
        draft.mark(Phase.FAILED, message, draft.state.health, object_)
    elif draft.current.message != message:
        draft.mark(draft.current.phase, message, draft.state.health, object_)
    return draft.decide(Rest(retry_at))


def _listed(stage: tuple[Step, ...]) -> list[dict[str, Any]]:
    return [
        {"action": step.action, "object": str(step.ref), "fields": [c.path for c in step.changes[:LISTED_MAX]]}
        for step in stage[:LISTED_MAX]
    ]
