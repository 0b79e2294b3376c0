"""What holds others goes only when nothing goes with it that was not to go: Namespaces and definitions, on a real cluster."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_cluster import deployment
from tests.kubernetes.test_more_faults import definition

from trimtab.core.model.manifest import Manifest
from trimtab.core.model.plan import Applied, Failed, Outcome
from trimtab.targets.kubernetes.content import WITH_CONTENT
from trimtab.targets.kubernetes.target import KubernetesTarget

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[str]:
    """The name of a Namespace that is not there yet."""
    name = f"home-{secrets.token_hex(4)}"
    yield name
    cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


def inside(body: dict[str, Any], home: str, **annotations: str) -> Manifest:
    body["metadata"] |= {"namespace": home, "annotations": annotations}
    return manifest(body)


def space(home: str) -> Manifest:
    return manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})


async def in_waves(world: World, manifests: list[Manifest]) -> list[Outcome]:
    """What Git wants is there, or gone: one wave after the other, as an engine goes, until one of them fails."""
    while (made := await world.plan(manifests)).steps:
        wave = made.steps[0].wave
        steps = tuple(step for step in made.steps if step.wave == wave)
        outcomes = await world.act(type(made)(made.application, made.environment, steps))
        if not all(isinstance(outcome, Applied) for outcome in outcomes):
            return outcomes
    return []


async def gone(world: World, cluster: Cluster, path: str) -> None:
    """The removal that was refused is tried again until it has come about."""
    for _ in range(100):
        await in_waves(world, [])
        if not cluster.api.exists(path):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(cluster.api.get(path))


async def test_a_namespace_takes_no_stranger_along(world: World, cluster: Cluster, home: str) -> None:
    """Ours in it goes, the Namespace stays with what is somebody else's, which is named; what comes with every Namespace, and what the
    cluster has made of ours, stops nothing. Annotated so, it goes with everything.
    """
    path = f"/api/v1/namespaces/{home}"
    await in_waves(world, [space(home), inside(config_map(), home), inside(deployment("web"), home)])
    cluster.api.until(f"{path}/pods", lambda found: len(found["items"]) > 0)
    theirs = config_map("theirs", a="1")
    theirs["metadata"]["namespace"] = home
    cluster.api.apply(theirs)
    (refused,) = await in_waves(world, [])
    assert isinstance(refused, Failed)
    assert refused.transient
    assert refused.message.endswith("it would take along what is not removed by this: ConfigMap/theirs")
    assert WITH_CONTENT in refused.remedy
    assert not cluster.api.exists(f"{path}/configmaps/one")
    assert cluster.api.get(path)["status"]["phase"] == "Active"
    cluster.api.merge(path, {"metadata": {"annotations": {WITH_CONTENT: "true"}}})
    await gone(world, cluster, path)


@pytest.mark.parametrize("word", ["disabled", "confirm"])
async def test_what_is_to_be_kept_is_not_lost_with_its_namespace(world: World, cluster: Cluster, home: str, word: str) -> None:
    """An object of ours that is to stay, or that waits for somebody's yes."""
    kept = inside(config_map("kept"), home, **{"trimtab.dev/prune": word})
    await in_waves(world, [space(home), kept, inside(config_map("goes"), home)])
    (refused,) = await in_waves(world, [])
    assert isinstance(refused, Failed)
    assert refused.message.endswith(": ConfigMap/kept")
    assert cluster.api.exists(f"/api/v1/namespaces/{home}/configmaps/kept")
    assert not cluster.api.exists(f"/api/v1/namespaces/{home}/configmaps/goes")


async def test_a_definition_takes_no_stranger_along(world: World, cluster: Cluster, namespace: str) -> None:
    """Wherever the objects of its kind are, and whoever they belong to."""
    group = f"{namespace}.example"
    own = manifest(definition(group))
    path = f"{DEFINITIONS}/vats.{group}"
    theirs = {"apiVersion": f"{group}/v1", "kind": "Vat", "metadata": {"name": "theirs", "namespace": "default"}}
    try:
        await in_waves(world, [own])
        while not cluster.api.exists(f"/apis/{group}/v1"):
            await asyncio.sleep(0.02)
        cluster.api.apply(theirs)
        (refused,) = await in_waves(world, [])
        assert isinstance(refused, Failed)
        assert refused.message.endswith(": Vat/default/theirs")
        assert cluster.api.exists(cluster.api.path(theirs))
        cluster.api.delete(cluster.api.path(theirs))
        await gone(world, cluster, path)
    finally:
        cluster.api.request("DELETE", path)
