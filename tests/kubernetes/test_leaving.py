"""Fields that are left to others, on a real server: the autoscaler of kube-controller-manager and `scale` by hand, field managers by name,
and images by pattern. What is left costs nothing: neither a step nor, once known, a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_target import deployment

from trimtab.core.decide.abroad import Abroad
from trimtab.core.model.leaving import Leave
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.plan import Action, Applied, Plan
from trimtab.targets.kubernetes import autoscalers

SECONDS = 40.0
CONTROLLER = "kube-controller-manager"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def world(cluster: Cluster, namespace: str) -> AsyncIterator[World]:
    async with opened(cluster.kubeconfig, namespace) as target:
        yield World(target)


def autoscaler(least: int) -> dict[str, Any]:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": least,
        "maxReplicas": 10,
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec}


def path(namespace: str, kind: str = "deployments", name: str = "web") -> str:
    return f"/apis/{'apps/v1' if kind == 'deployments' else 'autoscaling/v2'}/namespaces/{namespace}/{kind}/{name}"


async def scaled(cluster: Cluster, namespace: str, count: int) -> None:
    """Waits until the field says so."""
    for _ in range(int(SECONDS / 0.1)):
        if cluster.api.get(path(namespace))["spec"]["replicas"] == count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not scaled to {count}")


async def quiet(world: World, manifests: list[Manifest], leave: Leave | None = None) -> Plan:
    """The plan, once the watch has told of the last write; it is empty, and asking once more sends nothing."""
    for _ in range(100):
        made = await world.plan(manifests, leave=leave)
        await asyncio.sleep(0.02)
    assert made.empty, made
    sent = writes(world)
    for _ in range(5):
        assert (await world.plan(manifests, leave=leave)).empty
    assert writes(world) == sent
    return made


def writes(world: World) -> int:
    """Requests that could write, dry-runs among them."""
    return sent[id(world)]


sent: dict[int, int] = {}


@pytest.fixture(autouse=True)
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client, real = world.target.cluster.client, world.target.cluster.client.apply
    sent[id(world)] = 0

    async def apply(*arguments: Any, **named: Any) -> Any:
        sent[id(world)] += 1
        return await real(*arguments, **named)

    monkeypatch.setattr(client, "apply", apply)


async def test_replicas_that_an_autoscaler_of_the_cluster_has_set_are_its_own(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """The real controller scales up to its least; nothing is healed or sent, the plan says so, and another change of Git leaves it."""
    wanted = manifest(deployment(replicas=1))
    await world.settle([wanted])
    cluster.api.good("POST", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers", autoscaler(3))
    await scaled(cluster, namespace, 3)
    made = await quiet(world, [wanted])
    assert [left.pointer for left in made.left] == ["/spec/replicas"]
    assert made.left[0].to.startswith("its autoscaler, which scales it as ")
    changed = manifest(deployment(replicas=1, env=[{"name": "A", "value": "b"}]))
    assert [change.path for change in (await world.settle([changed])).steps[0].changes] == [
        "/spec/template/spec/containers/0/env"
    ]
    assert cluster.api.get(path(namespace))["spec"]["replicas"] == 3
    generation = cluster.api.get(path(namespace))["metadata"]["generation"]
    for _ in range(20):  # what an engine does all the time: no fight
        assert (await world.plan([changed])).empty
        await asyncio.sleep(0.1)
    assert cluster.api.get(path(namespace))["metadata"]["generation"] == generation


async def test_what_an_autoscaler_has_scaled_is_handed_over_as_it_is(world: World, cluster: Cluster, namespace: str) -> None:
    """Another Environment of the cluster takes it over; the replicas in Git are those of the first moment, there too."""
    wanted = [manifest(deployment(replicas=1))]
    await world.settle(wanted)
    cluster.api.good("POST", f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers", autoscaler(3))
    await scaled(cluster, namespace, 3)
    before = cluster.api.get(path(namespace))["metadata"]
    async with opened(cluster.kubeconfig, namespace, world.target.cluster.installation, name="other") as target:
        other = World(target)
        made = await other.plan(wanted, abroad={wanted[0].identity: Abroad(stance="lets-go")})
        assert [(step.action, step.changes) for step in made.steps] == [(Action.HANDOVER, ())]
        assert made.left[0].to.startswith("its autoscaler, which scales it as ")
        assert all(isinstance(outcome, Applied) for outcome in await other.act(made))
        after = cluster.api.get(path(namespace))
        assert (after["spec"]["replicas"], after["metadata"]["uid"], after["metadata"]["generation"]) == (
            3,
            before["uid"],
            before["generation"],
        )
        assert after["metadata"]["labels"]["trimtab.dev/environment"] == "other"
        assert (await other.plan(wanted)).empty
    assert (await world.plan([])).empty


async def test_an_autoscaler_in_git_has_the_replicas_whoever_sets_them(world: World, cluster: Cluster, namespace: str) -> None:
    """It stands beside its target: also what somebody scales by hand is the autoscaler's to put right."""
    wanted = [manifest(deployment(replicas=1)), manifest(autoscaler(2))]
    await world.settle(wanted)
    await scaled(cluster, namespace, 2)
    await quiet(world, wanted)
    scale(cluster, namespace, 5)
    made = await quiet(world, wanted)
    assert [left.pointer for left in made.left] == ["/spec/replicas"]


