"""Which fields differ."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.diff import CHANGES_MAX, as_observed, carry_over, changes
from trimtab.core.model.plan import FieldChange

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


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(items)}}


def test_an_item_of_a_list_is_ignored_by_its_key_wherever_it_stands() -> None:
    """Its image is somebody else's; the other item's is not, and neither is its place."""
    web, job = {"name": "web", "image": "web:1"}, {"name": "job", "image": "job:1"}
    pattern = ["/spec/containers/[name=web]/image"]
    assert changes(containers({**web, "image": "web:2"}, job), containers(web, job), pattern) == ()
    assert changes(containers(job, {**web, "image": "web:2"}), containers(job, web), pattern) == ()
    found = changes(containers(web, {**job, "image": "job:2"}), containers(web, job), pattern)
    assert [change.path for change in found] == ["/spec/containers/1/image"]


def test_an_item_that_somebody_adds_is_ignored_as_a_whole() -> None:
    """A sidecar that is injected in front: no difference, and an update leaves it where it is."""
    web, sidecar = {"name": "web", "image": "web:1"}, {"name": "istio-proxy", "image": "proxy:7"}
    pattern = ["/spec/containers/[name=istio-*]"]
    assert changes(containers(sidecar, web), containers(web), pattern) == ()
    new = containers({**web, "image": "web:2"})
    assert carry_over(new, containers(sidecar, web), pattern) == containers(sidecar, {**web, "image": "web:2"})


def test_a_star_stands_for_any_text_of_a_key_and_for_each_item() -> None:
    """Annotations of a tool by their prefix; the images of all containers."""
    old = {"metadata": {"annotations": {"tool/a": "1", "tool/b": "2", "mine": "x"}}, **containers({"image": "a"}, {"image": "b"})}
    new = {"metadata": {"annotations": {"mine": "x"}}, **containers({"image": "c"}, {"image": "d"})}
    assert changes(old, new, ["/metadata/annotations/tool~1*", "/spec/containers/*/image"]) == ()
    assert [change.path for change in changes(old, new, ["/metadata/annotations/t*"])] == [
        *("/spec/containers/0/image", "/spec/containers/1/image")
    ]


def test_a_field_that_somebody_removed_is_ignored_too() -> None:
    """Also when it was the last one of its mapping."""
    assert changes({"spec": {}}, {"spec": {"more": {"replicas": 1}}}, ["/spec/more/replicas"]) == ()


PATTERNS = st.lists(
    st.sampled_from(["/spec", "/spec/a", "/spec/*", "/spec/*/*", "/spec/b", "/a~1b/[a=1]", "/spec/[b=*]/a"]), max_size=3
)


@given(BODIES, BODIES, PATTERNS)
def test_what_is_written_over_an_object_with_ignored_fields_leaves_no_difference(
    old: dict[str, Any], new: dict[str, Any], patterns: list[str]
) -> None:
    """Once the target shows what was written, with the ignored fields as others keep them, nothing is left to do."""
    written = as_observed(new, old, patterns)
    assert changes(written, new, patterns) == ()


def _plain(value: Any) -> Any:
    """Dictionaries in one order."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    return [_plain(one) for one in value] if isinstance(value, list) else value
