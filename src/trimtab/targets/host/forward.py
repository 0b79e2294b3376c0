"""Passing bytes between a client and a backend: the moving part of the front.

A `Route` is one listening socket and the backends that its connections go to, in turn. A backend that refuses is passed over;
while none accepts, a connection is held for a while, because a restart takes milliseconds. Bytes go through untouched, each
direction ends on its own (half-close), and a slow reader slows the writer down instead of filling our memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import cast

HOLD_SECONDS = 10.0
"""How long a connection waits for a backend that accepts."""
CONNECT_SECONDS = 0.5
"""Backends are on this machine: one that is there accepts in microseconds. When a listener dies, or its queue is full, the
kernel drops the first packet and tries again only after a second: another try of ours is sooner.
"""
RETRY_SECONDS = (0.005, 0.05)
CONNECTIONS_MAX = 8_192
QUIET_SECONDS = 0.05
BACKLOG = 1_024

Address = tuple[str, int]


def parse_address(text: str) -> Address:
    """``127.0.0.1:80`` or ``[::1]:80``."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def format_address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(address: Address) -> socket.socket:
    """Raises OSError when the port is taken or the address is not this machine's."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Links:
    """Every open connection, counted by backend."""

    def __init__(self) -> None:
        self.open: set[Link] = set()
        self.by_backend: Counter[Address] = Counter()
        self.emptied = asyncio.Event()

    def add(self, link: Link) -> None:
        self.open.add(link)
        self.emptied.clear()

    def drop(self, link: Link) -> None:
        self.open.discard(link)
        if not self.open:
            self.emptied.set()

    async def cut(self, backends: set[Address], *, within_seconds: float = 1.0) -> None:
        """Close the connections to these backends: each at a moment when it is quiet after an answer, the rest at the end."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_seconds
        while left := [link for link in self.open if link.backend in backends]:
            now = loop.time()
            for link in left:
                if now >= deadline or link.quiet(now):
                    link.close()
            await asyncio.sleep(0.01)


class Route:
    """One listening socket."""

    def __init__(self, address: Address, sock: socket.socket, links: Links) -> None:
        self.address = address
        self.sock = sock
        self.backends: tuple[Address, ...] = ()
        self._links = links
        self._turn = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Link(self, self._links), sock=self.sock, backlog=BACKLOG
        )

    def close(self) -> None:
        """Accept no more; what is open goes on."""
        if self._server is not None:
            self._server.close()

    def in_turn(self) -> list[Address]:
        """The backends, beginning with the next in turn."""
        if not self.backends:
            return []
        self._turn = (self._turn + 1) % len(self.backends)
        return [*self.backends[self._turn :], *self.backends[: self._turn]]


class _Side(asyncio.Protocol):
    """One end of a connection. ``peer`` is the transport of the other end, once there is one."""

    transport: asyncio.Transport | None = None
    peer: asyncio.Transport | None = None
    ended = False  # it has said that it sends no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # Nothing is read until both ends know of each other. Early releases of Python 3.11 begin to read right after this
        # method, whatever it says; so it is said in the turn after.
        asyncio.get_running_loop().call_soon(self._pause)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.peer is not None and not self.peer.is_closing() and self.peer.can_write_eof():
            self.peer.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and not self.peer.is_closing():
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and not self.peer.is_closing():
            self.peer.resume_reading()

    def _pause(self) -> None:
        if self.peer is None and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()


class Link(_Side):
    """The client's end; owns the backend's end."""

    def __init__(self, route: Route, links: Links) -> None:
        self._route = route
        self._links = links
        self._other: _Backend | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.backend: Address | None = None
        self.asked = 0.0
        self.answered = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        if len(self._links.open) >= CONNECTIONS_MAX:
            self.transport.abort()
            return
        self._links.add(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        self.asked = asyncio.get_running_loop().time()
        super().data_received(data)

    def eof_received(self) -> bool:
        super().eof_received()
        self._close_when_both_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._links.drop(self)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._other is not None and self._other.transport is not None:
            self._other.transport.close()

    def backend_ended(self) -> None:
        self._close_when_both_ended()

    def backend_lost(self) -> None:
        assert self.backend is not None
        self._links.by_backend[self.backend] -= 1
        if self.transport is not None:
            self.transport.close()

    def quiet(self, now: float) -> bool:
        """True when the last bytes were an answer, and that a moment ago; or when it waits for a backend."""
        return self.answered >= self.asked and now - self.answered >= QUIET_SECONDS

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _close_when_both_ended(self) -> None:
        if self.ended and self._other is not None and self._other.ended:
            self.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + HOLD_SECONDS, RETRY_SECONDS[0]
        while True:
            for address in self._route.in_turn():
                if await self._try(address):
                    return
            if loop.time() > deadline:
                self.close()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS[1])

    async def _try(self, address: Address) -> bool:
        loop = asyncio.get_running_loop()
        # Counted before it is there: whoever asks whether a backend has connections must not hear "none" about this one.
        self._links.by_backend[address] += 1
        other = _Backend(self)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: other, *address)
        except (OSError, TimeoutError):
            self._links.by_backend[address] -= 1
            return False
        except asyncio.CancelledError:
            self._links.by_backend[address] -= 1
            if other.transport is not None:
                other.transport.abort()
            raise
        assert self.transport is not None
        assert other.transport is not None
        self.backend, self._other, self.peer, other.peer = address, other, other.transport, self.transport
        self._connecting = None
        if other.lost:  # refused at once after it had accepted
            self.backend_lost()
        elif self.transport.is_closing():
            other.transport.close()
        else:
            other.transport.resume_reading()
            self.transport.resume_reading()
        return True


class _Backend(_Side):
    """The backend's end."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self._link.answered = asyncio.get_running_loop().time()
        super().data_received(data)

    def eof_received(self) -> bool:
        super().eof_received()
        self._link.backend_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._link.backend is not None:
            self._link.backend_lost()
