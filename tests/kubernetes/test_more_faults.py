"""Faults of the server's surroundings: its store away, tokens that end, answers that take long, definitions that vanish, and sheer size."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import ENVIRONMENT, World, config_map, manifest, opened
from tests.kubernetes.test_faults import MAPS, persist
from tests.kubernetes.test_ownership import again, path_of

from trimtab.core.model.errors import TransientError
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied
from trimtab.targets.kubernetes.target import KubernetesTarget

MANY = 5_000


@pytest.fixture
async def target(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Any) -> AsyncIterator[KubernetesTarget]:
    """Through the misbehaving proxy."""
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


async def test_a_store_that_is_away_takes_nothing_with_it(own_cluster: Cluster) -> None:
    """etcd is killed under the API server: what fails is tried again, nothing is planned away, and what was written is found."""
    namespace = await asyncio.to_thread(own_cluster.namespace)
    async with opened(own_cluster.kubeconfig, namespace) as target:
        world = World(target)
        await world.settle(MAPS[:4])
        made = await world.plan(MAPS)
        await asyncio.to_thread(own_cluster.kill, "etcd")
        acting = asyncio.create_task(world.act(made))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_cluster.start, "etcd")
        outcomes = await acting
        assert all(isinstance(outcome, Applied) or outcome.transient for outcome in outcomes), outcomes
        await persist(world, MAPS)
        assert len(await target.observe(Scope(ENVIRONMENT))) == len(MAPS)


async def test_a_token_that_has_ended_is_read_again_from_its_file(cluster: Cluster, namespace: str, tmp_path: Any) -> None:
    """While it is refused nothing is concluded; once its file has been renewed, the next request is the one that works."""
    token = tmp_path / "token"
    token.write_text("ended")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text().replace(f'"token": "{cluster.token}"', f'"tokenFile": "{token}"'))
    async with opened(kubeconfig, namespace) as target:
        world = World(target)
        with pytest.raises(TransientError, match=r"401|nauthorized"):
            await target.preview(MAPS[:1])
        token.write_text(cluster.token)
        await world.settle(MAPS[:2])


async def test_a_client_certificate_that_is_no_longer_accepted_is_read_again_from_its_files(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """As a token is: somebody puts another one in its place, first one file and then the other, and the next request works."""
    files = {"client-certificate": tmp_path / "client.crt", "client-key": tmp_path / "client.key"}
    keys = cluster.directory / "keys"
    _signed_by_itself(*files.values())
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {name: str(path) for name, path in files.items()}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config), encoding="utf-8")
    async with opened(kubeconfig, namespace) as target:
        world = World(target)
        with pytest.raises(TransientError, match=r"401|nauthorized"):
            await target.preview(MAPS[:1])
        files["client-certificate"].write_bytes((keys / "admin.crt").read_bytes())
        with pytest.raises(TransientError, match=r"401|nauthorized"):
            await target.preview(MAPS[:1])
        files["client-key"].write_bytes((keys / "admin.key").read_bytes())
        await world.settle(MAPS[:2])


def _signed_by_itself(certificate: Path, key: Path) -> None:
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=admin"]
    subprocess.run(["openssl", "req", *words, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)


async def test_answers_that_take_long_are_waited_for(world: World, faults: FaultProxy) -> None:
    """Slow is not gone: no second object, no removal, no failure."""
    faults.slow(1.0, method="PATCH", times=6)
    faults.slow(1.0, method="GET", times=3)
    made = await world.settle(MAPS)
    assert len(made.steps) == len(MAPS)


def definition(group: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "vats", "singular": "vat", "kind": "Vat"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"vats.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


async def test_a_definition_that_is_deleted_under_its_objects_comes_back_with_them(
    world: World, cluster: Cluster, namespace: str
) -> None:
    """Whoever deletes it by hand takes the objects along. Both are made again, and the rest of the application is left alone."""
    group = f"{namespace}.example"
    crd = manifest(definition(group))
    vat = manifest({"apiVersion": f"{group}/v1", "kind": "Vat", "metadata": {"name": "one"}, "spec": {"size": 3}})
    everything = [crd, vat, MAPS[0]]
    await _persist(world, everything)
    uid = cluster.api.get(path_of(cluster.api, MAPS[0].body, namespace))["metadata"]["uid"]
    place = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vats.{group}"
    try:
        cluster.api.delete(place)
        await asyncio.to_thread(cluster.api.until_gone, place)
        await _persist(world, everything)
        assert cluster.api.get(f"/apis/{group}/v1/namespaces/{namespace}/vats/one")["spec"] == {"size": 3}
        assert cluster.api.get(path_of(cluster.api, MAPS[0].body, namespace))["metadata"]["uid"] == uid
    finally:
        cluster.api.request("DELETE", place)


async def _persist(world: World, manifests: list[Any], seconds: float = 30.0) -> None:
    """Wave by wave, as an engine does, until nothing is left to do."""
    end = time.monotonic() + seconds
    quiet = 0
    while time.monotonic() < end:
        made = await again(world, manifests)
        assert all(step.action is not Action.REMOVE for step in made.steps)
        if made.empty:
            quiet += 1
            if quiet == 3:
                return
        else:
            quiet = 0
            first = min(step.wave for step in made.steps)
            now = [step for step in made.steps if step.wave == first]
            await world.act(type(made)(made.application, made.environment, tuple(now)))
        await asyncio.sleep(0.1)
    raise AssertionError(made)


async def test_an_object_of_a_mebibyte(world: World, cluster: Cluster, namespace: str) -> None:
    """What the server just takes is applied, known to be settled, healed and removed like any other."""
    large = manifest(config_map("large", text="x" * (1024 * 1024 - 1024)))
    await world.settle([large])
    path = path_of(cluster.api, large.body, namespace)
    version = cluster.api.merge(path, {"data": {"text": "small"}})["metadata"]["resourceVersion"]
    await world.seen(large.ref, lambda known: known.version >= int(version))
    await world.act(await again(world, [large]))
    assert len(cluster.api.get(path)["data"]["text"]) == 1024 * 1024 - 1024


async def test_five_thousand_objects_in_one_application(cluster: Cluster, namespace: str) -> None:
    """Installed, then quiet without a request; one changed and one removed cost what they cost among few."""
    many = [manifest(config_map(f"n{number:04}", a=str(number))) for number in range(MANY)]
    async with opened(cluster.kubeconfig, namespace) as target:
        world, counts = World(target), target.cluster.client.transport.counts
        made = await world.plan(many)
        assert all(isinstance(outcome, Applied) for outcome in await world.act(made))
        assert len(made.steps) == MANY
        assert counts.requests < MANY + 50
        before = counts.requests
        assert (await world.plan(many)).empty
        assert counts.requests == before
        made = await world.plan([manifest(config_map("n0000", a="other")), *many[1:-1]])
        assert [(step.action, step.ref.name) for step in made.steps] == [
            (Action.UPDATE, "n0000"),
            (Action.REMOVE, f"n{MANY - 1}"),
        ]
        assert all(isinstance(outcome, Applied) for outcome in await world.act(made))
        assert counts.requests - before <= 6
    found = cluster.api.items(f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=trimtab.dev/application")
    assert len(found) == MANY - 1


async def test_the_wrong_version_of_a_kind_is_told_with_the_right_one(target: KubernetesTarget) -> None:
    wrong = manifest({"apiVersion": "v1", "kind": "Deployment", "metadata": {"name": "web"}}, "apps/web.yaml", 4)
    (problem,) = (await target.preview([wrong], shown=False)).problems
    assert (problem.file, problem.line, problem.field) == ("apps/web.yaml", 4, "kind")
    assert "does not serve Deployment of v1" in problem.message
