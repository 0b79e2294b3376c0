"""Two real clusters: one application on both by labels, cluster by cluster; applications from directories on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_loop import Repository, states
from tests.kubernetes.test_ownership import placed
from tests.kubernetes.test_target import deployment

from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.wiring.offline import offline_plan
from trimtab.wiring.server import Running, Settings, running

WAIT_SECONDS = 60.0
BY_LABEL = {"selector": {"matchLabels": {"fleet": "all"}}}


@pytest.fixture
def second_namespace(second_cluster: Cluster) -> Iterator[str]:
    name = second_cluster.namespace()
    yield name
    second_cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


class Fleet(Repository):
    """A repository whose environments are clusters with a label."""

    def cluster(self, name: str, kubeconfig: Path, namespace: str) -> None:
        target = {"kind": "kubernetes", "kubeconfig": str(kubeconfig), "namespace": namespace}
        self.declare(name, "Environment", name, {"target": target})
        file = self.path / ".trimtab" / f"{name}.yaml"
        document = yaml.safe_load(file.read_text())
        document["metadata"]["labels"] = {"fleet": "all"}
        file.write_text(yaml.safe_dump(document))

    def objects(self, directory: str, *bodies: dict[str, Any]) -> None:
        place = self.path / "apps" / directory
        place.mkdir(parents=True, exist_ok=True)
        (place / "all.yaml").write_text(yaml.safe_dump_all(bodies))


def fleet(tmp_path: Path, first: Path, namespace: str, second: Path, second_namespace: str) -> Fleet:
    repository = Fleet(tmp_path / "repo", first, namespace)
    repository.cluster("east", first, namespace)
    repository.cluster("west", second, second_namespace)
    return repository


async def until(server: Running, wanted: Callable[[], bool]) -> None:
    for _ in range(int(WAIT_SECONDS / 0.02)):
        if wanted():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(states(server))


def phase(server: Running, application: str, environment: str) -> str:
    state = states(server).get(Key(environment, application))
    slot = (state.pending or state.current) if state is not None else None
    return slot.phase if slot is not None else ""


def message(server: Running, application: str, environment: str) -> str:
    state = states(server)[Key(environment, application)]
    return state.pending.message if state.pending is not None else ""


async def test_one_application_goes_cluster_by_cluster_and_stops_at_the_first_that_fails(
    cluster: Cluster, second_cluster: Cluster, namespace: str, second_namespace: str, tmp_path: Path
) -> None:
    """What the server refuses on the first leaves the second untouched, and it is told which and why; the next commit reaches both."""
    repository = fleet(tmp_path, cluster.kubeconfig, namespace, second_cluster.kubeconfig, second_namespace)
    repository.declare("shop", "Application", "shop", {"source": {"path": "apps/shop"}, "environments": [BY_LABEL]})
    repository.objects("shop", deployment(), config_map("settings", a="1"))
    repository.commit()
    path = second_cluster.api.path(placed(config_map("settings"), second_namespace))
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await until(server, lambda: phase(server, "shop", "west") == Phase.HEALTHY)
        began = {name: states(server)[Key(name, "shop")].current for name in ("east", "west")}
        assert began["east"] is not None
        assert began["west"] is not None
        assert began["east"].since <= began["west"].started or began["east"].since <= began["west"].since
        version = second_cluster.api.get(path)["metadata"]["resourceVersion"]
        wrong = deployment()
        wrong["spec"]["replica"] = 1
        repository.objects("shop", wrong, config_map("settings", a="2"))
        repository.commit()
        server.wake()
        await until(server, lambda: "stopped: in environment east" in message(server, "shop", "west"))
        assert "field not declared in schema" in message(server, "shop", "west")
        assert second_cluster.api.get(path)["metadata"]["resourceVersion"] == version
        repository.objects("shop", deployment(), config_map("settings", a="3"))
        repository.commit()
        server.wake()
        await asyncio.to_thread(second_cluster.api.until, path, lambda live: live["data"] == {"a": "3"})
        await until(server, lambda: phase(server, "shop", "west") == Phase.HEALTHY)
    await asyncio.sleep(0.05)


async def test_each_directory_on_each_cluster_and_one_that_is_down(
    cluster: Cluster, own_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """A new directory is an application on both; where a cluster is down, the other gets every commit, and it catches up later."""
    other = await asyncio.to_thread(own_cluster.namespace)
    repository = fleet(tmp_path, cluster.kubeconfig, namespace, own_cluster.kubeconfig, other)
    template = {
        "metadata": {"name": "${path.basename}-${environment.name}"},
        "spec": {"source": {"path": "${path}"}, "environments": [{"name": "${environment.name}"}]},
    }
    matrix = [{"directories": {"include": ["apps/*"]}}, {"environments": {"matchLabels": {"fleet": "all"}}}]
    repository.declare("all", "Generator", "all", {"generate": [{"matrix": matrix}], "template": template})
    repository.objects("cart", config_map("cart", a="1"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await until(server, lambda: {phase(server, f"cart-{name}", name) for name in ("east", "west")} == {Phase.HEALTHY})
        await asyncio.to_thread(own_cluster.kill, "apiserver")
        repository.objects("shop", config_map("shop", a="1"))
        repository.commit()
        server.wake()
        await until(server, lambda: phase(server, "shop-east", "east") == Phase.HEALTHY)
        assert phase(server, "shop-west", "west") != Phase.HEALTHY
        await asyncio.to_thread(own_cluster.start, "apiserver")
        await until(server, lambda: phase(server, "shop-west", "west") == Phase.HEALTHY)
        path = own_cluster.api.path(placed(config_map("shop"), other))
        assert (await asyncio.to_thread(own_cluster.api.get, path))["data"] == {"a": "1"}
    await asyncio.sleep(0.05)


def owned(server: Running, environment: str) -> set[str]:
    assert server.engine.session is not None
    inventory = server.engine.session.world.inventories[environment]
    return {identity[3] for name in inventory.applications() for identity in inventory.of(name)}


def ids(cluster: Cluster, *paths: str) -> list[tuple[str, str, str]]:
    """The uid of each, and whose it is."""
    found = [cluster.api.get(path)["metadata"] for path in paths]
    labels = ("trimtab.dev/environment", "trimtab.dev/application")
    return [(one["uid"], *(one.get("labels", {}).get(label, "") for label in labels)) for one in found]


@pytest.mark.parametrize("order", ["the old one first", "the new one first", "the old one ends"])
async def test_what_moves_to_another_environment_of_a_cluster_is_handed_over(
    cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path, order: str
) -> None:
    """Also where each reaches the cluster by an address of its own, and names its objects in another way: they keep their uids, the old
    inventory is empty, and what is nobody's is left alone. Nothing is deleted, whoever comes first.
    """
    repository = fleet(
        tmp_path, cluster.kubeconfig, namespace, faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), "default"
    )
    places = {"east": {"name": "east", "path": "apps/here"}, "west": {"name": "west", "path": "apps/there"}}
    first, second = ("west", "east") if order == "the new one first" else ("east", "west")
    shop = {"source": {"path": "apps/here"}, "environments": [places[first], {**places[second], "after": [first]}]}
    bodies = (config_map("settings", a="1"), deployment())
    moved = [placed(body, namespace) for body in bodies]
    repository.declare("shop", "Application", "shop", shop)
    repository.objects("here", *bodies)
    repository.objects("there", placed(config_map("other", a="1"), namespace))
    repository.commit()
    paths = [cluster.api.path(body) for body in moved]
    strange = placed(config_map("strange", a="1"), namespace)
    cluster.api.apply(strange)
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await until(server, lambda: {phase(server, "shop", name) for name in places} == {Phase.HEALTHY})
        before = ids(cluster, *paths, cluster.api.path(strange))
        assert {one[1:] for one in before[:2]} == {("east", "shop")}
        ends = order == "the old one ends"
        repository.objects("here", *(() if ends else (config_map("left", a="1"),)))
        repository.objects("there", placed(config_map("other", a="1"), namespace), *moved)
        if ends:
            repository.declare("shop", "Application", "shop", {"source": {"path": "apps"}, "environments": [places["west"]]})
        view = await asyncio.to_thread(offline_plan, str(repository.path), "", str(tmp_path / "data"))
        planned = {(str(step.action), step.object.name) for step in view.steps if step.action != "create"}
        # Whether what runs nowhere else is still wanted there only a server knows.
        assert planned == {("handover", "settings"), ("handover", "web")}, view
        repository.commit()
        server.wake()
        await until(server, lambda: owned(server, "west") == {"other", "settings", "web"})
        await until(server, lambda: owned(server, "east") == (set() if ends else {"left"}))
        if ends:
            await until(server, lambda: Key("east", "shop") not in states(server))
        await until(
            server, lambda: {phase(server, "shop", name) for name in places if not ends or name == "west"} == {Phase.HEALTHY}
        )
        after = ids(cluster, *paths, cluster.api.path(strange))
        assert after == [*((uid, "west", "shop") for uid, _, _ in before[:2]), before[2]]
        events = await server.engine.parts.store.events(limit=1000)
        assert [event.message for event in events if event.kind == "step.applied" and "remove" in event.message] == []
    await asyncio.sleep(0.05)
