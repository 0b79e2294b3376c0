"""A host target on a directory of its own, with a real supervisord that is ended after the test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.config import Environment, EnvironmentSpec, Metadata
from trimtab.core.model.manifest import Content, Manifest
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Observed, Scope
from trimtab.core.model.plan import Action, Applied, Outcome, Step
from trimtab.targets.host.target import HostTarget, HostTargets

API = "host.trimtab.dev/v1"


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class RealChance:
    def uniform(self, low: float, high: float) -> float:
        import random

        return random.uniform(low, high)

    def token(self) -> str:
        return uuid.uuid4().hex


class DictContents:
    """Content by object id: a mapping of paths for a tree, bytes for a blob."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, bytes] | bytes] = {}

    async def materialise(self, repository: str, object_id: str, destination: Path) -> None:
        content = self.of[object_id]
        temporary = destination.with_name(f"{destination.name}.tmp")
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            for name, data in content.items():
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                (temporary / name).write_bytes(data)
                (temporary / name).chmod(0o555)
        temporary.rename(destination)


SERVER = b"""
import http.server, os, sys, time
release = os.environ.get("RELEASE", "1")
time.sleep(float(os.environ.get("SLOW", "0")))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        code = 503 if self.path == "/ready" and os.environ.get("NEVER") else 200
        body = (release + " " + str(os.getpid())).encode()
        self.send_response(code); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
print("serving release", release, flush=True)
server.serve_forever()
"""


class World:
    """A data directory, and whatever server is started on it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.contents = DictContents()
        self.contents.of["t1"] = {"server.py": SERVER}
        self.environment = Environment(metadata=Metadata(name="host"))
        self.numbers = itertools.count(1)
        self.targets: HostTargets
        self.target: HostTarget

    async def start(self) -> HostTarget:
        self.targets = HostTargets(
            self.data, installation="test", contents=self.contents, clock=RealClock(), chance=RealChance(), python=sys.executable
        )
        self.target = self.targets.get("host", self.environment)
        await self.targets.start()
        return self.target

    async def restart(self) -> HostTarget:
        """As after a clean end or a crash of the server: what runs goes on."""
        await self.targets.close()
        return await self.start()

    def allow(self, *roots: Path) -> None:
        spec = EnvironmentSpec(target={"allowedRoots": [str(root) for root in roots]})
        self.environment = Environment(metadata=Metadata(name="host"), spec=spec)

    async def apply(self, manifest: Manifest, *, application: str = "shop", action: Action | None = None) -> Outcome:
        """Preview, observe and apply, as the engine does."""
        await self.target.preview([manifest])
        there = await self.look(manifest.ref)
        chosen = action or (Action.UPDATE if there else Action.CREATE)
        step = Step(chosen, manifest.ref, application, "host", manifest=manifest, uid=there.uid if there else "")
        return await self.target.apply(step, "r1")

    async def run(self, manifest: Manifest, **options: Any) -> Observed:
        """Apply, and wait until it is healthy."""
        outcome = await self.apply(manifest, **options)
        assert isinstance(outcome, Applied), outcome
        return await self.healthy(manifest)

    async def look(self, ref: ObjectRef) -> Observed | None:
        return (await self.target.observe(Scope("host", (ref,)))).get(ref.identity)

    async def healthy(self, manifest: Manifest, seconds: float = 15.0) -> Observed:
        return await self.until(manifest, lambda seen, health: health.status == "healthy", seconds)

    async def until(self, manifest: Manifest, condition: Callable[[Any, Any], bool], seconds: float = 15.0) -> Observed:
        last: Any = None
        for _ in range(int(seconds / 0.01)):
            seen = await self.look(manifest.ref)
            if seen is not None:
                last = (seen, self.target.assess(seen, manifest))
                if condition(*last):
                    return seen
            await asyncio.sleep(0.01)
        raise AssertionError(f"not so after {seconds} s: {last}")

    async def remove(self, ref: ObjectRef) -> Outcome:
        there = await self.look(ref)
        return await self.target.remove(Step(Action.REMOVE, ref, "shop", "host", uid=there.uid if there else ""))


def manifest(kind: str, name: str, spec: dict[str, Any], *, content: tuple[Content, ...] = (), **metadata: Any) -> Manifest:
    ref = ObjectRef(API, kind, "", name)
    body = {"apiVersion": API, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
    return Manifest(ref, body, "shop.yaml", 1, content)


def server(name: str = "web", *, release: str = "1", environment: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """A small HTTP server that answers with its release and its pid."""
    return manifest(
        "Process",
        name,
        {
            "command": [sys.executable, "server.py"],
            "tree": "web",
            "environment": {"RELEASE": release, **(environment or {})},
            "ports": [{"name": "http"}],
            "readiness": {"http": {"path": "/ready"}},
            "stop": {"graceSeconds": 2, "drainSeconds": 2},
            **spec,
        },
        content=(Content("web", "tree", "t1", "repo"),),
    )


def sleeper(name: str = "worker", **spec: Any) -> Manifest:
    return manifest("Process", name, {"command": ["sleep", "1000"], "stop": {"graceSeconds": 1}, **spec})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "data")
    await made.start()
    yield made
    await made.targets.down()
    shutil.rmtree(tmp_path, ignore_errors=True)


async def get(address: str, path: str = "/") -> str:
    """One request on a connection of its own; the body."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    return body.decode()


async def quickly(check: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.005)):
        if await check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not in time")
