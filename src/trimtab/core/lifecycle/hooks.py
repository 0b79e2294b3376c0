"""Hooks in the reconcile lifecycle: what they call for before, beside and after a release. `decide/hooks.py` has the theory.

The functions change a draft and say what is next; the lifecycle does it. An Application without hooks, and one that is settled, passes
through all of them untouched: whatever became of a hook once its Deployment was healthy is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from trimtab.core.decide.hooks import (
    Waits,
    begun,
    broken,
    followed,
    leftovers,
    main_of,
    mark_of,
    next_in,
    remains,
    tried_again,
)
from trimtab.core.decide.order import FOUNDATION, WELL
from trimtab.core.model.deployment import Phase
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.hook import HookPhase, HookRun
from trimtab.core.model.names import Identity
from trimtab.core.model.plan import Action, Applied, Failed, Plan, Step

from .draft import Draft
from .state import Look, Looked

Next = Look | Waits | tuple[Step, ...]

_RUNS = Health(HealthStatus.PROGRESSING, "a hook runs")


def first(draft: Draft, looked: Looked) -> Next | None:
    """What comes before anything of the release; None when it may go on."""
    if draft.state.settled:
        return None
    if draft.state.occasion == "" and _is_found(draft, looked):
        return Look()
    if not looked.hooks:
        return None
    _follow(draft, looked)
    failed = broken(draft.state.runs)
    if failed is not None and _blame(draft, failed):
        return Look()  # with what is to be run because of it
    if draft.current.phase == Phase.FAILED:
        after = of_phase(draft, looked, HookPhase.FAILED)
        if after is not None and (failed is not None or not isinstance(after, Waits)):
            return after
    if failed is not None:
        left = [step for phase in HookPhase for step in leftovers(phase, draft.state.runs, looked.hooks)]
        return _ours(draft, left) or Waits("", ended=True)
    before = of_phase(draft, looked, HookPhase.PRE)
    if before is not None:
        return _foundations(draft, looked) or before
    return of_phase(draft, looked, HookPhase.PRE_REMOVAL)


def last(draft: Draft, looked: Looked) -> Waits | tuple[Step, ...] | None:
    """What comes after everything of the release, or after everything has gone; None when that is done."""
    for phase in (HookPhase.POST, HookPhase.POST_REMOVAL):
        after = of_phase(draft, looked, phase)
        if after is not None:
            return after
    return _ours(draft, remains(draft.state.runs, looked.hooks)) or None


def _foundations(draft: Draft, looked: Looked) -> Waits | tuple[Step, ...]:
    """What hooks, too, cannot do without and what is not there yet: the place that they run in, the definition of their kind."""
    new = tuple(step for step in looked.plan.steps if step.action == Action.CREATE and step.wave <= FOUNDATION)
    if new:
        return new
    made = [identity for identity in draft.state.touched if looked.waves.get(identity, 0) <= FOUNDATION]
    unwell = [identity for identity in made if identity in looked.health and looked.health[identity].status not in WELL]
    return Waits(f"waits for {unwell[0][1]}/{unwell[0][3]}, which hooks need") if unwell else ()


def of_phase(draft: Draft, looked: Looked, phase: HookPhase) -> Waits | tuple[Step, ...] | None:
    """What is to be done about the hooks of ``phase``; None when they are done."""
    if draft.state.settled or not looked.hooks:
        return None
    found = next_in(phase, looked.plan, draft.state.runs, looked.hooks)
    return found if isinstance(found, Waits) else _ours(draft, found) or None


def beside(draft: Draft, looked: Looked) -> tuple[Plan, Mapping[Identity, int], Mapping[Identity, Health]]:
    """The release with the hooks of its own phase: what runs there keeps later waves waiting like everything else."""
    if not looked.hooks:
        return looked.plan, looked.waves, looked.health
    known = {run.place: run.ended for run in draft.state.runs}
    here = [one for one in looked.hooks if one.phase == HookPhase.MAIN and not known.get(one.place, False)]
    waves = {one.ref.identity: one.wave for one in here}
    health = {one.ref.identity: _RUNS for one in here if one.place in known}
    return main_of(looked.plan), {**looked.waves, **waves}, {**looked.health, **health}


def begin(draft: Draft, stage: tuple[Step, ...]) -> tuple[Step, ...]:
    """The stage with the Manifests of hooks marked; that they are begun is part of the write that precedes the act."""
    if not any(step.action == Action.RUN for step in stage):
        return stage
    marked, runs = begun(stage, draft.state.runs, mark_of(draft.current, draft.state.tries))
    draft.change(runs=runs)
    return marked


def made(draft: Draft, step: Step, outcome: Applied) -> None:
    _update(draft, step, state="there", uid=outcome.uid)


def refused(draft: Draft, step: Step, outcome: Failed) -> bool:
    """True for a hook that cannot be run as it stands in Git: that is its end, and it is not tried again and again."""
    if step.action != Action.RUN or outcome.transient:
        return False
    _update(draft, step, state="failed", message=outcome.message)
    return True


def try_again(draft: Draft) -> None:
    """Somebody asked for it: what has failed is run once more, with a mark of its own."""
    state = draft.state
    if state.current is None or state.settled or broken(state.runs) is None:
        return
    draft.change(runs=tried_again(state.runs), tries=state.tries + 1)
    draft.mark(Phase.APPLYING, "", state.health)
    _more_time(draft)


def _is_found(draft: Draft, looked: Looked) -> bool:
    """The first look at a Deployment: which is it? True when the record was lost, and everything stands as Git says: then so have hooks
    been run, and it is looked at without them.
    """
    found = looked.occasion == "later" and not main_of(looked.plan).steps and not looked.plan.holds
    draft.change(occasion="found" if found else looked.occasion)
    return found and bool(looked.hooks)


def _follow(draft: Draft, looked: Looked) -> None:
    before = {run.place: run.state for run in draft.state.runs}
    runs = followed(draft.state.runs, looked.hooks)
    for run in runs:
        if run.ended and before[run.place] != run.state:
            said = f"{run.phase} hook {run.ref}" + (f": {run.message}" if run.message else "")
            draft.tell(f"hook.{run.state}", said, object=str(run.ref), phase=str(run.phase), lastLogLine=run.last_log_line)
            _more_time(draft)
    draft.change(runs=runs)


def _blame(draft: Draft, run: HookRun) -> bool:
    """The Deployment has failed because of ``run``; True when that is news."""
    news = draft.current.phase != Phase.FAILED
    message = f"the {run.phase} hook {run.ref} failed: {run.message}"
    if news:
        draft.tell("deployment.failed", message, object=str(run.ref), lastLogLine=run.last_log_line)
    health = msgspec.structs.replace(draft.state.health, object=run.ref, last_log_line=run.last_log_line)
    draft.mark(Phase.FAILED, message, health)
    return news


def _more_time(draft: Draft) -> None:
    """How long a hook may take is its own affair; the deadline is for what comes after it."""
    draft.change(deadline=draft.now + timedelta(seconds=draft.state.progress_seconds))


def _update(draft: Draft, step: Step, **fields: object) -> None:
    if step.action != Action.RUN:
        return
    place = (HookPhase(step.hook), step.ref.identity)
    runs = tuple(msgspec.structs.replace(run, **fields) if run.place == place else run for run in draft.state.runs)
    draft.change(runs=runs)


def _ours(draft: Draft, steps: tuple[Step, ...] | list[Step]) -> tuple[Step, ...]:
    key = draft.key
    return tuple(msgspec.structs.replace(step, application=key.application, environment=key.environment) for step in steps)
