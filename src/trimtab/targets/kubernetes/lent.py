"""A cluster whose kubeconfig is in a Secret of another one. In: the client of the cluster that has the Secret. Out: a Carrier.

    get the Secret ──▶ kubeconfig ──▶ Transport ──▶ requests
         ▲                                             │ a minute has passed, credentials are refused, the server is not there
         └─────────────────────────────────────────────┘

Reading needs `get` for this one Secret and nothing else, so it is asked for each minute while it is used, rather than watched. What it said
before holds while it cannot be read. When it says something else, requests that are under way end where they began, and new ones begin with
the new connection. Whatever is wrong with the Secret means that the cluster does not answer, never that something is not there. The content is
no file of this machine: it may neither start programs nor name files, and nothing of it is shown.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trimtab.core.model.errors import TrimtabError, UserError
from trimtab.ports.clock import Chance, Clock

from . import kubeconfig
from .client import Client, impersonating
from .connection import Connection
from .credentials import Credential
from .errors import Unauthorized, Unreachable
from .requests import Request
from .resources import Resource
from .settings import KubeconfigSecret
from .transport import CONNECTIONS_MAX, Answer, Counts, Transport, transport

READ_SECONDS = 60.0
READ_SECONDS_MIN = 5.0
"""How soon it is read again after trouble, at the earliest."""
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)

log = logging.getLogger(__name__)


@dataclass
class _Lent:
    """One connection that the Secret has described, and how many use it now."""

    digest: str
    carrier: Transport
    headers: Mapping[str, str] | None
    users: int = 0
    retired: bool = False


class Lent:
    """The Carrier. ``holder`` is closed with it."""

    def __init__(
        self, holder: Client, secret: KubeconfigSecret, *, environment: Mapping[str, str], clock: Clock, chance: Chance
    ) -> None:
        self.counts = Counts()
        self._holder, self._secret = holder, secret
        self._environment, self._clock, self._chance = environment, clock, chance
        self._lent: _Lent | None = None
        self._due = self._earliest = 0.0
        self._reading = asyncio.Lock()
        self._open: set[Transport] = set()

    @property
    def server(self) -> str:
        return self._lent.carrier.server if self._lent is not None else f"the server of {self._name}"

    @property
    def _name(self) -> str:
        return f"the kubeconfig in Secret {self._secret.namespace}/{self._secret.name}"

    async def close(self) -> None:
        await asyncio.gather(*(carrier.close() for carrier in self._open))
        await self._holder.close()

    async def credential(self, request: Request) -> tuple[Credential, bool]:
        async with self._use(request) as lent:
            return await lent.carrier.credential(request)

    async def send(self, request: Request, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises ApiError, and Unreachable for whatever is wrong with the Secret."""
        async with self._use(request) as lent:
            try:
                return await lent.carrier.send(request, headers or lent.headers)
            except Unauthorized:
                self._doubt()
                if await self._current(request) is lent:
                    raise
            except Unreachable:
                self._doubt()
                raise
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
        self.counts.requests += 1
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
            data = await self._content()
            digest = hashlib.sha256(data).hexdigest()
            if self._lent is None or digest != self._lent.digest:
                await self._replace(digest, kubeconfig.parse(data, origin=self._name, context=self._secret.context))
        except TrimtabError as error:
            if self._lent is None:
                words = f"read {self._name}: {error.message}"
                raise Unreachable(request.doing, words, sent=False, lasting=True, remedy=error.remedy) from error
            log.warning("read %s: %s; what it said before holds", self._name, error.message)
        self._due, self._earliest = now + READ_SECONDS, now + READ_SECONDS_MIN

    async def _content(self) -> bytes:
        secret = self._secret
        found = (await self._holder.get(SECRETS, secret.namespace, secret.name)).body().get("data") or {}
        if secret.key not in found:
            raise UserError(f"it has no {secret.key}", remedy="Name the key that has the kubeconfig in kubeconfigSecret.key")
        try:
            return base64.b64decode(found[secret.key], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise UserError(f"its {secret.key} is not base64") from None

    async def _replace(self, digest: str, connection: Connection) -> None:
        carrier = transport(
            connection,
            environment=self._environment,
            clock=self._clock,
            chance=self._chance,
            connections_max=CONNECTIONS_MAX,
        )
        self._open.add(carrier)
        before, who = self._lent, connection.user.impersonation
        self._lent = _Lent(digest, carrier, impersonating(who) if who is not None else None)
        if before is not None:
            before.retired = True
            await self._drop(before)

    async def _drop(self, lent: _Lent) -> None:
        if lent.retired and not lent.users and lent.carrier in self._open:
            self._open.discard(lent.carrier)
            await lent.carrier.close()
