"""Meshes, ingress controllers and networks.

Istio      https://istio.io/latest/docs/reference/config/config-status/ (status is off by default), sailoperator.io keeps the convention
Contour    https://projectcontour.io/docs/main/config/api/ (currentStatus: valid, invalid, orphaned)
Emissary   https://www.getambassador.io/docs/emissary/latest/topics/running/host-crd (Host: status.state)
Gloo       https://docs.solo.io/gloo-edge/main/reference/api/ (status.statuses by namespace: Accepted, Warning, Rejected)
Kong       https://docs.konghq.com/kubernetes-ingress-controller/latest/reference/custom-resources/ (Programmed)
Cilium     https://docs.cilium.io/en/stable/network/kubernetes/policy/ (Valid), load balancer pools (cilium.io/PoolConflict)
MetalLB    https://metallb.io/apis/     Traefik  https://doc.traefik.io/traefik/reference/dynamic-configuration/kubernetes-crd/
Calico     https://docs.tigera.io/calico/latest/reference/resources/     Linkerd  https://linkerd.io/2/reference/
Submariner https://submariner.io/getting-started/architecture/gateway-engine/
AWS LBC    https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/
Envoy Gateway  https://gateway.envoyproxy.io/docs/api/extension_types/ (PolicyStatus with ancestors)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.network import attached, route
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    degraded,
    is_false,
    is_true,
    mapping,
    of,
    progressing,
    said,
    same,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase


def istio(obj: Body) -> Health:
    """Nothing is written unless status is switched on; then analysis messages of level Error say what is wrong."""
    status = mapping(obj, "status")
    messages = status.get("validationMessages")
    for each in messages if isinstance(messages, list) else ():
        if text(each, "level") in ("ERROR", "Error"):
            return degraded(
                f"{text(each, 'type.code')} {text(each, 'documentationUrl')}".strip() or "its analysis says that it is wrong"
            )
    reconciled = of(obj).get("Reconciled")
    return progressing(said(reconciled) or "it has not reached all proxies") if is_false(reconciled) else HEALTHY


def gloo(obj: Body) -> Health:
    """Older releases write one state under `status`, newer ones one for each namespace that a controller runs in."""
    status = mapping(obj, "status")
    told = mapping(status, "statuses")
    for each in told.values() if told else (status,):
        state = each.get("state") if isinstance(each, dict) else None
        reason = text(each, "reason")
        if state in ("Rejected", 2):
            return degraded(f"it was rejected: {reason or 'no reason given'}")
        if state in ("Warning", 3):
            return degraded(f"it was taken in with a warning: {reason or 'no reason given'}")
        if state not in ("Accepted", 1):
            return progressing("no controller has taken it in yet")
    return HEALTHY


def http_proxy(obj: Body) -> Health:
    told = text(obj, "status.description")
    match text(obj, "status.currentStatus"):
        case "valid":
            return HEALTHY
        case "invalid" | "orphaned" as word:
            return degraded(f"it is {word}: {told or 'no reason given'}")
        case _:
            return progressing("no controller has looked at it yet")


def pool(obj: Body) -> Health:
    conflict = of(obj).get("cilium.io/PoolConflict")
    return degraded(said(conflict) or "it overlaps with another pool") if is_true(conflict) else HEALTHY


_GLOO = same(gloo, "VirtualService RouteTable Gateway MatchableHttpGateway MatchableTcpGateway RouteOption VirtualHostOption")
_CILIUM = needs("Valid", final="Valid", absent="healthy")

TABLE: Table = {
    "networking.istio.io": {"*": istio},
    "security.istio.io": {"*": istio},
    "telemetry.istio.io": {"*": istio},
    "extensions.istio.io": {"*": istio},
    "install.istio.io": {
        "IstioOperator": phase(
            "status.status", healthy="HEALTHY", degraded_by="ERROR", message="status.message", absent="progressing"
        )
    },
    "projectcontour.io": {
        "HTTPProxy": http_proxy,
        "TLSCertificateDelegation": always,
        "ExtensionService": needs("Valid", final="Valid"),
        "ContourConfiguration": needs("Valid", final="Valid", absent="healthy"),
        "ContourDeployment": always,
    },
    "traefik.io": {"*": always},
    "traefik.containo.us": {"*": always},
    "getambassador.io": {
        "Host": phase("status.state", healthy="Ready", degraded_by="Error", message="status.errorReason", absent="healthy"),
        "Mapping": phase("status.state", healthy="Running", suspended_by="Inactive", absent="healthy", message="status.reason"),
        "*": always,
    },
    "x.getambassador.io": {"*": always},
    "gateway.solo.io": _GLOO,
    "gloo.solo.io": {"Upstream": gloo, "UpstreamGroup": gloo, "Proxy": gloo, "Settings": always},
    "configuration.konghq.com": {
        **same(needs("Programmed", absent="healthy"), "KongConsumer KongConsumerGroup KongPlugin KongClusterPlugin"),
        **same(
            needs("Programmed", absent="healthy"),
            "TCPIngress UDPIngress KongUpstreamPolicy KongLicense KongVault KongCustomEntity",
        ),
        "KongIngress": always,
    },
    "cilium.io": {
        **same(_CILIUM, "CiliumNetworkPolicy CiliumClusterwideNetworkPolicy"),
        "CiliumLoadBalancerIPPool": pool,
        **same(always, "CiliumEgressGatewayPolicy CiliumLocalRedirectPolicy CiliumEnvoyConfig CiliumClusterwideEnvoyConfig"),
        **same(
            always,
            "CiliumBGPPeeringPolicy CiliumBGPAdvertisement CiliumBGPPeerConfig CiliumBGPNodeConfigOverride CiliumNodeConfig",
        ),
        **same(
            always, "CiliumL2AnnouncementPolicy CiliumCIDRGroup CiliumExternalWorkload CiliumIdentity CiliumEndpoint CiliumNode"
        ),
        "CiliumBGPClusterConfig": needs(absent="healthy", failed="cilium.io/NoMatchingNode cilium.io/MissingPeerConfigs"),
    },
    "metallb.io": {"*": always},
    "crd.projectcalico.org": {"*": always},
    "projectcalico.org": {"*": always},
    "linkerd.io": {"*": always},
    "policy.linkerd.io": {"HTTPRoute": route, "*": always},
    "multicluster.linkerd.io": {"*": always},
    "split.smi-spec.io": {"*": always},
    "submariner.io": {
        "Gateway": phase("status.haStatus", healthy="active passive", absent="healthy", message="status.statusFailure"),
        "*": always,
    },
    "elbv2.k8s.aws": {"*": always},
    "gateway.envoyproxy.io": {
        **same(attached, "BackendTrafficPolicy ClientTrafficPolicy SecurityPolicy EnvoyExtensionPolicy EnvoyPatchPolicy"),
        **same(always, "EnvoyProxy HTTPRouteFilter"),
        "Backend": needs("Accepted", final="Accepted", absent="healthy"),
    },
    "externaldns.k8s.io": {"DNSEndpoint": always},
    "cloud.google.com": {"BackendConfig": always},
    "k8s.cni.cncf.io": {"NetworkAttachmentDefinition": always},
    "sriovnetwork.openshift.io": {
        "SriovNetworkNodeState": phase(
            "status.syncStatus", healthy="Succeeded", degraded_by="Failed", message="status.lastSyncError"
        ),
        "*": convention,
    },
    "kuma.io": {"*": always},
    "consul.hashicorp.com": {"*": needs("Synced", final="Synced", absent="healthy")},
    "k8s.nginx.org": {
        **same(
            phase("status.state", healthy="Valid", degraded_by="Invalid Warning", message="status.message", absent="healthy"),
            "VirtualServer VirtualServerRoute TransportServer Policy",
        ),
        "GlobalConfiguration": always,
    },
}
