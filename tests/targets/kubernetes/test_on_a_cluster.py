"""The client on a real API server, directly and through a proxy that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import cluster, faults, namespace, own_cluster
from tests.kubernetes.faults import FaultProxy

from trimtab.core.model.errors import TransientError, UserError
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.ports.clock import Clock
from trimtab.targets.kubernetes import errors, kubeconfig, requests
from trimtab.targets.kubernetes.client import Client
from trimtab.targets.kubernetes.connection import Impersonation
from trimtab.targets.kubernetes.discovery import Discovery, Unavailable, UnknownKind
from trimtab.targets.kubernetes.errors import FieldConflict
from trimtab.targets.kubernetes.requests import PODS, Request, Selector
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.transport import Answer
from trimtab.targets.kubernetes.watching import Change, Event

__all__ = ["cluster", "faults", "namespace", "own_cluster"]

MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)

Connecting = Callable[..., Client]


@pytest.fixture
async def connect() -> AsyncIterator[Connecting]:
    made: list[Client] = []

    def make(path: Path, clock: Clock | None = None) -> Client:
        connection = kubeconfig.load({}, path=path)
        made.append(Client.connect(connection, environment=os.environ, clock=clock or SystemClock(), chance=SystemChance()))
        return made[-1]

    yield make
    for client in made:
        await client.close()
    # TLS connections end by themselves, a moment after they were told to; until then the loop is needed.
    await asyncio.sleep(0.05)


@pytest.fixture
async def client(cluster: Cluster, connect: Connecting) -> Client:
    return connect(cluster.kubeconfig)


@pytest.fixture
async def through(cluster: Cluster, faults: FaultProxy, connect: Connecting, tmp_path: Path) -> Client:
    """A client whose requests go through the misbehaving proxy."""
    return connect(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"))


def config_map(name: str = "a", **data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(**spec: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "registry.test/web:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pods, **spec},
    }


def altered(original: Path, target: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """A copy of a kubeconfig whose only cluster and user are changed."""
    document = yaml.safe_load(original.read_text())
    change(document["clusters"][0]["cluster"], document["users"][0]["user"])
    target.write_text(yaml.safe_dump(document))
    return target


# Acts


async def test_every_verb(client: Client, namespace: str) -> None:
    made = await client.create(MAPS, namespace, config_map(x="1"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(MAPS, namespace, config_map())
    applied = await client.apply(MAPS, namespace, "a", config_map(x="1", y="2"), force=True)
    assert applied.uid == made.uid
    patched = await client.patch(MAPS, namespace, "a", {"data": {"z": "3"}})
    assert patched.body()["data"] == {"x": "1", "y": "2", "z": "3"}
    patched = await client.patch(MAPS, namespace, "a", [{"op": "remove", "path": "/data/z"}])
    replaced = await client.replace(MAPS, namespace, "a", config_map(w="0"), resource_version=patched.resource_version)
    assert (await client.get(MAPS, namespace, "a")).body()["data"] == replaced.body()["data"] == {"w": "0"}
    with pytest.raises(errors.Conflict):
        await client.replace(MAPS, namespace, "a", config_map(), resource_version=made.resource_version)
    with pytest.raises(errors.Conflict):
        await client.delete(MAPS, namespace, "a", uid="another")
    await client.delete(MAPS, namespace, "a", uid=made.uid)
    with pytest.raises(errors.NotFound) as caught:
        await client.get(MAPS, namespace, "a")
    assert caught.value.names_object


async def test_a_preview_changes_nothing(client: Client, namespace: str) -> None:
    foreseen = await client.apply(DEPLOYMENTS, namespace, "web", deployment(), force=True, dry_run=True)
    assert foreseen.body()["spec"]["progressDeadlineSeconds"] == 600  # the server's defaults are in it
    with pytest.raises(errors.NotFound):
        await client.get(DEPLOYMENTS, namespace, "web")


async def test_a_conflict_names_the_other_manager(client: Client, namespace: str) -> None:
    await client.apply(DEPLOYMENTS, namespace, "web", deployment(), force=False, manager="other")
    with pytest.raises(errors.Conflict) as caught:
        await client.apply(DEPLOYMENTS, namespace, "web", deployment(replicas=1), force=False)
    assert caught.value.fields == (FieldConflict("other", "spec.replicas"),)
    applied = await client.apply(DEPLOYMENTS, namespace, "web", deployment(replicas=1), force=True)
    assert {("other", "Apply"), ("trimtab", "Apply")} <= {(each.manager, each.operation) for each in applied.managers()}


async def test_wrong_objects_name_their_fields(client: Client, namespace: str) -> None:
    with pytest.raises(errors.Invalid) as typed:
        await client.apply(DEPLOYMENTS, namespace, "web", deployment(replicsa=1), force=True)
    assert [cause.field for cause in typed.value.fields] == ["spec.replicsa"]
    with pytest.raises(errors.Invalid) as strict:
        await client.create(DEPLOYMENTS, namespace, deployment(replicsa=1))
    assert [(cause.message, cause.field) for cause in strict.value.fields] == [("unknown field", "spec.replicsa")]
    with pytest.raises(errors.Invalid) as checked:
        await client.apply(DEPLOYMENTS, namespace, "web", deployment(replicas=-1), force=True)
    assert [cause.field for cause in checked.value.fields] == ["spec.replicas"]
    await client.apply(DEPLOYMENTS, namespace, "web", deployment(), force=True)
    other = deployment(selector={"matchLabels": {"app": "other"}})
    other["spec"]["template"] = {**other["spec"]["template"], "metadata": {"labels": {"app": "other"}}}
    with pytest.raises(errors.Invalid) as fixed:
        await client.apply(DEPLOYMENTS, namespace, "web", other, force=True)
    assert fixed.value.immutable == ("spec.selector",)


async def test_a_missing_namespace_is_told_from_a_missing_object_and_a_missing_kind(client: Client) -> None:
    with pytest.raises(errors.NotFound) as space:
        await client.apply(MAPS, "nowhere", "a", config_map(), force=True)
    assert (space.value.kind, space.value.name) == ("namespaces", "nowhere")
    with pytest.raises(errors.NotFound) as kind:
        await client.list(Resource("apps", "v1", "things", "Thing", namespaced=True))
    assert not kind.value.names_object


@pytest.mark.parametrize("mebibytes", [2, 4])
async def test_an_object_that_is_too_large_is_the_users(client: Client, namespace: str, mebibytes: int) -> None:
    with pytest.raises(errors.Invalid):
        await client.apply(MAPS, namespace, "a", config_map(x="x" * (mebibytes << 20)), force=True)


async def test_lists_of_many_pages_and_selections(client: Client, namespace: str) -> None:
    bodies = [config_map(f"m{i}") | {"metadata": {"name": f"m{i}", "labels": {"half": str(i % 2)}}} for i in range(40)]
    await asyncio.gather(*(client.apply(MAPS, namespace, body["metadata"]["name"], body, force=True) for body in bodies))
    found = await client.list(MAPS, Selector(namespace, labels="half=1"), limit=7)
    assert sorted(each.name for each in found) == sorted(f"m{i}" for i in range(1, 40, 2))
    assert found[0].body()["kind"] == "ConfigMap"


async def test_logs_are_read_and_followed(client: Client, cluster: Cluster, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "annotations": {"node.test/log": "one\ntwo\nthree"}},
        "spec": {"containers": [{"name": "web", "image": "registry.test/web:1"}]},
    }
    await client.create(PODS, namespace, pod)
    path = f"/api/v1/namespaces/{namespace}/pods/web"
    await asyncio.to_thread(cluster.api.until, path, lambda live: live["status"].get("phase") == "Running")
    lines = [line async for line in client.logs(namespace, "web", tail=2)]
    assert lines[-1:] == [b"three"]
    with pytest.raises(errors.NotFound):
        await anext(client.logs(namespace, "none"))


# Who we are


async def test_rights_are_those_of_the_user(cluster: Cluster, client: Client, connect: Connecting, namespace: str) -> None:
    with pytest.raises(errors.Forbidden) as caught:
        await connect(cluster.kubeconfig_for("nobody")).list(MAPS, Selector(namespace))
    assert caught.value.by_rights
    with pytest.raises(errors.Forbidden, match='User "robot"'):
        await client.acting_as(Impersonation(user="robot", groups=("a",), extra={"team": ("x",)})).list(MAPS)
    masters = Impersonation(user="robot", groups=("system:masters",))
    assert await client.acting_as(masters).list(MAPS, Selector(namespace)) is not None


async def test_a_client_certificate_is_enough(cluster: Cluster, connect: Connecting, namespace: str) -> None:
    assert await connect(cluster.kubeconfig_for("certificate")).list(MAPS, Selector(namespace)) is not None


async def test_a_wrong_token_is_an_error(cluster: Cluster, connect: Connecting, tmp_path: Path) -> None:
    path = altered(cluster.kubeconfig, tmp_path / "config", lambda _, user: user.update(token="wrong"))
    with pytest.raises(errors.Unauthorized, match="Check the token"):
        await connect(path).list(MAPS)


async def test_an_expired_token_is_replaced_while_we_run(cluster: Cluster, connect: Connecting, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    def change(_: dict[str, Any], user: dict[str, Any]) -> None:
        user.clear()
        user["tokenFile"] = "token"

    client = connect(altered(cluster.kubeconfig, tmp_path / "config", change))
    with pytest.raises(errors.Unauthorized):
        await client.list(MAPS)
    token.write_text(cluster.token)
    assert await client.list(MAPS) is not None


@pytest.mark.parametrize("way", ["token", "certificate"])
async def test_a_plugin_lets_us_in(cluster: Cluster, connect: Connecting, tmp_path: Path, way: str) -> None:
    owner = yaml.safe_load(cluster.kubeconfig_for("certificate").read_text())["users"][0]["user"]
    keys = {
        "clientCertificateData": material(owner, "client-certificate", cluster.directory),
        "clientKeyData": material(owner, "client-key", cluster.directory),
    }
    status = {"token": cluster.token} if way == "token" else keys
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (tmp_path / "answer").write_text(json.dumps(answer))

    def change(_: dict[str, Any], user: dict[str, Any]) -> None:
        user.clear()
        arguments = [str(tmp_path / "answer")]
        user["exec"] = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "cat",
            "args": arguments,
            "interactiveMode": "Never",
        }

    assert await connect(altered(cluster.kubeconfig, tmp_path / "config", change)).list(MAPS) is not None


def material(user: dict[str, Any], name: str, directory: Path) -> str:
    data = user.get(f"{name}-data")
    return base64.b64decode(data).decode() if data else (directory / user[name]).read_text()


# Which server it is


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"certificate-authority-data": None}, "its certificate is not trusted"),
        ({"tls-server-name": "other.example.org"}, "its certificate is not trusted"),
        ({"tls-server-name": "localhost"}, ""),
        ({"certificate-authority-data": None, "insecure-skip-tls-verify": True}, ""),
    ],
)
async def test_a_server_is_who_its_certificate_says(
    cluster: Cluster, connect: Connecting, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    def alter(known: dict[str, Any], _: dict[str, Any]) -> None:
        known.update(change)
        if "certificate-authority-data" in change:
            known.pop("certificate-authority", None)
        for name in [name for name, value in known.items() if value is None]:
            del known[name]

    client = connect(altered(cluster.kubeconfig, tmp_path / "config", alter))
    if words:
        with pytest.raises(errors.Unreachable, match=words):
            await client.version()
    else:
        assert (await client.version()).major == "1"


async def test_a_proxy_leads_to_the_server(cluster: Cluster, connect: Connecting, tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        host, _, port = head.split()[1].decode().partition(":")
        inner, outer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, outer), pump(inner, writer), return_exceptions=True)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://user:secret@127.0.0.1:{port}"
        client = connect(altered(cluster.kubeconfig, tmp_path / "config", lambda known, _: known.update({"proxy-url": url})))
        assert (await client.version()).major == "1"
        await client.close()
    assert asked[0].startswith(b"CONNECT ")
    assert b"Proxy-Authorization: Basic" in asked[0]


# What the server serves


async def test_a_new_kind_works_as_soon_as_it_is_served_and_is_gone_when_it_goes(client: Client, namespace: str) -> None:
    group = f"{namespace}.example.org"
    with pytest.raises(UnknownKind):
        await client.discovery.resource(f"{group}/v1", "Cart")
    made = await client.apply(DEFINITIONS, "", f"carts.{group}", definition(group), force=True)
    carts = await eventually(lambda: client.discovery.resource(f"{group}/v1", "Cart"), UnknownKind)
    cart = {"apiVersion": f"{group}/v1", "kind": "Cart", "metadata": {"name": "c"}, "spec": {"items": 3}}
    assert (await client.apply(carts, namespace, "c", cart, force=True)).body()["spec"] == {"items": 3}
    await client.delete(DEFINITIONS, "", f"carts.{group}", uid=made.uid)

    async def gone() -> bool:
        assert not await client.discovery.served(carts)
        return True

    assert await eventually(gone, AssertionError)
    with pytest.raises(errors.NotFound) as caught:
        await client.list(carts)
    assert not caught.value.names_object


def definition(group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"carts.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Cart", "plural": "carts", "singular": "cart"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


class HastyClock(SystemClock):
    """Tries again without a pause, so that every moment of a start is seen."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_a_server_that_starts_never_denies_a_kind_that_it_is_about_to_serve(
    own_cluster: Cluster, connect: Connecting
) -> None:
    client = connect(own_cluster.kubeconfig)
    await client.apply(DEFINITIONS, "", "carts.shop.dev", definition("shop.dev"), force=True)
    carts = await eventually(lambda: client.discovery.resource("shop.dev/v1", "Cart"), UnknownKind)

    async def soon(request: Request) -> Answer:
        return await client.send(msgspec.structs.replace(request, seconds=0.2))

    async def listed() -> Any:
        return await soon(requests.page(carts))

    heard = {"served": 0, "not now": 0}
    for _ in range(2):
        await asyncio.to_thread(own_cluster.kill, "apiserver")
        starting = asyncio.create_task(asyncio.to_thread(own_cluster.start, "apiserver"))
        while not starting.done():
            fresh = Discovery(soon, SystemClock())
            for ask in (partial(fresh.resource, "shop.dev/v1", "Cart"), partial(fresh.served, carts), listed):
                try:
                    heard["served" if await ask() is not False else "gone"] += 1
                except (TransientError, errors.Forbidden):
                    heard["not now"] += 1
        await starting
    assert set(heard) == {"served", "not now"}
    assert min(heard.values()) > 0


