"""Small chart repositories of our own, on loopback: one over HTTP, one OCI registry that wants a token. They misbehave on request."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


@dataclass
class Registry:
    """``charts`` by name and version. ``login`` is wanted of whoever asks, where it is set. ``answers`` counts what was asked for."""

    charts: dict[tuple[str, str], bytes] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    down: bool = False
    index: str | None = None
    moved_to: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}/charts"

    @property
    def oci(self) -> str:
        return f"oci://127.0.0.1:{self.port}/ours"

    @property
    def answers(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)

    # --- over HTTP ----------------------------------------------------------------------------------------------------------

    async def get_index(self, request: web.Request) -> web.Response:
        self._admit(request)
        entries: dict[str, Any] = {}
        for (name, version), data in self.charts.items():
            digest = hashlib.sha256(data).hexdigest()
            entry = {"name": name, "version": version, "urls": [f"{name}-{version}.tgz"], "digest": digest}
            entries.setdefault(name, []).append(entry)
        return web.Response(text=self.index or json.dumps({"apiVersion": "v1", "entries": entries}))

    async def get_archive(self, request: web.Request) -> web.Response:
        self._admit(request)
        if self.moved_to:
            raise web.HTTPFound(self.moved_to)
        for (name, version), data in self.charts.items():
            if request.match_info["file"] == f"{name}-{version}.tgz":
                return web.Response(body=data)
        raise web.HTTPNotFound

    # --- as an OCI registry -------------------------------------------------------------------------------------------------

    async def get_tags(self, request: web.Request) -> web.Response:
        self._bear(request)
        tags = [version.replace("+", "_") for name, version in self.charts if name == request.match_info["name"]]
        at = tags.index(request.query["last"]) + 1 if "last" in request.query else 0
        headers = {} if at + 1 >= len(tags) else {"Link": f'<{request.path}?n=1&last={tags[at]}>; rel="next"'}
        return web.json_response({"name": request.match_info["name"], "tags": tags[at : at + 1]}, headers=headers)

    async def get_manifest(self, request: web.Request) -> web.Response:
        self._bear(request)
        data = self.charts.get((request.match_info["name"], request.match_info["tag"].replace("_", "+")))
        if data is None:
            raise web.HTTPNotFound
        layers = [{"mediaType": LAYER, "digest": _digest(data), "size": len(data)}]
        return web.json_response({"schemaVersion": 2, "layers": layers})

    async def get_blob(self, request: web.Request) -> web.Response:
        self._bear(request)
        for data in self.charts.values():
            if _digest(data) == request.match_info["digest"]:
                return web.Response(body=data)
        raise web.HTTPNotFound

    async def get_token(self, request: web.Request) -> web.Response:
        self._admit(request)
        assert request.query["service"] == "ours"
        return web.json_response({"token": "a-token"})

    def _admit(self, request: web.Request) -> None:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        if self.down:
            raise web.HTTPServiceUnavailable
        if self.login is not None and self.asked[-1][1] != "Basic " + b64encode(":".join(self.login).encode()).decode():
            raise web.HTTPUnauthorized

    def _bear(self, request: web.Request) -> None:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        if self.down:
            raise web.HTTPServiceUnavailable
        if self.asked[-1][1] != "Bearer a-token":
            challenge = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="ours",scope="repository:x:pull"'
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": challenge})


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@asynccontextmanager
async def serving(charts: Mapping[tuple[str, str], bytes] | None = None) -> AsyncIterator[Registry]:
    registry = Registry(dict(charts or {}))
    app = web.Application()
    app.router.add_get("/charts/index.yaml", registry.get_index)
    app.router.add_get("/charts/{file}", registry.get_archive)
    app.router.add_get("/v2/ours/{name}/tags/list", registry.get_tags)
    app.router.add_get("/v2/ours/{name}/manifests/{tag}", registry.get_manifest)
    app.router.add_get("/v2/ours/{name}/blobs/{digest}", registry.get_blob)
    app.router.add_get("/token", registry.get_token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    registry.port = runner.addresses[0][1]
    try:
        yield registry
    finally:
        await runner.cleanup()
