"""Services, Ingresses and the Gateway API.

An Ingress is well as soon as it is stored: nothing obliges its controller to write an address, and several never do.
https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
https://gateway-api.sigs.k8s.io/geps/gep-1364/ (which conditions a Gateway has)
https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/ (RouteParentStatus, PolicyAncestorStatus)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .conditions import needs, unmet
from .reading import (
    Table,
    always,
    conditions,
    degraded,
    is_false,
    is_true,
    listing,
    mapping,
    number,
    progressing,
    said,
    same,
    text,
)

PARENTS_MAX = 64


def service(obj: Body) -> Health:
    if mapping(obj, "spec").get("type") != "LoadBalancer":
        return HEALTHY
    balancer = mapping(mapping(obj, "status"), "loadBalancer")
    return HEALTHY if listing(balancer, "ingress") else progressing("waits for its load balancer")


def gateway(obj: Body) -> Health:
    """Accepted and programmed, and every listener can resolve what it refers to."""
    status = mapping(obj, "status")
    found = conditions(status)
    for name in ("Accepted", "Programmed"):
        condition = found.get(name)
        if condition is None:
            return progressing(f"no controller has said yet that it is {name.lower()}")
        if not is_true(condition):
            return _refused(name, condition) if name == "Accepted" else unmet(name, condition)
    for listener in listing(status, "listeners")[:PARENTS_MAX]:
        for name, condition in conditions(listener).items():
            if name in ("Accepted", "ResolvedRefs", "Programmed") and is_false(condition):
                return degraded(f"listener {text(listener, 'name')}: {name} is False: {said(condition)}")
    return HEALTHY


def route(obj: Body) -> Health:
    """Every parent that it names has taken it in, and what it sends to is there."""
    generation = number(mapping(obj, "metadata"), "generation")
    return _ancestors(listing(mapping(obj, "status"), "parents"), "parentRef", generation) or HEALTHY


def attached(obj: Body) -> Health:
    """A policy that is attached to others (BackendTLSPolicy and what implementations add)."""
    generation = number(mapping(obj, "metadata"), "generation")
    return _ancestors(listing(mapping(obj, "status"), "ancestors"), "ancestorRef", generation) or HEALTHY


def _ancestors(ancestors: list[Any], reference: str, generation: int) -> Health | None:
    if not ancestors:
        return progressing("no controller has taken it in yet")
    for ancestor in ancestors[:PARENTS_MAX]:
        name = text(mapping(ancestor, reference), "name")
        for kind, condition in conditions(ancestor).items():
            if number(condition, "observedGeneration", generation) < generation:
                return progressing(f"{name} has not seen generation {generation} yet")
            if kind in ("Accepted", "ResolvedRefs", "Programmed", "Reconciled") and not is_true(condition):
                told = f"{name}: {kind} is {condition.get('status')}: {said(condition) or 'no reason given'}"
                return degraded(told) if is_false(condition) and condition.get("reason") != "Pending" else progressing(told)
            if kind == "PartiallyInvalid" and is_true(condition):
                return degraded(f"{name}: {said(condition)}")
    return None


def _refused(name: str, condition: Mapping[str, Any]) -> Health:
    told = f"{name} is {condition.get('status')}: {said(condition) or 'no reason given'}"
    waits = not is_false(condition) or condition.get("reason") in ("Pending", "Waiting")
    return progressing(told) if waits else degraded(told)


def gateway_class(obj: Body) -> Health:
    condition = conditions(mapping(obj, "status")).get("Accepted")
    if condition is None:
        return progressing("no controller has accepted it yet")
    return HEALTHY if is_true(condition) else _refused("Accepted", condition)


_ROUTES = same(route, "HTTPRoute GRPCRoute TCPRoute TLSRoute UDPRoute")

TABLE: Table = {
    "": {"Service": service, **same(always, "Endpoints")},
    "networking.k8s.io": {
        **same(always, "Ingress IngressClass NetworkPolicy IPAddress"),
        "ServiceCIDR": needs("Ready"),
    },
    "extensions": same(always, "Ingress NetworkPolicy"),
    "policy.networking.k8s.io": same(always, "AdminNetworkPolicy BaselineAdminNetworkPolicy ClusterNetworkPolicy"),
    "discovery.k8s.io": same(always, "EndpointSlice"),
    "gateway.networking.k8s.io": {
        **_ROUTES,
        "GatewayClass": gateway_class,
        "Gateway": gateway,
        "ListenerSet": gateway,
        "ReferenceGrant": always,
        "BackendTLSPolicy": attached,
        "BackendLBPolicy": attached,
    },
    "gateway.networking.x-k8s.io": {"XListenerSet": gateway, "XBackendTrafficPolicy": attached, "XMesh": needs("Accepted")},
    "multicluster.x-k8s.io": {
        "ServiceImport": always,
        "ServiceExport": needs("Valid", failed="Conflict", absent="progressing"),
    },
}
