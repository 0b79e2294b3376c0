"""Requests in, answers out, over kept-alive connections: the only place of this target that speaks HTTP.

It adds who we are, sends again what may be sent again (`retrying`), turns everything that is no answer into an `ApiError`, and bounds
all of it: connections, seconds, bytes. Watches and followed logs live on connections of their own, so that they cannot use up those
that requests wait for. A request waits for its turn before its time starts to count.
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from trimtab.core.model.errors import TransientError
from trimtab.core.model.text import one_line
from trimtab.ports.clock import Chance, Clock

from . import credentials as who
from . import errors, retrying, tls
from .connection import Cluster, Connection, User
from .credentials import Credential, Credentials
from .errors import ApiError, Unauthorized, Unreachable
from .hiding import hiding
from .plugins import PluginCredentials
from .requests import Request

CONNECTIONS_MAX = 16
STREAMS_MAX = 512
CONNECT_SECONDS = 10.0
OPEN_SECONDS = 30.0
"""Until a stream begins to be answered."""
IDLE_SECONDS = 60.0
"""Below the 90 seconds after which an API server closes an idle connection."""
ANSWER_BYTES_MAX = 128 * 1024 * 1024
PIECE_BYTES = 512 * 1024
ERROR_BYTES_MAX = 256 * 1024
STREAM_GRACE_SECONDS = 30.0
"""How much longer than the server we wait for the end of a watch."""
TLS_SECONDS = 60.0
"""An authority's file is read again after this long."""
USER_AGENT = "trimtab"


log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """A 2xx answer. ``headers`` is case-insensitive."""

    code: int
    headers: Mapping[str, str]
    body: bytes


class Counts(msgspec.Struct):
    """What has been sent, for people and tests. ``requests`` counts every attempt, streams too."""

    requests: int = 0
    repeated: int = 0


