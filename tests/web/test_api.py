"""What the API answers: each route asks the engine one thing, and each error has a status and words."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from trimtab.ports.target import LogWish
from trimtab.web.server import Serving

from .conftest import TOKEN, Engine

A = "/api/v1/applications/shop"
ROUTES = [
    ("GET", "/api/v1/status?commit=abc", None, ("status", "abc")),
    ("GET", "/api/v1/status?commit=abc&wait=healthy&timeout=0.01", None, ("wait_status", "abc", "healthy", 0.01)),
    ("GET", "/api/v1/applications?environment=host&after=a&limit=2", None, ("applications", "host", "a", 2)),
    ("GET", f"{A}?environment=host", None, ("application", "shop", "host", False)),
    ("GET", f"{A}/plan", None, ("plan", "shop", "")),
    ("GET", f"{A}/history?limit=3", None, ("history", "shop", "", 3)),
    ("GET", f"{A}/explain", None, ("explain", "shop", "")),
    ("GET", f"{A}/logs?object=Process/web&lines=2", None, ("logs", "shop", "", "Process/web", LogWish(2))),
    ("GET", "/api/v1/environments", None, ("environments",)),
    ("GET", "/api/v1/environments/host", None, ("environment", "host")),
    (
        "GET",
        "/api/v1/events?after=1&before=9&limit=5&application=a&environment=b&kind=c&revision=d&newestFirst=true",
        None,
        ("events", 1, 9, 5, "a", "b", "c", "d", True),
    ),
    ("GET", "/api/v1/repositories", None, ("repositories",)),
    ("POST", "/api/v1/repositories/accept", {"repository": "/srv/a", "revision": "f00"}, ("accept", "/srv/a", "f00", "operator")),
    ("GET", "/api/v1/repositories/hosted?name=team/shop", None, ("hosted", "team/shop")),
    ("POST", "/api/v1/repositories/create", {"name": "shop"}, ("create_repository", "shop", "main", "operator")),
    ("POST", "/api/v1/repositories/import", {"name": "a", "source": "/b"}, ("import_repository", "a", "/b", "operator")),
    ("POST", "/api/v1/repositories/delete", {"name": "shop"}, ("delete_repository", "shop", "operator")),
    ("GET", "/api/v1/doctor", None, ("doctor",)),
    ("POST", "/api/v1/wake", None, ("wake", "")),
    ("POST", "/api/v1/wake?repository=x", {"repository": "/srv/shop.git"}, ("wake", "/srv/shop.git")),
    ("POST", f"{A}/sync", {"environment": "host"}, ("sync", "shop", "host", "operator")),
    ("POST", f"{A}/approve", {"hash": "sha256:1", "name": "other"}, ("approve", "shop", "", "sha256:1", "operator")),
    ("POST", f"{A}/resume", {"who": "ada"}, ("resume", "shop", "", "ada")),
    ("POST", f"{A}/rollback", {"revision": "abc", "who": "ada"}, ("rollback", "shop", "", "abc", "ada")),
    (
        "POST",
        f"{A}/suspend",
        {"reason": "holidays", "until": "2026-03-01T00:00:00Z", "who": "ada"},
        ("suspend", "shop", "", "holidays", datetime(2026, 3, 1, tzinfo=UTC), "ada"),
    ),
]


async def test_each_route_asks_the_engine(ask: Any, engine: Engine) -> None:
    """A route passes its parameters on, and answers with what it was told, as JSON."""
    for method, path, body, asked in ROUTES:
        answer = await ask(method, path, body=json.dumps(body).encode() if body else b"")
        assert engine.asked.pop() == asked
        assert answer.status == (202 if method == "POST" else 200), path
        assert answer.headers["content-type"] == ("application/jsonl" if "/logs" in path else "application/json")


async def test_the_shape_of_an_answer(ask: Any) -> None:
    """Names are in camel case, times in RFC 3339 and UTC."""
    answer = json.loads((await ask("GET", "/api/v1/status?commit=abc")).body)
    assert answer["seen"] == "2026-03-01T12:00:00Z"
    assert answer["deployments"][0]["supersededBy"] == ""


ERRORS = [
    ("missing", 404, "there is no application missing"),
    ("wrong", 400, "it is wrong"),
    ("refused", 409, "a rule says no"),
    ("forbidden", 403, "nobody has granted it"),
    ("busy", 503, "the target does not answer"),
    ("broken", 500, "the server met an error of its own"),
]


async def test_errors(ask: Any) -> None:
    """Each kind of error has its status and says what to do; one of ours says nothing of its inside."""
    for name, status, message in ERRORS:
        answer = await ask("GET", f"/api/v1/applications/{name}")
        said = json.loads(answer.body)
        assert (answer.status, said["message"]) == (status, message)
        assert said["remedy"] or said["errors"][0]["remedy"]
        assert ("retry-after" in answer.headers) == (status == 503)
        assert b"42" not in answer.body


WRONG = [
    ("GET", "/api/v1/events?limit=0", b"", "limit"),
    ("GET", "/api/v1/events?limit=many", b"", "limit"),
    ("GET", "/api/v1/status?commmit=abc", b"", "commmit"),
    ("GET", "/api/v1/status?wait=forever", b"", "wait"),
    ("GET", "/api/v1/status?commit=%1b[31m", b"", "commit"),
    ("GET", "/api/v1/status?timeout=nan", b"", "timeout"),
    ("POST", f"{A}/approve", b"{}", "hash"),
    ("POST", f"{A}/suspend", b'{"reason": ""}', "reason"),
    ("POST", f"{A}/suspend", b'{"reason": "x", "until": "2026-03-01T00:00:00"}', "until"),
    ("POST", f"{A}/sync", b"[1]", "object"),
    ("POST", f"{A}/sync", b"\xff{", "JSON"),
]


async def test_wrong_parameters(ask: Any, engine: Engine) -> None:
    """A parameter that is unknown, missing or out of bounds is a 400 that names it, and nothing is asked."""
    for method, path, body, field in WRONG:
        answer = await ask(method, path, body=body)
        assert answer.status == 400, path
        assert field in json.loads(answer.body)["message"]
    assert engine.asked == []


async def test_no_such_route(ask: Any) -> None:
    """What is not there, or not with that method, is said in JSON too."""
    for method, path, status in [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", f"{A}/", 404),
        ("POST", "/api/v1/status", 405),
        ("GET", "/api/v1/wake", 405),
    ]:
        answer = await ask(method, path)
        assert answer.status == status, path
        assert json.loads(answer.body)["message"]


async def test_a_stream_of_lines(ask: Any) -> None:
    """Logs are one JSON object on each line and end by themselves when not followed."""
    answer = await ask("GET", f"{A}/logs?lines=3")
    lines = [line for line in answer.body.split(b"\r\n") if line.startswith(b"{")]
    assert [json.loads(line)["text"] for line in lines] == ["line 0", "line 1", "line 2"]


async def test_a_stream_that_fails_at_once(ask: Any) -> None:
    """What goes wrong before the first line is an ordinary error."""
    assert (await ask("GET", "/api/v1/applications/missing/logs?follow=true")).status == 404


async def test_a_stream_that_fails_later(ask: Any) -> None:
    """What goes wrong after the first line is the last line."""
    answer = await ask("GET", f"{A}/logs?lines=1&object=breaks")
    assert answer.status == 200
    assert b'{"error":{"message":"the log went away"' in answer.body


async def test_followed_events_are_filtered(server: Serving, engine: Engine) -> None:
    """Followed events are those that were asked for; the source is closed when the client goes."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /api/v1/events?follow=true&after=10&application=shop HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        seen: list[int] = []
        while len(seen) < 2:
            line = await reader.readline()
            if line.startswith(b"{"):
                seen.append(json.loads(line)["id"])
        assert seen == [11, 13]
        assert engine.streaming == 1
        writer.close()
        while engine.streaming:
            await asyncio.sleep(0.01)


async def test_waiting_ends_with_the_server(server: Serving, engine: Engine) -> None:
    """A long wait, logs that do not come and an endless stream end at once with the server; what had no answer yet gets a 503."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connections = []
    for path in ("/api/v1/status?commit=a&wait=healthy&timeout=600", f"{A}/logs?object=hangs", f"{A}/logs?follow=true"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        connections.append((reader, writer))
    while len(engine.asked) < 3:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    async with asyncio.timeout(2):
        await server.close()
        waited, hanging, streamed = [await reader.read() for reader, _ in connections]
    assert waited.startswith(b"HTTP/1.1 503")
    assert hanging.startswith(b"HTTP/1.1 503")
    assert streamed.startswith(b"HTTP/1.1 200")
    assert streamed.endswith(b"0\r\n\r\n")
    assert engine.streaming == 0
    for _, writer in connections:
        writer.close()


async def test_a_wait_ends_when_its_client_goes(server: Serving, engine: Engine) -> None:
    """When a client goes away while it waits, the waiting ends and what it waited for is given up."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {A}/logs?object=hangs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        while not engine.streaming:
            await asyncio.sleep(0.01)
        writer.close()
        while engine.streaming:
            await asyncio.sleep(0.01)
