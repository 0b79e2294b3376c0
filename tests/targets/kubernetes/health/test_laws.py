"""What holds for every object, whatever its kind and shape."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.text import is_safe_line
from trimtab.targets.kubernetes import health

KINDS = [(f"{group}/v1" if group else "v1", kind) for group, kinds in health._TABLE.items() for kind in kinds]
KINDS += [(f"some.{family}/v1", "Anything") for family in health._FAMILIES] + [("example.test/v1", "Anything")]
WORDS = st.sampled_from(
    ["Ready", "True", "False", "Failed", "Running", "status", "conditions", "phase", "state", "reason", "message", "type", "name"]
) | st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=15)
FIELDS = [
    *("conditions", "phase", "state", "health", "observedGeneration", "containerStatuses", "initContainerStatuses", "listeners"),
    *("parents", "ancestors", "statuses", "bindings", "byPod", "summary", "instances", "cells", "ceph", "problems", "status"),
    *("readyToUse", "error", "lastUpdate", "containerState", "validationErrors", "validationMessages", "ingress", "currentState"),
    *("lifecycleState", "jobStatus", "operationState", "loadBalancer", "replicas", "readyReplicas", "reason", "message", "stage"),
]
CONDITIONS = st.lists(
    st.fixed_dictionaries({}, optional={"type": WORDS, "status": WORDS, "reason": JSON, "message": JSON}) | JSON, max_size=4
)
STATUS = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6) | st.fixed_dictionaries({"conditions": CONDITIONS})


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """Objects of a known kind whose every part may be of any JSON shape."""
    version, kind = draw(st.sampled_from(KINDS))
    parts = st.fixed_dictionaries({}, optional={"metadata": JSON, "spec": JSON, "status": STATUS, "data": JSON})
    return {"apiVersion": version, "kind": kind, **draw(parts)}


@given(objects())
def test_no_object_makes_it_raise_and_every_message_is_one_safe_line(obj: dict[str, Any]) -> None:
    found = health.assess(obj)
    assert is_safe_line(found.message)
    assert len(found.message) <= 501
    assert (found.message == "") == (found.status == HealthStatus.HEALTHY)


@given(st.dictionaries(WORDS | st.sampled_from(["apiVersion", "kind", "metadata", "status", "spec"]), JSON, max_size=5))
def test_what_is_no_object_at_all_does_not_make_it_raise(obj: dict[str, Any]) -> None:
    health.assess(obj)


@given(objects(), st.integers(0, 1000), st.integers(1, 1000))
def test_an_object_newer_than_its_controller_has_seen_is_never_healthy(obj: dict[str, Any], seen: int, ahead: int) -> None:
    status = obj.get("status") if isinstance(obj.get("status"), dict) else {}
    newer = {**obj, "metadata": {"generation": seen + ahead}, "status": {**status, "observedGeneration": seen}}
    assert health.assess(newer).status == HealthStatus.PROGRESSING


@given(objects(), st.lists(st.text(min_size=1, max_size=8), max_size=8))
def test_an_object_that_is_being_deleted_is_never_healthy(obj: dict[str, Any], finalizers: list[str]) -> None:
    going = {**obj, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}}
    assert health.assess(going).status == HealthStatus.PROGRESSING
