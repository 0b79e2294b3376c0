"""Whether a request is sent again, and after how long: pure.

A refusal of the server to look at it (429) can always be repeated. Whatever leaves open whether it was carried out is repeated
only for requests that may be carried out twice. A server that names a time is believed up to a bound; beyond it the caller is
told, so that nobody sleeps with a connection in hand.
"""

from __future__ import annotations

from .errors import ApiError, ServerError, TooManyRequests, Unreachable
from .requests import Request

ATTEMPTS_MAX = 5
FIRST_SECONDS = 0.1
PAUSE_SECONDS_MAX = 10.0
INTERNAL_ATTEMPTS_MAX = 2
"""500 is mostly lasting (a webhook that is down, after its own time-out), so it gets one more chance and no third."""


def pause(request: Request, error: ApiError, attempt: int, spread: float) -> float | None:
    """Seconds to wait before the next attempt, or None to give up. ``attempt`` counts from 1; ``spread`` is chance, from 0 to 1."""
    if attempt >= ATTEMPTS_MAX or not _may(request, error, attempt):
        return None
    if error.retry_after is not None:
        return None if error.retry_after > PAUSE_SECONDS_MAX else error.retry_after + spread * FIRST_SECONDS
    if isinstance(error, Unreachable) and error.sent and attempt == 1:
        return 0.0  # most often a kept-alive connection that the server had closed meanwhile
    return backoff(attempt, spread, most=PAUSE_SECONDS_MAX)


def backoff(attempt: int, spread: float, *, most: float, first: float = FIRST_SECONDS) -> float:
    """Doubles with each attempt (from 1) up to ``most`` seconds; a random half of it comes off, so that clients part."""
    whole = min(most, float(first * 2 ** min(attempt - 1, 30)))
    return whole * (1 - spread / 2)


def _may(request: Request, error: ApiError, attempt: int) -> bool:
    match error:
        case TooManyRequests():
            return True
        case Unreachable():
            return not error.lasting and (request.repeatable or not error.sent)
        case ServerError():
            return request.repeatable and (error.code != 500 or attempt < INTERNAL_ATTEMPTS_MAX)
        case _:
            return False