async def eventually(ask: Callable[[], Awaitable[Any]], expected: type[BaseException]) -> Any:
    for _ in range(200):
        try:
            return await ask()
        except expected:
            await asyncio.sleep(0.05)
    return await ask()


async def test_an_aggregated_api_that_is_down_is_not_a_missing_kind(client: Client, namespace: str) -> None:
    group = f"{namespace}.example.org"
    service = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"v1.{group}"},
        "spec": {
            "group": group,
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": namespace, "name": "gone", "port": 443},
        },
    }
    made = await client.apply(SERVICES, "", f"v1.{group}", service, force=True)
    try:
        await eventually(lambda: expect_unavailable(client, group), UnknownKind)
        known = await client.discovery.refresh()
        assert ("apps", "v1") not in known.unavailable
        with pytest.raises(Unavailable):
            await client.discovery.resource(f"{group}/v1", "Cart")
        assert await client.discovery.resource("apps/v1", "Deployment")
    finally:
        await client.delete(SERVICES, "", f"v1.{group}", uid=made.uid)


async def expect_unavailable(client: Client, group: str) -> None:
    with pytest.raises(Unavailable):
        await client.discovery.resource(f"{group}/v1", "Cart")


# Faults


async def test_applies_survive_what_a_network_does(through: Client, faults: FaultProxy, namespace: str) -> None:
    faults.fail(503, method="PATCH", times=5)
    faults.fail(429, retry_after=1, method="PATCH", times=3)
    faults.cut(method="PATCH", times=5)
    faults.lose_answer(method="PATCH", times=5)
    faults.cut_answer(after_bytes=50, method="PATCH", times=5)
    await asyncio.gather(*(through.apply(MAPS, namespace, f"m{i}", config_map(f"m{i}", x="1"), force=True) for i in range(50)))
    faults.clear()
    assert len(await through.list(MAPS, Selector(namespace, fields="metadata.name!=kube-root-ca.crt"))) == 50


