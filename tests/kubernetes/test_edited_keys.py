"""Edits by hand of what a list's elements are known by, on a real server: put back, and nothing goes that others have added."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, manifest, opened
from tests.kubernetes.test_ownership import again, path_of
from tests.kubernetes.test_target import deployment

from trimtab.core.model.plan import Applied, Failed
from trimtab.targets.kubernetes.target import KubernetesTarget

PATCH = "application/json-patch+json"
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
POD = "/spec/template/spec/containers/0"


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


def service(*ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"a": "b"}, "ports": [*ports]},
    }


def web(**container: Any) -> dict[str, Any]:
    return deployment(replicas=0, **container)


def get(body: Any, path: str) -> Any:
    for step in path.split("/")[1:]:
        body = body[int(step)] if isinstance(body, list) else body[step]
    return body


async def edited(cluster: Cluster, namespace: str, world: World, body: dict[str, Any], *changes: dict[str, Any]) -> Any:
    """Settles ``body``, lets somebody edit it, and heals it; what is there then. Raises AssertionError when anything is left to do."""
    wanted = manifest(body)
    await world.settle([wanted])
    path = path_of(cluster.api, body, namespace)
    after = cluster.api.good("PATCH", f"{path}?fieldManager=kubectl-edit", [*changes], PATCH)
    await world.seen(wanted.ref, lambda known: known.version >= int(after["metadata"]["resourceVersion"]))
    for _ in range(5):
        made = await again(world, [wanted])
        if made.empty:
            break
        outcomes = await world.act(made)
        assert all(isinstance(outcome, Applied) for outcome in outcomes), outcomes
    assert made.empty, made
    return cluster.api.get(path)


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        (service(HTTP), "/spec/ports/0/port", 81),
        (service({"port": 80}), "/spec/ports/0/port", 81),
        (service(HTTP, {"name": "other", "port": 90}), "/spec/ports/0/port", 81),
        (service({"name": "dns", "port": 53, "protocol": "TCP"}), "/spec/ports/0/protocol", "UDP"),
        (web(ports=[{"name": "http", "containerPort": 80}]), f"{POD}/ports/0/containerPort", 81),
        (web(ports=[{"name": "http", "containerPort": 80, "protocol": "TCP"}]), f"{POD}/ports/0/protocol", "UDP"),
        (web(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]), f"{POD}/env/0/name", "C"),
    ],
)
async def test_an_edited_key_is_put_back(
    cluster: Cluster, namespace: str, world: World, body: dict[str, Any], path: str, value: Any
) -> None:
    """Where the old and the new element cannot both be, the new one goes; in any case the old one is there again."""
    live = await edited(cluster, namespace, world, body, {"op": "replace", "path": path, "value": value})
    parent, _, field = path.rpartition("/")
    elements = get(live, parent.rpartition("/")[0])
    assert get(body, path) in [element[field] for element in elements]
    if field != "name":  # of names there can be more; then what somebody has made of ours stays, as what Git says nothing about
        assert value not in [element[field] for element in elements]


async def test_several_edited_keys_of_one_object(cluster: Cluster, namespace: str, world: World) -> None:
    body = service(HTTP, {"name": "metrics", "port": 90})
    changes = [{"op": "replace", "path": f"/spec/ports/{index}/port", "value": value} for index, value in ((0, 81), (1, 91))]
    live = await edited(cluster, namespace, world, body, *changes)
    assert sorted(port["port"] for port in live["spec"]["ports"]) == [80, 90]


async def test_what_others_have_added_stays(cluster: Cluster, namespace: str, world: World) -> None:
    """A port by somebody who edits, one by somebody who applies, beside one of ours whose number was edited."""
    body = service(HTTP)
    await world.settle([manifest(body)])
    theirs = {**service({"name": "applied", "port": 70}), "metadata": {"name": "web", "namespace": namespace}}
    cluster.api.apply(theirs, "mesh", force=True)
    changes = [
        {"op": "add", "path": "/spec/ports/-", "value": {"name": "added", "port": 60}},
        {"op": "replace", "path": "/spec/ports/0/port", "value": 81},
    ]
    live = await edited(cluster, namespace, world, body, *changes)
    assert sorted((port["name"], port["port"]) for port in live["spec"]["ports"]) == [
        ("added", 60),
        ("applied", 70),
        ("http", 80),
    ]


async def test_what_somebody_applies_in_its_place_is_not_taken(cluster: Cluster, namespace: str, world: World) -> None:
    """Two who apply, and a name that only one of them can have: it is told, and theirs is left alone."""
    body = service(HTTP)
    wanted = manifest(body)
    await world.settle([wanted])
    path = path_of(cluster.api, body, namespace)
    cluster.api.good(
        "PATCH",
        path,
        [{"op": "remove", "path": "/spec/ports/0"}, {"op": "add", "path": "/spec/ports/0", "value": {"name": "x", "port": 9}}],
        PATCH,
    )
    theirs = {**service({**HTTP, "port": 81}), "metadata": {"name": "web", "namespace": namespace}}
    version = cluster.api.apply(theirs, "mesh", force=True)["metadata"]["resourceVersion"]
    await world.seen(wanted.ref, lambda known: known.version >= int(version))
    preview = await world.target.preview([wanted])
    assert ["Duplicate" in problem.message for problem in preview.problems] == [True]
    assert 81 in [port["port"] for port in cluster.api.get(path)["spec"]["ports"]]


async def test_the_plan_shows_what_will_be(cluster: Cluster, namespace: str, world: World) -> None:
    wanted = manifest(service(HTTP))
    await world.settle([wanted])
    path = path_of(cluster.api, wanted.body, namespace)
    change = [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]
    version = cluster.api.good("PATCH", path, change, PATCH)["metadata"]["resourceVersion"]
    await world.seen(wanted.ref, lambda known: known.version >= int(version))
    (step,) = (await world.plan([wanted])).steps
    assert [(each.path, each.from_, each.to) for each in step.changes] == [("/spec/ports/0/port", 81, 80)]


async def test_where_conflicts_fail_nothing_is_taken(cluster: Cluster, namespace: str) -> None:
    """Then an edit by hand is somebody's, and the step says what the server says."""
    async with opened(cluster.kubeconfig, namespace, conflicts="fail") as target:
        world = World(target)
        wanted = manifest(service(HTTP))
        await world.settle([wanted])
        path = path_of(cluster.api, wanted.body, namespace)
        change = json.loads('[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]')
        version = cluster.api.good("PATCH", path, change, PATCH)["metadata"]["resourceVersion"]
        await world.seen(wanted.ref, lambda known: known.version >= int(version))
        (outcome,) = await world.act(await world.plan([wanted]))
        assert isinstance(outcome, Failed)
        assert cluster.api.get(path)["spec"]["ports"][0]["port"] == 81
