"""Who is let in. Nothing but the two health checks answers without the token, whatever the request looks like."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trimtab.web.app import create_app
from trimtab.web.guard import BODY_BYTES_MAX, is_loopback
from trimtab.web.routes import ROUTES
from trimtab.web.server import Serving, serve

from .conftest import TOKEN, Engine, access


async def test_nothing_is_open(ask: Any, engine: Engine) -> None:
    """Without the right token every route is a 401, as is one that does not exist."""
    routes = [*((route.method, route.path.replace("{name}", "x")) for route in ROUTES), ("GET", "/"), ("GET", "/api/v2")]
    for method, path in routes:
        assert (await ask(method, path, token=None)).status == 401, path
    for token in ("", "wrong", TOKEN + "x", TOKEN[:-1], f"{TOKEN} {TOKEN}"):
        assert (await ask("GET", "/api/v1/doctor", token=token)).status == 401, token
    assert engine.asked == []


async def test_the_token_is_taken_from_its_header_only(ask: Any) -> None:
    """A token in the query, in a cookie, as basic authentication or given twice does not count."""
    assert (await ask("GET", f"/api/v1/doctor?token={TOKEN}", token=None)).status == 401
    assert (await ask("GET", "/api/v1/doctor", token=None, Cookie=f"token={TOKEN}")).status == 401
    assert (await ask("GET", "/api/v1/doctor", token=None, Authorization=f"Basic {TOKEN}")).status == 401
    assert (await ask("GET", "/api/v1/doctor", authorization="Bearer wrong")).status == 401
    answer = await ask("GET", "/api/v1/doctor", token=None)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_health(ask: Any, engine: Engine) -> None:
    """/healthz and /readyz need no token and tell nothing; /readyz follows the engine."""
    assert (await ask("GET", "/healthz", token=None)).body == b"ok\n"
    assert (await ask("GET", "/readyz", token=None)).status == 200
    engine.ready = False
    assert (await ask("GET", "/readyz", token=None)).status == 503
    assert (await ask("GET", "/healthz", token=None)).status == 200


FOREIGN = ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "localhost.evil.example", "[::2]:1", "0.0.0.0"]


async def test_a_foreign_host_name_is_turned_away(ask: Any, engine: Engine) -> None:
    """A request under a name that is not loopback's is turned away with the right token too, and from the health checks."""
    for host in FOREIGN:
        assert (await ask("GET", "/api/v1/doctor", Host=host)).status == 421, host
        assert (await ask("GET", "/healthz", Host=host)).status == 421, host
    assert engine.asked == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("", False),
        ("::1", False),
        ("[::1].evil.example", False),
        ("localhost:", False),
        ("localhost:80:80", False),
        ("2130706433", False),
    ],
)
def test_names_of_loopback(host: str, expected: bool) -> None:
    """Loopback is `localhost`, 127.0.0.0/8 and ::1 in brackets, with or without a port."""
    assert is_loopback(host) is expected


async def test_a_large_body_is_refused(ask: Any, server: Serving, engine: Engine) -> None:
    """A body over 64 KiB is refused, whether its length is stated or not."""
    body = b'{"repository": "' + b"x" * BODY_BYTES_MAX + b'"}'
    assert (await ask("POST", "/api/v1/wake", body=body)).status == 413
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    answer = await ask("POST", "/api/v1/wake", body=chunk, Content_Length="", Transfer_Encoding="chunked")
    assert answer.status == 413
    assert engine.asked == []


async def test_headers_on_every_answer(ask: Any) -> None:
    """Every answer, an error too, tells a browser to keep its hands off; none permits another origin."""
    for path in ("/api/v1/doctor", "/nothing", "/healthz", "/api/v1/applications/broken"):
        headers = (await ask("GET", path, Origin="https://evil.example")).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert not [name for name in headers if name.startswith("access-control")]
        assert "server" not in headers


async def test_nonsense_on_the_wire(server: Serving, ask: Any) -> None:
    """Bytes that are no HTTP get an error or nothing; the server goes on."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(nonsense)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert (await ask("GET", "/healthz")).status == 200


def test_an_empty_token_is_refused() -> None:
    """A server with an empty token would be open to everybody, so there is none."""
    with pytest.raises(ValueError, match="empty token"):
        access(token="")


async def test_two_authorization_headers_reach_nobody(engine: Engine) -> None:
    """The Git server reads headers into a mapping, which holds one of each: a request with two does not get that far."""
    reached: list[str] = []

    async def git(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    serving = await serve(create_app(engine, engine, access=access(), ready=lambda: True, git=git), "127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(serving.url.rpartition(":")[2]))
    head = (
        f"GET /git/shop.git/info/refs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nAuthorization: Bearer {TOKEN}\r\n"
    )
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 401")
    assert reached == []
    writer.close()
    await serving.close()
