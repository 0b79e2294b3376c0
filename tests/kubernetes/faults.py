"""A proxy in front of an API server that misbehaves by rule, on a thread and a loop of its own, so that it serves tests of any kind and
other processes. It ends TLS with the server's own certificate, so a client needs nothing but another address; users are known by their
tokens (a client certificate does not get through).

    faults.fail(503, times=3)                                every way to fail takes: method, path, times, skip
    faults.fail(429, retry_after=1, method="PATCH")          method: a name; path: a regular expression, searched in path?query
    faults.slow(2.0, path="configmaps")                      times: how often (None: always); skip: how many pass before
    faults.cut(path="/apis/apps")                            the connection ends before anything was forwarded
    faults.lose_answer(method="PATCH")                       the server does it; the client never hears of it
    faults.cut_answer(after_bytes=200, path="watch=1")       the answer ends half way: lists, watches
    faults.mute(path="watch=")                               the answer begins and then nothing more comes
    faults.cut_streams()                                     ends every answer that is being sent now: all open watches
    faults.refuse() / faults.accept()                        nobody listens / somebody does again, at the same address
    faults.clear()                                           no rules any more
    faults.requests                                          what came: method, path, status
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "proxy-authorization"}
START_SECONDS = 10.0


@dataclass
class Rule:
    """What to do with which requests. The first that fits and has not run out is taken."""

    kind: str
    method: str | None = None
    path: str = ""
    times: int | None = None
    skip: int = 0
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0.0
    after_bytes: int = 0
    taken: int = 0
    """How often it has struck."""

    def strikes(self, method: str, path: str) -> bool:
        if self.method not in (None, method) or not re.search(self.path, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.taken >= self.times:
            return False
        self.taken += 1
        return True


@dataclass
class Seen:
    """A request that came. Status 0: no answer was given (yet)."""

    method: str
    path: str
    status: int = 0
    rule: Rule | None = field(default=None, repr=False)


class FaultProxy:
    """Use as a context manager. `server` is the address to use instead of the real one; `kubeconfig(path)` makes one for it."""

    def __init__(self, upstream: str, authority: Path, keys: Path) -> None:
        self.upstream = upstream
        self.server = ""
        self.requests: list[Seen] = []
        self._rules: list[Rule] = []
        self._authority = authority
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(keys / "server.crt", keys / "server.key")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._streams: set[asyncio.Transport] = set()
        self._port = 0
        self._site: web.TCPSite | None = None

    # Ways to fail

    def fail(self, status: int = 500, *, retry_after: int | None = None, **which: Any) -> Rule:
        return self._add(Rule("fail", status=status, retry_after=retry_after, **which))

    def slow(self, seconds: float, **which: Any) -> Rule:
        return self._add(Rule("slow", seconds=seconds, **which))

    def cut(self, **which: Any) -> Rule:
        return self._add(Rule("cut", **which))

    def lose_answer(self, **which: Any) -> Rule:
        return self._add(Rule("lose", **which))

    def cut_answer(self, *, after_bytes: int = 0, **which: Any) -> Rule:
        return self._add(Rule("cut_answer", after_bytes=after_bytes, **which))

    def mute(self, **which: Any) -> Rule:
        return self._add(Rule("mute", **which))

    def cut_streams(self) -> int:
        """Returns how many answers were being sent."""
        return self._run(self._cut_streams())

    def refuse(self) -> None:
        self._run(self._refuse())

    def accept(self) -> None:
        self._run(self._listen())

    def clear(self) -> None:
        self._rules = []

    def count(self, method: str | None = None, path: str = "") -> int:
        """How many such requests came."""
        return sum(1 for seen in self.requests if method in (None, seen.method) and re.search(path, seen.path))

    def kubeconfig(self, original: Path, target: Path) -> Path:
        """A copy of a kubeconfig that goes through here."""
        target.write_text(original.read_text().replace(self.upstream, self.server))
        return target

    def _add(self, rule: Rule) -> Rule:
        self._rules = [*self._rules, rule]
        return rule

    # Life

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _open(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._authority))
        self._session = ClientSession(
            connector=TCPConnector(limit=0, ssl=tls),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=1 << 20,
        )
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None, handler_cancellation=True), shutdown_timeout=0)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._site = site
        self._port = self._runner.addresses[0][1]
        self.server = f"https://127.0.0.1:{self._port}"

    async def _refuse(self) -> None:
        if self._site is not None:
            await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()

    async def _close(self) -> None:
        await self._cut_streams()
        await self._runner.cleanup()
        await self._session.close()
        await asyncio.sleep(0)

    async def _cut_streams(self) -> int:
        open_now = list(self._streams)
        for transport in open_now:
            transport.abort()
        return len(open_now)

    # Requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = Seen(request.method, request.path_qs)
        self.requests.append(seen)
        rule = seen.rule = next((rule for rule in self._rules if rule.strikes(seen.method, seen.path)), None)
        match rule:
            case Rule(kind="fail"):
                seen.status = rule.status
                return _refusal(rule)
            case Rule(kind="cut"):
                return _abort(request)
            case Rule(kind="slow"):
                await asyncio.sleep(rule.seconds)
        return await self._forward(request, seen, rule)

    async def _forward(self, request: web.BaseRequest, seen: Seen, rule: Rule | None) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = await request.read()
        try:
            async with self._session.request(
                request.method, self.upstream + request.path_qs, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                if rule is not None and rule.kind == "lose":
                    await answer.read()
                    return _abort(request)
                seen.status = answer.status
                given = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        given.headers.add(name, value)
                await given.prepare(request)
                return await self._pass_on(request, answer.content.iter_any, given, rule)
        except (ClientError, ConnectionError):
            return _abort(request)  # as if the server had done it to the client

    async def _pass_on(
        self, request: web.BaseRequest, chunks: Callable[[], Any], given: web.StreamResponse, rule: Rule | None
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return given
        self._streams.add(transport)
        left = rule.after_bytes if rule is not None and rule.kind == "cut_answer" else None
        try:
            async for chunk in chunks():
                if rule is not None and rule.kind == "mute":
                    continue
                if left is not None and len(chunk) >= left:
                    await given.write(chunk[:left])
                    return _abort(request)
                await given.write(chunk)
                left = None if left is None else left - len(chunk)
            if rule is not None and rule.kind == "mute":
                await asyncio.Event().wait()
            await given.write_eof()
        finally:
            self._streams.discard(transport)
        return given


def _refusal(rule: Rule) -> web.Response:
    reasons = {
        401: "Unauthorized",
        403: "Forbidden",
        409: "Conflict",
        410: "Expired",
        429: "TooManyRequests",
        503: "ServiceUnavailable",
    }
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "made up by the fault proxy",
        "reason": reasons.get(rule.status, "InternalError"),
        "code": rule.status,
    }
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    return web.Response(status=rule.status, body=json.dumps(status).encode(), content_type="application/json", headers=headers)


def _abort(request: web.BaseRequest) -> web.Response:
    """Ends the connection there and then; the answer that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
