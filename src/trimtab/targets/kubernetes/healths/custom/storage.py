"""Storage and backup.

Rook      https://rook.io/docs/rook/latest/CRDs/specification/ (phase; CephCluster: ceph.health)
Longhorn  https://github.com/longhorn/longhorn-manager/tree/master/k8s/pkg/apis/longhorn/v1beta2 (state, robustness)
Velero    https://velero.io/docs/main/api-types/ (phases)
MinIO     https://min.io/docs/minio/kubernetes/upstream/reference/operator-crd.html (currentState, healthStatus)
VolSync   https://volsync.readthedocs.io/en/stable/usage/ (Synchronizing)
K8up      https://docs.k8up.io/k8up/references/api-reference.html (Completed)
Stash and KubeStash  https://stash.run/docs/ (phase)
OpenEBS   https://openebs.io/docs/
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body
from trimtab.targets.kubernetes.healths.conditions import convention
from trimtab.targets.kubernetes.healths.reading import (
    Table,
    always,
    conditions,
    degraded,
    is_false,
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
from trimtab.targets.kubernetes.healths.shapes import paused_by, phase

CHECKS_SHOWN = 3


def ceph_cluster(obj: Body) -> Health:
    """HEALTH_WARN is everyday for Ceph (a scrub that is late, a node that restarts): it is named but does not mean degraded."""
    status = mapping(obj, "status")
    told = text(status, "message")
    match text(status, "phase"):
        case "Ready" | "Connected":
            pass
        case "Failure":
            return degraded(told or "its phase is Failure")
        case word:
            return progressing(told or f"its phase is {word or 'not known yet'}")
    checks = "; ".join(f"{name}: {text(each, 'message')}" for name, each in mapping(mapping(status, "ceph"), "details").items())
    match text(status, "ceph.health"):
        case "HEALTH_OK" | "HEALTH_WARN":
            return HEALTHY
        case "HEALTH_ERR":
            return degraded(f"HEALTH_ERR: {checks}".rstrip(": "))
        case _:
            return progressing("Ceph has not answered yet")


def longhorn_volume(obj: Body) -> Health:
    status = mapping(obj, "status")
    state, robustness = text(status, "state"), text(status, "robustness")
    if robustness == "faulted":
        return degraded("none of its replicas works")
    if robustness == "degraded":
        return progressing("its replicas are being rebuilt")
    return HEALTHY if state in ("attached", "detached") else progressing(f"it is {state or 'not looked at yet'}")


def longhorn_node(obj: Body) -> Health:
    for name in ("Ready", "Schedulable"):
        condition = of(obj).get(name)
        if is_false(condition):
            return degraded(said(condition)) if name == "Ready" else suspended(said(condition))
    return HEALTHY if of(obj) else progressing("its manager has not looked at it yet")


def backup_target(obj: Body) -> Health:
    if not text(obj, "spec.backupTargetURL"):
        return HEALTHY
    found = of(obj).get("Unavailable")
    if is_true(found):
        return degraded(said(found) or "it cannot be reached")
    return HEALTHY if mapping(obj, "status").get("available") is True else progressing("has not been reached yet")


def velero_restore(obj: Body) -> Health:
    errors = listing(mapping(obj, "status"), "validationErrors")
    if errors and isinstance(errors[0], str):
        return degraded(f"it is not valid: {errors[0]}")
    return _VELERO(obj)


def tenant(obj: Body) -> Health:
    status = mapping(obj, "status")
    state, light = text(status, "currentState"), text(status, "healthStatus")
    if light == "red":
        return degraded(text(status, "healthMessage") or "its health is red")
    if state == "Initialized":
        return HEALTHY if light in ("green", "yellow", "") else progressing(f"its health is {light}")
    failed = any(word in state.lower() for word in ("error", "failed", "not valid", "disallowed", "mixed"))
    return degraded(state) if failed else progressing(state or "its operator has not looked at it yet")


def synchronizing(obj: Body) -> Health:
    """VolSync: waiting for the next time is well; an error is in the condition's reason."""
    if mapping(obj, "spec").get("paused") is True:
        return suspended("it is paused: spec.paused is set")
    condition = conditions(mapping(obj, "status")).get("Synchronizing")
    if condition is None:
        return progressing("it has not run yet")
    if condition.get("reason") == "Error":
        return degraded(said(condition))
    return HEALTHY if is_false(condition) else progressing(said(condition) or "it runs")


