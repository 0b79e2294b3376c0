"""The shape in which two objects of a server are compared."""

from __future__ import annotations

from typing import Any

from tests.kubernetes.targets import config_map, manifest

from trimtab.core.model.observed import Owner
from trimtab.targets.kubernetes.ownership import stamped
from trimtab.targets.kubernetes.shape import shaped


def test_what_the_server_writes_and_our_marks_are_left_out() -> None:
    """So a stamped body has the shape of the body itself."""
    body = config_map(a="1")
    written = stamped(manifest(body), Owner("i", "e", "a"), namespace="n", placed=True)
    live: dict[str, Any] = {**written, "status": {"x": 1}}
    live["metadata"] = {**written["metadata"], "uid": "u", "resourceVersion": "7", "managedFields": [{}], "generation": 2}
    assert shaped(live) == body


def test_labels_of_others_are_compared() -> None:
    """Only ours are left out, and an empty rest is none."""
    body = config_map()
    body["metadata"] |= {"labels": {"app": "x", "trimtab.dev/application": "y"}, "annotations": {"trimtab.dev/digest": "z"}}
    assert shaped(body)["metadata"] == {"name": "one", "labels": {"app": "x"}}


def test_nothing_is_changed_in_place() -> None:
    """What comes in may be shared."""
    body = config_map()
    body["metadata"]["labels"] = {"trimtab.dev/application": "y"}
    shaped(body)
    assert body["metadata"]["labels"] == {"trimtab.dev/application": "y"}
