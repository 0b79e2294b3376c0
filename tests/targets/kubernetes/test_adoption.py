"""Whose fields are taken over at adoption, and what the object is like afterwards. The real thing is in tests/kubernetes."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from trimtab.targets.kubernetes.adoption import after, installer, taken_over
from trimtab.targets.kubernetes.objects import Manager


def entry(manager: str, operation: str, tree: Any, **more: str) -> Manager:
    return Manager(manager, operation, "v1", fields=msgspec.Raw(json.dumps(tree).encode()), **more)


OURS = entry("trimtab", "Apply", {"f:data": {"f:a": {}}})
KUBECTL = entry("kubectl-client-side-apply", "Update", {"f:data": {".": {}, "f:a": {}, "f:b": {}}})
CONTROLLER = entry("controller", "Update", {"f:data": {"f:c": {}}})


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
