"""The sentence that says why a workload is not well."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.text import is_safe_line
from trimtab.targets.kubernetes.cause import Cause, blame, explain

from .test_laws import JSON

WORKLOAD = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
WAITING: dict[str, Any] = {
    "phase": "Pending",
    "containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}],
}
UNREADY: dict[str, Any] = {"phase": "Running", "containerStatuses": [{"name": "app", "ready": False, "state": {"running": {}}}]}


def pod(name: str, status: dict[str, Any], created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "creationTimestamp": created}, "spec": spec, "status": status}


def container(state: dict[str, Any], last: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    status = {"name": "app", "image": "example.test/app:2", "restartCount": 4, "state": state, "lastState": last or {}, **more}
    return {"phase": "Running", "containerStatuses": [status]}


def event(about: str, reason: str, message: str, kind: str = "Pod", **more: Any) -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "involvedObject": {"kind": kind, "name": about}, **more}


def why(*pods: dict[str, Any], events: tuple[dict[str, Any], ...] = (), **more: Any) -> Cause:
    found = explain(WORKLOAD, pods, events, **more)
    assert found is not None
    return found


def test_an_image_that_cannot_be_pulled_is_named_with_what_the_registry_said() -> None:
    message = 'failed to resolve reference "example.test/app:2": example.test/app:2: not found'
    found = why(pod("web-1", container({"waiting": {"reason": "ErrImagePull", "message": message}})))
    assert found.message == f"Pod web-1: container app: image example.test/app:2 cannot be pulled: {message}"
    assert (found.object, found.waits) == (ObjectRef("v1", "Pod", "shop", "web-1"), False)


def test_a_crash_loop_tells_how_it_ended_and_asks_for_the_log_of_the_run_before() -> None:
    crashing = pod(
        "web-1", container({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1, "reason": "Error"}})
    )
    found = why(crashing)
    assert found.message == "Pod web-1: container app crashes again and again (4 restarts): exit code 1"
    assert (found.container, found.logs, found.previous) == ("app", True, True)
    again = why(crashing, log_lines={("web-1", "app"): "\x1b[31mpanic: no database\x1b[0m\n"})
    assert again.last_log_line == "panic: no database"


def test_out_of_memory_is_said_in_words() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    assert "out of memory" in why(pod("web-1", container({"waiting": {"reason": "CrashLoopBackOff"}}, last))).message


def test_a_container_that_its_probe_kills_names_the_probe() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "Error"}}
    told = event("web-1", "Unhealthy", "Liveness probe failed: connection refused")
    found = why(pod("web-1", container({"waiting": {"reason": "CrashLoopBackOff"}}, last)), events=(told,))
    assert found.message.endswith("exit code 137, SIGKILL; Liveness probe failed: connection refused")


def test_what_cannot_be_scheduled_says_why() -> None:
    message = "0/3 nodes are available: 3 Insufficient memory."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    found = why(pod("web-1", {"phase": "Pending", "conditions": [condition]}))
    assert found.message == f"Pod web-1: cannot be scheduled: {message}"
    assert found.waits


def test_a_failing_probe_is_told_from_the_newest_event() -> None:
    old = event("web-1", "Unhealthy", "Readiness probe failed: 500", lastTimestamp="2026-01-01T00:00:01Z")
    new = event("web-1", "Unhealthy", "Readiness probe failed: 503", lastTimestamp="2026-01-01T00:00:09Z")
    found = why(pod("web-1", UNREADY), events=(new, old))
    assert found.message == "Pod web-1: container app does not pass its probe: Readiness probe failed: 503"
    assert (found.container, found.logs, found.waits) == ("app", True, True)


def test_an_event_of_the_newer_api_counts_as_well() -> None:
    told = {
        "type": "Warning",
        "reason": "Unhealthy",
        "note": "Readiness probe failed: 503",
        "regarding": {"kind": "Pod", "name": "web-1"},
    }
    assert "503" in why(pod("web-1", UNREADY), events=(told,)).message


@pytest.mark.parametrize(
    "message",
    ['MountVolume.SetUp failed for volume "keys" : secret "keys" not found', "configmap references non-existent config key"],
)
def test_containers_that_cannot_be_created_say_what_is_not_there(message: str) -> None:
    found = why(pod("web-1", WAITING), events=(event("web-1", "FailedMount", message),))
    assert found.message == f"Pod web-1: its containers cannot be created: {message}"


def test_a_missing_config_map_of_the_environment_is_named() -> None:
    state = {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}}
    assert 'configmap "settings" not found' in why(pod("web-1", container(state))).message


def test_an_init_container_that_fails_is_called_one() -> None:
    crashed = {
        "name": "migrate",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3}},
    }
    status = {"phase": "Pending", "initContainerStatuses": [crashed], **WAITING}
    assert why(pod("web-1", status)).message.startswith("Pod web-1: init container migrate crashes again and again")


def test_an_eviction_says_what_the_node_was_low_on() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}
    assert why(pod("web-1", status)).message == "Pod web-1: evicted: The node was low on resource: ephemeral-storage."


def test_a_quota_that_forbids_pods_is_told_from_the_replica_set() -> None:
    told = event("web-6f9", "FailedCreate", 'pods "web-6f9-x" is forbidden: exceeded quota: compute', kind="ReplicaSet")
    found = why(events=(told,))
    assert found.message == 'Pods of web-6f9 cannot be created: pods "web-6f9-x" is forbidden: exceeded quota: compute'
    assert (found.object.kind, found.waits) == ("Deployment", False)


def test_a_quota_is_told_from_the_condition_too() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    found = explain({**WORKLOAD, "status": {"conditions": [condition]}}, ())
    assert found is not None
    assert found.message == "Pods of web cannot be created: FailedCreate: exceeded quota"


def test_events_about_others_do_not_count() -> None:
    assert explain(WORKLOAD, (), (event("website-1", "FailedCreate", "no", kind="ReplicaSet"),)) is None
    assert explain(WORKLOAD, (pod("web-1", UNREADY),), (event("web-2", "Unhealthy", "no"),)) is None


def test_a_pod_that_is_ready_or_going_has_no_cause() -> None:
    ready = {**UNREADY, "conditions": [{"type": "Ready", "status": "True"}]}
    going = pod("web-2", container({"waiting": {"reason": "CrashLoopBackOff"}}))
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert explain(WORKLOAD, (pod("web-1", ready), going), (event("web-1", "Unhealthy", "earlier"),)) is None


def test_of_many_the_newest_is_named_and_the_others_counted() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    pods = [pod(f"web-{n}", container(state), f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no room"}
    found = why(*pods, pod("web-9", {"phase": "Pending", "conditions": [unscheduled]}, "2026-01-01T00:00:09Z"))
    assert found.message.startswith("Pod web-2: container app crashes")
    assert found.message.endswith("(2 more Pods alike)")


def test_a_cause_that_does_not_pass_makes_a_workload_degraded() -> None:
    waits = Health(HealthStatus.PROGRESSING, "0 of 1 replicas are available")
    ref = ObjectRef("v1", "Pod", "shop", "web-1")
    found = blame(waits, Cause("Pod web-1: no image", ref, last_log_line="bye"))
    assert found == Health(HealthStatus.DEGRADED, "0 of 1 replicas are available: Pod web-1: no image", ref, "bye")
    assert blame(waits, Cause("Pod web-1: no room", ref, waits=True)).status == HealthStatus.PROGRESSING


def test_a_workload_that_is_well_is_not_blamed() -> None:
    well = Health(HealthStatus.HEALTHY)
    assert blame(well, Cause("x", ObjectRef("v1", "Pod", "", "x"))) is well
    assert blame(Health(HealthStatus.PROGRESSING, "x"), None).message == "x"


METADATA = st.just({"name": "web-1"}) | JSON
PODS = st.lists(st.fixed_dictionaries({"metadata": METADATA}, optional={"status": JSON, "spec": JSON}), max_size=3)
EVENTS = st.lists(
    st.fixed_dictionaries({"type": st.just("Warning")}, optional={"involvedObject": JSON, "reason": JSON, "message": JSON})
)


@given(JSON, PODS, EVENTS)
def test_no_shape_of_pods_and_events_makes_it_raise(workload: Any, pods: list[Any], events: list[Any]) -> None:
    found = explain(workload if isinstance(workload, dict) else {}, pods, events)
    assert found is None or is_safe_line(found.message)
