"""Policies and tenants: Kyverno, Gatekeeper, Capsule, Chaos Mesh, Trivy, hierarchical namespaces.

Kyverno     https://kyverno.io/docs/ (Policy: conditions Ready; releases before 1.9: status.ready)
Gatekeeper  https://open-policy-agent.github.io/gatekeeper/website/docs/ (status.created, status.byPod[].errors)
HNC         https://github.com/kubernetes-retired/hierarchical-namespaces (condition ActivitiesHalted)
Capsule     https://projectcapsule.dev/docs/ (Tenant: state)
Chaos Mesh  https://chaos-mesh.org/docs/ (AllInjected, AllRecovered, Paused)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    degraded,
    is_true,
    listing,
    mapping,
    of,
    progressing,
    said,
    same,
    suspended,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase

PODS_MAX = 50


def kyverno(obj: Body) -> Health:
    """A policy whose webhooks are not set up yet says Ready False; one that does not run in admission may say nothing."""
    status = mapping(obj, "status")
    ready = of(obj).get("Ready") or of({"status": mapping(status, "conditionStatus")}).get("Ready")
    if ready is not None:
        return HEALTHY if is_true(ready) else progressing(said(ready) or "is not ready")
    told = mapping(status, "conditionStatus").get("ready", status.get("ready"))
    return progressing("its webhooks are not set up yet") if told is False or not status else HEALTHY


def _errors(obj: Body) -> str:
    for each in listing(mapping(obj, "status"), "byPod")[:PODS_MAX]:
        for error in listing(each, "errors")[:1]:
            return f"{text(error, 'code')}: {text(error, 'message')}".strip(": ") or "its policy has errors"
    return ""


def template(obj: Body) -> Health:
    """A ConstraintTemplate is well once the kind of its constraints exists."""
    if errors := _errors(obj):
        return degraded(errors)
    return HEALTHY if mapping(obj, "status").get("created") is True else progressing("its constraint kind does not exist yet")


def constraint(obj: Body) -> Health:
    """Violations are for the owners of what violates; the constraint is well when every pod of Gatekeeper holds it."""
    if errors := _errors(obj):
        return degraded(errors)
    pods = listing(mapping(obj, "status"), "byPod")
    if not pods:
        return progressing("no pod of Gatekeeper holds it yet")
    missing = [text(each, "id") for each in pods if isinstance(each, dict) and each.get("enforced") is False]
    return progressing(f"not held yet by {', '.join(missing[:3])}") if missing else HEALTHY


def hierarchy(obj: Body) -> Health:
    halted = of(obj).get("ActivitiesHalted")
    return degraded(said(halted) or "its activities are halted") if is_true(halted) else HEALTHY


def chaos(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("Paused")):
        return suspended("it is paused")
    if is_true(found.get("AllRecovered")) or is_true(found.get("AllInjected")):
        return HEALTHY
    return progressing("not all of it is injected yet") if found else progressing("its controller has not looked at it yet")


_CHAOS = (
    "PodChaos NetworkChaos StressChaos IOChaos TimeChaos DNSChaos HTTPChaos JVMChaos KernelChaos AWSChaos GCPChaos AzureChaos"
)

TABLE: Table = {
    "kyverno.io": {
        **same(kyverno, "ClusterPolicy Policy"),
        **same(always, "PolicyException CleanupPolicy ClusterCleanupPolicy GlobalContextEntry UpdateRequest"),
    },
    "policies.kyverno.io": {"PolicyException": always, "*": kyverno},
    "wgpolicyk8s.io": {"*": always},
    "templates.gatekeeper.sh": {"ConstraintTemplate": template},
    "constraints.gatekeeper.sh": {"*": constraint},
    "mutations.gatekeeper.sh": {"*": constraint},
    "config.gatekeeper.sh": {"*": always},
    "status.gatekeeper.sh": {"*": always},
    "hnc.x-k8s.io": {
        **same(hierarchy, "HierarchyConfiguration"),
        "SubnamespaceAnchor": phase("status.status", healthy="Ok", degraded_by="Conflict Forbidden"),
        "*": always,
    },
    "capsule.clastix.io": {
        "Tenant": phase("status.state", healthy="Active", suspended_by="Cordoned", absent="healthy"),
        "*": always,
    },
    "chaos-mesh.org": {**same(chaos, _CHAOS), "*": always},
    "aquasecurity.github.io": {"*": always},
    "spdx.softwarecomposition.kubescape.io": {"*": always},
}
