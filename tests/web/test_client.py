"""The client against a real server: the same answers over TCP and a unix socket, and each error back as itself."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from trimtab.client import Client
from trimtab.core.model import views
from trimtab.core.model.errors import Bug, NotFound, Refused, TransientError, TrimtabError, UserError
from trimtab.ports.target import LogWish
from trimtab.web.app import create_app
from trimtab.web.server import Serving, serve

from .conftest import NOW, ROWS, TOKEN, Engine, access

T = TypeVar("T")


async def off(act: Callable[[], T]) -> T:
    """The client blocks, so it runs beside the loop of the server."""
    return await asyncio.wait_for(asyncio.to_thread(act), 10)


def client(server: Serving, token: str = TOKEN) -> Client:
    return Client(server.url, token, who="ada")


async def test_every_question(server: Serving, engine: Engine) -> None:
    """Each method asks what it is named for."""
    c = client(server)
    until = datetime(2026, 3, 1, tzinfo=UTC)
    name = "sh/o p?&ü"
    calls: list[tuple[Callable[[], Any], tuple[Any, ...]]] = [
        (lambda: c.status("abc"), ("status", "abc")),
        (lambda: c.wait_status("abc", "healthy", 0.01), ("wait_status", "abc", "healthy", 0.01)),
        (lambda: c.application("shop", environment="host"), ("application", "shop", "host", False)),
        (lambda: c.application("shop", tree=True), ("application", "shop", "", True)),
        (lambda: c.plan("shop"), ("plan", "shop", "")),
        (lambda: c.history("shop", limit=3), ("history", "shop", "", 3)),
        (lambda: c.explain("shop"), ("explain", "shop", "")),
        (lambda: list(c.logs("shop", object="Process/web", lines=2)), ("logs", "shop", "", "Process/web", LogWish(2))),
        (
            lambda: list(c.logs("shop", lines=2, container="web", previous=True, since_seconds=60)),
            ("logs", "shop", "", "", LogWish(2, container="web", previous=True, since_seconds=60)),
        ),
        (lambda: c.environments(), ("environments",)),
        (lambda: c.environment("host"), ("environment", "host")),
        (lambda: c.repositories(), ("repositories",)),
        (lambda: c.hosted("team/shop"), ("hosted", "team/shop")),
        (lambda: c.create_repository("shop", "trunk"), ("create_repository", "shop", "trunk", "ada")),
        (lambda: c.import_repository("shop", "/srv/a"), ("import_repository", "shop", "/srv/a", "ada")),
        (lambda: c.delete_repository("shop"), ("delete_repository", "shop", "ada")),
        (lambda: c.accept("/srv/a", "f00"), ("accept", "/srv/a", "f00", "ada")),
        (lambda: c.doctor(), ("doctor",)),
        (lambda: c.wake("/srv/shop.git"), ("wake", "/srv/shop.git")),
        (lambda: c.sync("shop", environment="host"), ("sync", "shop", "host", "ada")),
        (lambda: c.approve("shop", "sha256:1", environment="host"), ("approve", "shop", "host", "sha256:1", "ada")),
        (lambda: c.suspend("shop", reason="holidays", until=until), ("suspend", "shop", "", "holidays", until, "ada")),
        (lambda: c.resume("shop"), ("resume", "shop", "", "ada")),
        (lambda: c.rollback("shop", revision="abc"), ("rollback", "shop", "", "abc", "ada")),
        (lambda: c.status(name), ("status", name)),
    ]
    for call, asked in calls:
        await off(call)
        assert engine.asked.pop() == asked


async def test_a_view_comes_back_whole(server: Serving) -> None:
    """What the engine answered is what the client returns; the same as JSON by `call`."""
    view = await off(lambda: client(server).status("abc"))
    assert (view.revision, view.seen, view.deployments[0].phase) == ("abc", NOW, "healthy")
    raw = await off(lambda: client(server).call("GET", "/api/v1/status", {"commit": "abc"}))
    assert json.loads(raw)["deployments"][0]["phase"] == "healthy"


async def test_pages_are_put_together(server: Serving, engine: Engine) -> None:
    """All Applications are returned, page after page."""
    assert (await off(lambda: client(server).applications(environment="host"))).applications == ROWS
    assert [call[2] for call in engine.asked] == ["", "app-1", "app-3"]


async def test_events_newest_then_followed(server: Serving, engine: Engine) -> None:
    """Events are the newest, oldest first; following goes on after the last of them, filtered alike."""
    assert [event.id for event in await off(lambda: list(client(server).events(limit=3)))] == [5, 6, 7]
    assert [event.id for event in await off(lambda: list(client(server).events(application="shop", limit=2)))] == [5, 7]

    def follow() -> list[int]:
        events = client(server).events(application="shop", limit=2, follow=True)
        found = [next(events).id for _ in range(4)]
        events.close()
        return found

    assert await off(follow) == [5, 7, 9, 11]
    async with asyncio.timeout(5):
        while engine.streaming:
            await asyncio.sleep(0.01)


async def test_lines_and_their_end(server: Serving, engine: Engine) -> None:
    """Log lines come as they are; an error in the middle is raised; a stream ends with the server, quietly."""
    assert [line.text for line in await off(lambda: list(client(server).logs("shop", lines=2)))] == ["line 0", "line 1"]
    with pytest.raises(TransientError, match="the log went away"):
        await off(lambda: list(client(server).logs("shop", object="breaks", lines=1)))
    reading = asyncio.ensure_future(off(lambda: list(client(server).logs("shop", lines=1, follow=True))))
    while not engine.streaming:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    await server.close()
    assert len(await reading) == 1


async def test_errors_come_back_as_themselves(server: Serving) -> None:
    """Each error is raised as what it was, with its remedy and problems."""
    expected: list[tuple[str, type[TrimtabError]]] = [
        ("missing", NotFound),
        ("wrong", UserError),
        ("refused", Refused),
        ("busy", TransientError),
        ("broken", Bug),
    ]
    for name, kind in expected:
        with pytest.raises(kind) as caught:
            await off(lambda name=name: client(server).application(name))
        assert type(caught.value) is kind
    with pytest.raises(UserError) as caught:
        await off(lambda: client(server).application("wrong"))
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("a.yaml", 3)


async def test_a_wrong_token(server: Serving) -> None:
    """A wrong token is a refusal that says where the right one stands."""
    with pytest.raises(Refused, match=r"the token is missing or wrong.*data directory"):
        await off(lambda: client(server, "wrong").doctor())


def test_no_server(tmp_path: Path) -> None:
    """When nobody listens, it says how to start the server."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for address in (url, f"unix:{tmp_path / 'api.sock'}"):
            with pytest.raises(UserError, match=f"no server answers at {address}.*trimtab serve"):
                Client(address, TOKEN).doctor()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:80", "http://", "http://a:b", ""])
