"""Telling the front what to do: the whole table of stable ports is kept here and sent again whenever the connection is new, so
that a front that was restarted, or whose file was lost, has the truth after the first word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.core.model.errors import TransientError

from .front import LINE_BYTES_MAX, SOCKET
from .xmlrpc import open_unix

ANSWER_SECONDS = 5.0
APPEAR_SECONDS = 10.0

Routes = Mapping[str, tuple[str, ...] | None]


class Fronts:
    """The front of one DATA/host."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._table: dict[str, tuple[str, ...]] = {}
        self._lock = asyncio.Lock()
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def table(self) -> Mapping[str, tuple[str, ...]]:
        return self._table

    def load(self, table: Mapping[str, tuple[str, ...]]) -> None:
        """What the table should be, to be sent with the first request."""
        self._table = dict(table)

    async def set(self, routes: Routes) -> dict[str, str]:
        """Give addresses their backends; None closes one. Returns errors by address; what is not in there is acknowledged."""
        before = {address: self._table.get(address) for address in routes}
        self._merge(routes)
        try:
            answer = await self._ask({"op": "set", "routes": routes})
        except BaseException:
            self._merge(before)
            raise
        errors: dict[str, str] = answer["errors"]
        self._merge({address: before[address] for address in errors})
        return errors

    async def connections(self) -> dict[str, int]:
        """Open connections by backend; those without any are left out."""
        answer: dict[str, int] = (await self._ask({"op": "stats"}))["connections"]
        return answer

    async def routes(self) -> dict[str, list[str]]:
        """What the front itself holds, without telling it anything before."""
        async with self._lock:
            self._hang_up()
            await self._connect(tell=False)
            answer: dict[str, list[str]] = (await self._exchange({"op": "stats"}))["routes"]
            self._hang_up()
            return answer

    async def cut(self, backends: list[str]) -> None:
        """Close what is open to these, each connection at a quiet moment."""
        await self._ask({"op": "cut", "backends": backends})

    async def end(self) -> None:
        """Tell the front to end, if one runs."""
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            self._hang_up()
            self._stream = await open_unix(self._root, SOCKET, limit=LINE_BYTES_MAX)
            await self._exchange({"op": "end"})
        self._hang_up()

    def close(self) -> None:
        self._hang_up()

    def _merge(self, routes: Routes) -> None:
        for address, backends in routes.items():
            if backends is None:
                self._table.pop(address, None)
            else:
                self._table[address] = backends

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        async with self._lock:
            for attempt in (1, 2):
                try:
                    if self._stream is None:
                        await self._connect(tell=True)
                    return await self._exchange(request)
                except (OSError, ValueError, TimeoutError) as error:
                    self._hang_up()
                    if attempt == 2:
                        raise TransientError(f"tell the front: it does not answer: {error}") from error
        raise AssertionError("unreachable")

    async def _connect(self, *, tell: bool) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + APPEAR_SECONDS
        while True:
            try:
                self._stream = await open_unix(self._root, SOCKET, limit=LINE_BYTES_MAX)
                break
            except OSError as error:
                if loop.time() > deadline:
                    raise TransientError(f"tell the front: it does not run: {error}", remedy="See its log.") from error
                await asyncio.sleep(0.01)
        if tell:
            await self._exchange({"op": "set", "routes": self._table, "replace": True})

    async def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._stream is not None
        reader, writer = self._stream
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        if not line:
            raise OSError("it hung up")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _hang_up(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream[1].close()
            self._stream = None
