"""What computes: Kubeflow, Spark, Flink, Ray, Volcano, JobSet, Kueue, Knative, KServe, Numaflow, Agones.

Kubeflow  https://www.kubeflow.org/docs/components/trainer/legacy-v1/reference/ (JobStatus.conditions), and for TrainJob
          https://github.com/kubeflow/trainer/blob/master/pkg/apis/trainer/v1alpha1/trainjob_types.go
Spark     https://github.com/kubeflow/spark-operator/blob/master/docs/api-docs.md (ApplicationStateType)
Flink     https://nightlies.apache.org/flink/flink-kubernetes-operator-docs-main/docs/custom-resource/reference/ (lifecycleState, error)
Ray       https://github.com/ray-project/kuberay/tree/master/ray-operator/apis/ray/v1
Volcano   https://volcano.sh/en/docs/vcjob/#status-of-a-vcjob
JobSet    https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2/ (Completed, Failed, Suspended)
Kueue     https://kueue.sigs.k8s.io/docs/concepts/workload/ and .../cluster_queue/ (Active, Admitted, Finished)
Knative   https://github.com/knative/specs/blob/main/specs/knative-api-specification-1.0.md#error-signalling
KServe    https://kserve.github.io/website/ (conditions as Knative's)
Numaflow  https://numaflow.numaproj.io/APIs/ (PipelinePhase)
Agones    https://agones.dev/site/docs/reference/agones_crd_api_reference/
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
    is_false,
    is_true,
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


def finite(obj: Body) -> Health:
    """Conditions of something that comes to an end: Failed, Succeeded or Complete, Suspended."""
    found = of(obj)
    for name in ("Failed", "Error"):
        if is_true(found.get(name)):
            return degraded(f"it has failed: {said(found[name]) or 'no reason given'}")
    for name in ("Succeeded", "Complete", "Completed", "Finished"):
        if is_true(found.get(name)):
            return HEALTHY
    if is_true(found.get("Suspended")):
        return suspended(said(found["Suspended"]) or "it is suspended")
    for name in ("Restarting", "Running", "Created"):
        if is_true(found.get(name)):
            return progressing(f"{name}: {said(found[name])}".rstrip(": "))
    return progressing("it has not started yet")


def knative(obj: Body) -> Health:
    """Ready is Unknown while the controller works and False when it has met an error that does not pass by itself."""
    ready = of(obj).get("Ready")
    if is_true(ready):
        return HEALTHY
    told = said(ready)
    return (
        degraded(told or "it is not ready") if is_false(ready) else progressing(told or "its controller has not looked at it yet")
    )


def flink(obj: Body) -> Health:
    """DEPLOYED runs but may still be rolled back; STABLE is well. `status.error` tells what went wrong."""
    status = mapping(obj, "status")
    error, job = text(status, "error"), text(status, "jobStatus.state")
    match text(status, "lifecycleState"):
        case "STABLE":
            return degraded(f"its job is {job}: {error}") if job in ("FAILED", "FAILING") else HEALTHY
        case "FAILED" | "ROLLED_BACK" as word:
            return degraded(f"it is {word}: {error or 'no reason given'}")
        case "SUSPENDED":
            return suspended("it is suspended")
        case "":
            return degraded(error) if error else _flink_job(job)
        case word:
            return progressing(f"it is {word}" + (f": {error}" if error else ""))


def _flink_job(state: str) -> Health:
    """Releases of the operator before lifecycleState."""
    if state in ("FAILED", "FAILING"):
        return degraded(f"its job is {state}")
    return HEALTHY if state in ("RUNNING", "FINISHED") else progressing(f"its job is {state or 'not known yet'}")


def ray_cluster(obj: Body) -> Health:
    status = mapping(obj, "status")
    found = conditions(status)
    if is_true(found.get("ReplicaFailure")):
        return degraded(said(found["ReplicaFailure"]))
    if is_true(found.get("RayClusterSuspended")):
        return suspended("it is suspended: spec.suspend is set")
    match text(status, "state"):
        case "ready":
            return HEALTHY
        case "failed":
            return degraded(text(status, "reason") or "it has failed")
        case "suspended":
            return suspended("it is suspended: spec.suspend is set")
        case _:
            ready, wanted = number(status, "readyWorkerReplicas"), number(status, "desiredWorkerReplicas")
            return progressing(f"{ready} of {wanted} workers are ready")


def ray_service(obj: Body) -> Health:
    status = mapping(obj, "status")
    ready = conditions(status).get("Ready")
    if ready is not None:
        if is_true(conditions(status).get("UpgradeInProgress")):
            return progressing(said(conditions(status)["UpgradeInProgress"]) or "is being upgraded")
        return HEALTHY if is_true(ready) else progressing(said(ready) or "is not ready")
    word = text(status, "serviceStatus")
    return HEALTHY if word == "Running" else progressing(f"it is {word or 'not looked at yet'}")


def workload(obj: Body) -> Health:
    """Kueue's Workload: waits for quota, is admitted, ends."""
    found = of(obj)
    if is_true(found.get("Finished")):
        failed = found["Finished"].get("reason") == "Failed"
        return degraded(said(found["Finished"])) if failed else HEALTHY
    if is_true(found.get("DeactivationTarget")) or mapping(obj, "spec").get("active") is False:
        return suspended(said(found.get("DeactivationTarget")) or "it is not active")
    if is_true(found.get("Admitted")):
        return HEALTHY
    waits = found.get("QuotaReserved")
    return progressing(said(waits) or "waits for quota")


