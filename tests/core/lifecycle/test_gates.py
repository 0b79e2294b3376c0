"""What a deployment waits for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trimtab.core.lifecycle.gates import gates
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.names import Key

NOW = datetime(2030, 1, 1, tzinfo=UTC)
STAGING, PRODUCTION = Key("staging", "shop"), Key("production", "shop")


def deployment(sequence: int, phase: Phase = Phase.HEALTHY) -> Deployment:
    return Deployment("shop", "staging", f"{sequence:040}", sequence, phase, HealthStatus.HEALTHY, NOW, NOW)


def closed(state: Reconciliation | None, sequence: int = 5) -> str:
    states = {} if state is None else {STAGING: state}
    return "; ".join(gates(PRODUCTION, sequence, after=["staging"], needs=[], states=states))


def running(sequence: int = 5, phase: Phase = Phase.HEALTHY, health: Health = HEALTHY, **options: object) -> Reconciliation:
    return Reconciliation(current=deployment(sequence, phase), health=health, **options)  # type: ignore[arg-type]


def test_without_conditions_nothing_is_waited_for() -> None:
    """No `after` and no `dependsOn`: the gate is open."""
    assert gates(PRODUCTION, 1, after=[], needs=[], states={}) == ()


@pytest.mark.parametrize("sequence", [5, 6])
def test_it_opens_when_the_other_is_healthy_at_this_revision_or_a_later_one(sequence: int) -> None:
    """What came later contains what came before."""
    assert closed(running(sequence)) == ""


def test_it_opens_when_the_revision_changed_nothing_there() -> None:
    """An older deployment that nothing waits behind carries the commit."""
    assert closed(running(2)) == ""


@pytest.mark.parametrize(
    "state",
    [
        None,
        Reconciliation(pending=deployment(5, Phase.PENDING), behind=5),
        running(phase=Phase.APPLYING),
        running(phase=Phase.FAILED),
        running(phase=Phase.HELD),
        running(health=Health(HealthStatus.DEGRADED)),
        running(health=Health(HealthStatus.UNKNOWN)),
        running(2, pending=deployment(5, Phase.PENDING), behind=5),
        running(2, pending=deployment(4, Phase.FAILED), behind=4),
    ],
)
def test_it_is_closed_while_the_other_is_not_there_or_not_well(state: Reconciliation | None) -> None:
    """Not run yet, on its way, failed, held, ill, unknown, or waiting itself; the reason is a sentence."""
    assert closed(state).startswith("waits for environment staging")


def test_news_that_are_later_than_this_revision_do_not_close_it() -> None:
    """Else a steady stream of commits would never let one through."""
    assert closed(running(2, pending=deployment(7, Phase.PENDING), behind=7)) == ""


def test_it_stays_closed_for_content_that_was_replaced_while_it_waited() -> None:
    """Revision 5 never ran there: 7 took its place in the queue, and what runs is older than both."""
    assert closed(running(2, pending=deployment(7, Phase.PENDING), behind=5)).startswith("waits for")


def test_every_condition_has_its_sentence() -> None:
    """Promotion and dependencies are told apart."""
    found = gates(PRODUCTION, 5, after=["staging"], needs=[Key("production", "db"), Key("machine", "queue")], states={})
    assert found == (
        "waits for environment staging, which has not run yet",
        "waits for application db, which has not run yet",
        "waits for application queue@machine, which has not run yet",
    )


def test_what_git_does_not_place_there_would_be_waited_for_for_ever_and_is_told_so() -> None:
    """An Application of several Environments needs one that runs in some of them only: the way out is named."""
    other = Key("production", "db")
    (found,) = gates(PRODUCTION, 5, after=[], needs=[other], states={}, nowhere=[other])
    assert found.startswith("waits for application db, which does not run in production; place it there")
    assert found.endswith("db@ENVIRONMENT")
