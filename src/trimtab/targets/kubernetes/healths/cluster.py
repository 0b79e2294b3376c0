"""The cluster's own parts: namespaces, definitions, aggregated APIs, certificates, nodes, and what only holds data.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/api-service-v1/
https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
https://kubernetes.io/docs/reference/node/node-status/#condition
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import (
    Table,
    always,
    conditions,
    degraded,
    is_false,
    is_true,
    listing,
    mapping,
    progressing,
    said,
    same,
    suspended,
    text,
)

PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def namespace(obj: Body) -> Health:
    phase = text(obj, "status.phase")
    return progressing("is being deleted") if phase == "Terminating" else HEALTHY


def definition(obj: Body) -> Health:
    """A CustomResourceDefinition is well once its resources can be written."""
    found = conditions(mapping(obj, "status"))
    if is_true(found.get("Terminating")):
        return progressing(f"is being deleted with all its resources: {said(found['Terminating'])}")
    if is_false(found.get("NamesAccepted")):
        return degraded(f"its names are taken: {said(found['NamesAccepted'])}")
    if is_true(found.get("Established")):
        return HEALTHY
    return progressing(said(found.get("Established")) or "is not established yet")


def api_service(obj: Body) -> Health:
    """Always progressing while it does not answer: what serves it may be on its way, and only time tells."""
    available = conditions(mapping(obj, "status")).get("Available")
    return HEALTHY if is_true(available) else progressing(f"it does not answer: {said(available) or 'not asked yet'}")


def signing_request(obj: Body) -> Health:
    found = conditions(mapping(obj, "status"))
    for name in ("Denied", "Failed"):
        if name in found:
            return degraded(f"{name.lower()}: {said(found[name]) or 'no reason given'}")
    if text(obj, "status.certificate"):
        return HEALTHY
    return progressing("waits for its certificate") if "Approved" in found else suspended("waits for somebody to approve it")


def node(obj: Body) -> Health:
    found = conditions(mapping(obj, "status"))
    ready = found.get("Ready")
    if ready is None:
        return progressing("its kubelet has not said anything yet")
    if not is_true(ready):
        return degraded(f"is not ready: {said(ready) or 'no reason given'}")
    for name in PRESSURES:
        if is_true(found.get(name)):
            return degraded(f"{name}: {said(found[name])}")
    return (
        suspended("takes no new Pods: spec.unschedulable is set")
        if mapping(obj, "spec").get("unschedulable") is True
        else HEALTHY
    )


def resource_claim(obj: Body) -> Health:
    status = mapping(obj, "status")
    if mapping(status, "allocation") or listing(status, "reservedFor"):
        return HEALTHY
    return suspended("waits for a Pod that uses it")


TABLE: Table = {
    "": {
        "Namespace": namespace,
        "Node": node,
        **same(always, "ConfigMap Secret Event PodTemplate Binding ComponentStatus"),
    },
    "apps": {"ControllerRevision": always},
    "events.k8s.io": {"Event": always},
    "apiextensions.k8s.io": {"CustomResourceDefinition": definition},
    "apiregistration.k8s.io": {"APIService": api_service},
    "certificates.k8s.io": {
        "CertificateSigningRequest": signing_request,
        **same(always, "ClusterTrustBundle PodCertificateRequest"),
    },
    "coordination.k8s.io": same(always, "Lease LeaseCandidate"),
    "resource.k8s.io": {
        "ResourceClaim": resource_claim,
        **same(always, "ResourceClaimTemplate ResourceSlice DeviceClass DeviceTaintRule"),
    },
}
