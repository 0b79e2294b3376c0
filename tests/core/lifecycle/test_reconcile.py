"""State in, happening in, state and effects out: the reconcile lifecycle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trimtab.core.decide.hooks import OVER
from trimtab.core.lifecycle.draft import BACKOFF_SECONDS_MAX
from trimtab.core.lifecycle.reconcile import (
    HEALS_MAX,
    PATIENCE_ATTEMPTS,
    RESYNC_SECONDS,
    backoff_seconds,
    step,
)
from trimtab.core.lifecycle.state import (
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
    Suspension,
    Take,
    Took,
    Unrenderable,
    Woken,
)
from trimtab.core.model.deployment import ENDED, Deployment, Phase
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Action, Applied, Failed, Hold, Plan, Step
from trimtab.testing.factories import manifest, ref

KEY = Key("host", "shop")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
WEB = manifest("Process", "web")
PROGRESSING = Health(HealthStatus.PROGRESSING, "not ready yet")
DEGRADED = Health(HealthStatus.DEGRADED, "exit code 1", WEB.ref, "no such file")


def create(name: str = "web", wave: int = 0) -> Step:
    return Step(Action.CREATE, ref("Process", name), "shop", "host", wave, manifest=manifest("Process", name))


def remove(name: str = "old", uid: str = "u1") -> Step:
    return Step(Action.REMOVE, ref("Process", name), "shop", "host", uid=uid, presupposes=uid)


def plan(*steps: Step, holds: tuple[Hold, ...] = ()) -> Plan:
    return Plan("shop", "host", steps, holds)


def hold(one: Step) -> Hold:
    return Hold(one.ref, "too much would go", "approving it", approvable=True, step=one)


def looked(made: Plan | None = None, health: Health = HEALTHY, **options: Any) -> Looked:
    return Looked(made or plan(), {WEB.identity: health}, {WEB.identity: 0}, **{"owned": 1, **options})


def tell(state: Reconciliation, *happenings: Happening, now: datetime = NOW) -> Decision:
    """The last decision after several happenings."""
    decision = Decision(state)
    for happening in happenings:
        decision = step(KEY, decision.state, happening, now)
    return decision


def applying(digest: str = "d1", sequence: int = 1) -> Reconciliation:
    return tell(Reconciliation(), Declared(f"r{sequence}", sequence, digest), Woken()).state


def settled() -> Reconciliation:
    return tell(applying(), looked(plan(create())), Took((create(),), (Applied(WEB.ref, "u"),)), looked()).state


def kinds(decision: Decision) -> list[str]:
    return [event.kind for event in decision.events]


# --- Git moves --------------------------------------------------------------------------------------------------------------


def test_new_content_waits_first_and_starts_when_it_is_woken() -> None:
    """Pending is on record before anything is done; then it is current, and looked at."""
    declared = tell(Reconciliation(), Declared("r1", 1, "d1"))
    assert [row.phase for row in declared.deployments] == [Phase.PENDING]
    started = tell(declared.state, Woken())
    assert started.state.pending is None
    assert started.state.current is not None
    assert started.state.current.phase == Phase.APPLYING
    assert started.act == Look()


def test_a_commit_that_changes_nothing_here_makes_no_deployment() -> None:
    """It is carried by the deployment before it."""
    decision = tell(settled(), Declared("r2", 2, "d1"))
    assert (decision.deployments, decision.events) == ((), ())


def test_what_waits_is_superseded_by_what_comes_later() -> None:
    """Both ends are on the record in one write, and it is remembered since when something waits."""
    decision = tell(settled(), Declared("r2", 2, "d2"), Declared("r3", 3, "d3"))
    assert [(row.revision, row.phase, row.superseded_by) for row in decision.deployments] == [
        ("r2", Phase.SUPERSEDED, "r3"),
        ("r3", Phase.PENDING, ""),
    ]
    assert decision.state.behind == 2


def test_what_a_crash_kept_from_being_told_may_have_waited_longer() -> None:
    """The first news of a process: since when is not known, so every revision after the known one counts."""
    assert tell(settled(), Declared("r9", 9, "d9", first=True)).state.behind == 2


def test_an_older_answer_that_comes_late_is_ignored() -> None:
    """Sequences only go up."""
    state = tell(settled(), Declared("r5", 5, "d5")).state
    assert tell(state, Declared("r4", 4, "d4")).state.pending == state.pending


def test_bringing_back_what_ran_before_is_a_revert() -> None:
    """The deployment in between ends as reverted, not as superseded."""
    second = tell(settled(), Declared("r2", 2, "d2"), Woken(), looked())
    third = tell(second.state, Declared("r3", 3, "d1"), Woken())
    assert "deployment.reverted" in kinds(third)
    assert third.deployments[0].phase == Phase.REVERTED


def test_what_cannot_be_rendered_fails_and_leaves_what_runs_alone() -> None:
    """Told once, however often it is tried."""
    decision = tell(settled(), Unrenderable("r2", 2, "web.yaml:3: no"))
    assert kinds(decision) == ["render.failed"]
    assert decision.state.current == settled().current
    assert decision.state.pending is not None
    assert decision.state.pending.phase == Phase.FAILED
    assert tell(decision.state, Unrenderable("r2", 2, "web.yaml:3: no")).events == ()
    assert tell(decision.state, Woken()).state.pending == decision.state.pending


def test_a_failed_try_to_render_again_what_runs_is_no_deployment() -> None:
    """After a restart the same revision is rendered again; that it runs proves that it can be."""
    assert tell(settled(), Unrenderable("r1", 1, "killed")).state == settled()


def test_a_closed_gate_is_told_and_what_runs_is_still_kept_true() -> None:
    """The waiting deployment says what it waits for."""
    decision = tell(settled(), Declared("r2", 2, "d2"), Woken(gates=("waits for staging",)))
    assert decision.state.pending is not None
    assert decision.state.pending.message == "waits for staging"
    assert decision.act == Look()


# --- looking and acting -----------------------------------------------------------------------------------------------------


def test_the_intent_is_written_with_the_decision_to_act() -> None:
    """The inventory says what will be written or removed before the target is asked."""
    decision = tell(applying(), looked(plan(create(), remove())))
    assert decision.act == Take((create(),))
    assert [(one.ref.name, one.state) for one in decision.entries] == [("web", "intended")]
    removing = tell(applying(), looked(plan(remove())))
    assert [(one.ref.name, one.state, one.uid) for one in removing.entries] == [("old", "removing", "u1")]


def test_what_is_to_be_adopted_is_not_ours_before_it_is() -> None:
    """The intent has no uid, so that nobody takes the object for ours if Git takes the adoption back."""
    adopt = Step(Action.ADOPT, WEB.ref, "shop", "host", manifest=WEB, uid="theirs")
    assert [one.uid for one in tell(applying(), looked(plan(adopt))).entries] == [""]


def test_after_each_act_the_world_is_looked_at_again() -> None:
    """Nothing is believed that was not seen afterwards."""
    decision = tell(applying(), looked(plan(create())), Took((create(),), (Applied(WEB.ref, "u7"),)))
    assert decision.act == Look()
    assert [(one.state, one.uid) for one in decision.entries] == [("applied", "u7")]
    assert kinds(decision) == ["step.applied"]


def test_it_is_healthy_when_nothing_is_left_to_do_and_all_is_well() -> None:
    """And then it is looked at again only for a wake, or when the time has come."""
    decision = tell(applying(), looked())
    assert kinds(decision) == ["deployment.healthy"]
    assert decision.state.settled
    assert decision.act == Rest(NOW + timedelta(seconds=RESYNC_SECONDS))


def test_quiet_things_write_nothing() -> None:
    """A look that finds all as it was changes no state and tells nothing."""
    decision = tell(settled(), Woken(), looked())
    assert (decision.state, decision.events, decision.deployments, decision.entries) == (settled(), (), (), ())


@pytest.mark.parametrize(
    ("health", "late", "phase"), [(PROGRESSING, 0, "applying"), (PROGRESSING, 601, "failed"), (DEGRADED, 0, "failed")]
)
def test_health_is_awaited_until_the_deadline(health: Health, late: int, phase: str) -> None:
    """Degraded fails at once, with the object and its last words; progressing fails when the time is over."""
    decision = tell(applying(), looked(health=health), now=NOW + timedelta(seconds=late))
    assert decision.state.current is not None
    assert decision.state.current.phase == phase
    if health is DEGRADED:
        assert (decision.state.current.object, decision.state.current.last_log_line) == (WEB.ref, "no such file")


def test_what_failed_may_still_get_well() -> None:
    """Failed is a phase, not an end."""
    decision = tell(applying(), looked(health=DEGRADED), looked())
    assert kinds(decision) == ["deployment.healthy"]


def test_a_difference_after_it_was_healthy_is_drift() -> None:
    """Told with what was changed, healed, and told again."""
    found = tell(settled(), looked(plan(create())))
    assert kinds(found)[-1] == "drift.detected"
    assert "is missing" in found.events[-1].message
    assert kinds(tell(found.state, Took((create(),), (Applied(WEB.ref),))))[-1] == "drift.healed"


def test_who_fights_us_is_not_fought_for_ever() -> None:
    """After many heals in a minute the next one waits."""
    state = settled()
    for _ in range(HEALS_MAX + 1):
        state = tell(state, looked(plan(create())), Took((create(),), (Applied(WEB.ref),))).state
    assert state.retry_at is not None
    assert isinstance(tell(state, looked(plan(create()))).act, Rest)


def test_a_fight_is_not_forgotten_when_a_round_of_it_is_won() -> None:
    """The other one may let us be in peace for a moment each time; the next heal waits all the same."""
    state = settled()
    for _ in range(HEALS_MAX + 1):
        state = tell(state, looked(plan(create())), Took((create(),), (Applied(WEB.ref),)), looked()).state
    waits = tell(state, looked(plan(create()))).act
    assert waits == Rest(NOW + timedelta(seconds=1))
    later = tell(state, looked(plan(create())), now=NOW + timedelta(seconds=2))
    assert isinstance(later.act, Take)


# --- failure ----------------------------------------------------------------------------------------------------------------


def test_failures_in_a_row_wait_longer_each_time_up_to_a_bound() -> None:
    """Doubling from one second."""
    waits = [backoff_seconds(attempt) for attempt in range(1, 12)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert waits[-1] == BACKOFF_SECONDS_MAX


def test_a_failed_step_backs_off_and_a_lasting_one_is_called_failed_at_once() -> None:
    """A transient one is called failed when it has lasted."""
    refused = tell(applying(), looked(plan(create())), Took((create(),), (Failed(WEB.ref, "no", "ask", transient=False),)))
    assert kinds(refused) == ["step.failed", "deployment.failed"]
    state = applying()
    for attempt in range(1, PATIENCE_ATTEMPTS + 1):
        decision = tell(state, Took((create(),), (Failed(WEB.ref, "busy"),)))
        assert ("deployment.failed" in kinds(decision)) is (attempt == PATIENCE_ATTEMPTS)
        assert decision.act == Rest(NOW + timedelta(seconds=backoff_seconds(attempt)))
        state = decision.state


def test_nothing_is_tried_before_its_time_unless_somebody_asks() -> None:
    """Or the clock was set back so far that the time would never come."""
    state = tell(applying(), Stumbled("busy")).state
    assert isinstance(tell(state, looked(plan(create()))).act, Rest)
    assert isinstance(tell(state, Requested(), looked(plan(create()))).act, Take)
    assert isinstance(tell(state, looked(plan(create())), now=NOW - timedelta(days=1)).act, Take)


def test_a_target_that_does_not_answer_says_nothing_about_what_runs() -> None:
    """What is settled is not called failed for it; its health is unknown."""
    state = settled()
    for _ in range(PATIENCE_ATTEMPTS + 2):
        state = tell(state, Stumbled("no connection")).state
    assert state.current is not None
    assert (state.current.phase, state.health.status) == (Phase.HEALTHY, HealthStatus.UNKNOWN)


# --- holds, approval, suspension --------------------------------------------------------------------------------------------

HELD = plan(holds=(hold(remove("a", "u1")), hold(remove("b", "u2"))))


def test_a_hold_is_told_once_with_the_hash_that_lifts_it() -> None:
    """Looking again at the same plan tells nothing new."""
    decision = tell(applying(), looked(HELD))
    assert kinds(decision) == ["deployment.held"]
    assert decision.events[0].data["hash"] == HELD.hash
    assert tell(decision.state, looked(HELD)).events == ()


def test_a_hold_names_those_that_are_counted_and_how_many_hooks_have_left() -> None:
    """The reason counts objects; what a hook has left goes with them and is in no budget."""
    left = msgspec.structs.replace(remove("job", "u3"), hook=OVER)
    decision = tell(applying(), looked(plan(holds=(hold(remove("a", "u1")), hold(left), hold(remove("b", "u2"))))))
    assert decision.events[0].message.endswith("(Process/a, Process/b, and 1 of hooks)")
    alone = tell(applying(), looked(plan(holds=(hold(left),))))
    assert alone.events[0].message.endswith("(Process/job)")


def test_a_first_release_that_waits_behind_what_is_held_is_held_and_not_late() -> None:
    """Nothing of it is there that could get well (simulation seed 746): who can lift the Hold is told, also after the deadline."""
    made = plan(create("late", 1), holds=(Hold(ref("Process", "early"), "it is nobody's", "adopting it", step=create("early")),))
    waits = Looked(plan=made, health={}, waves={ref("Process", "early").identity: 0, ref("Process", "late").identity: 1}, owned=0)
    for late in (NOW, NOW + timedelta(hours=1)):
        decision = tell(applying(), waits, now=late)
        assert kinds(decision) == ["deployment.held"]
        assert isinstance(decision.act, Rest)


def test_an_approval_covers_its_objects_until_the_content_changes() -> None:
    """What the plan removes is granted by uid; other content starts without it."""
    held = tell(applying(), looked(HELD)).state
    lifted = plan(remove("a", "u1"), remove("b", "u2"))
    assert lifted.hash == HELD.hash
    going = tell(held, Approved(HELD.hash, "ada"), looked(lifted))
    assert isinstance(going.act, Take)
    assert (going.state.granted, going.state.removed) == (frozenset({"u1", "u2"}), frozenset())
    assert tell(going.state, Declared("r2", 2, "d2"), Woken()).state.granted == frozenset()


def test_an_approval_of_another_plan_grants_nothing() -> None:
    """The hash is of that very plan; an approval that comes too late is void, and does not wait for its plan to come back."""
    state = tell(applying(), looked(HELD), Approved("sha256:other", "ada"), looked(HELD)).state
    assert (state.granted, state.approved) == (frozenset(), frozenset())
    assert state.current is not None
    assert state.current.phase == Phase.HELD


def test_an_approval_counts_for_the_same_plan_of_the_next_commit_and_for_no_other() -> None:
    """Who approved a removal by uid has approved just that, whichever commit it comes from (simulation seed 454); one more object is another plan."""
    approved = tell(applying(), looked(HELD), Approved(HELD.hash, "ada"), Declared("r2", 2, "d2"), Woken()).state
    same = tell(approved, looked(plan(remove("a", "u1"), remove("b", "u2"))))
    assert same.state.granted == frozenset({"u1", "u2"})
    assert [event.data["hash"] for event in same.events if event.kind == "deployment.started"] == [HELD.hash]
    more = tell(approved, looked(plan(holds=(*HELD.holds, hold(remove("c", "u3"))))))
    assert isinstance(more.act, Rest)
    assert (more.state.granted, more.state.approved) == (frozenset(), frozenset())


def test_what_was_held_counts_on_when_another_commit_comes() -> None:
    """The budget is a share of what there was when Git and the target last agreed."""
    state = tell(applying(), looked(HELD, owned=8)).state
    assert tell(state, Declared("r2", 2, "d2"), Woken()).state.owned == 8
    agreed = tell(state, looked(owned=8), Declared("r2", 2, "d2"), Woken()).state
    assert agreed.owned is None


def test_a_suspended_application_is_looked_at_and_not_changed() -> None:
    """New content waits as well; when the time is over it goes on by itself."""
    until = NOW + timedelta(hours=1)
    state = tell(settled(), Suspended(Suspension("disk", "ada", until)), Declared("r2", 2, "d2"), Woken()).state
    assert state.pending is not None
    assert tell(state, looked(plan(create()))).act == Rest(until)
    resumed = tell(state, Woken(), now=until)
    assert kinds(resumed)[0] == "application.resumed"
    assert resumed.state.pending is None
    assert tell(state, Resumed("bob"), Woken()).state.pending is None


def test_what_git_declares_no_more_ends_when_nothing_of_it_is_left() -> None:
    """And not before."""
    gone = tell(settled(), Declared("r2", 2, "empty", undeclared=True), Woken())
    assert not isinstance(tell(gone.state, looked(owned=1)).act, Finish)
    end = tell(gone.state, looked(owned=0))
    assert end.act == Finish()
    assert [row.phase for row in end.deployments] == [Phase.SUPERSEDED]


# --- a random walk ----------------------------------------------------------------------------------------------------------


class Walk(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is on record is what is remembered, and nothing is done without leave."""

    @initialize()
    def begin(self) -> None:
        self.state = Reconciliation()
        self.rows: dict[int, Deployment] = {}
        self.sequence = 0
        self.now = NOW
        self.act: Any = Rest()

    def tell(self, happening: Happening) -> Decision:
        decision = step(KEY, self.state, happening, self.now)
        self.state, self.act = decision.state, decision.act
        self.rows |= {row.sequence: row for row in decision.deployments}
        return decision

    @rule(seconds=st.integers(-100, 1000))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(digest=st.sampled_from(["d1", "d2", "d3"]), undeclared=st.booleans(), first=st.booleans())
    def git_moves(self, digest: str, undeclared: bool, first: bool) -> None:
        self.sequence += 1
        self.tell(Declared(f"r{self.sequence}", self.sequence, digest, undeclared=undeclared, first=first))

    @rule()
    def rendering_fails(self) -> None:
        self.sequence += 1
        self.tell(Unrenderable(f"r{self.sequence}", self.sequence, "broken"))

    @rule(gates=st.sampled_from([(), ("waits",)]))
    def it_is_woken(self, gates: tuple[str, ...]) -> None:
        pending = self.state.pending
        self.tell(Woken(gates))
        if gates:
            assert self.state.pending is None or pending is not None
            assert (self.state.pending is None) is (pending is None)

    @precondition(lambda self: self.state.current is not None)
    @rule(
        made=st.sampled_from([plan(), plan(create()), plan(create(), remove()), plan(remove()), HELD]),
        health=st.sampled_from([HEALTHY, PROGRESSING, DEGRADED]),
        owned=st.integers(0, 3),
    )
    def it_is_looked_at(self, made: Plan, health: Health, owned: int) -> None:
        decision = self.tell(looked(made, health, owned=owned))
        if isinstance(decision.act, Take):
            assert self.state.suspension is None
            assert {one.ref for one in decision.entries} == {one.ref for one in decision.act.steps}
            assert all(one.action != Action.REMOVE for one in decision.act.steps) or all(
                one.action == Action.REMOVE for one in decision.act.steps
            )

    @precondition(lambda self: isinstance(self.act, Take))
    @rule(well=st.booleans())
    def it_acted(self, well: bool) -> None:
        outcomes = tuple(Applied(one.ref, "u") if well else Failed(one.ref, "no") for one in self.act.steps)
        self.tell(Took(self.act.steps, outcomes))

    @rule(transient=st.booleans())
    def it_stumbles(self, transient: bool) -> None:
        self.tell(Stumbled("no answer", transient))

    @rule(
        happening=st.sampled_from(
            [Approved(HELD.hash, "ada"), Suspended(Suspension("wait", "ada")), Resumed("ada"), Requested("ada")]
        )
    )
    def somebody_asks(self, happening: Happening) -> None:
        self.tell(happening)

    @invariant()
    def the_record_is_the_state(self) -> None:
        if isinstance(self.act, Finish):
            return
        slots = {slot.sequence: slot for slot in (self.state.current, self.state.pending) if slot is not None}
        assert {sequence: row for sequence, row in self.rows.items() if row.phase not in ENDED or sequence in slots} == slots

    @invariant()
    def what_waits_is_newer_than_what_runs(self) -> None:
        if self.state.current is not None and self.state.pending is not None:
            assert self.state.pending.sequence > self.state.current.sequence
            assert self.state.current.sequence < self.state.behind <= self.state.pending.sequence


TestWalk = Walk.TestCase
