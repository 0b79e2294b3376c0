"""Values as they stand in rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from trimtab.store.rows import microseconds, moment

moments = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))  # noqa: DTZ001 - it gets one


@given(moments)
def test_a_moment_in_a_row_is_the_whole_microseconds_since_1970(time: datetime) -> None:
    """Before it, too, and to the last of them."""
    assert microseconds(time) == (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert moment(microseconds(time)) == time
