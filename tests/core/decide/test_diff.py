"""Which fields differ."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.diff import CHANGES_MAX, carry_over, changes, ignored_pointers
from trimtab.core.model.config import Ignore
from trimtab.core.model.plan import FieldChange
from trimtab.testing.factories import ref

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.text("a~/", max_size=3)
JSON: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(["spec", "a/b", "m~n"]), JSON, max_size=3)


def test_each_field_that_differs_is_named_by_its_pointer() -> None:
    """Slashes and tildes in names are escaped as RFC 6901 says; a side without the field is None."""
    assert changes({"spec": {"a/b": 1, "m~n": [1, 2], "gone": 0}}, {"spec": {"a/b": 2, "m~n": [1], "new": None}}) == (
        FieldChange("/spec/a~1b", 1, 2),
        FieldChange("/spec/gone", 0, None),
        FieldChange("/spec/m~0n/1", 2, None),
        FieldChange("/spec/new", None, None),
    )


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    """JSON tells a boolean from a number, and has one kind of number."""
    assert changes({"a": True, "b": 1}, {"a": 1, "b": 1.0}) == (FieldChange("/a", True, 1),)


def test_an_object_that_is_not_there_differs_as_a_whole() -> None:
    """Creating and removing show the whole object as one change."""
    assert changes(None, {"spec": 1}) == (FieldChange("", None, {"spec": 1}),)
    assert changes({"spec": 1}, None) == (FieldChange("", {"spec": 1}, None),)


def test_a_list_of_changes_ends_somewhere() -> None:
    """Ten thousand fields are not listed; the first ones stand for all."""
    assert len(changes({}, {str(i): i for i in range(10_000)})) == CHANGES_MAX


def test_rules_speak_of_what_they_name() -> None:
    """An empty group, kind or name is every one."""
    rules = [Ignore(["/spec/replicas"]), Ignore(["/a"], kind="Task"), Ignore(["/b"], kind="Process", name="web")]
    assert ignored_pointers(rules, ref("Process", "web")) == ("/spec/replicas", "/b")


@given(BODIES)
def test_nothing_differs_from_itself(body: dict[str, Any]) -> None:
    """Equal values have no changes."""
    assert changes(body, copy.deepcopy(body)) == ()


@given(BODIES, BODIES)
def test_what_differs_one_way_differs_the_other_way_at_the_same_places(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Only the sides are exchanged."""
    there, back = changes(old, new), changes(new, old)
    assert [(c.path, c.from_, c.to) for c in there] == [(c.path, c.to, c.from_) for c in back]
    assert bool(there) == (old != new or repr(_plain(old)) != repr(_plain(new)))


@given(BODIES, BODIES)
def test_an_ignored_field_is_neither_a_change_nor_overwritten(old: dict[str, Any], new: dict[str, Any]) -> None:
    """What is carried over from the target leaves nothing to say below the ignored pointer, and elsewhere all as it was."""
    assert all(not c.path.startswith("/spec") for c in changes(old, new, ["/spec"]))
    carried = carry_over(new, old, ["/spec"])
    assert {**carried, "spec": 0} == {**new, "spec": 0}
    if "spec" in old:
        assert carried["spec"] == old["spec"]


def _plain(value: Any) -> Any:
    """Dictionaries in one order."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    return [_plain(one) for one in value] if isinstance(value, list) else value
