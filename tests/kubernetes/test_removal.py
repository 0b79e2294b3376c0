"""How an Application's objects go from a real cluster: in which order, how many at once, what stays, and what happens beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import ENVIRONMENT, World, config_map, manifest, opened
from tests.kubernetes.test_loop import Repository, healthy, states
from tests.kubernetes.test_ownership import path_of

from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.engine.commands import Commands
from trimtab.targets.kubernetes.target import KubernetesTarget
from trimtab.wiring.server import Running, Settings, running


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


@contextlib.asynccontextmanager
async def served(repository: Repository, data: Path) -> AsyncIterator[Running]:
    async with running(Settings(repository=str(repository.path), data=data)) as server:
        yield server
    await asyncio.sleep(0.05)


def in_wave(name: str, wave: int) -> dict[str, Any]:
    body = config_map(name, a="1")
    body["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": str(wave)}
    return body


async def test_only_the_object_that_was_seen_is_removed(world: World, cluster: Cluster, namespace: str) -> None:
    """Its uid goes with the request: what somebody has made under the same name since stays, and the step says so."""
    await world.settle([manifest(config_map())])
    made = await world.plan([])
    path = path_of(cluster.api, config_map(), namespace)
    cluster.api.delete(path)
    cluster.api.apply({**config_map(a="theirs"), "metadata": {"name": "one", "namespace": namespace}})
    (outcome,) = await world.act(made)
    assert isinstance(outcome, Failed)
    assert cluster.api.get(path)["data"] == {"a": "theirs"}
    gone = Step(Action.REMOVE, manifest(config_map("never")).ref, "shop", ENVIRONMENT, uid="no-such-uid")
    assert isinstance(await world.target.remove(gone), Applied)


@pytest.mark.parametrize(
    "keep",
    [
        ("trimtab.dev/prune", "disabled"),
        ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
        ("argocd.argoproj.io/sync-options", "Prune=false"),
        ("helm.sh/resource-policy", "keep"),
    ],
)
async def test_who_opts_out_stays_and_the_rest_goes(
    world: World, cluster: Cluster, namespace: str, keep: tuple[str, str]
) -> None:
    """By the words of each of the tools that have such a word."""
    body = config_map("kept")
    body["metadata"]["annotations"] = dict([keep])
    await world.settle([manifest(body), manifest(config_map("goes"))])
    made = await world.plan([])
    assert [step.ref.name for step in made.steps] == ["goes"]
    await world.act(made)
    assert cluster.api.exists(path_of(cluster.api, body, namespace))
    assert not cluster.api.exists(path_of(cluster.api, config_map("goes"), namespace))


async def test_the_order_is_that_of_the_waves_from_the_last_to_the_first_and_past_the_budget_it_waits(
    cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path
) -> None:
    """Nothing goes before somebody has approved that very plan, and then the highest wave goes first, each after the one above."""
    repository = Repository(tmp_path / "repo", faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace)
    names = {f"w{wave}": wave for wave in (2, -1, 0, 1)}
    stays = config_map("stays", a="1")
    repository.application("web", stays, *(in_wave(name, wave) for name, wave in names.items()))
    repository.commit()
    async with served(repository, tmp_path / "data") as server:
        await healthy(server, ["web"])
        repository.application("web", stays)
        repository.commit()
        server.wake()
        held = await _until(server, Phase.HELD, 2)
        assert "4 of 5" in held.message or "budget" in held.message, held.message
        assert all(cluster.api.exists(path_of(cluster.api, config_map(name), namespace)) for name in names)
        session = server.engine.session
        assert session is not None
        made = session.world.live[Key("prod", "web")].plan
        assert made is not None
        await Commands(server.engine).approve("web", "prod", made.hash, "ada")
        await healthy(server, ["web"], 2)
    deleted = [seen.path.rpartition("/")[2] for seen in faults.requests if seen.method == "DELETE"]
    assert deleted == ["w2", "w1", "w0", "w-1"]
    assert cluster.api.exists(path_of(cluster.api, stays, namespace))


async def test_an_application_that_moves_to_another_cluster_is_made_there_and_goes_here(
    cluster: Cluster, second_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Each cluster has an inventory of its own: the same name on the other one is another object, and what is nobody's stays on both."""
    home = second_cluster.namespace()
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    other = {"kind": "kubernetes", "kubeconfig": str(second_cluster.kubeconfig), "namespace": home}
    repository.declare("other", "Environment", "other", {"target": other, "removal": {"emptyRender": "allow"}})
    here = {"kind": "kubernetes", "kubeconfig": str(cluster.kubeconfig), "namespace": namespace}
    repository.declare("environment", "Environment", "prod", {"target": here, "removal": {"emptyRender": "allow"}})
    repository.application("web", config_map(a="1"))
    for api, place in ((cluster.api, namespace), (second_cluster.api, home)):
        api.apply({**config_map("strange", a="0"), "metadata": {"name": "strange", "namespace": place}})
    repository.commit()
    async with served(repository, tmp_path / "data") as server:
        await healthy(server, ["web"])
        repository.declare("web", "Application", "web", {"source": {"path": "apps/web"}, "environments": [{"name": "other"}]})
        repository.commit()
        server.wake()
        await asyncio.to_thread(cluster.api.until_gone, f"/api/v1/namespaces/{namespace}/configmaps/one")
        for _ in range(500):
            if second_cluster.api.exists(f"/api/v1/namespaces/{home}/configmaps/one"):
                break
            await asyncio.sleep(0.02)
    live = second_cluster.api.get(f"/api/v1/namespaces/{home}/configmaps/one")
    assert live["metadata"]["labels"]["trimtab.dev/environment"] == "other"
    for api, place in ((cluster.api, namespace), (second_cluster.api, home)):
        assert api.get(f"/api/v1/namespaces/{place}/configmaps/strange")["data"] == {"a": "0"}


async def test_what_two_environments_of_one_cluster_declare_is_the_first_ones_until_it_goes_there(
    cluster: Cluster, namespace: str
) -> None:
    """The second is held and says whose it is; once the first has removed it, it is made. It is never taken away from the first."""
    async with opened(cluster.kubeconfig, namespace) as target:
        first = World(target)
        await first.settle([manifest(config_map(a="1"))])
        label = {"metadata": {"labels": {"trimtab.dev/environment": "elsewhere"}}}
        path = path_of(cluster.api, config_map(), namespace)
        uid = cluster.api.merge(path, label)["metadata"]["uid"]
        await _until_seen(target, 0)
        made = await first.plan([manifest(config_map(a="2"))])
        assert [hold.reason for hold in made.holds] == ["it belongs to environment elsewhere"]
        assert made.steps == ()
        assert cluster.api.get(path)["metadata"]["uid"] == uid
        cluster.api.delete(path)
        await first.settle([manifest(config_map(a="2"))])
        assert cluster.api.get(path)["data"] == {"a": "2"}


async def _until_seen(target: KubernetesTarget, count: int) -> None:
    for _ in range(500):
        if len(await target.observe(Scope(ENVIRONMENT))) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await target.observe(Scope(ENVIRONMENT)))


async def _until(server: Running, phase: Phase, sequence: int) -> Any:
    for _ in range(1_500):
        state = states(server).get(Key("prod", "web"))
        if state is not None and state.current is not None and (state.current.phase, state.current.sequence) == (phase, sequence):
            return state.current
        await asyncio.sleep(0.02)
    raise AssertionError(states(server))
