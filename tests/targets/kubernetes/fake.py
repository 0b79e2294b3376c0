"""A small HTTP server that plays an API server for tests of what real ones do only by accident: it gives the answers that it is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = web.StreamResponse
Responder = Callable[[web.Request], Awaitable[Answer]]


@dataclass
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    peer: Any = field(repr=False)


class FakeApi:
    """``answers`` by method and path, in turn; the last one is repeated. An answer is a JSON value, a response maker or a Responder."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.server = ""
        self._answers: dict[tuple[str, str], list[Any]] = {}
        self._runner: web.ServerRunner | None = None

    def on(self, method: str, path: str, *answers: Any) -> None:
        self._answers[method, path] = list(answers)

    async def start(self) -> FakeApi:
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None, handler_cancellation=True), shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.server = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> Answer:
        body = await request.content.read()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        self.seen.append(Seen(request.method, request.path_qs, dict(request.headers), body, peer))
        answers = self._answers.get((request.method, request.path))
        if not answers:
            return web.Response(status=404, text="404 page not found")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            return await answer(request)  # type: ignore[no-any-return]
        return web.json_response(answer)


def status(code: int, reason: str = "", message: str = "made up", retry_after: int | None = None, **details: Any) -> Responder:
    async def respond(_: web.Request) -> Answer:
        body = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message, "details": details}
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.Response(status=code, body=json.dumps(body).encode(), content_type="application/json", headers=headers)

    return respond


async def cut(request: web.Request) -> Answer:
    """The connection ends without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def broken(head: bytes, length: int = 1_000_000) -> Responder:
    """An answer that ends before its length."""

    async def respond(request: web.Request) -> Answer:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.content_length = length
        await answer.prepare(request)
        await answer.write(head)
        assert request.transport is not None
        request.transport.abort()
        return answer

    return respond
