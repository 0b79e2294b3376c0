"""An answer that goes on: one JSON value on each line, until its source ends, the client goes, or the server ends.

An empty line is sent when nothing else was for a while, so that either side notices when the other is gone. What goes wrong
before the first line is an ordinary error; afterwards it is the last line, ``{"error": {…}, "status": 503}``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .answers import view

QUIET_SECONDS = 15.0
FIRST_SECONDS = 0.25
"""How long an endless source may take to fail before the answer begins."""


class Lines(Response):
    media_type = "application/jsonl"

    def __init__(self, first: asyncio.Task[Any], source: AsyncIterator[Any], closing: asyncio.Event) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._next = first
        self._source = source
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        ends: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._closing.wait()), asyncio.ensure_future(gone(receive))}
        try:
            await self._send_all(send, ends)
        finally:
            await cancel({self._next, *ends})
            await _close(self._source)

    async def _send_all(self, send: Send, ends: set[asyncio.Future[Any]]) -> None:
        while True:
            done, _ = await asyncio.wait({self._next, *ends}, timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done & ends:
                break
            if not done:
                await _put(send, b"\n")
                continue
            line, more = _line(self._next)
            await _put(send, line)
            if not more:
                break
            self._next = asyncio.ensure_future(_anext(self._source))
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def begin(source: AsyncIterator[Any], closing: asyncio.Event, *, endless: bool) -> Lines:
    """Raises what the source raises before its first value."""
    first: asyncio.Task[Any] = asyncio.ensure_future(_anext(source))
    try:
        await asyncio.wait({first}, timeout=FIRST_SECONDS if endless else None)
        if first.done() and not isinstance(first.exception(), StopAsyncIteration | None):
            await first
    except BaseException:
        await cancel({first})
        await _close(source)
        raise
    return Lines(first, source, closing)


async def _anext(source: AsyncIterator[Any]) -> Any:
    return await anext(source)


def _line(step: asyncio.Task[Any]) -> tuple[bytes, bool]:
    """What to send for the next step of the source, and whether more may come."""
    error = step.exception()
    if error is None:
        return msgspec.json.encode(step.result()) + b"\n", True
    if isinstance(error, StopAsyncIteration):
        return b"", False
    if not isinstance(error, Exception):
        raise error
    status, said = view(error)
    return msgspec.json.encode({"error": said, "status": status}) + b"\n", False


async def _put(send: Send, line: bytes) -> None:
    if line:
        await send({"type": "http.response.body", "body": line, "more_body": True})


async def gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def cancel(tasks: set[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _close(source: AsyncIterator[Any]) -> None:
    """A generator ends its own work, such as following a file, in its ``finally``."""
    close = getattr(source, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            await close()