async def test_a_removal_whose_answer_is_lost_never_takes_the_next_object_of_that_name(
    through: Client, client: Client, faults: FaultProxy, namespace: str
) -> None:
    first = await client.create(MAPS, namespace, config_map())
    faults.lose_answer(method="DELETE", times=1)
    with pytest.raises(errors.NotFound):
        await through.delete(MAPS, namespace, "a", uid=first.uid)  # the second attempt finds it gone
    second = await client.create(MAPS, namespace, config_map())
    with pytest.raises(errors.Conflict):
        await through.delete(MAPS, namespace, "a", uid=first.uid)
    assert (await client.get(MAPS, namespace, "a")).uid == second.uid


async def test_a_list_that_fails_half_way_is_an_error(through: Client, faults: FaultProxy, namespace: str) -> None:
    await asyncio.gather(*(through.apply(MAPS, namespace, f"m{i}", config_map(f"m{i}"), force=True) for i in range(9)))
    faults.fail(500, path="continue=")
    with pytest.raises(errors.ServerError):
        await through.list(MAPS, Selector(namespace), limit=3)


class Ear:
    """Keeps what a reflector tells, and waits for it."""

    def __init__(self, client: Client, select: Selector, limit: int = 500) -> None:
        self.heard: list[Event] = []
        self.there: set[str] = set()
        self.reflector = client.watch(MAPS, select, limit=limit)
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async with aclosing(self.reflector.events()) as events:
            async for event in events:
                async with self._news:
                    self.heard.append(event)
                    if event.change is Change.ADDED:
                        self.there.add(event.name)
                    elif event.change is Change.DELETED:
                        self.there.discard(event.name)
                    self._news.notify_all()

    async def until(self, holds: Callable[[], bool], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(holds)

    def count(self, change: Change) -> int:
        return sum(event.change is change for event in self.heard)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Ear]]:
    ears: list[Ear] = []

    def make(*arguments: Any, **options: Any) -> Ear:
        ears.append(Ear(*arguments, **options))
        return ears[-1]

    yield make
    for ear in ears:
        await ear.close()