async def test_replicas_follow_git_again_when_their_autoscaler_has_gone_from_git(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """As soon as it is removed; while the object that is to go is still there, its number is left alone."""
    web = manifest(deployment(replicas=1))
    await world.settle([web, manifest(autoscaler(2))])
    scale(cluster, namespace, 2, by=CONTROLLER)
    await quiet(world, [web, manifest(autoscaler(2))])
    made = await world.plan([web])
    assert [(step.action, step.ref.kind) for step in made.steps] == [("remove", "HorizontalPodAutoscaler")]
    await world.act(made)
    assert [change.path for change in (await drifts(world, [web])).steps[0].changes] == ["/spec/replicas"]
    await world.settle([web])
    assert cluster.api.get(path(namespace))["spec"]["replicas"] == 1
    assert (await quiet(world, [web])).left == ()


async def test_replicas_follow_git_again_when_the_autoscaler_of_somebody_else_has_gone(
    world: World, cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells us of that; it is seen at a look that is a while after it was seen there last."""
    web, hpas = manifest(deployment(replicas=1)), f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    await world.settle([web])
    cluster.api.good("POST", hpas, autoscaler(3))
    scale(cluster, namespace, 3, by=CONTROLLER)
    await quiet(world, [web])
    monkeypatch.setattr(autoscalers, "SEEN_SECONDS", 0.1)
    await asyncio.sleep(0.1)
    assert (await world.plan([web])).empty
    cluster.api.good("DELETE", f"{hpas}/web")
    await drifts(world, [web])
    await world.settle([web])
    assert cluster.api.get(path(namespace))["spec"]["replicas"] == 1


async def test_what_is_scaled_by_hand_is_drift(world: World, cluster: Cluster, namespace: str) -> None:
    """`kubectl scale` writes through the same subresource, and is healed."""
    wanted = manifest(deployment(replicas=1))
    await world.settle([wanted])
    scale(cluster, namespace, 4)
    assert [(one.path, one.from_, one.to) for one in (await drifts(world, [wanted])).steps[0].changes] == [
        ("/spec/replicas", 4, 1)
    ]
    await world.settle([wanted])
    assert cluster.api.get(path(namespace))["spec"]["replicas"] == 1


async def test_fields_of_a_named_manager_are_left_to_it(world: World, cluster: Cluster, namespace: str) -> None:
    """By a glob of its name; what another one has written is drift all the same, and without the rule so is everything."""
    wanted = manifest(config_map(a="1", b="1"))
    await world.settle([wanted])
    place = f"/api/v1/namespaces/{namespace}/configmaps/one"
    cluster.api.good("PATCH", f"{place}?fieldManager=vpa-recommender", {"data": {"a": "2"}}, MERGE)
    leave = Leave(writers=("vpa-*",))
    assert [(left.pointer, left.to) for left in (await quiet(world, [wanted], leave)).left] == [
        ("/data/a", "vpa-recommender, by an ignore rule")
    ]
    cluster.api.good("PATCH", f"{place}?fieldManager=somebody", {"data": {"b": "2"}}, MERGE)
    made = await drifts(world, [wanted], leave)
    assert [change.path for change in made.steps[0].changes] == ["/data/b"]
    await world.act(made)
    assert cluster.api.get(place)["data"] == {"a": "2", "b": "1"}
    await quiet(world, [wanted], leave)
    assert [change.path for change in (await drifts(world, [wanted])).steps[0].changes] == ["/data/a"]
    await world.settle([wanted])
    assert cluster.api.get(place)["data"] == {"a": "1", "b": "1"}


async def test_an_image_that_others_set_is_left_by_a_pattern_and_survives_a_change_of_the_rest(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """Once it is theirs it is not sent at all, so a value that is set between the look and the apply is not overwritten either."""
    leave = Leave(("/spec/template/spec/containers/[name=web]/image",))
    wanted = manifest(deployment(replicas=0))
    await world.settle([wanted])
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.test/web:2"}]}}}}
    set_image = f"{path(namespace)}?fieldManager=updater"
    cluster.api.good("PATCH", set_image, patch, "application/strategic-merge-patch+json")
    await quiet(world, [wanted], leave)
    changed = manifest(deployment(replicas=0, env=[{"name": "A", "value": "b"}]))
    made = await world.plan([changed], leave=leave)
    patch["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/web:3"
    cluster.api.good("PATCH", set_image, patch, "application/strategic-merge-patch+json")
    await world.act(made)
    (container,) = cluster.api.get(path(namespace))["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("registry.test/web:3", [{"name": "A", "value": "b"}])
    await quiet(world, [changed], leave)


async def test_a_field_that_only_we_own_is_not_removed_when_it_is_left_to_others(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """A rule that comes before anybody has written: the server would take out what we no longer send."""
    wanted = manifest(config_map(a="1", b="1"))
    await world.settle([wanted])
    made = await world.plan([manifest(config_map(a="9", b="2"))], leave=Leave(("/data/a",)))
    assert [change.path for change in made.steps[0].changes] == ["/data/b"]
    await world.act(made)
    assert cluster.api.get(f"/api/v1/namespaces/{namespace}/configmaps/one")["data"] == {"a": "1", "b": "2"}


def scale(cluster: Cluster, namespace: str, count: int, *, by: str = "kubectl") -> None:
    """As `kubectl scale` does it, or the controller of autoscalers, whose turn comes every 15 seconds only."""
    where = f"{path(namespace)}/scale?fieldManager={by}"
    cluster.api.good("PATCH", where, {"spec": {"replicas": count}}, MERGE)


async def drifts(world: World, manifests: list[Manifest], leave: Leave | None = None) -> Plan:
    """The plan that heals, once the watch has told what happened."""
    for _ in range(200):
        made = await world.plan(manifests, leave=leave)
        if made.steps:
            return made
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was found to heal")