def test_an_address_that_is_none(url: str) -> None:
    """An address that cannot be used is a UserError that shows the shapes."""
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:PORT or unix:PATH"):
        Client(url, TOKEN).doctor()


async def test_something_else_answers() -> None:
    """What is no Trimtab, or says nothing, is told as such."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        page = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<p/>"
        writer.write({b"/api/v1/doctor": page, b"/api/v1/environments": b"nonsense\r\n\r\n"}.get(path, b""))
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    c = Client(f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}", TOKEN)
    with pytest.raises(UserError, match="not this Trimtab"):
        await off(c.doctor)
    for call in (c.environments, c.wake):
        with pytest.raises(TransientError, match="the connection broke"):
            await off(call)
    other.close()
    await other.wait_closed()


async def test_found_by_its_data_directory(engine: Engine, tmp_path: Path) -> None:
    """A server is found by its data directory, by its address, or by the environment, in this order of preference."""
    server = await serve(create_app(engine, engine, access=access(), ready=lambda: True), f"unix:{tmp_path / 'api.sock'}")
    (tmp_path / "server.json").write_text(json.dumps({"url": server.url, "pid": 1}))
    (tmp_path / "token").write_text(TOKEN + "\n")
    found = [
        Client.find(data=tmp_path, environ={}),
        Client.find(data=str(tmp_path), environ={"TRIMTAB_SERVER": "http://127.0.0.1:1"}),
        Client.find(environ={"TRIMTAB_DATA": str(tmp_path)}),
        Client.find(server=server.url, environ={"TRIMTAB_TOKEN": TOKEN}),
        Client.find(server=server.url, environ={"TRIMTAB_DATA": str(tmp_path)}),
        Client.find(environ={"TRIMTAB_SERVER": server.url, "TRIMTAB_TOKEN": TOKEN}),
    ]
    for one in found:
        assert isinstance(await off(one.doctor), views.DoctorView)
    await server.close()


def test_not_found(tmp_path: Path) -> None:
    """Without a name, with a directory that has no server, or with a broken file there, the remedy is told."""
    with pytest.raises(UserError, match="--data DIR or --server URL, or set TRIMTAB_DATA"):
        Client.find(environ={})
    with pytest.raises(UserError, match=f"no server runs in {tmp_path}.*--data {tmp_path}"):
        Client.find(data=tmp_path, environ={})
    (tmp_path / "server.json").write_text("{")
    with pytest.raises(UserError, match=r"server\.json cannot be read"):
        Client.find(data=tmp_path, environ={})


def test_importing_it_costs_little() -> None:
    """Importing the client imports no web framework, no event loop and no TLS."""
    program = "import sys, trimtab.client; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"asyncio", "starlette", "uvicorn", "aiohttp", "sqlalchemy", "ssl", "http.client", "yaml"}