async def test_a_reflector_follows_a_real_server_through_cuts(
    through: Client, client: Client, faults: FaultProxy, namespace: str, listen: Callable[..., Ear]
) -> None:
    labelled = Selector(namespace, labels="ours=yes")

    async def put(name: str, **data: str) -> None:
        body = config_map(name, **data) | {"metadata": {"name": name, "labels": {"ours": "yes"}}}
        await client.apply(MAPS, namespace, name, body, force=True)

    await put("a")
    ear = listen(through, labelled)
    await ear.until(lambda: ear.count(Change.SYNCED) == 1)
    await put("b")
    await ear.until(lambda: ear.there == {"a", "b"})
    lists = faults.count("GET", r"configmaps\?labelSelector=ours%3Dyes&limit")

    await asyncio.to_thread(faults.refuse)
    await ear.until(lambda: ear.count(Change.INTERRUPTED) == 1)
    await put("c")
    gone = await client.get(MAPS, namespace, "a")
    await client.delete(MAPS, namespace, "a", uid=gone.uid)
    await asyncio.to_thread(faults.accept)
    await ear.until(lambda: ear.there == {"b", "c"})
    await asyncio.to_thread(faults.cut_streams)
    await put("d")
    await ear.until(lambda: ear.there == {"b", "c", "d"})
    assert faults.count("GET", r"configmaps\?labelSelector=ours%3Dyes&limit") == lists  # going on needed no new list


