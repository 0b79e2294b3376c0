"""HorizontalPodAutoscalers of every version, and the VerticalPodAutoscaler.

A metric that is not there yet is usual in the first minute of a workload, so it means progressing; what can never work, such as a
scale target that does not exist or a metric that is written wrong, means degraded.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#appendix-horizontal-pod-autoscaler-status-conditions
https://github.com/kubernetes/autoscaler/blob/master/vertical-pod-autoscaler/pkg/apis/autoscaling.k8s.io/v1/types.go
"""

from __future__ import annotations

import msgspec

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import (
    Condition,
    Table,
    always,
    conditions,
    degraded,
    is_false,
    is_true,
    mapping,
    number,
    progressing,
    said,
    suspended,
)

V1_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
"""Where autoscaling/v1 keeps the conditions, as JSON text in an annotation."""
ANNOTATION_CHARACTERS_MAX = 64 * 1024
HOPELESS = frozenset(("InvalidSelector", "InvalidMetricSourceType", "AmbiguousSelector", "FailedComputeMetricsReplicas"))
TARGET_TROUBLE = frozenset(("FailedGetScale", "FailedUpdateScale"))


def horizontal(obj: Body) -> Health:
    found = _conditions(obj)
    if not found:
        counts = number(mapping(obj, "status"), "desiredReplicas")
        return (
            HEALTHY
            if counts and obj.get("apiVersion") == "autoscaling/v1"
            else progressing("its controller has not looked at it yet")
        )
    able, active = found.get("AbleToScale"), found.get("ScalingActive")
    if able is not None and is_false(able):
        told = f"it cannot scale: {said(able)}"
        return degraded(told) if able.get("reason") in TARGET_TROUBLE else progressing(told)
    if active is None or not is_false(active):
        return HEALTHY
    if active.get("reason") == "ScalingDisabled":
        return suspended(f"scaling is off: {said(active)}")
    told = f"it does not scale: {said(active)}"
    return degraded(told) if active.get("reason") in HOPELESS else progressing(told)


def _conditions(obj: Body) -> dict[str, Condition]:
    found = conditions(mapping(obj, "status"))
    written = mapping(mapping(obj, "metadata"), "annotations").get(V1_CONDITIONS)
    if found or not isinstance(written, str) or len(written) > ANNOTATION_CHARACTERS_MAX:
        return found
    try:
        return conditions({"conditions": msgspec.json.decode(written)})
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}


def vertical(obj: Body) -> Health:
    found = conditions(mapping(obj, "status"))
    for name in ("ConfigUnsupported", "NoPodsMatched"):
        condition = found.get(name)
        if condition is not None and is_true(condition):
            told = f"{name}: {said(condition)}"
            return degraded(told) if name == "ConfigUnsupported" else progressing(told)
    return HEALTHY if is_true(found.get("RecommendationProvided")) else progressing("there is no recommendation yet")


TABLE: Table = {
    "autoscaling": {"HorizontalPodAutoscaler": horizontal, "Scale": always},
    "autoscaling.k8s.io": {"VerticalPodAutoscaler": vertical, "VerticalPodAutoscalerCheckpoint": always},
}