class Carrier(Protocol):
    """Requests in, answers out, whoever knows the way."""

    @property
    def counts(self) -> Counts: ...
    @property
    def server(self) -> str: ...
    async def send(self, request: Request, headers: Mapping[str, str] | None = None) -> Answer: ...
    def stream(
        self, request: Request, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...
    async def credential(self, request: Request) -> tuple[Credential, bool]: ...
    async def close(self) -> None: ...


class Transport:
    """One API server. Make it inside a running loop; `close` ends every connection."""

    def __init__(
        self,
        cluster: Cluster,
        credentials: Credentials,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        chance: Chance,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.counts = Counts()
        self._cluster, self._credentials = cluster, credentials
        self._clock, self._chance = clock, chance
        self._slots = asyncio.Semaphore(connections_max)
        self._tls = _Contexts(cluster, clock)
        self._requests = _session(connections_max)
        self._streams = _session(STREAMS_MAX)
        proxy = cluster.proxy or tls.proxy_of(cluster.server, environment)
        self._proxy = URL(proxy) if proxy else None

    @property
    def server(self) -> str:
        return self._cluster.server

    async def close(self) -> None:
        await self._requests.close()
        await self._streams.close()

    async def credential(self, request: Request) -> tuple[Credential, bool]:
        """What goes with a request now, and whether it is renewed by itself. Raises Unreachable."""
        return await self._credential(request), not isinstance(self._credentials, who.Fixed)

    async def send(self, request: Request, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer, after as many attempts as are safe and fit into ``request.seconds``. Raises ApiError."""
        async with self._slots:
            try:
                async with asyncio.timeout(request.seconds):
                    return await self._persist(request, headers)
            except TimeoutError:
                raise Unreachable(
                    request.doing, f"no answer from {self.server} within {request.seconds:g} s", sent=True
                ) from None

    @asynccontextmanager
    async def stream(self, request: Request, headers: Mapping[str, str] | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of an answer while it comes. One attempt, after renewed credentials a second.

        Raises ApiError, also while it is read: when nothing has come for ``request.seconds`` and some grace, too. No time-out of
        asyncio lasts across the `yield`: it would cancel whatever the caller does at that moment.
        """
        followed = math.isinf(request.seconds)
        try:
            async with asyncio.timeout(None if followed else OPEN_SECONDS):  # a silent container's log has no first byte
                response = await self._open(request, headers)
            try:
                yield response.content.iter_any()
            finally:
                response.close()  # never read to its end: what comes next on this connection is not ours
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(request, self.server, error) from error

    async def _open(self, request: Request, headers: Mapping[str, str] | None) -> aiohttp.ClientResponse:
        renewed = False
        while True:
            credential = await self._credential(request)
            response = await self._begin(self._streams, request, credential, headers)
            if response.status == 200:
                return response
            error = await _error(request, response)
            if renewed or not isinstance(error, Unauthorized) or not await self._renew(request, credential):
                raise error
            renewed = True

    async def _persist(self, request: Request, headers: Mapping[str, str] | None) -> Answer:
        renewed, attempt = False, 0
        while True:
            attempt += 1
            credential = await self._credential(request)
            try:
                return await self._once(request, credential, headers)
            except Unauthorized:
                if renewed or not await self._renew(request, credential):
                    raise
                renewed, wait = True, 0.0
            except ApiError as error:
                pause = retrying.pause(request, error, attempt, self._chance.uniform(0.0, 1.0))
                if pause is None:
                    raise
                wait = pause
            self.counts.repeated += 1
            if wait:
                await self._clock.sleep(wait)

    async def _once(self, request: Request, credential: Credential, headers: Mapping[str, str] | None) -> Answer:
        try:
            response = await self._begin(self._requests, request, credential, headers)
            async with response:
                if not 200 <= response.status < 300:
                    raise await _error(request, response)
                body = await _read(request, response)
                return Answer(response.status, response.headers, body)
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(request, self.server, error) from error

    async def _credential(self, request: Request) -> Credential:
        try:
            return await self._credentials.current()
        except TransientError as error:
            raise Unreachable(request.doing, error.message, sent=False, lasting=True, remedy=error.remedy) from error

    async def _renew(self, request: Request, refused: Credential) -> bool:
        try:
            return await self._credentials.renew(refused)
        except TransientError as error:
            raise Unreachable(request.doing, error.message, sent=False, lasting=True, remedy=error.remedy) from error

    async def _begin(
        self, session: aiohttp.ClientSession, request: Request, credential: Credential, extra: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        headers = CIMultiDict(extra) if extra else CIMultiDict()
        headers["Accept"] = request.accept
        if request.compress and self._cluster.compress:
            headers["Accept-Encoding"] = "gzip"
        else:
            headers["Accept-Encoding"] = "identity"
        if credential.token:
            headers["Authorization"] = f"Bearer {credential.token}"
        if request.content_type:
            headers["Content-Type"] = request.content_type
        self.counts.requests += 1
        return await session.request(
            request.method,
            URL(self._cluster.server + request.target, encoded=True),
            data=_payload(request.body),
            headers=headers,
            timeout=_timeout(request, session is self._streams),
            ssl=await self._tls.get(request, credential),
            server_hostname=self._cluster.server_name or None,
            proxy=self._proxy,
            allow_redirects=False,  # a token goes to the server that it is for, nowhere else
        )


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    """What is large goes in pieces, so that writing it does not hold up everything else."""
    return io.BytesIO(body) if len(body) > PIECE_BYTES else body or None


def _timeout(request: Request, streams: bool) -> aiohttp.ClientTimeout:
    if not streams or math.isinf(request.seconds):
        return _CONNECTING
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=request.seconds + STREAM_GRACE_SECONDS)


_CONNECTING = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


def _session(connections_max: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=connections_max, keepalive_timeout=IDLE_SECONDS, socket_factory=_socket, ttl_dns_cache=30
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT},
        skip_auto_headers=("Content-Type",),
        read_bufsize=2**18,
        trust_env=False,  # it would read ~/.netrc too
    )


def _socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """A connection whose other end vanishes without a word is noticed within a minute, also when nothing is being sent."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


class _Contexts:
    """The TLS settings for the certificate in use; made again when that or the authority's file changes."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._plain = cluster.server.startswith("http:")
        self._made: ssl.SSLContext | None = None
        self._inputs: tuple[Any, ...] = ()
        self._looked_at = 0.0
        self._authority: bytes | None = None
        self._credential: Credential | None = None

    async def get(self, request: Request, credential: Credential) -> ssl.SSLContext | bool:
        if self._plain:
            return True
        stale = not isinstance(self._cluster.authority, bytes) and self._clock.monotonic() - self._looked_at > TLS_SECONDS
        if self._made is None or stale or credential is not self._credential:
            try:
                await asyncio.to_thread(self._look, credential)
            except (OSError, ValueError) as error:
                if self._made is not None:
                    # A certificate of which the key is not written yet: what was there before holds, and the server has the last word.
                    log.warning("TLS with %s: %s; what was read before is used", self._cluster.server, error)
                    return self._made
                raise Unreachable(
                    request.doing, f"cannot speak TLS with {self._cluster.server}: {error}", sent=False, lasting=True
                ) from error
            self._credential = credential
            self._looked_at = self._clock.monotonic()
        assert self._made is not None
        return self._made

    def _look(self, credential: Credential) -> None:
        cluster = self._cluster
        authority = None if cluster.authority is None else who.read(cluster.authority)
        inputs = (authority, credential.fingerprint)
        if self._made is None or inputs != self._inputs:
            self._made = tls.context(
                authority=authority, insecure=cluster.insecure, certificate=credential.certificate, key=credential.key
            )
            self._inputs = inputs


async def _read(request: Request, response: aiohttp.ClientResponse) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_BYTES_MAX:
            raise errors.TooLarge(request.doing, f"the answer has more than {ANSWER_BYTES_MAX} bytes")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _error(request: Request, response: aiohttp.ClientResponse) -> ApiError:
    async with response:
        body = await response.content.read(ERROR_BYTES_MAX)
        while len(body) < ERROR_BYTES_MAX and (more := await response.content.read(ERROR_BYTES_MAX - len(body))):
            body += more
    hide = hiding(request.target, request.body)
    return errors.from_answer(request.doing, response.status, body, response.headers, hide)


def _unreachable(request: Request, server: str, error: Exception) -> Unreachable:
    words = _words(error)
    sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError)
    distrusted = isinstance(error, aiohttp.ClientConnectorCertificateError)
    remedy = "Check certificate-authority and tls-server-name of the kubeconfig" if distrusted else ""
    return Unreachable(request.doing, f"no answer from {server}: {words}", sent=sent, lasting=distrusted, remedy=remedy)


def _words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return one_line(f"its certificate is not trusted: {error.certificate_error}")
        case aiohttp.ClientConnectorError(os_error=inner):
            return one_line(inner.strerror or str(inner))
        case aiohttp.ClientHttpProxyError():
            return one_line(f"the proxy answered {error.status} {error.message}")
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {CONNECT_SECONDS:g} s"
        case _:
            return one_line(str(error)) or type(error).__name__


def transport(
    connection: Connection,
    *,
    environment: Mapping[str, str],
    clock: Clock,
    chance: Chance,
    connections_max: int = CONNECTIONS_MAX,
) -> Transport:
    """The transport that a connection describes. ``environment`` is what plugins get and where proxies are named."""
    return Transport(
        connection.cluster,
        _credentials(connection.user, connection.cluster, environment, clock),
        environment=environment,
        clock=clock,
        chance=chance,
        connections_max=connections_max,
    )


def _credentials(user: User, cluster: Cluster, environment: Mapping[str, str], clock: Clock) -> Credentials:
    if user.plugin is not None:
        return PluginCredentials(user.plugin, cluster, environment=environment, clock=clock)
    return who.of(user, clock)
