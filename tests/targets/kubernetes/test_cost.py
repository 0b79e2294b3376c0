"""What the client costs, as ratios within one run: an apply against the bare HTTP library, a watch event against decoding its JSON."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import cluster, namespace

from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.targets.kubernetes import kubeconfig
from trimtab.targets.kubernetes.client import Client
from trimtab.targets.kubernetes.objects import Page
from trimtab.targets.kubernetes.requests import Request, Selector
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.watching import Reflector

__all__ = ["cluster", "namespace"]

MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
ROUNDS = 3
APPLIES = 300
EVENTS = 3_000


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """The garbage of other tests is not what is measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def least(work: Callable[[], Awaitable[None]], rounds: int = ROUNDS) -> float:
    """The fewest seconds of processor time that ``work`` took."""
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        await work()
        taken.append(time.process_time() - before)
    return min(taken)


def body(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "y" * 2_900}}


async def test_an_apply_costs_little_more_than_its_http(cluster: Cluster, namespace: str) -> None:
    names = [f"m{i}" for i in range(APPLIES)]
    client = Client.connect(
        kubeconfig.load({}, path=cluster.kubeconfig), environment=os.environ, clock=SystemClock(), chance=SystemChance()
    )
    headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": "application/apply-patch+yaml"}
    connector = aiohttp.TCPConnector(limit=16, ssl=ssl.create_default_context(cafile=str(cluster.authority)))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one(name: str) -> None:
            url = f"{cluster.server}{MAPS.path(namespace, name)}?fieldManager=trimtab&force=true"
            async with session.patch(url, data=msgspec.json.encode(body(name))) as answer:
                assert answer.status < 300
                await answer.read()

        async def raw() -> None:
            await asyncio.gather(*(one(name) for name in names))

        async def ours() -> None:
            await asyncio.gather(*(client.apply(MAPS, namespace, name, body(name), force=True) for name in names))

        await raw()
        await ours()  # both have their connections now
        bare, whole = await least(raw), await least(ours)
    await client.close()
    print(f"apply: {whole / APPLIES * 1e6:.0f} us, the bare library {bare / APPLIES * 1e6:.0f} us: {whole / bare:.2f}")
    assert whole <= 2 * bare


async def test_a_watch_event_costs_no_more_than_decoding_its_json_a_few_times() -> None:
    lines = [msgspec.json.encode({"type": "MODIFIED", "object": thing(number)}) + b"\n" for number in range(EVENTS)]
    stream = b"".join(lines)
    chunks = [stream[at : at + 65_536] for at in range(0, len(stream), 65_536)]

    async def page(resource: Resource, select: Selector, *, limit: int, more: str) -> Page:
        return Page([], "1", "")

    @asynccontextmanager
    async def watch(_: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        yield pieces()

    async def listen() -> None:
        reflector = Reflector(page, watch, MAPS, Selector(), clock=SystemClock(), chance=SystemChance())
        heard = 0
        async with aclosing(reflector.events()) as events:
            async for _ in events:
                heard += 1
                if heard > EVENTS:
                    return

    async def read() -> None:
        for line in lines:
            msgspec.json.decode(line)

    told, whole = await least(listen), await least(read)
    print(f"watch event: {told / EVENTS * 1e6:.1f} us, reading the object {whole / EVENTS * 1e6:.1f} us: {told / whole:.2f}")
    assert told <= 3 * whole


def thing(number: int) -> dict[str, Any]:
    """A Deployment of about three kilobytes."""
    containers = [
        {"name": f"c{i}", "image": "registry.test/web:1", "env": [{"name": "N", "value": "v" * 20}] * 12} for i in range(3)
    ]
    entry = {"manager": "trimtab", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    metadata = {
        "name": f"web{number % 500}",
        "namespace": "shop",
        "uid": f"00000000-0000-0000-0000-{number % 500:012}",
        "resourceVersion": str(100 + number),
        "labels": {"app.kubernetes.io/name": "web"},
        "managedFields": [entry],
    }
    return {"metadata": metadata, "spec": {"template": {"spec": {"containers": containers}}}, "status": {"readyReplicas": 1}}
