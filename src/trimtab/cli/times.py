"""Times and durations as people write and read them: `90s`, `5m`, `1h30m` in; "3 minutes ago" out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION_DAYS_MAX = 3660
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_WORDS = [(86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")]


def now() -> datetime:
    """The reader's clock, in UTC. It only serves to say how long ago something was."""
    return datetime.now(UTC)  # noqa: TID251


def parse_duration(text: str) -> timedelta:
    """``90s``, ``5m``, ``1h30m``, ``2d``. Raises ValueError for anything else, and beyond ten years."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration. Write a number with a unit, such as 90s, 5m, 1h30m or 2d.")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text))
    if seconds > DURATION_DAYS_MAX * SECONDS["d"]:
        raise ValueError(f"{text!r} is too long. The longest is {DURATION_DAYS_MAX}d.")
    return timedelta(seconds=seconds)


def parse_time(text: str) -> datetime:
    """An RFC 3339 time. Raises ValueError, also for one that names no time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time. Write it as 2026-01-31T18:00:00Z.") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone. Write it as 2026-01-31T18:00:00Z.")
    return time.astimezone(UTC)


def absolute(time: datetime) -> str:
    """``2026-01-31 18:00:00Z``"""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def length(duration: timedelta) -> str:
    """The largest unit that fits, in words: ``3 minutes``."""
    seconds = max(0, round(duration.total_seconds()))
    for size, word in _WORDS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return "a moment"


def ago(time: datetime, at: datetime) -> str:
    """``3 minutes ago (2026-01-31 18:00:00Z)``; "in …" for what is still to come."""
    if time > at + timedelta(seconds=1):
        return f"in {length(time - at)} ({absolute(time)})"
    return f"{length(at - time)} ago ({absolute(time)})"


class Duration(click.ParamType[timedelta]):
    """A click type that gives a timedelta."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType[datetime]):
    """A click type that gives a datetime in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
