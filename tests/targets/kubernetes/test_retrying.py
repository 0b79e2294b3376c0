"""A request is sent again when that can do no harm and may help, and never for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes import errors, requests, retrying
from trimtab.targets.kubernetes.errors import ApiError, Unreachable
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.retrying import ATTEMPTS_MAX, PAUSE_SECONDS_MAX, backoff, pause

THINGS = Resource("", "v1", "things", "Thing", namespaced=True)
READ = requests.get(THINGS, "a", "b")
CREATE = requests.create(THINGS, "a", {}, manager="m")


def answer(kind: type[ApiError], code: int, retry_after: float | None = None) -> ApiError:
    return kind("x", "y", code=code, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "read", "create"),
    [
        (answer(errors.TooManyRequests, 429), True, True),
        (answer(errors.ServerError, 503), True, False),
        (answer(errors.ServerError, 500), True, False),
        (Unreachable("x", "y", sent=True), True, False),
        (Unreachable("x", "y", sent=False), True, True),
        (Unreachable("x", "y", sent=False, lasting=True), False, False),
        (answer(errors.NotFound, 404), False, False),
        (answer(errors.Conflict, 409), False, False),
        (answer(errors.Invalid, 422), False, False),
        (answer(errors.Forbidden, 403), False, False),
        (answer(errors.Gone, 410), False, False),
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'code', '')}",
)
def test_what_is_sent_again(error: ApiError, read: bool, create: bool) -> None:
    assert (pause(READ, error, 1, 0.0) is not None, pause(CREATE, error, 1, 0.0) is not None) == (read, create)


def test_an_internal_error_gets_one_more_chance() -> None:
    assert pause(READ, answer(errors.ServerError, 500), 2, 0.0) is None
    assert pause(READ, answer(errors.ServerError, 503), 2, 0.0) is not None


def test_a_time_that_the_server_names_is_kept_up_to_a_bound() -> None:
    assert pause(READ, answer(errors.TooManyRequests, 429, 3.0), 1, 0.0) == 3.0
    assert pause(READ, answer(errors.TooManyRequests, 429, PAUSE_SECONDS_MAX + 1), 1, 0.0) is None


def test_a_kept_alive_connection_that_was_closed_costs_no_time() -> None:
    assert pause(READ, Unreachable("x", "y", sent=True), 1, 0.5) == 0.0


@given(st.integers(1, 100), st.floats(0, 1))
def test_every_pause_has_a_bound_and_there_is_a_last_attempt(attempt: int, spread: float) -> None:
    found = pause(READ, answer(errors.ServerError, 503), attempt, spread)
    assert (found is None) == (attempt >= ATTEMPTS_MAX)
    assert 0 < backoff(attempt, spread, most=30.0) <= 30.0


def test_pauses_double() -> None:
    assert [backoff(attempt, 0.0, most=1.0) for attempt in range(1, 6)] == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert retrying.backoff(3, 1.0, most=1.0) == 0.2
