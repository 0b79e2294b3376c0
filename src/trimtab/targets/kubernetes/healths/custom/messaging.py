"""Brokers and streams.

Strimzi    https://strimzi.io/docs/operators/latest/configuring.html (Ready, NotReady, ReconciliationPaused; StrimziPodSet counts)
RabbitMQ   https://www.rabbitmq.com/kubernetes/operator/using-operator (AllReplicasReady, ClusterAvailable, ReconcileSuccess)
Redpanda   https://docs.redpanda.com/current/reference/k-crd/ (keeps the convention)
NATS       https://github.com/nats-io/nack/blob/main/docs/api.md (Ready)
KEDA       https://keda.sh/docs/latest/reference/scaledobject-spec/ (Ready, Active, Fallback, Paused)
Artemis    https://arkmq.org/docs/ (Valid, Deployed, Ready)
Pulsar     https://docs.streamnative.io (conditions Ready)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    degraded,
    is_false,
    is_true,
    mapping,
    number,
    of,
    progressing,
    said,
    same,
    suspended,
)


def strimzi(obj: Body) -> Health:
    """NotReady is true while it is being made as well as when it has failed; its reason tells which."""
    found = of(obj)
    if is_true(found.get("ReconciliationPaused")):
        return suspended("it is paused: annotation strimzi.io/pause-reconciliation is set")
    if is_true(found.get("Ready")):
        return HEALTHY
    failed = found.get("NotReady")
    if is_true(failed) and failed is not None:
        return progressing(said(failed)) if failed.get("reason") == "Creating" else degraded(said(failed) or "it is not ready")
    return progressing(said(found.get("Ready")) or "its operator has not looked at it yet")


def pod_set(obj: Body) -> Health:
    status = mapping(obj, "status")
    pods, ready, current = (number(status, name) for name in ("pods", "readyPods", "currentPods"))
    return (
        HEALTHY
        if min(ready, current) >= pods and status
        else progressing(f"{ready} of {pods} Pods are ready, {current} up to date")
    )


def rabbitmq(obj: Body) -> Health:
    found = of(obj)
    if is_false(found.get("ReconcileSuccess")):
        return degraded(said(found["ReconcileSuccess"]) or "its operator cannot make it so")
    for name in ("ReconcileSuccess", "AllReplicasReady", "ClusterAvailable"):
        if not is_true(found.get(name)):
            return progressing(f"{name}: {said(found.get(name)) or 'not known yet'}")
    return HEALTHY


def scaled(obj: Body) -> Health:
    """KEDA: Active says only whether there is work, so it is nobody's trouble."""
    found = of(obj)
    if is_true(found.get("Paused")):
        return suspended(said(found["Paused"]) or "its scaling is paused")
    ready = found.get("Ready")
    if not is_true(ready):
        return degraded(said(ready)) if is_false(ready) else progressing(said(ready) or "its operator has not looked at it yet")
    fallback = found.get("Fallback")
    return degraded(f"its metrics cannot be read: {said(fallback)}") if is_true(fallback) else HEALTHY


TABLE: Table = {
    "kafka.strimzi.io": {
        **same(strimzi, "Kafka KafkaConnect KafkaConnector KafkaBridge KafkaMirrorMaker KafkaMirrorMaker2 KafkaTopic KafkaUser"),
        "KafkaRebalance": needs(failed="NotReady", absent="healthy"),
        "KafkaNodePool": always,
    },
    "core.strimzi.io": {"StrimziPodSet": pod_set},
    "rabbitmq.com": {"RabbitmqCluster": rabbitmq, "*": needs("Ready", final="Ready")},
    "keda.sh": {
        "ScaledObject": scaled,
        "ScaledJob": scaled,
        **same(always, "TriggerAuthentication ClusterTriggerAuthentication CloudEventSource ClusterCloudEventSource"),
    },
    "broker.amq.io": {"ActiveMQArtemis": needs("Valid", "Deployed", "Ready", final="Valid"), "*": convention},
    "http.keda.sh": {"HTTPScaledObject": needs("Ready", absent="healthy")},
}
