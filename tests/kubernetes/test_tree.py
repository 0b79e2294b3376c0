"""What stands behind an object on a real server: a Deployment's ReplicaSets and Pods, a CronJob's Jobs; and the logs of all containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.target import healthy, put, until
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map, manifest, opened
from tests.kubernetes.test_target import deployment

from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import Action
from trimtab.core.model.tree import NO_TREE, Child, Tree
from trimtab.ports.target import LogLine, LogWish
from trimtab.targets.kubernetes.target import KubernetesTarget

SECONDS = 30.0


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


def logging(body: dict[str, Any], line: str) -> dict[str, Any]:
    body["spec"]["template"]["metadata"]["annotations"] = {"node.test/log": line}
    return body


async def test_a_deployment_shows_its_replica_sets_and_pods_and_folds_the_old_ones(target: KubernetesTarget) -> None:
    """After a second release the first one's ReplicaSet is counted and no longer listed."""
    one, two = manifest(deployment(replicas=2)), manifest(deployment(replicas=2, env=[{"name": "A", "value": "b"}]))
    await put(target, one)
    await healthy(target, one)
    tree = await target.children(one.ref)
    (replicas,) = tree.children
    assert (replicas.object.kind, replicas.ready, tree.folded) == ("ReplicaSet", "2/2", 0)
    assert [(child.object.kind, child.health, child.ready) for child in replicas.children] == [("Pod", "healthy", "1/1")] * 2
    assert all(child.since is not None for child in replicas.children)
    await put(target, two, Action.UPDATE)
    await healthy(target, two)

    async def folded() -> bool:
        tree = await target.children(two.ref)
        return (len(tree.children), tree.folded) == (1, 1)

    await until(folded, SECONDS)


async def test_a_pod_that_crashes_says_so_in_the_tree(target: KubernetesTarget) -> None:
    body = deployment()
    body["spec"]["template"]["metadata"]["annotations"] = {"node.test/behaviour": "crashloop"}
    made = manifest(body)
    await put(target, made)
    found: list[Child] = []

    async def crashed() -> bool:
        found[:] = _pods(await target.children(made.ref))
        return bool(found) and found[0].restarts > 0 and found[0].health == "degraded"

    await until(crashed, SECONDS)
    assert found[0].message
    assert found[0].ready == "0/1"


async def test_a_cron_job_shows_its_jobs_and_a_config_map_nothing(
    target: KubernetesTarget, cluster: Cluster, namespace: str
) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "run", "image": "registry.test/run:1"}]}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    made = manifest({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec})
    await put(target, made)
    assert await target.children(made.ref) == NO_TREE
    there = cluster.api.get(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/nightly")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": there["metadata"]["uid"], "controller": True}
    job = {"metadata": {"name": "nightly-1", "ownerReferences": [owner]}, "spec": {"template": template}}
    cluster.api.good("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", {"apiVersion": "batch/v1", "kind": "Job", **job})

    async def runs() -> bool:
        tree = await target.children(made.ref)
        return bool(tree.children) and bool(tree.children[0].children)

    await until(runs, SECONDS)
    (child,) = (await target.children(made.ref)).children
    assert (child.object.kind, child.object.name) == ("Job", "nightly-1")
    await put(target, manifest(config_map()))
    assert await target.children(ObjectRef("v1", "ConfigMap", "", "one")) == NO_TREE


async def test_logs_come_from_every_container_and_from_one_that_is_named(target: KubernetesTarget) -> None:
    """Of two Pods with two containers each: every source is named, and choosing one leaves the others out."""
    body = logging(deployment(replicas=2), "hello")
    body["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "registry.test/side:1"})
    made = manifest(body)
    await put(target, made)
    await healthy(target, made)
    lines = [line async for line in target.logs(made.ref, LogWish(10))]
    assert len({line.source for line in lines}) == 4
    assert {line.source.rpartition("/")[2] for line in lines} == {"web", "side"}
    assert {line.text for line in lines} == {"hello"}
    chosen = [line async for line in target.logs(made.ref, LogWish(10, container="side"))]
    assert {line.source.rpartition("/")[2] for line in chosen} == {"side"}
    assert [line async for line in target.logs(made.ref, LogWish(10, container="none"))] == []
    followed = target.logs(made.ref, LogWish(10, follow=True))
    seen = {(await _next(followed)).source for _ in range(4)}
    assert len(seen) == 4  # also from the second Pod, although the first one goes on
    await followed.aclose()  # type: ignore[attr-defined]


async def _next(lines: AsyncIterator[LogLine]) -> LogLine:
    return await asyncio.wait_for(anext(lines), SECONDS)


def _pods(tree: Tree) -> list[Child]:
    return [pod for child in tree.children for pod in child.children]
