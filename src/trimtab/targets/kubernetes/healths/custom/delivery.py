"""What delivers: Argo, Flux, Flagger, Tekton, Helm controllers, Fleet, Pulumi and Terraform.

Argo Rollouts   https://argo-rollouts.readthedocs.io/en/stable/features/specification/ (RolloutStatus: phase, message, pauseConditions)
Argo CD         https://argo-cd.readthedocs.io/en/stable/operator-manual/health/ (status.health.status, status.operationState.phase)
ApplicationSet  https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/ (conditions ErrorOccurred, ResourcesUpToDate)
Argo Workflows  https://argo-workflows.readthedocs.io/en/latest/fields/#workflowstatus
Flagger         https://docs.flagger.app/usage/how-it-works#canary-status
Tekton          https://tekton.dev/docs/pipelines/pipelineruns/#monitoring-execution-status (Succeeded is Unknown while it runs)
Flux            https://fluxcd.io/flux/components/ (keeps the convention; only `spec.suspend` is read here)
Helm (k3s)      https://github.com/k3s-io/helm-controller/blob/master/pkg/apis/helm.cattle.io/v1/types.go
Fleet           https://fleet.rancher.io/ref-crds (summary.ready, summary.desiredReady)
HCP Terraform   https://developer.hashicorp.com/terraform/cloud-docs/integrations/kubernetes/api-reference
Kargo           https://docs.kargo.io/user-guide/reference-docs/ (Promotion: phase)
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention, needs
from trimtab.targets.kubernetes.healths.reading import (
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
from trimtab.targets.kubernetes.healths.shapes import paused_by, phase


def application(obj: Body) -> Health:
    """An Argo CD Application: its last operation, then whether it is in sync, then what it says of its objects."""
    status = mapping(obj, "status")
    match text(status, "operationState.phase"):
        case "Error" | "Failed":
            return degraded(f"its sync has failed: {text(status, 'operationState.message') or 'no reason given'}")
        case "Running" | "Terminating":
            return progressing(f"its sync runs: {text(status, 'operationState.message')}".rstrip(": "))
    state, message = text(status, "health.status"), text(status, "health.message")
    told = f"its objects are {state}" + (f": {message}" if message else "")
    match state:
        case "Healthy":
            return HEALTHY
        case "Degraded" | "Missing":
            return degraded(told)
        case "Suspended":
            return suspended(told)
        case "":
            return progressing("its controller has not looked at it yet")
        case _:
            return progressing(told)


def application_set(obj: Body) -> Health:
    found = of(obj)
    if is_true(found.get("ErrorOccurred")):
        return degraded(said(found["ErrorOccurred"]) or "its Applications cannot be made")
    if is_true(found.get("RolloutProgressing")):
        return progressing(said(found["RolloutProgressing"]) or "its rollout goes on")
    if is_false(found.get("ResourcesUpToDate")):
        return progressing(said(found["ResourcesUpToDate"]) or "its Applications are not up to date")
    return HEALTHY if found else progressing("its controller has not looked at it yet")


def rollout(obj: Body) -> Health:
    """`status.phase` says it since version 1.0; pauses that somebody has to end are suspended."""
    status = mapping(obj, "status")
    message = text(status, "message")
    if status.get("abort") is True:
        return degraded(f"its rollout was aborted: {message or 'no reason given'}")
    match text(status, "phase"):
        case "Healthy":
            return HEALTHY
        case "Degraded":
            return degraded(message or "it is degraded")
        case "Paused":
            return suspended(f"its rollout is paused: {message or 'somebody has to go on with it'}")
        case "":
            failed = of(obj).get("InvalidSpec")
            return degraded(said(failed)) if is_true(failed) else progressing("its controller has not looked at it yet")
        case _:
            return progressing(message or "its rollout goes on")


def succeeded(obj: Body) -> Health:
    """Tekton's and others' runs: one condition `Succeeded`; Unknown while it runs, False when it is over and did not work."""
    condition = of(obj).get("Succeeded")
    told = said(condition)
    if is_true(condition):
        return HEALTHY
    if is_false(condition):
        return degraded(f"it has failed: {told or 'no reason given'}")
    if text(obj, "spec.status") == "PipelineRunPending":
        return suspended("it waits for somebody to start it")
    return progressing(f"it runs: {told}" if told else "it has not started yet")


def canary(obj: Body) -> Health:
    """A Flagger Canary. Failed means: it went back to the release before, and the new one does not serve."""
    status = mapping(obj, "status")
    promoted = conditions(status).get("Promoted")
    told = said(promoted)
    match text(status, "phase"):
        case "Initialized" | "Succeeded":
            return HEALTHY
        case "Failed":
            return degraded(f"its canary has failed: {told or 'the release before serves'}")
        case "Waiting" | "WaitingPromotion":
            return suspended(f"its canary waits for an approval: {told}".rstrip(": "))
        case "":
            return progressing("its controller has not looked at it yet")
        case word:
            return progressing(f"its canary is {word}, weight {number(status, 'canaryWeight')}")


def cron_workflow(obj: Body) -> Health:
    if mapping(obj, "spec").get("suspend") is True:
        return suspended("it is suspended: spec.suspend is set")
    for name, condition in of(obj).items():
        if name in ("SubmissionError", "SpecError") and is_true(condition):
            return degraded(f"{name}: {said(condition)}")
    return HEALTHY


def workflow(obj: Body) -> Health:
    status = mapping(obj, "status")
    if mapping(obj, "spec").get("suspend") is True:
        return suspended("it is suspended: spec.suspend is set")
    message = text(status, "message")
    match text(status, "phase"):
        case "Succeeded":
            return HEALTHY
        case "Failed" | "Error" as word:
            return degraded(f"it has ended as {word}: {message or 'no reason given'}")
        case word:
            return progressing(
                f"it is {word or 'Pending'}: {text(status, 'progress')} of its steps{f', {message}' if message else ''}"
            )


def fleet(obj: Body) -> Health:
    """Rancher Fleet counts what is ready on how many clusters."""
    status = mapping(obj, "status")
    for name, condition in conditions(status).items():
        if name == "Stalled" and is_true(condition):
            return degraded(said(condition))
    summary = mapping(status, "summary")
    ready, wanted = number(summary, "ready"), number(summary, "desiredReady")
    ill = number(summary, "errApplied") + number(summary, "notReady")
    told = f"{ready} of {wanted} ready"
    for each in listing(summary, "nonReadyResources")[:1]:
        told += f": {text(each, 'message') or text(each, 'name')}"
    if number(summary, "errApplied"):
        return degraded(told)
    return progressing(told) if ready < wanted or ill else convention(obj)


def terraform_workspace(obj: Body) -> Health:
    status = mapping(obj, "status")
    word = first(text(status, "runStatus"), text(status, "run.status"))
    if word in ("errored", "policy_soft_failed", "force_canceled"):
        return degraded(f"its run is {word}")
    if word in ("canceled", "discarded"):
        return suspended(f"its run was {word}")
    over = ("applied", "planned_and_finished", "planned_and_saved", "")
    return HEALTHY if word in over and status else progressing(f"its run is {word or 'not started'}")


_FLUX = paused_by("spec.suspend", convention, "it is suspended: {path} is set")
_RUN = phase("status.phase", healthy="Successful", degraded_by="Failed Error", suspended_by="Inconclusive")

TABLE: Table = {
    "argoproj.io": {
        "Application": application,
        "ApplicationSet": application_set,
        "Rollout": rollout,
        "AnalysisRun": _RUN,
        "Experiment": _RUN,
        "Workflow": workflow,
        "CronWorkflow": cron_workflow,
        **same(always, "AppProject AnalysisTemplate ClusterAnalysisTemplate WorkflowTemplate ClusterWorkflowTemplate"),
        **same(always, "WorkflowTaskSet WorkflowEventBinding WorkflowArtifactGCTask"),
        "EventBus": needs("Deployed", "Configured"),
        "EventSource": needs("Deployed", "SourcesProvided"),
        "Sensor": needs("Deployed", "DependenciesProvided", "TriggersProvided"),
    },
    "kustomize.toolkit.fluxcd.io": {"Kustomization": _FLUX},
    "helm.toolkit.fluxcd.io": {"HelmRelease": _FLUX},
    "source.toolkit.fluxcd.io": same(_FLUX, "GitRepository OCIRepository HelmRepository HelmChart Bucket ExternalArtifact"),
    "notification.toolkit.fluxcd.io": {"Provider": always, "Alert": paused_by("spec.suspend", always), "Receiver": _FLUX},
    "image.toolkit.fluxcd.io": same(_FLUX, "ImageRepository ImagePolicy ImageUpdateAutomation"),
    "infra.contrib.fluxcd.io": {"Terraform": _FLUX},
    "flagger.app": {"Canary": canary, **same(always, "MetricTemplate AlertProvider")},
    "tekton.dev": {
        **same(succeeded, "PipelineRun TaskRun CustomRun Run"),
        **same(always, "Pipeline Task ClusterTask StepAction"),
    },
    "triggers.tekton.dev": same(
        always, "Trigger TriggerBinding ClusterTriggerBinding TriggerTemplate Interceptor ClusterInterceptor"
    ),
    "operator.tekton.dev": {"*": needs("Ready")},
    "shipwright.io": {"BuildRun": succeeded, "Build": needs("Registered", final="Registered")},
    "kpack.io": {"Build": succeeded},
    "helm.cattle.io": {"HelmChart": needs("JobCreated", failed="Failed"), "HelmChartConfig": always},
    "fleet.cattle.io": same(fleet, "GitRepo Bundle BundleDeployment Cluster ClusterGroup HelmOp"),
    "app.terraform.io": {"Workspace": terraform_workspace, "Module": terraform_workspace},
    "kargo.akuity.io": {
        **same(always, "Project ProjectConfig Freight ClusterConfig"),
        "Promotion": phase("status.phase", healthy="Succeeded", degraded_by="Failed Errored", suspended_by="Aborted"),
    },
}
