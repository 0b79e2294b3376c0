"""Which hooks run, which are waited for, and what they leave, by what is remembered and what is seen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.hooks import (
    Hooked,
    Seen,
    Waits,
    all_succeeded,
    broken,
    followed,
    leftovers,
    main_of,
    marked,
    next_in,
    remains,
    tried_again,
)
from trimtab.core.decide.plan import Situation, forgotten, plan
from trimtab.core.model.config import RemovalBudget
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.hook import Deletion, Hook, HookPhase, HookRun, annotated
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Observed
from trimtab.core.model.plan import Action, Step
from trimtab.testing.factories import INSTALLATION, entry, inventory, manifest, observed, seen

PRE, MAIN, POST, FAILED, BEFORE_END, AFTER_END = HookPhase
JOB, WEB = manifest("Task", "migrate"), manifest("Process", "web")
RUNS = Health(HealthStatus.PROGRESSING, "0 of 1 succeeded")
ILL = Health(HealthStatus.DEGRADED, "exit status 1", JOB.ref, "no such table")
BEGUN = HookRun(PRE, JOB.ref, "m1")


def hooked(wanted: Manifest = JOB, *phases: HookPhase, wave: int = 0) -> Hooked:
    chosen = phases or (PRE,)
    return Hooked(wanted, Hook(chosen, chosen, chosen, wave), chosen)


def situation(*hooks: Hooked, desired: Any = (), there: tuple[Observed, ...] = (), owned: Any = (), **options: Any) -> Situation:
    return Situation(
        key=Key("host", "shop"),
        installation=INSTALLATION,
        desired=desired,
        predicted={},
        observed=seen(*there),
        inventory=inventory(*owned),
        hooks=hooks,
        **options,
    )


def ran(state: Any, **fields: Any) -> HookRun:
    return HookRun(PRE, JOB.ref, "m1", state, **fields)


def shown(phase: HookPhase = PRE, of: Manifest = JOB, **fields: Any) -> Seen:
    return Seen(phase, of.ref, **fields)


def run(name: str = "migrate", phase: HookPhase = PRE) -> Step:
    wanted = manifest("Task", name)
    return Step(Action.RUN, wanted.ref, "shop", "host", manifest=wanted, hook=phase)


# --- what is planned --------------------------------------------------------------------------------------------------------


def test_hooks_stand_in_the_plan_in_the_order_in_which_they_run() -> None:
    """Before the release, among its waves, after what goes; those for a failure only once it has failed."""
    hooks = [hooked(manifest("Task", name), phase) for name, phase in (("z", PRE), ("m", MAIN), ("a", POST), ("f", FAILED))]
    old = manifest("Process", "old")
    world: dict[str, Any] = {"desired": [WEB], "there": (observed(old),), "owned": [entry(old)]}
    made = plan(situation(*hooks, **world, budget=RemovalBudget(empty_render="allow")))
    assert [(step.action, step.ref.name) for step in made.steps] == [
        ("run", "z"),
        ("create", "web"),
        ("run", "m"),
        ("remove", "old"),
        ("run", "a"),
    ]
    assert plan(situation(*hooks, failed=True)).steps[-1].ref.name == "f"


@pytest.mark.parametrize("state", ["there", "succeeded", "failed"])
def test_what_was_run_is_not_run_again_whatever_became_of_its_object(state: Any) -> None:
    """Deleted by a policy, by a time to live or by hand: none of it is drift."""
    assert plan(situation(hooked(), runs=[ran(state, uid="u1")])).empty


def test_what_was_begun_and_is_not_there_is_run() -> None:
    """The act never took place, or nobody has seen what came of it."""
    assert [step.action for step in plan(situation(hooked(), runs=[BEGUN])).steps] == [Action.RUN]


def test_what_was_begun_and_is_there_is_known_by_its_mark() -> None:
    """An answer that was lost does not make it run twice; an object of an earlier run is another one."""
    mine, old = marked(JOB, PRE, "m1"), marked(JOB, PRE, "m0")
    assert plan(situation(hooked(), runs=[BEGUN], there=(observed(mine),), owned=[entry(mine)])).empty
    (step,) = plan(situation(hooked(), runs=[BEGUN], there=(observed(old, uid="u0"),), owned=[entry(old)])).steps
    assert (step.action, step.uid) == (Action.RUN, "u0")


def test_the_plan_and_its_hash_do_not_know_for_which_deployment_it_is_made() -> None:
    """Else what was approved before would be something else afterwards."""
    before, after = plan(situation(hooked())), plan(situation(hooked(), runs=[BEGUN]))
    assert before.hash == after.hash
    assert before.hash != plan(situation(hooked(JOB, POST))).hash


def test_what_is_somebody_elses_is_in_the_way_even_of_an_application_that_adopts() -> None:
    """A hook makes its object anew, and what is not ours is never removed."""
    made = plan(situation(hooked(), there=(observed(JOB, application=None),), adopt=True))
    assert [(hold.object, hold.approvable) for hold in made.holds] == [(JOB.ref, False)]
    assert plan(situation(hooked(), there=(observed(JOB, installation="other"),))).holds


def test_a_hook_that_git_has_is_not_removed_and_one_that_git_lets_go_is() -> None:
    """Also where it does not run this time; what it leaves is no part of any budget."""
    owned = [entry(JOB), *(entry(manifest("Process", f"p{number}")) for number in range(3))]
    owned[0] = type(owned[0])(**{**{name: getattr(owned[0], name) for name in owned[0].__struct_fields__}, "hook": True})
    there = tuple(observed(manifest("Process", f"p{number}")) for number in range(3))
    kept = [manifest("Process", f"p{number}") for number in range(3)]
    nothing = RemovalBudget(percent=0, objects=0)
    asleep = Hooked(JOB, Hook())
    world: dict[str, Any] = {"desired": kept, "there": (observed(JOB), *there), "owned": owned, "budget": nothing}
    assert not [step for step in plan(situation(asleep, **world)).steps if step.action == Action.REMOVE]
    (step,) = [step for step in plan(situation(**world)).steps if step.action == Action.REMOVE]
    assert (step.ref, step.hook) == (JOB.ref, "over")


def test_an_entry_of_a_hook_whose_object_went_by_itself_is_forgotten_but_not_while_it_is_begun() -> None:
    """Between the intent and the act there is nothing to be seen of it."""
    known = entry(JOB)
    mine = type(known)(known.environment, known.application, known.ref, known.digest, 0, "applied", "u1", None, hook=True)
    assert forgotten(situation(hooked(), owned=[mine], runs=[ran("succeeded", uid="u1")])) == (JOB.ref,)
    assert forgotten(situation(hooked(), owned=[mine], runs=[BEGUN])) == ()


# --- what becomes of them ---------------------------------------------------------------------------------------------------


def test_an_object_that_is_well_has_been_run_and_one_that_is_ill_has_failed() -> None:
    """What runs goes on; the reason and the last line of its log are kept."""
    (done,) = followed([BEGUN], [shown(uid="u1", mine=True, health=HEALTHY)])
    assert (done.state, done.uid) == ("succeeded", "u1")
    (ill,) = followed([BEGUN], [shown(uid="u1", mine=True, health=ILL)])
    assert (ill.state, ill.message, ill.last_log_line) == ("failed", "exit status 1", "no such table")
    (on,) = followed([BEGUN], [shown(uid="u1", mine=True, health=RUNS)])
    assert on.state == "there"


def test_what_is_gone_before_its_end_was_seen_has_failed() -> None:
    """It may have succeeded, so it is not run again by itself; it may have failed, so it does not count as done."""
    (gone,) = followed([ran("there", uid="u1")], [shown(uid="u2")])
    assert gone.state == "failed"
    assert "nobody has seen" in gone.message
    assert followed([BEGUN], [shown()]) == (BEGUN,)


def test_only_hooks_for_a_failure_may_fail_without_failing_the_deployment() -> None:
    assert broken([HookRun(FAILED, JOB.ref, "m", "failed")]) is None
    assert broken([ran("succeeded"), ran("failed")]) == ran("failed")


def test_another_try_forgets_what_failed_and_keeps_what_succeeded() -> None:
    """And what runs because of a failure runs again at the next."""
    done, because = HookRun(POST, JOB.ref, "m", "succeeded"), HookRun(FAILED, JOB.ref, "m", "succeeded")
    assert tried_again([done, ran("failed"), because]) == (done,)


# --- what is next -----------------------------------------------------------------------------------------------------------


def test_hooks_of_one_phase_go_wave_by_wave_and_in_a_wave_turn_by_turn() -> None:
    """The next begin when those before have succeeded."""
    made = plan(situation()).__class__("shop", "host", (run("a"), run("b"), run("c")))
    all_of = [
        shown(of=manifest("Task", name), wave=wave, turn=turn) for name, wave, turn in (("a", 0, 1), ("b", 0, 0), ("c", 1, 0))
    ]
    assert next_in(PRE, made, [], all_of) == (run("b"),)
    b = HookRun(PRE, run("b").ref, "m", "succeeded")
    assert next_in(PRE, made, [b], all_of) == (run("a"),)
    a = HookRun(PRE, run("a").ref, "m", "there")
    waits = next_in(PRE, main_of(made), [a, b], all_of)
    assert isinstance(waits, Waits)
    assert "Task/a" in waits.message
    assert next_in(POST, made, [], all_of) == ()


@given(st.sampled_from(["succeeded", "failed"]), st.sets(st.sampled_from(list(Deletion))))
def test_what_a_hook_has_left_goes_as_its_policy_says(state: Any, delete: set[Deletion]) -> None:
    """And only the object of this run, when the hooks of its phase are done."""
    one = shown(uid="u1", mine=True, health=HEALTHY, delete=frozenset(delete))
    wanted = Deletion.SUCCEEDED if state == "succeeded" else Deletion.FAILED
    gone = leftovers(PRE, [ran(state, uid="u1")], [one])
    assert [(step.action, step.uid, step.hook) for step in gone] == ([("remove", "u1", "over")] if wanted in delete else [])
    other = shown(uid="u2", delete=frozenset(Deletion))
    assert leftovers(PRE, [ran(state, uid="u1")], [other]) == ()


def test_our_own_annotations_are_read_everywhere() -> None:
    """Several phases in their order; nothing about deletion means: until the next run."""
    notes = {"trimtab.dev/hook": "post, pre", "trimtab.dev/hook-delete": "succeeded,failed", "trimtab.dev/wave": "3"}
    found = annotated(manifest("Task", "a", annotations=notes))
    assert found == Hook((PRE, POST), (PRE, POST), (PRE, POST), 3, delete=frozenset({Deletion.SUCCEEDED, Deletion.FAILED}))
    assert annotated(manifest("Task", "a", annotations={"trimtab.dev/hook": "skip"})) == Hook()
    assert annotated(manifest("Task", "a")) is None
    ends = annotated(manifest("Task", "a", annotations={"trimtab.dev/hook": "post-removal,pre,pre-removal"}))
    assert ends == Hook((PRE,), (PRE,), (PRE,), ending=(BEFORE_END, AFTER_END))


BACKUP = Hooked(manifest("Task", "backup"), Hook(ending=(BEFORE_END,)), (BEFORE_END,))
TELL = Hooked(manifest("Task", "tell"), Hook(ending=(AFTER_END,)), (AFTER_END,))


def ending(**options: Any) -> Situation:
    return situation(BACKUP, TELL, there=(observed(WEB, uid="u1"),), owned=(entry(WEB, uid="u1"),), ending=True, **options)


def test_a_plan_of_an_end_runs_hooks_before_and_after_the_removals() -> None:
    made = plan(ending(budget=RemovalBudget(percent=100, objects=9, empty_render="allow")))
    assert [(step.action, step.ref.name) for step in made.steps] == [("run", "backup"), ("remove", "web"), ("run", "tell")]


def test_what_comes_before_a_held_removal_is_held_with_it_and_one_approval_lifts_both() -> None:
    """Also where it is a secret that stops it. The hash is the same held or not, so what is approved is what happens."""
    for reason in ({"budget": RemovalBudget(percent=0, objects=0)}, {"withheld": (JOB.ref,)}):
        held = plan(ending(**reason))
        assert {hold.object.name for hold in held.holds if hold.object and hold.approvable} == {"backup", "web"}
        lifted = plan(ending(approved=frozenset({held.hash}), **reason))
        assert sorted(step.ref.name for step in lifted.steps) == ["backup", "tell", "web"]
        assert not lifted.holds
        assert lifted.hash == held.hash


def test_hooks_before_removals_go_ahead_where_some_removal_does() -> None:
    """What is annotated to be confirmed waits alone."""
    asks = manifest("Process", "db", annotations={"trimtab.dev/end": "confirm"})
    there = (observed(WEB, uid="u1"), observed(asks, uid="u2"))
    loose = RemovalBudget(percent=100, objects=9, empty_render="allow")
    made = plan(situation(BACKUP, there=there, owned=(entry(WEB, uid="u1"), entry(asks, uid="u2")), ending=True, budget=loose))
    assert [step.ref.name for step in made.steps] == ["backup", "web"]
    assert [hold.object.name for hold in made.holds if hold.object] == ["db"]


def test_a_hook_of_an_end_takes_no_object_of_another_application() -> None:
    """The other one has not ended, or not yet."""
    theirs = observed(BACKUP.manifest, uid="u9", application="rest")
    made = plan(situation(BACKUP, there=(theirs,), ending=True))
    assert [(hold.reason, hold.approvable) for hold in made.holds] == [("it belongs to application rest", False)]
    assert not made.steps


def test_what_hooks_of_an_end_leave_goes_in_the_end_and_all_of_them_must_have_succeeded() -> None:
    run = HookRun(BEFORE_END, JOB.ref, "m1", "succeeded", "u1")
    one = Seen(BEFORE_END, JOB.ref, uid="u1", mine=True, health=HEALTHY, delete=frozenset({Deletion.BEFORE}))
    assert [(step.action, step.uid, step.hook) for step in remains([run], [one])] == [("remove", "u1", "over")]
    assert leftovers(BEFORE_END, [run], [one]) == ()
    assert remains([run], [Seen(POST, JOB.ref, uid="u1", mine=True)]) == ()
    assert all_succeeded([run], [one])
    assert not all_succeeded([run], [one, Seen(AFTER_END, JOB.ref)])
    assert not all_succeeded([HookRun(BEFORE_END, JOB.ref, "m1", "failed")], [one])
