"""Whose turn it is among Environments that were selected together: examples, and laws over random walks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.lifecycle.rollout import turn
from trimtab.core.lifecycle.state import Reconciliation, Suspension
from trimtab.core.model.config import Fleet
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.names import Key

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PROGRESSING = Health(HealthStatus.PROGRESSING)


def deployment(environment: str, sequence: int, phase: Phase, message: str = "", since: datetime = NOW) -> Deployment:
    return Deployment("shop", environment, f"{sequence:040}", sequence, phase, HealthStatus.HEALTHY, since, NOW, message)


def at(environment: str, sequence: int, phase: Phase = Phase.HEALTHY, health: Health = HEALTHY, **options: Any) -> Reconciliation:
    since = options.pop("since", NOW)
    current = deployment(environment, sequence, phase, options.pop("message", ""), since)
    return Reconciliation(current=current, health=health, **options)


def waiting(environment: str, sequence: int, *, current: int = 0, **options: Any) -> Reconciliation:
    pending = deployment(environment, sequence, Phase.PENDING)
    if not current:
        return Reconciliation(pending=pending, behind=sequence)
    state = at(environment, current, **options)
    return Reconciliation(current=state.current, health=state.health, pending=pending, behind=sequence)


def waits(environment: str, fleet: Fleet, *states: Reconciliation, **options: Any) -> str:
    by_key = {Key(name, "shop"): state for name, state in zip(fleet.members, states, strict=True)}
    return turn(Key(environment, "shop"), fleet, by_key, NOW, **options).waits


TWO = Fleet(("a", "b"))


def test_the_first_goes_and_the_second_waits_for_its_turn() -> None:
    """New content that reached all of them is begun in one."""
    states = waiting("a", 2, current=1), waiting("b", 2, current=1)
    assert waits("a", TWO, *states) == ""
    assert waits("b", TWO, *states) == "waits for its turn after environment a"


def test_the_second_waits_until_the_first_is_healthy() -> None:
    """Health between: what is on its way counts."""
    assert waits("b", TWO, at("a", 2, Phase.APPLYING, PROGRESSING), waiting("b", 2, current=1)) == (
        "waits for environment a, which is applying and progressing"
    )
    assert waits("b", TWO, at("a", 2), waiting("b", 2, current=1)) == ""


def test_it_stops_at_the_first_that_fails_and_says_why() -> None:
    """However many may be unavailable."""
    fleet = Fleet(("a", "b"), max_unavailable=2)
    failed = at("a", 2, Phase.FAILED, message="Deployment/web: the image cannot be pulled")
    assert waits("b", fleet, failed, waiting("b", 2, current=1)) == (
        "stopped: in environment a this revision failed: Deployment/web: the image cannot be pulled"
    )


def test_content_that_cannot_be_rendered_for_one_of_them_stops_it_too() -> None:
    """It failed at this revision as much as what could not be applied."""
    broken = Reconciliation(pending=deployment("b", 2, Phase.FAILED, "no such file"), behind=2)
    assert waits("a", TWO, waiting("a", 2, current=1), broken).startswith(
        "stopped: in environment b this revision failed: no such"
    )


def test_a_new_commit_moves_on_where_an_older_one_failed() -> None:
    """It may be the cure, so it begins with the first again."""
    states = waiting("a", 3, current=2, phase=Phase.FAILED), waiting("b", 3, current=1)
    assert waits("a", TWO, *states) == ""
    assert waits("b", TWO, *states).startswith("waits for its turn")


def test_what_is_still_applying_an_older_commit_counts_as_under_way() -> None:
    """Else two commits in quick succession would take down two at once."""
    states = waiting("a", 3, current=2), waiting("b", 3, current=2, phase=Phase.APPLYING, health=PROGRESSING)
    assert waits("a", TWO, *states).startswith("waits for environment b")


def test_one_that_is_unwell_itself_does_not_wait_for_others_to_get_well() -> None:
    """It makes nothing worse by starting."""
    states = (
        waiting("a", 3, current=2, phase=Phase.APPLYING, health=PROGRESSING),
        waiting("b", 3, current=2, phase=Phase.APPLYING, health=PROGRESSING),
    )
    assert waits("a", TWO, *states) == ""


def test_steps_are_wholly_healthy_before_the_next() -> None:
    """Two at a time, but the first alone."""
    fleet = Fleet(("a", "b", "c"), max_unavailable=2, steps=(1,))
    under_way = at("a", 2, Phase.APPLYING, PROGRESSING)
    assert waits("b", fleet, under_way, waiting("b", 2, current=1), waiting("c", 2, current=1)) == (
        "waits for the step before, in which environment a is applying and progressing"
    )
    moved = at("b", 2, Phase.APPLYING, PROGRESSING)
    assert waits("c", fleet, at("a", 2), moved, waiting("c", 2, current=1)) == ""


def test_a_pause_between_is_a_due_time() -> None:
    """Healthy for long enough, or the moment when it will be."""
    fleet = Fleet(("a", "b"), pause_seconds=60)
    states = {Key("a", "shop"): at("a", 2, since=NOW - timedelta(seconds=20)), Key("b", "shop"): waiting("b", 2, current=1)}
    found = turn(Key("b", "shop"), fleet, states, NOW)
    assert found == ("waits for environment a, which has been healthy for a short time only", NOW + timedelta(seconds=40))
    assert turn(Key("b", "shop"), fleet, states, NOW + timedelta(seconds=40)) == ("", None)
    # The clock was set back by a day: nobody waits for that day to pass.
    assert turn(Key("b", "shop"), fleet, states, NOW - timedelta(days=1)) == ("", None)


def test_one_that_is_just_starting_counts_before_it_is_stored() -> None:
    """Two that ask at the same moment are not both let go."""
    fleet = Fleet(("a", "b"), max_unavailable=1)
    states = waiting("a", 2, current=1), waiting("b", 2, current=1)
    assert waits("a", fleet, *states, starting={Key("b", "shop")}) == "waits for environment b, which is just starting"


def test_a_suspended_one_holds_its_place_and_the_reason_says_so() -> None:
    """Somebody asked to leave it alone; whether the others go on without it is for people to say."""
    suspended = Reconciliation(
        current=deployment("a", 1, Phase.HEALTHY),
        health=HEALTHY,
        pending=deployment("a", 2, Phase.PENDING),
        behind=2,
        suspension=Suspension("disk", "ann"),
    )
    assert waits("b", TWO, suspended, waiting("b", 2, current=1)) == (
        "waits for its turn after environment a, which is suspended: disk"
    )


# --- laws ----------------------------------------------------------------------------------------------------------------------


class Model:
    """A model of a fleet: commits arrive, members start as their turn comes, and get healthy or fail. Started one at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.sequence = 1
        self.states = {Key(name, "shop"): at(name, 1) for name in fleet.members}

    def commit(self, names: list[str]) -> None:
        self.sequence += 1
        for name in names:
            state = self.states[Key(name, "shop")]
            behind = state.behind or self.sequence
            pending = deployment(name, self.sequence, Phase.PENDING)
            self.states[Key(name, "shop")] = Reconciliation(state.current, pending, behind, health=state.health)

    def ready(self) -> list[str]:
        return [
            name
            for name in self.fleet.members
            if self.states[Key(name, "shop")].pending is not None
            and not turn(Key(name, "shop"), self.fleet, self.states, NOW).waits
        ]

    def start(self, name: str) -> None:
        pending = self.states[Key(name, "shop")].pending
        assert pending is not None
        self.states[Key(name, "shop")] = at(name, pending.sequence, Phase.APPLYING, PROGRESSING)

    def end(self, name: str, phase: Phase) -> None:
        state = self.states[Key(name, "shop")]
        assert state.current is not None
        ended = at(name, state.current.sequence, phase, HEALTHY if phase == Phase.HEALTHY else Health(HealthStatus.DEGRADED))
        self.states[Key(name, "shop")] = Reconciliation(ended.current, state.pending, state.behind, health=ended.health)

    def applying(self) -> list[str]:
        found = {name: self.states[Key(name, "shop")].current for name in self.fleet.members}
        return [name for name, current in found.items() if current is not None and current.phase == Phase.APPLYING]

    def failed(self) -> list[str]:
        """Who failed, and has nothing new that waits."""
        found = {name: self.states[Key(name, "shop")] for name in self.fleet.members}
        return [name for name, one in found.items() if one.pending is None and one.current and one.current.phase == Phase.FAILED]

    def behind(self) -> list[str]:
        return [name for name in self.fleet.members if self.states[Key(name, "shop")].pending is not None]


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    members = tuple("abcdef"[: draw(st.integers(1, 6))])
    steps = tuple(sorted(draw(st.sets(st.integers(1, len(members)), max_size=2)) - {len(members)}))
    return Fleet(members, max_unavailable=draw(st.integers(1, 4)), steps=steps)


