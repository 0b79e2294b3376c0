"""Clusters, clouds and machines: Cluster API, Crossplane, Karpenter, the clouds' own controllers, OLM, KubeVirt, Calico's operator.

Cluster API    https://cluster-api.sigs.k8s.io/developer/providers/contracts/overview, and
               https://github.com/kubernetes-sigs/cluster-api/tree/main/api/core (phase, paused, conditions with a severity)
Crossplane     https://docs.crossplane.io/latest/concepts/managed-resources/#conditions (Ready, Synced), packages: Installed, Healthy
Karpenter      https://karpenter.sh/docs/concepts/nodeclaims/ (keeps the convention)
Config Connector  https://cloud.google.com/config-connector/docs/reference/resource-statuses (reasons of Ready)
AWS ACK        https://aws-controllers-k8s.github.io/community/docs/user-docs/resource-crud/ (ACK.ResourceSynced, ACK.Terminal …)
Azure ASO      https://azure.github.io/azure-service-operator/design/adr-2021-08-conditions/ (Ready with a severity)
OLM            https://olm.operatorframework.io/docs/concepts/crds/ and
               https://github.com/operator-framework/api/tree/master/pkg/operators/v1alpha1
KubeVirt       https://kubevirt.io/api-reference/ (printableStatus, phase)
OpenShift      https://docs.openshift.com/container-platform/latest/rest_api/ (ClusterOperator, Route, DeploymentConfig, Build)
Tigera         https://docs.tigera.io/calico/latest/reference/installation/api (TigeraStatus)
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import (
    Rule,
    Table,
    always,
    conditions,
    degraded,
    first,
    is_false,
    is_true,
    listing,
    mapping,
    number,
    of,
    progressing,
    said,
    same,
    suspended,
    text,
)
from trimtab.targets.kubernetes.healths.shapes import phase

CAPI_PAUSED = "cluster.x-k8s.io/paused"


def cluster_api(obj: Body) -> Health:
    """A false condition of severity Error is final; Warning and Info are steps on the way. v1beta2 has no severity and `Available`."""
    annotations = mapping(mapping(obj, "metadata"), "annotations")
    if CAPI_PAUSED in annotations or mapping(obj, "spec").get("paused") is True:
        return suspended("it is paused")
    status = mapping(obj, "status")
    failure = first(text(status, "failureMessage"), text(status, "failureReason"))
    if failure or text(status, "phase") == "Failed":
        return degraded(failure or "its phase is Failed")
    found = conditions(status)
    for name in ("Ready", "Available"):
        condition = found.get(name)
        if condition is not None and not is_true(condition):
            told = f"{name} is {condition.get('status')}: {said(condition) or 'no reason given'}"
            return degraded(told) if is_false(condition) and condition.get("severity") == "Error" else progressing(told)
    word = text(status, "phase")
    if word in ("Pending", "Provisioning", "Deleting", "ScalingUp", "ScalingDown", "Unknown"):
        return progressing(f"its phase is {word}")
    return HEALTHY if found or word else progressing("its controller has not looked at it yet")


def crossplane(obj: Body) -> Health:
    """Managed resources say Ready and Synced; packages Installed and Healthy; definitions Established and Offered. The rest holds data."""
    found = of(obj)
    last = found.get("LastAsyncOperation")
    if is_false(last):
        return degraded(f"its last operation has failed: {said(last)}")
    for name in ("Synced", "Installed", "Established", "Offered", "Healthy", "Ready"):
        condition = found.get(name)
        if condition is None or is_true(condition):
            continue
        told = f"{name} is {condition.get('status')}: {said(condition) or 'no reason given'}"
        fatal = (
            is_false(condition)
            and name != "Ready"
            and condition.get("reason") not in ("Creating", "UnknownPackageRevisionHealth", "ReconcilePaused")
        )
        if condition.get("reason") == "ReconcilePaused":
            return suspended(told)
        return degraded(told) if fatal and name in ("Synced", "Healthy") else progressing(told)
    return HEALTHY if found or not _provisioned(obj) else progressing("its controller has not looked at it yet")


def _provisioned(obj: Body) -> bool:
    """True of what stands for something outside: managed resources have a `spec.forProvider`."""
    return "forProvider" in mapping(obj, "spec")


def config_connector(obj: Body) -> Health:
    ready = of(obj).get("Ready")
    if is_true(ready):
        return HEALTHY
    if ready is None:
        plain = not mapping(obj, "status") and obj.get("kind") in ("ConfigConnectorContext",)
        return HEALTHY if plain else progressing("its controller has not looked at it yet")
    waits = ready.get("reason") in ("Updating", "DependencyNotReady", "DependencyNotFound", "Deleting", "Creating")
    return progressing(said(ready)) if waits or not is_false(ready) else degraded(said(ready))


def ack(obj: Body) -> Health:
    """Terminal needs a new manifest; Recoverable is tried again."""
    found = of(obj)
    if is_true(found.get("ACK.Terminal")):
        return degraded(said(found["ACK.Terminal"]) or "AWS has refused it")
    if is_true(found.get("ACK.Recoverable")):
        return progressing(f"is tried again: {said(found['ACK.Recoverable'])}")
    synced = found.get("ACK.ResourceSynced")
    if synced is None:
        return HEALTHY if is_true(found.get("Ready")) else progressing("its controller has not looked at it yet")
    return HEALTHY if is_true(synced) else progressing(said(synced) or "is not in sync with AWS yet")


def azure(obj: Body) -> Health:
    """Error is final, Warning is tried again, Info is work in progress."""
    ready = of(obj).get("Ready")
    if is_true(ready):
        return HEALTHY
    if ready is None:
        # Azure has other groups under the same domain; what stands for a resource has an owner or a name of its own there.
        ours = "owner" in mapping(obj, "spec") or "azureName" in mapping(obj, "spec")
        return progressing("its controller has not looked at it yet") if ours else convention(obj)
    told = said(ready) or "is not ready"
    return degraded(told) if is_false(ready) and ready.get("severity") == "Error" else progressing(told)


def subscription(obj: Body) -> Health:
    """An OLM Subscription: what it asks for can be resolved, and its install plan has worked."""
    status = mapping(obj, "status")
    for name, condition in conditions(status).items():
        if is_true(condition) and name in ("ResolutionFailed", "InstallPlanFailed", "BundleUnpackFailed"):
            return degraded(f"{name}: {said(condition)}")
        if is_true(condition) and name in ("InstallPlanMissing", "CatalogSourcesUnhealthy"):
            return progressing(f"{name}: {said(condition)}")
    match text(status, "state"):
        case "AtLatestKnown":
            return HEALTHY
        case "UpgradeFailed":
            return degraded("its upgrade has failed")
        case "UpgradePending" if text(obj, "spec.installPlanApproval") == "Manual":
            return suspended("an upgrade waits for somebody to approve its install plan")
        case word:
            return progressing(f"its state is {word or 'not known yet'}")


def cluster_operator(obj: Body) -> Health:
    """OpenShift's ClusterOperator and ClusterVersion, Tigera's status: Available, Progressing, Degraded, each for itself."""
    found = of(obj)
    for name in ("Degraded", "Failing"):
        if is_true(found.get(name)):
            return degraded(said(found[name]) or name)
    if is_true(found.get("Progressing")):
        return progressing(said(found["Progressing"]) or "is being changed")
    available = found.get("Available")
    return HEALTHY if is_true(available) else progressing(said(available) or "is not available yet")


def openshift_route(obj: Body) -> Health:
    ingresses = listing(mapping(obj, "status"), "ingress")
    if not ingresses:
        return progressing("no router has taken it in yet")
    for each in ingresses:
        admitted = conditions(each).get("Admitted")
        if not is_true(admitted):
            told = f"router {text(each, 'routerName')}: {said(admitted) or 'not admitted yet'}"
            return degraded(told) if is_false(admitted) else progressing(told)
    return HEALTHY


def deployment_config(obj: Body) -> Health:
    spec, status = mapping(obj, "spec"), mapping(obj, "status")
    if spec.get("paused") is True:
        return suspended("its rollout is paused: spec.paused is set")
    found = conditions(status)
    if is_false(found.get("Progressing")):
        return degraded(said(found["Progressing"]))
    wanted, updated, there = number(spec, "replicas", 1), number(status, "updatedReplicas"), number(status, "availableReplicas")
    if min(updated, there) < wanted:
        return progressing(f"{updated} of {wanted} replicas are of the new release, {there} available")
    return HEALTHY


def virtual_machine(obj: Body) -> Health:
    status, spec = mapping(obj, "status"), mapping(obj, "spec")
    word = text(status, "printableStatus")
    off = spec.get("running") is False or spec.get("runStrategy") in ("Halted", "Manual")
    match word:
        case "Running":
            return HEALTHY
        case "Paused":
            return suspended("it is paused")
        case "Stopped":
            return suspended("it is stopped, as its spec asks") if off else progressing("it is stopped")
        case (
            "CrashLoopBackOff"
            | "ErrorUnschedulable"
            | "ErrImagePull"
            | "ImagePullBackOff"
            | "DataVolumeError"
            | "ErrorPvcNotFound"
        ):
            failure = conditions(status).get("Failure") or conditions(status).get("Ready")
            return degraded(f"{word}: {said(failure)}".rstrip(": "))
        case _:
            return progressing(f"it is {word or 'not looked at yet'}")


_PAUSABLE = same(
    cluster_api,
    "Cluster Machine MachineDeployment MachineSet MachinePool MachineHealthCheck ClusterClass MachineDrainRule",
)
_OLM = {
    "ClusterServiceVersion": phase("status.phase", healthy="Succeeded", degraded_by="Failed", message="status.message"),
    "InstallPlan": phase("status.phase", healthy="Complete", degraded_by="Failed", suspended_by="RequiresApproval"),
    "CatalogSource": phase(
        "status.connectionState.lastObservedState",
        healthy="READY IDLE",
        degraded_by="TRANSIENT_FAILURE SHUTDOWN",
        message="status.message",
    ),
    "Subscription": subscription,
}
_OLM_PLAIN = same(always, "OperatorGroup OperatorCondition OLMConfig Operator")

TABLE: Table = {
    "cluster.x-k8s.io": _PAUSABLE,
    "controlplane.cluster.x-k8s.io": {"*": cluster_api},
    "infrastructure.cluster.x-k8s.io": {"*": cluster_api},
    "bootstrap.cluster.x-k8s.io": {"*": cluster_api},
    "addons.cluster.x-k8s.io": {
        "ClusterResourceSet": needs("ResourcesApplied"),
        **same(cluster_api, "HelmChartProxy HelmReleaseProxy"),
    },
    "operators.coreos.com": {**_OLM, **_OLM_PLAIN},
    "packages.operators.coreos.com": {"PackageManifest": always},
    "config.openshift.io": {"ClusterOperator": cluster_operator, "ClusterVersion": cluster_operator, "*": convention},
    "operator.openshift.io": {"*": cluster_operator},
    "route.openshift.io": {"Route": openshift_route},
    "apps.openshift.io": {"DeploymentConfig": deployment_config},
    "build.openshift.io": {
        "Build": phase("status.phase", healthy="Complete", degraded_by="Failed Error", suspended_by="Cancelled"),
        "BuildConfig": always,
    },
    "image.openshift.io": {"*": always},
    "template.openshift.io": {"*": convention},
    "operator.tigera.io": {"TigeraStatus": cluster_operator, "*": convention},
    "kubevirt.io": {
        "VirtualMachine": virtual_machine,
        "VirtualMachineInstance": phase("status.phase", healthy="Running Succeeded", degraded_by="Failed", suspended_by="Paused"),
        "VirtualMachineInstanceMigration": phase("status.phase", healthy="Succeeded", degraded_by="Failed"),
        "KubeVirt": phase("status.phase", healthy="Deployed"),
    },
    "instancetype.kubevirt.io": {"*": always},
    "cdi.kubevirt.io": {
        "DataVolume": phase(
            "status.phase",
            healthy="Succeeded",
            degraded_by="Failed",
            suspended_by="Paused PendingPopulation WaitForFirstConsumer",
        ),
        "CDI": phase("status.phase", healthy="Deployed", degraded_by="Error"),
        "CDIConfig": always,
    },
    "nmstate.io": {
        "NodeNetworkConfigurationPolicy": needs("Available", failed="Degraded", busy="Progressing"),
        "NodeNetworkConfigurationEnactment": needs("Available", failed="Failing", busy="Progressing"),
    },
    "nvidia.com": {
        "ClusterPolicy": phase("status.state", healthy="ready ignored disabled"),
        "NVIDIADriver": phase("status.state", healthy="ready ignored"),
    },
}

FAMILIES: Mapping[str, Rule] = {
    "cnrm.cloud.google.com": config_connector,
    "services.k8s.aws": ack,
    "azure.com": azure,
    "crossplane.io": crossplane,
    "upbound.io": crossplane,
}
