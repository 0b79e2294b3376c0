"""Who fails to log in too often waits, in bounded memory; time is given."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.engine.throttle import FAILURES_MAX, FORGET_SECONDS, LOCK_SECONDS, LOCK_SECONDS_MAX, WINDOW_SECONDS, Throttle


def fail(throttle: Throttle, address: str, now: float, times: int = FAILURES_MAX) -> bool:
    return [throttle.failed(address, now) for _ in range(times)][-1]


def test_ten_failures_within_a_minute_lock_an_address() -> None:
    """The tenth locks, and the lock ends by itself; others are not touched."""
    throttle = Throttle()
    assert not fail(throttle, "192.0.2.1", 0, FAILURES_MAX - 1)
    assert throttle.wait("192.0.2.1", 0) == 0
    assert throttle.failed("192.0.2.1", 0)
    assert throttle.wait("192.0.2.1", 0) == LOCK_SECONDS
    assert throttle.wait("192.0.2.2", 0) == 0
    assert throttle.wait("192.0.2.1", LOCK_SECONDS) == 0


def test_slow_failures_lock_nobody() -> None:
    """A slip now and then is none: what is older than a minute does not count."""
    throttle = Throttle()
    assert not any(throttle.failed("192.0.2.1", number * WINDOW_SECONDS / 5) for number in range(50))


def test_each_lock_is_longer_up_to_a_bound() -> None:
    """Who comes back at once waits twice as long; who was quiet for an hour begins anew."""
    throttle, now, waits = Throttle(), 0.0, []
    for _ in range(8):
        fail(throttle, "192.0.2.1", now)
        waits.append(throttle.wait("192.0.2.1", now))
        now += waits[-1]
    assert waits[:3] == [LOCK_SECONDS, 2 * LOCK_SECONDS, 4 * LOCK_SECONDS]
    assert waits[-1] == LOCK_SECONDS_MAX
    now += FORGET_SECONDS + 1
    fail(throttle, "192.0.2.1", now)
    assert throttle.wait("192.0.2.1", now) == LOCK_SECONDS


def test_addresses_that_one_guesser_has_are_one() -> None:
    """The lower half of an IPv6 address is its owner's to choose; a mapped IPv4 address is that address."""
    throttle = Throttle()
    for number in range(FAILURES_MAX):
        throttle.failed(f"2001:db8::{number:x}", 0)
    assert throttle.wait("2001:db8::ffff", 0) > 0
    assert throttle.wait("2001:db8:0:1::1", 0) == 0
    fail(throttle, "::ffff:192.0.2.1", 0)
    assert throttle.wait("192.0.2.1", 0) > 0


@given(st.lists(st.tuples(st.text(max_size=200), st.floats(0, 1e6)), max_size=60))
def test_memory_is_bounded(failures: list[tuple[str, float]]) -> None:
    """However many addresses there are, and whatever they are called, no more than the bound are remembered."""
    throttle = Throttle(addresses_max=5)
    for address, now in failures:
        throttle.failed(address, now)
        assert len(throttle) <= 5
        assert throttle.wait(address, now) <= LOCK_SECONDS_MAX