def walk(model: Model, data: st.DataObject) -> None:
    """Any of what may happen next."""
    moves: list[tuple[str, str]] = [("commit", ""), *(("start", name) for name in model.ready())]
    moves += [(end, name) for name in model.applying() for end in ("healthy", "failed")]
    what, name = data.draw(st.sampled_from(moves))
    match what:
        case "commit":
            model.commit(data.draw(st.lists(st.sampled_from(model.fleet.members), min_size=1, unique=True)))
        case "start":
            before, unwell = set(model.applying()), {one for one in model.fleet.members if _unwell(model, one)}
            assert not model.failed(), "it stops at the first that fails"
            assert not set(model.behind()) & set(model.fleet.members[: model.fleet.members.index(name)]), "in order"
            model.start(name)
            if name not in unwell:
                assert len(before | {name}) <= model.fleet.max_unavailable
            for count in model.fleet.steps:
                if model.fleet.members.index(name) >= count:
                    assert not before & set(model.fleet.members[:count]), "the steps before are healthy"
        case end:
            model.end(name, Phase.HEALTHY if end == "healthy" else Phase.FAILED)


def _unwell(model: Model, name: str) -> bool:
    current = model.states[Key(name, "shop")].current
    return current is not None and current.phase != Phase.HEALTHY


