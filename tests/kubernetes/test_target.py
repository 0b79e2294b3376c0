"""The contract of a target, on a real cluster, and what only a cluster has: order, defaults, definitions, health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.target import *  # noqa: F403
from tests.contract.target import HEALTHY_SECONDS, Factory, look, put, until
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map, installation_name, manifest, opened

from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.targets.kubernetes.target import KubernetesTarget


@pytest.fixture
def installation() -> str:
    """Of its own for each test: the cluster is everybody's, and a namespace takes a moment to go."""
    return installation_name()


@pytest.fixture
async def target(cluster: Cluster, namespace: str, installation: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace, installation) as made:
        yield made


def map_of(name: str, change: str = "a") -> Manifest:
    return manifest(config_map(name, key=change))


def workload(name: str, change: str = "a") -> Manifest:
    return manifest(deployment(name, env=[{"name": "CHANGE", "value": change}]))


def deployment(name: str = "web", replicas: int = 1, **container: Any) -> dict[str, Any]:
    labels = {"app": name}
    containers = [{"name": "web", "image": "registry.test/web:1", **container}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(params=[map_of, workload], ids=["config map", "deployment"])
def factory(request: pytest.FixtureRequest) -> Factory:
    return request.param


async def test_the_cause_of_trouble_is_named_with_the_last_log_line(target: KubernetesTarget) -> None:
    """A crash loop: the workload's health names the Pod and quotes its log, and whoever watches is told."""
    body = deployment()
    body["spec"]["template"]["metadata"]["annotations"] = {"node.test/behaviour": "crashloop", "node.test/log": "no such table"}
    made = manifest(body)
    await put(target, made)
    watch = target.watch()

    async def named() -> bool:
        seen = await look(target, made.ref)
        return seen is not None and target.assess(seen, made).last_log_line == "no such table"

    await until(named, HEALTHY_SECONDS)
    seen = await look(target, made.ref)
    assert seen is not None
    health = target.assess(seen, made)
    assert health.status == "degraded"
    assert health.object is not None
    assert health.object.kind == "Pod"
    assert await asyncio.wait_for(anext(watch), 5) == Key("host", "shop")
    await watch.aclose()
