"""Which steps may be taken now."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.order import next_stage
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.plan import Action, Hold, Plan, Step
from trimtab.testing.factories import ref

PROGRESSING = Health(HealthStatus.PROGRESSING)


def step(name: str, wave: int = 0, action: Action = Action.CREATE) -> Step:
    return Step(action, ref("Process", name), "shop", "host", wave)


def plan(*steps: Step) -> Plan:
    return Plan("shop", "host", steps)


def identity(name: str) -> tuple[str, str, str, str]:
    return ref("Process", name).identity


def test_the_lowest_wave_goes_first_and_all_of_it_at_once() -> None:
    """Objects of one wave do not wait for each other."""
    made = plan(step("db", -1), step("cache", -1), step("web", 0))
    assert next_stage(made, touched=(), waves={}, health={}) == made.steps[:2]


def test_a_wave_waits_for_what_was_changed_below_it() -> None:
    """As long as it is not well, nothing is taken; then the wave is."""
    made, waves = plan(step("web", 1)), {identity("db"): 0, identity("web"): 1}
    assert next_stage(made, touched=[identity("db")], waves=waves, health={identity("db"): PROGRESSING}) == ()
    assert next_stage(made, touched=[identity("db")], waves=waves, health={identity("db"): HEALTHY}) == made.steps


def test_an_old_wound_does_not_block_a_cure() -> None:
    """What this deployment has not changed may be unwell in a lower wave."""
    made, waves = plan(step("web", 1)), {identity("db"): 0}
    assert next_stage(made, touched=(), waves=waves, health={identity("db"): PROGRESSING}) == made.steps


def test_what_went_to_another_application_is_not_waited_for() -> None:
    """A held object has no health, and no patience would give it one."""
    made, waves = plan(step("web", 1)), {identity("db"): 0}
    assert next_stage(made, touched=[identity("db")], waves=waves, health={}) == made.steps


def test_nothing_of_a_release_comes_after_what_is_held() -> None:
    """Lower waves and its own go, later ones and removals wait; once the release is out, all of it is kept true."""
    waves = {identity(name): wave for name, wave in (("db", 0), ("job", 1), ("cache", 1), ("web", 2))}
    held = (Hold(ref("Process", "job"), "spec.template cannot be changed in place", "putting it back"),)

    def stage(*steps: Step, **options: bool) -> tuple[Step, ...]:
        return next_stage(Plan("shop", "host", steps, held), touched=(), waves=waves, health={}, **options)

    db, cache, web, old = step("db", 0), step("cache", 1), step("web", 2), step("old", 0, Action.REMOVE)
    assert stage(db, cache, web, old) == (db,)
    assert stage(cache, web, old) == (cache,)
    assert stage(web, old) == stage(old) == ()
    assert stage(web, settled=True) == (web,)
    assert stage(old, settled=True) == (old,)


def test_a_removal_that_is_held_holds_up_nothing_else() -> None:
    """What Git wants does not wait for somebody's yes to what goes."""
    gone = step("old", 0, Action.REMOVE)
    made = Plan("shop", "host", (step("web", 1),), (Hold(gone.ref, "the budget", "approving", approvable=True, step=gone),))
    assert next_stage(made, touched=(), waves={identity("web"): 1}, health={}) == made.steps


def test_removals_come_last_from_the_highest_wave_down() -> None:
    """First what replaces them is well, then each wave of them goes."""
    made = plan(step("old", 2, Action.REMOVE), step("older", 1, Action.REMOVE))
    waves = {identity("new"): 5}
    assert next_stage(made, touched=[identity("new")], waves=waves, health={identity("new"): PROGRESSING}) == ()
    assert next_stage(made, touched=[identity("new")], waves=waves, health={identity("new"): HEALTHY}) == made.steps[:1]


@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), max_size=8))
def test_when_all_is_well_the_stages_take_every_step_once(waves: list[tuple[int, bool]]) -> None:
    """One stage after the other ends with an empty plan; wanted waves ascend, removals follow with waves descending."""
    left = tuple(step(f"p{i}", wave, Action.REMOVE if gone else Action.CREATE) for i, (wave, gone) in enumerate(waves))
    taken: list[Step] = []
    while left:
        stage = next_stage(plan(*left), touched=(), waves={}, health={})
        assert stage
        taken += stage
        left = tuple(one for one in left if one not in stage)
    ranks = [(1, -one.wave) if one.action == Action.REMOVE else (0, one.wave) for one in taken]
    assert ranks == sorted(ranks)
