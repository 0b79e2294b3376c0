"""Operators that make other things: Metacontroller, Pulumi, Karpenter, Tailscale, node features.

Metacontroller  https://metacontroller.github.io/metacontroller/api.html (no status)
Pulumi          https://www.pulumi.com/docs/iac/using-pulumi/continuous-delivery/pulumi-kubernetes-operator/ (lastUpdate.state)
Karpenter       https://karpenter.sh/docs/concepts/ (keeps the convention; an AMI or subnet that is not found is a false condition)
Cluster Autoscaler  https://github.com/kubernetes/autoscaler (ProvisioningRequest: Provisioned, Failed)
Tailscale       https://tailscale.com/kb/1236/kubernetes-operator (ConnectorReady, ProxyReady)
Node Feature Discovery   https://kubernetes-sigs.github.io/node-feature-discovery/ (no status)
WebAssembly     https://www.spinkube.dev/docs/ (SpinApp: Available, Progressing)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import Table, always, degraded, is_true, of, progressing, said, same, text
from trimtab.targets.kubernetes.healths.shapes import phase


def pulumi(obj: Body) -> Health:
    """Release 1 writes only the last update; release 2 keeps the convention as well."""
    match text(obj, "status.lastUpdate.state"):
        case "failed":
            stalled = of(obj).get("Stalled")
            return degraded(f"its last update has failed: {said(stalled)}".rstrip(": "))
        case "succeeded":
            return convention(obj)
        case word:
            return progressing(f"its update is {word or 'not started'}")


def claim(obj: Body) -> Health:
    """Karpenter's NodeClaim: Launched, Registered, Initialized, one after the other; Drifted and Expired are no trouble."""
    found = of(obj)
    for name in ("Launched", "Registered", "Initialized", "Ready"):
        condition = found.get(name)
        if not is_true(condition):
            told = f"{name}: {said(condition) or 'not yet'}"
            failed = condition is not None and condition.get("reason") in (
                "LaunchFailed",
                "InsufficientCapacityError",
                "InsufficientCapacity",
            )
            return degraded(told) if failed else progressing(told)
    return HEALTHY


TABLE: Table = {
    "metacontroller.k8s.io": {"*": always},
    "pulumi.com": {"Stack": pulumi, "*": convention},
    "karpenter.sh": {"NodeClaim": claim, **same(needs("Ready"), "NodePool NodeOverlay")},
    "karpenter.k8s.aws": {"EC2NodeClass": needs("Ready", final="Ready")},
    "karpenter.azure.com": {"AKSNodeClass": needs("Ready", final="Ready", absent="healthy")},
    "autoscaling.x-k8s.io": {
        "ProvisioningRequest": needs("Provisioned", failed="Failed BookingExpired CapacityRevoked"),
        "CapacityBuffer": convention,
    },
    "tailscale.com": {
        "Connector": needs("ConnectorReady", final="ConnectorReady"),
        "ProxyGroup": needs("ProxyGroupReady"),
        "ProxyClass": needs("ProxyClassReady", final="ProxyClassReady"),
        "DNSConfig": needs("NameserverReady"),
        "Recorder": needs("RecorderReady"),
    },
    "nfd.k8s-sigs.io": {"*": always},
    "nfd.openshift.io": {"NodeFeatureRule": always, "*": convention},
    "core.spinkube.dev": {"SpinApp": needs("Available", absent="progressing"), "SpinAppExecutor": always},
    "stacks.crossplane.io": {"*": convention},
    "templates.weave.works": {"*": needs("Ready")},
    "infra.weave.works": {"*": convention},
    "descheduler.alpha.kubernetes.io": {"*": always},
    "topology.node.k8s.io": {"*": always},
    "ipam.cluster.x-k8s.io": {"IPAddress": always, "IPAddressClaim": needs("Ready", absent="healthy")},
    "elasticquota.scheduling.sigs.k8s.io": {"*": always},
    "vpcresources.k8s.aws": {"*": always},
    "eks.amazonaws.com": {"NodeClass": needs("Ready"), "*": phase("status.phase", healthy="Ready Active", absent="healthy")},
}
