"""Fields that cannot be changed in place, on a real cluster: what is held for them, what waits with it, and what is made anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_hooks import job
from tests.kubernetes.test_loop import Repository, healthy, states
from tests.kubernetes.test_ownership import path_of, service
from tests.kubernetes.test_target import deployment

from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Action
from trimtab.targets.kubernetes.target import KubernetesTarget
from trimtab.wiring.server import Running, Settings, running

REPLACE = {"trimtab.dev/replace": "true"}
WAVE = "trimtab.dev/wave"


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


def relabelled(body: dict[str, Any]) -> dict[str, Any]:
    body["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    body["spec"]["template"]["metadata"] = {"labels": {"app": "other"}}
    return body


def uid_of(cluster: Cluster, body: dict[str, Any], namespace: str) -> str:
    return str(cluster.api.get(path_of(cluster.api, body, namespace))["metadata"]["uid"])


async def test_it_is_a_hold_that_names_the_field(world: World, cluster: Cluster, namespace: str) -> None:
    """And says what lifts it; nothing is removed for it, and what stands beside it goes on."""
    await world.settle([manifest(deployment(replicas=0))])
    uid = uid_of(cluster, deployment(), namespace)
    made = await world.plan([manifest(relabelled(deployment(replicas=0))), manifest(config_map())])
    (hold,) = made.holds
    assert (hold.object, hold.reason) == (manifest(deployment()).ref, "spec.selector cannot be changed in place")
    assert not hold.approvable
    assert 'trimtab.dev/replace: "true"' in hold.lifted_by
    assert [(step.action, step.ref.kind) for step in made.steps] == [(Action.CREATE, "ConfigMap")]
    await world.act(made)
    assert uid_of(cluster, deployment(), namespace) == uid


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({**config_map(a="1"), "immutable": True}, {**config_map(a="2"), "immutable": True}, "data"),
        (service(clusterIP="None"), service(clusterIP="10.0.0.77"), "spec.clusterIPs[0]"),
        (job("migrate"), job("migrate", "slow"), "spec.template"),
    ],
    ids=["ConfigMap", "Service", "Job"],
)
async def test_the_field_is_named_on_many_kinds(world: World, before: Any, after: Any, field: str) -> None:
    """Whatever words the server has for it."""
    await world.settle([manifest(before)])
    (hold,) = (await world.plan([manifest(after)])).holds
    assert field in hold.reason
    assert hold.reason.endswith("cannot be changed in place")


async def test_where_git_says_so_it_is_replaced_and_the_plan_calls_it_that(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """The plan shows what changes; the object is removed and made anew, under a new uid."""
    await world.settle([manifest(deployment(replicas=0))])
    uid = uid_of(cluster, deployment(), namespace)
    body = relabelled(deployment(replicas=0))
    body["metadata"]["annotations"] = REPLACE
    made = await world.settle([manifest(body)])
    assert made.steps[0].action is Action.REPLACE
    assert "/spec/selector/matchLabels/app" in {change.path for change in made.steps[0].changes}
    live = cluster.api.get(path_of(cluster.api, deployment(), namespace))
    assert live["spec"]["selector"]["matchLabels"] == {"app": "other"}
    assert live["metadata"]["uid"] != uid


async def test_nothing_is_removed_that_could_not_be_made_anew(world: World, cluster: Cluster, namespace: str) -> None:
    """Another mistake in the same object is told before it goes."""
    await world.settle([manifest(deployment(replicas=0))])
    uid = uid_of(cluster, deployment(), namespace)
    body = relabelled(deployment(replicas=0))
    body["metadata"]["annotations"] = REPLACE
    body["spec"]["template"]["metadata"]["labels"] = {"app": "third"}
    preview = await world.target.preview([manifest(body, line=7)])
    assert preview.problems
    assert preview.problems[0].line == 7
    assert uid_of(cluster, deployment(), namespace) == uid


async def test_a_service_with_a_port_of_the_node_is_replaced(world: World, cluster: Cluster, namespace: str) -> None:
    """That the port is taken, by the very object that goes, is no reason against it."""
    before = service(type="NodePort", ports=[{"port": 80, "nodePort": 31987}])
    await world.settle([manifest(before)])
    uid = uid_of(cluster, before, namespace)
    address = cluster.api.get(path_of(cluster.api, before, namespace))["spec"]["clusterIP"]
    other = f"{address.rpartition('.')[0]}.{(int(address.rpartition('.')[2]) + 40) % 200 + 20}"
    after = service(type="NodePort", ports=[{"port": 80, "nodePort": 31987}], clusterIP=other)
    after["metadata"]["annotations"] = REPLACE
    made = await world.settle([manifest(after)])
    assert [step.action for step in made.steps] == [Action.REPLACE]
    assert uid_of(cluster, before, namespace) != uid


@contextlib.asynccontextmanager
async def served(repository: Repository, data: Path) -> AsyncIterator[Running]:
    async with running(Settings(repository=str(repository.path), data=data)) as server:
        yield server
    await asyncio.sleep(0.05)


async def test_what_comes_after_a_held_job_does_not_go_live_without_it(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """A migration in an early wave is held: its wave is as far as the release goes, until Git says that it may be made anew."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)

    def release(number: int, **notes: str) -> None:
        migrate = job("migrate", log=f"release {number}", **{WAVE: "-1", **notes})
        web = config_map("web", release=str(number))
        beside = config_map("beside", release=str(number))
        beside["metadata"]["annotations"] = {WAVE: "-1"}
        repository.application("web", migrate, web, beside, *([config_map("old")] if number == 1 else []))
        repository.commit()

    def live(name: str) -> dict[str, Any]:
        return dict(cluster.api.get(path_of(cluster.api, config_map(name), namespace))["data"])

    release(1)
    async with served(repository, tmp_path / "data") as server:
        await healthy(server, ["web"])
        first = uid_of(cluster, job("migrate"), namespace)
        release(2)
        server.wake()
        held = await _until(server, Phase.HELD, 2)
        assert "spec.template cannot be changed in place" in held.message
        assert live("beside") == {"release": "2"}
        assert live("web") == {"release": "1"}
        assert cluster.api.request("GET", path_of(cluster.api, config_map("old"), namespace)).status == 200
        assert uid_of(cluster, job("migrate"), namespace) == first
        release(3, **REPLACE)
        server.wake()
        await healthy(server, ["web"], 3)
        assert live("web") == {"release": "3"}
        assert uid_of(cluster, job("migrate"), namespace) != first
        assert cluster.api.request("GET", path_of(cluster.api, config_map("old"), namespace)).status == 404


async def _until(server: Running, phase: Phase, sequence: int) -> Any:
    for _ in range(1_500):
        state = states(server).get(Key("prod", "web"))
        if state is not None and state.current is not None and (state.current.phase, state.current.sequence) == (phase, sequence):
            return state.current
        await asyncio.sleep(0.02)
    raise AssertionError(states(server))
