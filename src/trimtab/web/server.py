"""Listening: a loopback address or a unix socket, or what others can reach where that is said, served by uvicorn in the running loop, ended promptly.

uvicorn's own signal handlers stay out, as ending is decided by whoever runs the loop. Streams are told to end first
(`app.state.closing`), so that they do not hold the server up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from trimtab.core.model.errors import UserError

CONNECTIONS_MAX = 256
HEADER_BYTES_MAX = 16 * 1024
_REMEDY = "Use --listen ADDRESS:PORT with a loopback address, such as 127.0.0.1:0 for any free port, or --listen unix:PATH"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - by which address this machine reaches what listens on all of them


@dataclass(frozen=True)
class Serving:
    """``url`` is ``http://127.0.0.1:PORT`` or ``unix:PATH``."""

    url: str
    _server: _Server
    _task: asyncio.Task[None]
    _closing: asyncio.Event

    async def close(self, within_seconds: float = 5.0) -> None:
        """Answer what is being answered, end streams, take no more. What is not done by then is cut off."""
        self._closing.set()
        self._server.config.timeout_graceful_shutdown = max(1, int(within_seconds) - 1)
        self._server.should_exit = True
        self._server.ending.set()
        try:
            await asyncio.wait_for(asyncio.shield(self._task), within_seconds)
        except TimeoutError:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        finally:
            path = self.url.removeprefix("unix:")
            if path != self.url:
                Path(path).unlink(missing_ok=True)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Once a second, for the Date header, instead of ten times; and an end is an event, not a poll."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, listen: str, *, reachable: bool = False) -> Serving:
    """``listen`` is ``ADDRESS:PORT`` (port 0: any free one) or ``unix:PATH``. Returns once requests are taken.

    Raises UserError when the address is taken, or is not loopback and not meant to be ``reachable``.
    """
    listener, url = _unix(Path(listen[5:]).absolute()) if listen.startswith("unix:") else _tcp(listen, reachable=reachable)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http="h11",
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )
    server = _Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            listener.close()
            await task
        await asyncio.sleep(0.005)
    return Serving(url, server, task, app.state.closing)


def _tcp(listen: str, *, reachable: bool) -> tuple[socket.socket, str]:
    host, _, port = listen.rpartition(":")
    address = _address(host.strip("[]"), listen, reachable=reachable)
    if not port.isdigit() or int(port) > 65535:
        raise UserError(f"listen on {listen}: there is no port in it", remedy=_REMEDY)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With its protocol named: only then asyncio sets TCP_NODELAY on what is accepted, without which each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, int(port)))
        listener.listen()  # Only one of two that bind with SO_REUSEADDR may listen; the other is told here.
    except OSError as error:
        listener.close()
        raise _taken(listen, error) from error
    address = _EVERYWHERE.get(address, address)
    shown = f"[{address}]" if ":" in address else address
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def _address(host: str, listen: str, *, reachable: bool) -> str:
    address = "127.0.0.1" if host.lower() == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback or reachable:
            return address
    except ValueError:
        if reachable:
            remedy = "Use --listen ADDRESS:PORT, such as 0.0.0.0:8080 for every address of this machine"
            raise UserError(f"listen on {listen}: {host or 'no address'} is no IP address", remedy=remedy) from None
    raise UserError(
        f"listen on {listen}: {host or 'no address'} is not a loopback address; others on the network could reach it",
        remedy=f"{_REMEDY}. From elsewhere, use a tunnel: ssh -L 8080:127.0.0.1:PORT; or say --reachable, behind what ends TLS",
    )


def _unix(path: Path) -> tuple[socket.socket, str]:
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # Before it listens: until then nobody can connect.
        listener.listen()
    except OSError as error:
        listener.close()
        raise _taken(f"unix:{path}", error) from error
    return listener, f"unix:{path}"


def _clear(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises UserError when one answers there, or it is something else."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(f"listen on unix:{path}: something else is there", remedy="Give another path, or move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise _taken(f"unix:{path}", error) from error
    raise _taken(f"unix:{path}", OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))


def _taken(listen: str, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f"listen on {listen}: another process listens there",
            remedy="End it, or choose another with --listen; port 0 picks a free one",
        )
    return UserError(f"listen on {listen}: {error.strerror or error}", remedy=_REMEDY)
