"""The raw loop: the same applies over 16 kept-alive connections, and nothing else.

The same to the letter: with the labels and annotations by which an object is owned, since the server has to store and index these, too.
`bare` leaves them out, and tells so what owning costs.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from bench.clusters.contents import Body

from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Owner
from trimtab.targets.kubernetes.ownership import stamped

CONNECTIONS = 16
APPLY = "?fieldManager=raw&force=true&fieldValidation=Strict"
PATHS = {
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "Service": "api/v1/namespaces/{}/services",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Ingress": "apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}


@dataclass(frozen=True)
class Server:
    """How the bench itself speaks to the API server."""

    address: str
    token: str
    authority: str
    kubeconfig: str

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        trust = ssl.create_default_context(cafile=self.authority)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=trust)
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(self.address + "/", connector=connector, headers=headers, timeout=timeout) as made:
            yield made
        await asyncio.sleep(0.05)  # TLS connections end a moment after they were told to


def owned(body: Body, namespace: str, application: str) -> Body:
    """What Trimtab sends of a Manifest that is new."""
    ref = ObjectRef(body["apiVersion"], body["kind"], "", body["metadata"]["name"])
    owner = Owner(f"raw-{namespace}", "prod", application)
    return stamped(Manifest(ref, body), owner, namespace=namespace, placed=True, new=True)


async def raw_seconds(server: Server, namespace: str, bodies: list[Body]) -> float:
    requests = [(f"{place(body['kind'], namespace, body['metadata']['name'])}{APPLY}", json.dumps(body)) for body in bodies]
    headers = {"Content-Type": "application/apply-patch+yaml"}

    async def work(http: aiohttp.ClientSession, left: Iterator[tuple[str, str]]) -> None:
        for path, data in left:
            async with http.patch(path, data=data, headers=headers) as answer:
                await answer.read()
                answer.raise_for_status()

    async with server.session() as http:
        began = time.perf_counter()
        left = iter(requests)
        await asyncio.gather(*(work(http, left) for _ in range(CONNECTIONS)))
        return time.perf_counter() - began


def place(kind: str, namespace: str, name: str = "") -> str:
    return PATHS[kind].format(namespace) + (f"/{name}" if name else "")