def k8up(obj: Body) -> Health:
    """A job of K8up: over when Completed, well when its reason says so."""
    completed = of(obj).get("Completed")
    if not is_true(completed) or completed is None:
        return progressing(said(of(obj).get("Progressing")) or "it has not run yet")
    return degraded(said(completed)) if completed.get("reason") == "Failed" else HEALTHY


_ROOK = phase(
    "status.phase",
    healthy="Ready Connected Created Deployed",
    degraded_by="Failure Error",
    message="status.message status.info.reason",
)
_VELERO = phase(
    "status.phase",
    healthy="Completed Processed",
    degraded_by="Failed PartiallyFailed FailedValidation",
    suspended_by="Canceled",
    message="status.failureReason status.message",
)
_STASH = phase("status.phase", healthy="Succeeded Ready Completed", degraded_by="Failed Invalid", suspended_by="Skipped")

TABLE: Table = {
    "ceph.rook.io": {
        "CephCluster": ceph_cluster,
        **same(_ROOK, "CephBlockPool CephFilesystem CephObjectStore CephObjectStoreUser CephNFS CephObjectRealm CephObjectZone"),
        **same(_ROOK, "CephObjectZoneGroup CephFilesystemMirror CephRBDMirror CephClient CephFilesystemSubVolumeGroup"),
        **same(_ROOK, "CephBlockPoolRadosNamespace CephBucketTopic CephBucketNotification CephCOSIDriver"),
    },
    "objectbucket.io": {
        "ObjectBucketClaim": phase("status.phase", healthy="Bound", degraded_by="Failed"),
        "ObjectBucket": phase("status.phase", healthy="Bound Released", degraded_by="Failed"),
    },
    "longhorn.io": {
        "Volume": longhorn_volume,
        "Node": longhorn_node,
        "BackupTarget": backup_target,
        "BackingImage": always,
        **same(always, "RecurringJob Setting EngineImage InstanceManager Orphan Engine Replica ShareManager BackupVolume"),
        "Backup": phase("status.state", healthy="Completed", degraded_by="Error Unknown", message="status.error"),
        "SystemBackup": phase("status.state", healthy="Ready", degraded_by="Error"),
        "SystemRestore": phase("status.state", healthy="Completed", degraded_by="Error"),
        "Snapshot": phase("status.readyToUse", healthy="true", message="status.error"),
    },
    "velero.io": {
        "Backup": velero_restore,
        "Restore": velero_restore,
        **same(
            _VELERO,
            "PodVolumeBackup PodVolumeRestore DataUpload DataDownload DeleteBackupRequest DownloadRequest ServerStatusRequest",
        ),
        "Schedule": paused_by(
            "spec.paused",
            phase("status.phase", healthy="Enabled", degraded_by="FailedValidation", message="status.validationErrors"),
            "it is paused: {path} is set",
        ),
        "BackupStorageLocation": phase("status.phase", healthy="Available", degraded_by="Unavailable", message="status.message"),
        "VolumeSnapshotLocation": phase("status.phase", healthy="Available", degraded_by="Unavailable", absent="healthy"),
        "BackupRepository": phase("status.phase", healthy="Ready", message="status.message"),
    },
    "minio.min.io": {"Tenant": tenant},
    "volsync.backube": {"ReplicationSource": synchronizing, "ReplicationDestination": synchronizing},
    "k8up.io": {
        **same(k8up, "Backup Restore Check Prune Archive"),
        "Schedule": convention,
        **same(always, "PreBackupPod Snapshot"),
    },
    "stash.appscode.com": {
        **same(_STASH, "BackupSession RestoreSession BackupBlueprint"),
        "BackupConfiguration": paused_by("spec.paused", _STASH, "it is paused: {path} is set"),
        **same(always, "Repository Function Task"),
    },
    "core.kubestash.com": same(_STASH, "BackupConfiguration BackupSession RestoreSession"),
    "openebs.io": {
        "DiskPool": phase("status.pool_status", healthy="Online", degraded_by="Faulted Degraded Offline", absent="progressing")
    },
    "local.storage.openshift.io": {"*": convention},
}
