"""What keeps Pods running: Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController.

Counted as `kubectl rollout status` counts, with the numbers in the message:
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#partitions
https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Table, conditions, degraded, is_false, is_true, mapping, number, progressing, said, suspended

UNSEEN = "its controller has not seen it yet"


def deployment(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if spec.get("paused") is True:
        return suspended("its rollout is paused: spec.paused is set")
    if "observedGeneration" not in status:
        return progressing(UNSEEN)
    found = conditions(status)
    if is_true(found.get("ReplicaFailure")):
        return degraded(f"its Pods cannot be created: {said(found['ReplicaFailure'])}")
    if is_false(found.get("Progressing")):
        return degraded(said(found["Progressing"]) or "its rollout does not get on")
    wanted, updated = number(spec, "replicas", 1), number(status, "updatedReplicas")
    if updated < wanted:
        return progressing(f"{updated} of {wanted} replicas are of the new release")
    if (old := number(status, "replicas") - updated) > 0:
        return progressing(f"{old} of the release before {'are' if old > 1 else 'is'} still there")
    available = number(status, "availableReplicas")
    return HEALTHY if available >= wanted else progressing(f"{available} of {wanted} replicas are available")


def stateful_set(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if "observedGeneration" not in status:
        return progressing(UNSEEN)
    wanted = number(spec, "replicas", 1)
    field = "availableReplicas" if number(spec, "minReadySeconds") and "availableReplicas" in status else "readyReplicas"
    if (there := number(status, field)) < wanted:
        return progressing(f"{there} of {wanted} replicas are ready")
    strategy = mapping(spec, "updateStrategy")
    # With OnDelete a Pod gets the new release when somebody deletes it: that is what the manifest asks for.
    if strategy.get("type") == "OnDelete":
        return HEALTHY
    partition = number(mapping(strategy, "rollingUpdate"), "partition")
    updated, due = number(status, "updatedReplicas"), max(wanted - partition, 0)
    current = status.get("updateRevision") == status.get("currentRevision")
    if updated < due and not (current and partition == 0):
        held = f" (partition {partition})" if partition else ""
        return progressing(f"{updated} of {due} replicas are of the new release{held}")
    if (old := number(status, "replicas") - wanted) > 0:
        return progressing(f"{old} more than the {wanted} that are wanted {'are' if old > 1 else 'is'} still there")
    return HEALTHY if current or partition else progressing("the new release is being settled")


def daemon_set(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if "observedGeneration" not in status:
        return progressing(UNSEEN)
    wanted = number(status, "desiredNumberScheduled")
    updated, available = number(status, "updatedNumberScheduled"), number(status, "numberAvailable")
    if mapping(spec, "updateStrategy").get("type") != "OnDelete" and updated < wanted:
        return progressing(f"on {updated} of {wanted} nodes the new release runs")
    return HEALTHY if available >= wanted else progressing(f"on {available} of {wanted} nodes it is available")


def replica_set(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    failure = conditions(status).get("ReplicaFailure")
    if failure is not None and is_true(failure):
        return degraded(f"its Pods cannot be created: {said(failure)}")
    wanted = number(spec, "replicas", 1)
    if "observedGeneration" not in status and wanted:
        return progressing(UNSEEN)
    return _replicas(status, wanted)


def _replicas(status: Mapping[str, Any], wanted: int) -> Health:
    there, available = number(status, "replicas"), number(status, "availableReplicas")
    if available < wanted:
        return progressing(f"{available} of {wanted} replicas are available")
    return progressing(f"{there - wanted} of {there} replicas have to go") if there > wanted else HEALTHY


TABLE: Table = {
    "apps": {"Deployment": deployment, "StatefulSet": stateful_set, "DaemonSet": daemon_set, "ReplicaSet": replica_set},
    "": {"ReplicationController": replica_set},
}
