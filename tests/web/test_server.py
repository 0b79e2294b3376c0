"""Listening: on loopback and unix sockets only, told when a place is taken, ended in time."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.errors import UserError
from trimtab.web.app import create_app
from trimtab.web.server import Serving, serve

from .conftest import TOKEN, Engine, access, raw


async def serving(engine: Engine, listen: str) -> Serving:
    return await serve(create_app(engine, engine, access=access(), ready=lambda: True), listen)


async def test_a_free_port(server: Serving) -> None:
    """Port 0 picks a free port, which the URL tells."""
    assert server.url.startswith("http://127.0.0.1:")
    assert not server.url.endswith(":0")


async def test_an_answer_does_not_wait_for_the_last_one_to_be_acknowledged(server: Serving) -> None:
    """TCP_NODELAY is set on what is accepted: head and body of an answer are two writes, 40 ms apart without it."""
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    while not (accepted := server._server.server_state.connections):
        await asyncio.sleep(0.005)
    transport: Any = next(iter(accepted)).transport  # type: ignore[union-attr]
    assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()


async def test_ipv6_and_localhost(engine: Engine) -> None:
    """`localhost` is 127.0.0.1; an IPv6 address stands in brackets."""
    first = await serving(engine, "localhost:0")
    assert first.url.startswith("http://127.0.0.1:")
    await first.close()
    if socket.has_ipv6:
        second = await serving(engine, "[::1]:0")
        assert second.url.startswith("http://[::1]:")
        await second.close()


async def test_a_taken_port(server: Serving, engine: Engine) -> None:
    """A taken port is a UserError with the remedy; the one that has it goes on."""
    with pytest.raises(UserError, match=r"another process listens there.*port 0 picks a free one"):
        await serving(engine, server.url.removeprefix("http://"))
    assert (await raw(server.url, "GET", "/healthz", token=None)).status == 200


async def test_where_it_is_meant_to_be_reachable_it_listens_anywhere_and_this_machine_is_told_a_loopback_address(
    engine: Engine,
) -> None:
    app = create_app(engine, engine, access=access(), ready=lambda: True)
    served = await serve(app, "0.0.0.0:0", reachable=True)
    assert served.url.startswith("http://127.0.0.1:")
    await served.close()
    with pytest.raises(UserError, match=r"example.org is no IP address.*0\.0\.0\.0:8080"):
        await serve(app, "example.org:80", reachable=True)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "10.0.0.1:80", "[::]:0", "example.org:80", ":80"])
async def test_only_loopback(engine: Engine, listen: str) -> None:
    """Others on the network never reach it: an address that is not loopback is refused, with a way that works."""
    with pytest.raises(UserError, match=r"not a loopback address.*--listen.*ssh -L"):
        await serving(engine, listen)


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ""])
async def test_nonsense(engine: Engine, listen: str) -> None:
    """An address that cannot be read is a UserError that shows the shapes."""
    with pytest.raises(UserError, match="--listen"):
        await serving(engine, listen)


async def test_a_unix_socket(engine: Engine, tmp_path: Path) -> None:
    """A unix socket is its owner's only, needs the token too, is refused to a second server, and goes away at the end."""
    path = tmp_path / "api.sock"
    first = await serving(engine, f"unix:{path}")
    assert first.url == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /api/v1/doctor HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401")
    writer.close()
    with pytest.raises(UserError, match="another process listens there"):
        await serving(engine, f"unix:{path}")
    await first.close()
    assert not path.exists()


async def test_a_stale_socket_is_replaced(engine: Engine, tmp_path: Path) -> None:
    """The socket that a killed server left is replaced; anything else at that path is left alone."""
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    again = await serving(engine, f"unix:{path}")
    await again.close()
    path.write_text("mine")
    with pytest.raises(UserError, match="something else is there"):
        await serving(engine, f"unix:{path}")
    assert path.read_text() == "mine"


async def test_a_path_that_is_too_long(engine: Engine, tmp_path: Path) -> None:
    """A path that is too long for a socket, or whose directory is missing, is a UserError."""
    for path in (tmp_path / ("x" * 120), tmp_path / "missing" / "api.sock"):
        with pytest.raises(UserError, match=f"listen on unix:{path}"):
            await serving(engine, f"unix:{path}")


async def test_signals_stay_with_the_loop(engine: Engine) -> None:
    """Serving installs no signal handlers."""
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    server = await serving(engine, "127.0.0.1:0")
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    await server.close()


async def test_ending_cuts_off_what_does_not_end(engine: Engine) -> None:
    """A client that never finishes its request does not hold the end up."""
    server = await serving(engine, "127.0.0.1:0")
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/v1/wake HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
        + TOKEN.encode()
        + b"\r\nContent-Length: 9\r\n\r\n"
    )
    await asyncio.sleep(0.05)
    async with asyncio.timeout(2.5):
        await server.close(within_seconds=1.5)
    writer.close()
