"""Whose fields are taken over at adoption, and what the object is like afterwards. The real thing is in tests/kubernetes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.adoption import after, defaulted, installer, taken_over
from trimtab.targets.kubernetes.objects import Manager


def entry(manager: str, operation: str, tree: Any, **more: str) -> Manager:
    return Manager(manager, operation, "v1", fields=msgspec.Raw(json.dumps(tree).encode()), **more)


OURS = entry("trimtab", "Apply", {"f:data": {"f:a": {}}})
KUBECTL = entry("kubectl-client-side-apply", "Update", {"f:data": {".": {}, "f:a": {}, "f:b": {}}})
CONTROLLER = entry("controller", "Update", {"f:data": {"f:c": {}}})


bodies = st.dictionaries(
    st.sampled_from(["a", "b", "clusterIP"]),
    st.recursive(
        st.integers(), lambda inner: st.dictionaries(st.sampled_from("ab"), inner) | st.lists(inner, max_size=2), max_leaves=6
    ),
)


def test_installers_are_known_by_name() -> None:
    """Controllers, and whoever writes a subresource, are none."""
    assert all(
        installer(entry(name, "Update", {})) for name in ("kubectl-edit", "helm", "argocd-controller", "before-first-apply")
    )
    assert not installer(CONTROLLER)
    assert not installer(entry("kubectl", "Update", {}, subresource="scale"))


def test_fields_of_installers_become_ours() -> None:
    """Joined with what we have; everybody else's entries stay."""
    joined = taken_over([CONTROLLER, KUBECTL, OURS], "trimtab")
    assert joined is not None
    assert [(one["manager"], one["operation"]) for one in joined] == [("controller", "Update"), ("trimtab", "Apply")]
    assert joined[1]["fieldsV1"] == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}


def test_nothing_to_take_over_is_no_write() -> None:
    """Also a second time."""
    assert taken_over([CONTROLLER, OURS], "trimtab") is None
    assert taken_over([], "trimtab") is None


def test_what_only_installers_own_goes() -> None:
    """What we set stays, what others own stays."""
    body = {"data": {"a": "1", "b": "2", "c": "3"}}
    assert after(body, [OURS, KUBECTL, CONTROLLER], "trimtab") == {"data": {"a": "1", "c": "3"}}
    assert after(body, [OURS, CONTROLLER], "trimtab") == body


def test_elements_go_as_a_whole_or_by_field() -> None:
    """An element that only an installer owns is gone; of a shared one its fields go."""
    theirs = {"f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}, 'k:{"name":"B"}': {".": {}, "f:name": {}}}}
    ours = {"f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}}}}
    body = {"env": [{"name": "A", "value": "x"}, {"name": "B"}], "tags": ["t", "u"]}
    entries = [entry("helm", "Update", {**theirs, "f:tags": {'v:"u"': {}}}), entry("trimtab", "Apply", ours)]
    assert after(body, entries, "trimtab") == {"env": [{"name": "A"}], "tags": ["t"]}


def test_where_a_field_goes_its_default_comes() -> None:
    """That of an object made anew of the same manifest; what the server gives each object for itself stays what it was."""
    before = {"replicas": 3, "limit": 3, "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30001, "name": "x"}]}
    fresh = {"replicas": 1, "limit": 10, "clusterIP": "10.0.0.9", "ports": [{"port": 80, "nodePort": 30009}], "more": 1}
    going = {"replicas": 1, "ports": [{"port": 80}]}
    assert defaulted(going, fresh, before) == {
        "replicas": 1,
        "limit": 10,
        "clusterIP": "10.0.0.1",
        "ports": [{"port": 80, "nodePort": 30001}],
    }


@given(going=bodies, fresh=bodies, before=bodies)
def test_law_a_default_changes_nothing_that_stays(going: Body, fresh: Body, before: Body) -> None:
    """What `going` has is untouched, and nothing comes that was not there before."""
    made = defaulted(going, fresh, before)
    assert {name: made[name] for name in going}.keys() == going.keys()
    assert all(made[name] == value for name, value in going.items() if not isinstance(value, dict | list))
    assert made.keys() - going.keys() <= fresh.keys() & before.keys()
