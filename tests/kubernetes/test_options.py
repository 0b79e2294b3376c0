"""Argo CD's sync options on objects of a real cluster: what they keep, ask for, replace, and let be unknown for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_ownership import placed

from trimtab.core.model.manifest import Manifest
from trimtab.targets.kubernetes.target import KubernetesTarget

OPTIONS = "argocd.argoproj.io/sync-options"


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


def with_options(body: dict[str, Any], options: str) -> Manifest:
    body["metadata"]["annotations"] = {OPTIONS: options}
    return manifest(body)


async def test_what_is_kept_and_what_asks_before_it_goes(world: World) -> None:
    """Read from the object, when Git no longer has it."""
    kept, asks = (
        with_options(config_map("kept"), "Prune=false"),
        with_options(config_map("asks"), "Validate=false, Prune=confirm"),
    )
    await world.settle([kept, asks, manifest(config_map("goes"))])
    preview = await world.target.preview([kept, asks])
    assert [note.message for note in preview.notes] == ['ConfigMap/asks: the sync option "Validate=false" has no effect here']
    made = await world.plan([])
    assert [step.ref.name for step in made.steps] == ["goes"]
    assert [(hold.object.name if hold.object else "", hold.approvable) for hold in made.holds] == [("asks", True)]


async def test_force_makes_an_object_anew_where_a_field_cannot_be_changed(world: World, cluster: Cluster, namespace: str) -> None:
    """And only there."""
    first = with_options(config_map("fixed", a="1") | {"immutable": True}, "Force=true,Replace=true")
    await world.settle([first])
    path = cluster.api.path(placed(config_map("fixed"), namespace))
    uid = cluster.api.get(path)["metadata"]["uid"]
    await world.act(await world.plan([with_options(config_map("fixed", a="2") | {"immutable": True}, "Force=true,Replace=true")]))
    live = cluster.api.get(path)
    assert live["data"] == {"a": "2"}
    assert live["metadata"]["uid"] != uid


async def test_a_kind_that_somebody_else_is_going_to_define(target: KubernetesTarget) -> None:
    """Is no error where Git says so."""
    thing = {"apiVersion": "later.example/v1", "kind": "Thing", "metadata": {"name": "x"}}
    assert (await target.preview([manifest(thing)])).problems
    assert (await target.preview([with_options(thing, "SkipDryRunOnMissingResource=true")])).problems == ()
