"""When a process is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.host.backoff import FREE_MAX, Exit, delay_seconds
from trimtab.targets.host.kinds import Restart


def exits(*each: tuple[float, float, bool]) -> list[Exit]:
    return [Exit(*one) for one in each]


def test_a_process_that_worked_is_started_at_once() -> None:
    """Somebody waits for it."""
    assert delay_seconds(exits((100.0, 5.0, True)), Restart()) == 0.0


def test_a_process_that_never_worked_waits_and_the_wait_doubles() -> None:
    """1, 2, 4 seconds, up to the bound."""
    crashes = [(float(at), 0.1, False) for at in range(10)]
    waits = [delay_seconds(exits(*crashes[: number + 1]), Restart(backoff_seconds_max=5.0)) for number in range(10)]
    assert waits == [1.0, 2.0, 4.0, *[5.0] * 7]


def test_free_restarts_are_used_up() -> None:
    """A process that gets ready and dies every time ends in a crash loop too."""
    crashes = [(at * 0.5, 0.5, True) for at in range(FREE_MAX + 3)]
    waits = [delay_seconds(exits(*crashes[: number + 1]), Restart()) for number in range(len(crashes))]
    assert waits[:FREE_MAX] == [0.0] * FREE_MAX
    assert waits[FREE_MAX + 1] > 0


def test_a_long_life_is_forgiven() -> None:
    """After a minute of running, the account is new."""
    crashes = [(float(at), 0.1, False) for at in range(5)]
    assert delay_seconds(exits(*crashes, (100.0, 90.0, True)), Restart()) == 0.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5), st.booleans()), min_size=1, max_size=64))
def test_the_wait_is_bounded(raw: list[tuple[float, float, bool]]) -> None:
    """Never negative, never beyond backoffSecondsMax."""
    assert 0.0 <= delay_seconds(exits(*sorted(raw)), Restart(backoff_seconds_max=30.0)) <= 30.0