@settings(max_examples=150, deadline=None)
@given(fleets(), st.data())
def test_law_bounded_in_order_and_stopped_by_a_failure(fleet: Fleet, data: st.DataObject) -> None:
    """Whatever happens: never more than maxUnavailable made unavailable, the order and the steps kept, nothing begun while one failed."""
    model = Model(fleet)
    for _ in range(data.draw(st.integers(1, 25))):
        walk(model, data)


@settings(max_examples=150, deadline=None)
@given(fleets(), st.data())
def test_law_everybody_gets_it_if_each_becomes_healthy(fleet: Fleet, data: st.DataObject) -> None:
    """Progress, from wherever a story left the fleet: a new commit, and health, bring it to all of them."""
    model = Model(fleet)
    for _ in range(data.draw(st.integers(1, 25))):
        walk(model, data)
    model.commit(list(fleet.members))
    for _ in range(4 * len(fleet.members)):
        for name in model.applying():
            model.end(name, Phase.HEALTHY)
        for name in model.ready()[:1]:
            model.start(name)
    assert model.behind() == []


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_after_a_failure_the_rest_is_as_it_was(failing: int) -> None:
    """Those after it keep what they ran."""
    model = Model(Fleet(("a", "b", "c")))
    model.commit(["a", "b", "c"])
    for at_, name in enumerate(model.fleet.members):
        if model.ready():
            model.start(name)
            model.end(name, Phase.FAILED if at_ == failing else Phase.HEALTHY)
    assert model.behind() == list(model.fleet.members[failing + 1 :])
