"""Who stands behind whom, from objects as a server tells them."""

from __future__ import annotations

from typing import Any

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.tree import CHILDREN_MAX
from trimtab.targets.kubernetes.tree import may_have, tree


def body(kind: str, name: str, owner: str, *, created: str = "2026-01-01T00:00:00Z", **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": f"u-{name}", "creationTimestamp": created}
    metadata["ownerReferences"] = [{"uid": owner, "kind": "X", "name": "x"}]
    return {"apiVersion": "v1" if kind == "Pod" else "apps/v1", "kind": kind, "metadata": metadata, **parts}


def pod(name: str, owner: str, *, ready: bool = True, restarts: int = 0) -> dict[str, Any]:
    container = {"name": "web", "ready": ready, "restartCount": restarts, "state": {"running": {}}}
    ready_condition = {"type": "Ready", "status": "True" if ready else "False"}
    status = {"phase": "Running", "containerStatuses": [container], "conditions": [ready_condition]}
    return body("Pod", name, owner, spec={"containers": [{"name": "web"}]}, status=status)


def replica_set(name: str, replicas: int, **parts: Any) -> dict[str, Any]:
    return body(
        "ReplicaSet",
        name,
        "u-web",
        spec={"replicas": replicas},
        status={"replicas": replicas, "readyReplicas": replicas},
        **parts,
    )


def test_pods_stand_below_their_replica_sets_and_old_ones_without_pods_are_counted() -> None:
    found = tree("u-web", [replica_set("web-2", 1), replica_set("web-1", 0), pod("web-2-a", "u-web-2", restarts=3)])
    (child,) = found.children
    assert (child.object.name, child.ready, found.folded) == ("web-2", "1/1", 1)
    (below,) = child.children
    assert (below.object, below.health, below.ready, below.restarts) == (
        ObjectRef("v1", "Pod", "shop", "web-2-a"),
        HealthStatus.HEALTHY,
        "1/1",
        3,
    )
    assert below.since is not None


def test_what_only_carries_the_labels_is_not_shown() -> None:
    """Its owner is another one, or nobody."""
    assert tree("u-web", [pod("stray", "u-other"), {**pod("free", ""), "metadata": {"name": "free"}}]).children == ()


def test_what_is_unwell_comes_first_and_many_are_counted() -> None:
    pods = [pod(f"web-{number:03}", "u-web", ready=number != 60) for number in range(80)]
    found = tree("u-web", pods)
    assert (len(found.children), found.more) == (CHILDREN_MAX, 80 - CHILDREN_MAX)
    assert found.children[0].object.name == "web-060"


def test_owners_that_go_in_a_circle_come_to_an_end() -> None:
    found = tree("u-a", [body("Job", "a", "u-b"), body("Job", "b", "u-a")])
    depth, children = 0, found.children
    while children:
        depth, children = depth + 1, children[0].children
    assert depth <= 5


def test_only_workloads_and_custom_kinds_are_asked_about() -> None:
    assert may_have(ObjectRef("apps/v1", "Deployment", "", "web"))
    assert may_have(ObjectRef("argoproj.io/v1alpha1", "Rollout", "", "web"))
    assert not may_have(ObjectRef("v1", "ConfigMap", "", "web"))
    assert not may_have(ObjectRef("networking.k8s.io/v1", "Ingress", "", "web"))
