"""Several into one: Manifests of sources, and values over values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.joining import join, merged
from trimtab.testing.factories import manifest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPPINGS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def test_the_order_is_that_of_the_sources() -> None:
    one, two = manifest("File", "one"), manifest("File", "two")
    assert join([("1", [two]), ("2", [one])]) == ((two, one), ())


def test_a_null_takes_the_place_of_what_was_there() -> None:
    """Helm then leaves out what the chart itself would set."""
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"b": None, "c": 2}}


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_values_over_values(low: dict[str, Any], middle: dict[str, Any], high: dict[str, Any]) -> None:
    """Nothing over something changes nothing, the same twice is the same once, what lies on top is there."""
    assert merged(low, {}) == low == merged({}, low) == merged(low, low)
    assert merged(merged(low, middle), high).keys() == low.keys() | middle.keys() | high.keys()
    for name, value in high.items():
        if not isinstance(value, dict):
            assert merged(low, high)[name] == value
