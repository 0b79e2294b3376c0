"""What stands behind a workload: its ReplicaSets or Jobs, and their Pods, by who owns whom. Read on demand, with a bound on everything.

The Pods of a workload are those that its selector finds, and whose owners lead to it: labels alone could be anybody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.manifest import Body
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.tree import CHILDREN_MAX, NO_TREE, Child, Tree

from . import health
from .causes import selector_of
from .client import Client
from .cluster import Cluster
from .errors import NotFound
from .healths.reading import listing, mapping, number, text
from .requests import Selector

READ_MAX = 500
"""Pods, ReplicaSets and Jobs of one workload that are read."""
DEPTH_MAX = 5
BUILT_IN = frozenset(
    {"", "apps", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "autoscaling", "storage.k8s.io"}
)
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"})
REPLICA_SET, JOB, POD = (
    ObjectRef("apps/v1", "ReplicaSet", "", ""),
    ObjectRef("batch/v1", "Job", "", ""),
    ObjectRef("v1", "Pod", "", ""),
)


def may_have(ref: ObjectRef) -> bool:
    """Whether it is worth asking: a workload, or a custom kind, which may be one."""
    return ref.kind in WORKLOADS or (ref.group not in BUILT_IN and not ref.group.endswith(".k8s.io"))


async def read(cluster: Cluster, client: Client, ref: ObjectRef) -> Tree:
    """Raises TransientError or Refused when it cannot be read."""
    resource = await cluster.served(ref) if may_have(ref) else None
    if resource is None:
        return NO_TREE
    namespace = cluster.place(resource, ref)
    try:
        root = (await client.get(resource, namespace, ref.name)).body()
    except NotFound:
        return NO_TREE
    found = await _beside(cluster, client, root, namespace)
    return tree(text(root, "metadata.uid"), found)


async def _beside(cluster: Cluster, client: Client, root: Body, namespace: str) -> list[Body]:
    """What could be its children and theirs."""
    if root.get("kind") == "CronJob":
        jobs = await _some(cluster, client, JOB, Selector(namespace))
        mine = [job for job in jobs if text(root, "metadata.uid") in _owners(job)]
        names = ",".join(text(job, "metadata.name") for job in mine)
        return [*mine, *(await _some(cluster, client, POD, Selector(namespace, f"job-name in ({names})")) if names else [])]
    labels = selector_of(root)
    if not labels:
        return []
    kinds = [POD] if root.get("kind") in ("StatefulSet", "DaemonSet", "ReplicaSet", "Job") else [REPLICA_SET, POD]
    return [body for kind in kinds for body in await _some(cluster, client, kind, Selector(namespace, labels))]


async def _some(cluster: Cluster, client: Client, kind: ObjectRef, select: Selector) -> list[Body]:
    resource = await cluster.resource(kind)
    return [found.body() for found in (await client.page(resource, select, limit=READ_MAX)).items] if resource is not None else []


def tree(uid: str, found: Iterable[Body]) -> Tree:
    """The children of the object with ``uid`` among ``found``: pure."""
    below: Mapping[str, list[Body]] = defaultdict(list)
    for body in found:
        for owner in _owners(body):
            below[owner].append(body)
    children, more, folded = _children(uid, below, DEPTH_MAX)
    return Tree(children, more, folded)


def _children(uid: str, below: Mapping[str, list[Body]], depth: int) -> tuple[tuple[Child, ...], int, int]:
    bodies = below.get(uid, []) if depth and uid else []
    alive = [body for body in bodies if not _over(body, below)]
    # The newest first, and what is not well before what is.
    alive.sort(key=lambda body: text(body, "metadata.name"))
    alive.sort(key=lambda body: text(body, "metadata.creationTimestamp"), reverse=True)
    children = [_child(body, below, depth) for body in alive]
    children.sort(key=lambda child: child.health in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED))
    return tuple(children[:CHILDREN_MAX]), max(0, len(children) - CHILDREN_MAX), len(bodies) - len(alive)


def _over(body: Body, below: Mapping[str, list[Body]]) -> bool:
    """An old ReplicaSet: none wanted, none there."""
    none = not number(mapping(body, "spec"), "replicas", 1) and not number(mapping(body, "status"), "replicas")
    return body.get("kind") == "ReplicaSet" and none and not below.get(text(body, "metadata.uid"))


def _child(body: Body, below: Mapping[str, list[Body]], depth: int) -> Child:
    judged = health.assess(body)
    children, more, folded = _children(text(body, "metadata.uid"), below, depth - 1)
    ref = ObjectRef(str(body["apiVersion"]), str(body["kind"]), text(body, "metadata.namespace"), text(body, "metadata.name"))
    return Child(
        object=ref,
        health=judged.status,
        message=judged.message,
        ready=_ready(body),
        restarts=sum(number(each, "restartCount") for each in _containers(body)),
        since=_time(text(body, "metadata.creationTimestamp")),
        children=children,
        more=more,
        folded=folded,
    )


def _ready(body: Body) -> str:
    status = mapping(body, "status")
    match body.get("kind"):
        case "Pod":
            containers = _containers(body)
            wanted = len(listing(mapping(body, "spec"), "containers"))
            return (
                "" if status.get("phase") == "Succeeded" else f"{sum(each.get('ready') is True for each in containers)}/{wanted}"
            )
        case "Job":
            return f"{number(status, 'succeeded')}/{number(mapping(body, 'spec'), 'completions', 1)}"
        case _:
            return f"{number(status, 'readyReplicas')}/{number(mapping(body, 'spec'), 'replicas', 1)}"


def _containers(body: Body) -> Sequence[Mapping[str, Any]]:
    return [each for each in listing(mapping(body, "status"), "containerStatuses") if isinstance(each, dict)]


def _owners(body: Body) -> list[str]:
    return [text(owner, "uid") for owner in listing(mapping(body, "metadata"), "ownerReferences")]


def _time(words: str) -> datetime | None:
    try:
        return datetime.fromisoformat(words) if words else None
    except ValueError:
        return None
