"""Times and durations as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.cli.times import absolute, ago, length, parse_duration, parse_time

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("2d", 172800), ("0.5s", 0.5), ("0s", 0)]
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "-5s", "1 h", "5M", "1w", "1e3s", "10ss", "99999d", "9" * 400 + "s", "٣s\x00"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is (no duration|too long)"):
        parse_duration(text)


def test_a_time_is_read_in_its_zone_and_kept_in_utc() -> None:
    assert parse_time("2026-01-31T13:00:00+01:00") == NOON
    assert parse_time("2026-01-31T12:00:00Z").tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "noon", ""])
def test_a_time_without_a_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2026-01-31T18:00:00Z"):
        parse_time(text)


def test_how_long_ago_is_said_in_the_largest_unit() -> None:
    assert ago(NOON - timedelta(seconds=1), NOON) == "1 second ago (2026-01-31 11:59:59Z)"
    assert ago(NOON - timedelta(hours=26), NOON).startswith("1 day ago")
    assert ago(NOON + timedelta(minutes=5), NOON) == "in 5 minutes (2026-01-31 12:05:00Z)"
    assert absolute(NOON.astimezone(timezone(timedelta(hours=9)))) == "2026-01-31 12:00:00Z"


@given(st.timedeltas(min_value=timedelta(days=-10), max_value=timedelta(days=10_000)))
def test_every_length_has_words(duration: timedelta) -> None:
    assert length(duration) == "a moment" or length(duration).split()[1].rstrip("s") in {"second", "minute", "hour", "day"}


@given(st.integers(0, 3000), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_what_is_written_with_units_adds_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected
