"""Volumes and their snapshots.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#phase
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/persistent-volume-claim-v1/
https://github.com/kubernetes-csi/external-snapshotter/blob/master/client/apis/volumesnapshot/v1/types.go
"""

from __future__ import annotations

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Table, always, at, conditions, degraded, is_true, mapping, progressing, said, same, suspended, text

RESIZE_FAILED = ("ControllerResizeError", "NodeResizeError", "ModifyVolumeError")
RESIZING = ("Resizing", "FileSystemResizePending", "ModifyingVolume")


def claim(obj: Body) -> Health:
    status = mapping(obj, "status")
    match status.get("phase"):
        case "Bound":
            pass
        case "Lost":
            return degraded(f"its volume {text(obj, 'spec.volumeName')} is gone")
        case _:
            return progressing(f"waits for a volume of class {text(obj, 'spec.storageClassName') or '(default)'}")
    found = conditions(status)
    for name in RESIZE_FAILED:
        if is_true(found.get(name)):
            return degraded(f"its volume cannot be changed: {said(found[name])}")
    for name in RESIZING:
        if is_true(found.get(name)):
            return progressing(f"its volume is being changed: {said(found[name]) or name}")
    return HEALTHY


def volume(obj: Body) -> Health:
    status = mapping(obj, "status")
    told = text(status, "message") or text(status, "reason")
    match status.get("phase"):
        case "Available" | "Bound":
            return HEALTHY
        case "Released":
            return suspended("its claim is gone: what it holds waits for somebody to reclaim it")
        case "Failed":
            return degraded(f"it cannot be reclaimed: {told or 'no reason given'}")
        case _:
            return progressing(told or "is being made")


def snapshot(obj: Body) -> Health:
    status = mapping(obj, "status")
    if status.get("readyToUse") is True:
        return HEALTHY
    failure = at(status, "error.message")
    return degraded(failure) if isinstance(failure, str) and failure else progressing("the snapshot is being taken")


def attachment(obj: Body) -> Health:
    status = mapping(obj, "status")
    failure = text(status, "attachError.message") or text(status, "detachError.message")
    if failure:
        return degraded(failure)
    return HEALTHY if status.get("attached") is True else progressing("is being attached")


_SNAPSHOTS = same(snapshot, "VolumeSnapshot VolumeSnapshotContent VolumeGroupSnapshot VolumeGroupSnapshotContent")
_CLASSES = same(always, "VolumeSnapshotClass VolumeGroupSnapshotClass")

TABLE: Table = {
    "": {"PersistentVolumeClaim": claim, "PersistentVolume": volume},
    "storage.k8s.io": {
        **same(always, "StorageClass CSIDriver CSINode CSIStorageCapacity VolumeAttributesClass"),
        "VolumeAttachment": attachment,
    },
    "snapshot.storage.k8s.io": {**_SNAPSHOTS, **_CLASSES},
    "groupsnapshot.storage.k8s.io": {**_SNAPSHOTS, **_CLASSES},
}
