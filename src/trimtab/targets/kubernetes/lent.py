"""A connection that follows its kubeconfig: files that somebody rewrites, a Secret of another cluster. In: a Source. Out: a Carrier.

    read the Source ──▶ Connection ──▶ Transport ──▶ requests
         ▲                                              │ a minute has passed, credentials are refused, the server is not there
         └──────────────────────────────────────────────┘

It is read each minute while it is used, rather than watched: a file is quickly read, and of a Secret `get` is all the right that it
takes. What it said before holds while it cannot be read. When it says something else, requests that are under way end where they began,
and new ones begin with the new connection. Whatever is wrong with it means that the cluster does not answer, never that something is not
there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trimtab.core.model.errors import TrimtabError
from trimtab.ports.clock import Chance, Clock

from .client import impersonating
from .connection import Connection
from .credentials import Credential
from .errors import Unauthorized, Unreachable
from .requests import Request
from .sources import Source
from .transport import CONNECTIONS_MAX, Answer, Counts, Transport, transport

READ_SECONDS = 60.0
READ_SECONDS_MIN = 5.0
"""How soon it is read again after trouble, at the earliest."""

log = logging.getLogger(__name__)


@dataclass
class _Lent:
    """What the Source has described at some time, and how many use it now."""

    connection: Connection
    carrier: Transport
    headers: Mapping[str, str] | None
    users: int = 0
    retired: bool = False


class Lent:
    """The Carrier. ``source`` is closed with it; ``first`` is what it has said already."""

    def __init__(
        self,
        source: Source,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        chance: Chance,
        first: Connection | None = None,
    ) -> None:
        self.counts = Counts()
        self._source = source
        self._environment, self._clock, self._chance = environment, clock, chance
        self._due = self._earliest = 0.0
        self._reading = asyncio.Lock()
        self._open: set[Transport] = set()
        self._lent = self._made(first) if first is not None else None
        if first is not None:
            self._read_at(clock.monotonic())

    @property
    def server(self) -> str:
        return self._lent.carrier.server if self._lent is not None else f"the server of {self._source.name}"

    async def close(self) -> None:
        await asyncio.gather(*(carrier.close() for carrier in self._open))
        await self._source.close()

    async def credential(self, request: Request) -> tuple[Credential, bool]:
        async with self._use(request) as lent:
            return await lent.carrier.credential(request)

    async def send(self, request: Request, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises ApiError, and Unreachable for whatever is wrong with the Secret."""
        lent = self._lent
        if lent is None or self._clock.monotonic() >= self._due:
            lent = await self._current(request)
        lent.users += 1
        try:
            return await lent.carrier.send(request, headers or lent.headers)
        except Unauthorized:
            self._doubt()
            if await self._current(request) is lent:
                raise
        except Unreachable:
            self._doubt()
            raise
        finally:
            lent.users -= 1
            if lent.retired:
                await self._drop(lent)
        async with self._use(request) as lent:
            return await lent.carrier.send(request, headers or lent.headers)

    @asynccontextmanager
    async def stream(self, request: Request, headers: Mapping[str, str] | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """What fails is begun again by whoever watches, with what the Secret says then."""
        async with self._use(request) as lent:
            try:
                async with lent.carrier.stream(request, headers or lent.headers) as chunks:
                    yield chunks
            except (Unauthorized, Unreachable):
                self._doubt()
                raise

    @asynccontextmanager
    async def _use(self, request: Request) -> AsyncIterator[_Lent]:
        lent = await self._current(request)
        lent.users += 1
        try:
            yield lent
        finally:
            lent.users -= 1
            await self._drop(lent)

    def _doubt(self) -> None:
        """Read again before the next request."""
        self._due = min(self._due, self._earliest)

    async def _current(self, request: Request) -> _Lent:
        if self._lent is None or self._clock.monotonic() >= self._due:
            async with self._reading:
                if self._lent is None or self._clock.monotonic() >= self._due:
                    await self._read(request)
        assert self._lent is not None
        return self._lent

    async def _read(self, request: Request) -> None:
        now = self._clock.monotonic()
        try:
            connection = await self._source.read()
            if self._lent is None or connection != self._lent.connection:
                await self._replace(connection)
        except TrimtabError as error:
            if self._lent is None:
                words = f"read {self._source.name}: {error.message}"
                raise Unreachable(request.doing, words, sent=False, lasting=True, remedy=error.remedy) from error
            log.warning("read %s: %s; what it said before holds", self._source.name, error.message)
        self._read_at(now)

    def _read_at(self, now: float) -> None:
        self._due, self._earliest = now + READ_SECONDS, now + READ_SECONDS_MIN

    async def _replace(self, connection: Connection) -> None:
        before, self._lent = self._lent, self._made(connection)
        if before is not None:
            before.retired = True
            await self._drop(before)

    def _made(self, connection: Connection) -> _Lent:
        carrier = transport(
            connection,
            environment=self._environment,
            clock=self._clock,
            chance=self._chance,
            connections_max=CONNECTIONS_MAX,
        )
        carrier.counts = self.counts
        self._open.add(carrier)
        who = connection.user.impersonation
        return _Lent(connection, carrier, impersonating(who) if who is not None else None)

    async def _drop(self, lent: _Lent) -> None:
        if lent.retired and not lent.users and lent.carrier in self._open:
            self._open.discard(lent.carrier)
            await lent.carrier.close()