def notebook(obj: Body) -> Health:
    """Kubeflow keeps the state of the container under `containerState` and old conditions for ever."""
    status = mapping(obj, "status")
    if "kubeflow-resource-stopped" in mapping(mapping(obj, "metadata"), "annotations"):
        return suspended("it is stopped")
    state = mapping(status, "containerState")
    waiting = mapping(state, "waiting")
    if "terminated" in state:
        return degraded(f"its container has ended: {text(state, 'terminated.reason') or 'no reason given'}")
    if number(status, "readyReplicas") >= 1:
        return HEALTHY
    reason = text(waiting, "reason")
    told = f"its container waits: {reason}: {text(waiting, 'message')}".rstrip(": ")
    ill = reason in ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError")
    return degraded(told) if ill else progressing(told if waiting else "its container is not ready")


def game_fleet(obj: Body) -> Health:
    """Servers in use count as well as those that wait for players."""
    status, wanted = mapping(obj, "status"), number(mapping(obj, "spec"), "replicas", 0)
    there = sum(number(status, name) for name in ("readyReplicas", "allocatedReplicas", "reservedReplicas"))
    return HEALTHY if there >= wanted else progressing(f"{there} of {wanted} game servers are ready")


_NUMAFLOW = phase("status.phase", healthy="Running Succeeded", degraded_by="Failed Unknown", suspended_by="Paused")

TABLE: Table = {
    "kubeflow.org": {
        **same(finite, "TFJob PyTorchJob MPIJob XGBoostJob PaddleJob JAXJob MXJob"),
        "Notebook": notebook,
        "Experiment": finite,
        "Suggestion": convention,
        "Trial": finite,
        "Profile": convention,
    },
    "trainer.kubeflow.org": {"TrainJob": finite, **same(always, "TrainingRuntime ClusterTrainingRuntime")},
    "sparkoperator.k8s.io": {
        "SparkApplication": phase(
            "status.applicationState.state",
            healthy="RUNNING COMPLETED",
            degraded_by="FAILED SUBMISSION_FAILED FAILING",
            suspended_by="SUSPENDED",
            message="status.applicationState.errorMessage",
        ),
        "ScheduledSparkApplication": paused_by(
            "spec.suspend",
            phase("status.scheduleState", healthy="Scheduled", degraded_by="FailedValidation"),
            "it is suspended: {path} is set",
        ),
        "SparkConnect": phase("status.state", healthy="Ready", degraded_by="Failed"),
    },
    "flink.apache.org": {
        "FlinkDeployment": flink,
        "FlinkSessionJob": flink,
        "FlinkStateSnapshot": phase("status.state", healthy="COMPLETED", degraded_by="FAILED ABANDONED", message="status.error"),
    },
    "ray.io": {
        "RayCluster": ray_cluster,
        "RayService": ray_service,
        "RayJob": phase(
            "status.jobDeploymentStatus",
            healthy="Complete",
            degraded_by="Failed ValidationFailed",
            suspended_by="Suspended Suspending",
        ),
        "RayCronJob": paused_by("spec.suspend", always, "it is suspended: {path} is set"),
    },
    "batch.volcano.sh": {
        "Job": phase(
            "status.state.phase",
            healthy="Completed",
            degraded_by="Failed Aborted Terminated",
            message="status.state.message",
        ),
    },
    "scheduling.volcano.sh": {
        "Queue": phase("status.state", healthy="Open", suspended_by="Closed", absent="healthy"),
        "PodGroup": phase("status.phase", healthy="Running Inqueue Completed"),
    },
    "jobset.x-k8s.io": {"JobSet": paused_by("spec.suspend", finite, "it is suspended: {path} is set")},
    "leaderworkerset.x-k8s.io": {"LeaderWorkerSet": needs("Available", busy="Progressing UpdateInProgress")},
    "kueue.x-k8s.io": {
        **same(needs("Active"), "ClusterQueue LocalQueue AdmissionCheck MultiKueueCluster"),
        "Workload": workload,
        **same(always, "ResourceFlavor WorkloadPriorityClass Topology Cohort MultiKueueConfig ProvisioningRequestConfig"),
    },
    "serving.knative.dev": same(knative, "Service Route Configuration Revision DomainMapping"),
    "eventing.knative.dev": {**same(knative, "Broker Trigger EventTransform"), **same(always, "EventType EventPolicy")},
    "messaging.knative.dev": {"*": knative},
    "sources.knative.dev": {"*": knative},
    "flows.knative.dev": {"*": knative},
    "operator.knative.dev": {"*": knative},
    "networking.internal.knative.dev": {"*": knative},
    "serving.kserve.io": {
        **same(knative, "InferenceService InferenceGraph LLMInferenceService"),
        **same(always, "ServingRuntime ClusterServingRuntime ClusterStorageContainer LLMInferenceServiceConfig"),
    },
    "numaflow.numaproj.io": same(_NUMAFLOW, "Pipeline Vertex MonoVertex InterStepBufferService"),
    "agones.dev": {
        "Fleet": game_fleet,
        "GameServerSet": game_fleet,
        "GameServer": phase("status.state", healthy="Ready Allocated Reserved Shutdown", degraded_by="Error Unhealthy"),
    },
    "autoscaling.agones.dev": {"FleetAutoscaler": needs(absent="healthy")},
}