async def test_a_reflector_outlives_the_server(own_cluster: Cluster, connect: Connecting, listen: Callable[..., Ear]) -> None:
    client = connect(own_cluster.kubeconfig)
    select = Selector("default", fields="metadata.name!=kube-root-ca.crt")
    await client.apply(MAPS, "default", "a", config_map(), force=True)
    ear = listen(client, select)
    await ear.until(lambda: ear.there == {"a"} and ear.count(Change.SYNCED) == 1)
    await asyncio.to_thread(own_cluster.kill, "apiserver")
    await ear.until(lambda: ear.count(Change.INTERRUPTED) == 1)
    with pytest.raises(errors.Unreachable):
        await client.get(MAPS, "default", "a")
    await asyncio.to_thread(own_cluster.start, "apiserver")
    await client.apply(MAPS, "default", "b", config_map("b"), force=True)
    await ear.until(lambda: ear.there == {"a", "b"} and ear.heard[-1].change is not Change.INTERRUPTED, 40)
    assert ear.count(Change.DELETED) == 0
    await asyncio.to_thread(own_cluster.kill, "etcd")
    reading = msgspec.structs.replace(requests.get(MAPS, "default", "a"), seconds=1.0)
    with pytest.raises((errors.Unreachable, errors.ServerError)):
        await client.send(reading)
    await asyncio.to_thread(own_cluster.start, "etcd")
    await client.apply(MAPS, "default", "c", config_map("c"), force=True)
    await ear.until(lambda: ear.there == {"a", "b", "c"}, 40)
    assert ear.count(Change.DELETED) == 0


async def test_a_kubeconfig_in_a_secret_works_when_it_names_no_files(cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    known = document["clusters"][0]["cluster"]
    known.pop("certificate-authority", None)
    known["certificate-authority-data"] = base64.b64encode(cluster.authority.read_bytes()).decode()
    connection = kubeconfig.parse(yaml.safe_dump(document).encode(), origin="Secret flux/cluster")
    client = Client.connect(connection, environment={}, clock=SystemClock(), chance=SystemChance())
    try:
        assert (await client.version()).git_version.startswith("v1.")
    finally:
        await client.close()
    document["users"][0]["user"] = {"tokenFile": "/etc/passwd"}
    with pytest.raises(UserError, match="from elsewhere"):
        kubeconfig.parse(yaml.safe_dump(document).encode(), origin="Secret flux/cluster")
