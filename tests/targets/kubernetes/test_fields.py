"""When our entry of managedFields covers what we applied. That it agrees with a real server is in tests/kubernetes/test_drift.py."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes.fields import covers, fingerprint

NAMES = st.text("abcdefgh./~", min_size=1, max_size=4)
SCALARS = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=3))
BODIES = st.recursive(
    st.dictionaries(NAMES, SCALARS, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(SCALARS, inner, st.lists(SCALARS, max_size=2)), max_size=4),
    max_leaves=12,
)


def entry(value: Any) -> Any:
    """What a server writes for a granular map; lists are owned as a whole."""
    return {f"f:{name}": entry(inner) for name, inner in value.items()} if isinstance(value, dict) else {}


def packed(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def branches(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [each for name, inner in tree.items() for each in ([(*path, name)] if not inner else branches(inner, (*path, name)))]


def without(tree: Any, path: tuple[str, ...]) -> Any:
    """A server drops what is left empty, too."""
    if len(path) == 1:
        return {name: inner for name, inner in tree.items() if name != path[0]}
    left = without(tree[path[0]], path[1:])
    return {name: (left if name == path[0] else inner) for name, inner in tree.items() if name != path[0] or left}


@given(BODIES.filter(bool))
def test_a_whole_entry_covers(body: Any) -> None:
    """Every field of ours is in it; apiVersion, kind and the name are not fields."""
    named = {**body, "apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "namespace": "y"}}
    assert covers(packed({**entry(body), "f:metadata": {}}), named)


@given(BODIES.filter(bool), st.data())
def test_an_entry_without_one_field_does_not_cover(body: Any, data: st.DataObject) -> None:
    """Whichever it is."""
    tree = entry(body)
    paths = branches(tree)
    path = data.draw(st.sampled_from(paths))
    left = without(tree, path)
    assert not covers(packed(left), body)
    assert fingerprint(packed(left)) != fingerprint(packed(tree))


@given(st.binary(max_size=60), BODIES.filter(bool))
def test_nonsense_covers_nothing(data: bytes, body: Any) -> None:
    """Nor does no entry at all."""
    assert not covers(data, {**body, "surely": "missing"})
    assert not covers(b"", {})


def ports(*keys: dict[str, Any]) -> bytes:
    return packed({"f:ports": {f"k:{json.dumps(key)}": {".": {}, **{f"f:{name}": {} for name in key}} for key in keys}})


def test_a_key_that_the_server_fills_in_is_no_drift() -> None:
    """A port without a protocol is the TCP one; nothing to do, again and again."""
    assert covers(ports({"port": 53, "protocol": "TCP"}), {"ports": [{"port": 53}]})
    assert not covers(ports({"port": 54, "protocol": "TCP"}), {"ports": [{"port": 53}]})


def test_one_entry_stands_for_one_element() -> None:
    """Of two ports of one number, the one that somebody took is missed, in whichever order they stand."""
    both = [{"port": 53}, {"port": 53, "protocol": "UDP"}]
    for body in (both, both[::-1]):
        assert covers(ports({"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}), {"ports": body})
        assert not covers(ports({"port": 53, "protocol": "UDP"}), {"ports": body})
        assert not covers(ports({"port": 53, "protocol": "TCP"}), {"ports": body})


def test_an_element_whose_fields_are_gone_is_not_covered() -> None:
    """The dot alone says only that the element is there."""
    assert not covers(packed({"f:env": {'k:{"name":"A"}': {".": {}}}}), {"env": [{"name": "A", "value": "b"}]})


def test_members_of_a_set_are_covered_one_by_one() -> None:
    """By their values as JSON."""
    assert covers(packed({"f:tags": {'v:"a"': {}, "v:1": {}}}), {"tags": ["a", 1]})
    assert not covers(packed({"f:tags": {'v:"a"': {}}}), {"tags": ["a", "b"]})


def test_what_is_null_is_nobodys() -> None:
    """The server drops it."""
    assert covers(packed({"f:a": {}}), {"a": 1, "b": None})


def test_a_map_without_fields_is_a_whole_or_bare() -> None:
    """Where there may be no schema, an entry that has lost every field of a map looks like one that owns it as a whole."""
    tree = packed({"f:spec": {"f:free": {}, "f:list": {}, "f:none": {}}})
    body = {"spec": {"free": {"a": 1}, "list": [1], "none": {}}}
    assert covers(tree, body)
    assert not covers(tree, body, whole=False)
    assert covers(tree, {"spec": {"list": [1], "none": {}}}, whole=False)
