"""Requests and their answers over real connections: what is sent again, what is not, and what everything costs at most."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.targets.kubernetes.fake import FakeApi, broken, cut, status

from trimtab.plumbing.clock import SystemClock
from trimtab.targets.kubernetes import errors, requests
from trimtab.targets.kubernetes.client import Client
from trimtab.targets.kubernetes.connection import Cluster, Connection, Impersonation, User
from trimtab.targets.kubernetes.requests import Request, Selector
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.transport import Transport

THINGS = Resource("", "v1", "things", "Thing", namespaced=True)
PATH = "/api/v1/namespaces/shop/things/a"
THING = {"kind": "Thing", "metadata": {"name": "a", "namespace": "shop", "uid": "u1", "resourceVersion": "1"}}


class QuickClock(SystemClock):
    """Pauses take no time and are written down."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class NoChance:
    def uniform(self, low: float, high: float) -> float:
        return low

    def token(self) -> str:
        return "0" * 32


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = await FakeApi().start()
    yield fake
    await fake.close()


Making = Callable[..., Client]


@pytest.fixture
async def connect(api: FakeApi, clock: QuickClock) -> AsyncIterator[Making]:
    made: list[Client] = []

    def make(user: User | None = None, environment: Mapping[str, str] | None = None, server: str = "", **more: Any) -> Client:
        cluster = Cluster(server=server or api.server, **more)
        connection = Connection(cluster=cluster, user=user or User())
        made.append(Client.connect(connection, environment=environment or {}, clock=clock, chance=NoChance(), connections_max=4))
        return made[-1]

    yield make
    for client in made:
        await client.close()


def read(seconds: float = 5.0) -> Request:
    return requests.Request(method="GET", target=PATH, doing="read a", repeatable=True, seconds=seconds)


async def test_an_object_comes_back_with_its_warnings(api: FakeApi, connect: Making) -> None:
    async def answer(_: web.Request) -> web.Response:
        response = web.json_response(THING)
        response.headers.add("Warning", '299 - "things are \\"old\\"", 299 - "use others"')
        response.headers.add("Warning", '299 - "third\\u001b"')
        return response

    api.on("GET", PATH, answer)
    found = await connect().get(THINGS, "shop", "a")
    assert (found.uid, found.warnings) == ("u1", ('things are "old"', "use others", "thirdu001b"))


async def test_a_request_says_who_asks_and_for_whom(api: FakeApi, connect: Making) -> None:
    api.on("GET", PATH, THING)
    client = connect(
        User(token="t0ken", impersonation=Impersonation(user="robot", groups=("a", "b"), uid="7", extra={"x/y": ("ü",)}))
    )
    await client.get(THINGS, "shop", "a")
    headers = api.seen[0].headers
    assert headers["Authorization"] == "Bearer t0ken"
    assert (headers["Impersonate-User"], headers["Impersonate-Uid"], headers["Impersonate-Extra-x%2Fy"]) == ("robot", "7", "ü")
    await client.acting_as(None).get(THINGS, "shop", "a")
    assert "Impersonate-User" not in api.seen[1].headers


@pytest.mark.parametrize(
    "failure", [status(503, "ServiceUnavailable"), status(500, "InternalError"), status(429), cut, broken(b'{"kind')]
)
async def test_what_may_be_repeated_is(api: FakeApi, connect: Making, failure: Any) -> None:
    api.on("PATCH", PATH, failure, THING)
    found = await connect().apply(THINGS, "shop", "a", {}, force=True)
    assert (found.uid, len(api.seen)) == ("u1", 2)


@pytest.mark.parametrize("failure", [status(503), status(500), cut])
async def test_what_may_have_been_carried_out_is_not_repeated(api: FakeApi, connect: Making, failure: Any) -> None:
    api.on("POST", "/api/v1/namespaces/shop/things", failure, THING)
    with pytest.raises(errors.ApiError):
        await connect().create(THINGS, "shop", {})
    assert len(api.seen) == 1


async def test_a_lost_answer_says_that_the_request_may_have_been_carried_out(api: FakeApi, connect: Making) -> None:
    api.on("POST", "/api/v1/namespaces/shop/things", cut)
    with pytest.raises(errors.Unreachable) as caught:
        await connect().create(THINGS, "shop", {})
    assert caught.value.sent


async def test_nobody_there_is_unreachable_and_surely_not_carried_out(
    api: FakeApi, connect: Making, free_port: int, clock: QuickClock
) -> None:
    client = connect(server=f"http://127.0.0.1:{free_port}")
    with pytest.raises(errors.Unreachable, match=r"Connect call failed|refused") as caught:
        await client.create(THINGS, "shop", {})
    assert not caught.value.sent
    assert clock.slept == [0.1, 0.2, 0.4, 0.8]


async def test_attempts_end(api: FakeApi, connect: Making, clock: QuickClock) -> None:
    api.on("GET", PATH, status(503, "ServiceUnavailable"))
    with pytest.raises(errors.ServerError):
        await connect().get(THINGS, "shop", "a")
    assert len(api.seen) == 5
    assert clock.slept == [0.1, 0.2, 0.4, 0.8]


async def test_the_time_that_a_busy_server_names_is_kept(api: FakeApi, connect: Making, clock: QuickClock) -> None:
    api.on("POST", "/api/v1/namespaces/shop/things", status(429, retry_after=3), status(429, retry_after=2), THING)
    await connect().create(THINGS, "shop", {})
    assert clock.slept == [3.0, 2.0]


async def test_a_server_that_wants_a_long_wait_is_told_on(api: FakeApi, connect: Making, clock: QuickClock) -> None:
    api.on("GET", PATH, status(429, retry_after=3600))
    with pytest.raises(errors.TooManyRequests) as caught:
        await connect().get(THINGS, "shop", "a")
    assert (caught.value.retry_after, clock.slept) == (3600.0, [])


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def test_a_request_has_a_deadline(api: FakeApi, connect: Making) -> None:
    api.on("GET", PATH, silent)
    with pytest.raises(errors.Unreachable, match=r"read a: no answer from http://\S+ within 0\.1 s"):
        await connect().send(read(seconds=0.1))


async def test_waiting_for_a_turn_does_not_count_and_no_more_connections_than_agreed_are_opened(
    api: FakeApi, connect: Making
) -> None:
    at_once = most = 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1
        return web.json_response(THING)

    api.on("GET", PATH, slow)
    client = connect()
    await asyncio.gather(*(client.send(read(seconds=0.15)) for _ in range(20)))  # five rounds, each within its own time
    assert most == 4
    assert len({seen.peer for seen in api.seen}) == 4


async def test_a_cancelled_request_gives_its_turn_back(api: FakeApi, connect: Making) -> None:
    api.on("GET", PATH, silent)
    client = connect()
    tasks = [asyncio.create_task(client.send(read())) for _ in range(8)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    api.on("GET", PATH, THING)
    async with asyncio.timeout(2):
        assert (await client.get(THINGS, "shop", "a")).uid == "u1"


def rewrite(path: Path, text: str) -> None:
    """At once, as a kubelet does it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


async def test_a_refused_token_is_renewed_once(api: FakeApi, connect: Making, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer new":
            return web.json_response(THING)
        rewrite(token, "new\n")
        return await status(401, "Unauthorized")(request)

    api.on("GET", PATH, guarded)
    client = connect(User(token_file=token))
    found = await asyncio.gather(*(client.get(THINGS, "shop", "a") for _ in range(4)))
    assert {each.uid for each in found} == {"u1"}
    assert len(api.seen) <= 8


async def test_a_token_that_stays_refused_is_an_error_after_two_attempts(api: FakeApi, connect: Making, tmp_path: Path) -> None:
    api.on("GET", PATH, status(401, "Unauthorized"))
    with pytest.raises(errors.Unauthorized, match="Check the token"):
        await connect(User(token="fixed")).get(THINGS, "shop", "a")
    assert len(api.seen) == 1
    counter = iter(range(100))
    token = tmp_path / "token"
    token.write_text("0")

    async def turning(request: web.Request) -> web.StreamResponse:
        rewrite(token, f"t{next(counter)}")
        return await status(401, "Unauthorized")(request)

    api.on("GET", PATH, turning)
    with pytest.raises(errors.Unauthorized):
        await connect(User(token_file=token)).get(THINGS, "shop", "a")
    assert len(api.seen) == 3


async def test_a_token_is_not_carried_to_where_a_redirect_leads(api: FakeApi, connect: Making) -> None:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    api.on("GET", PATH, redirect)
    with pytest.raises(errors.ServerError):
        await connect(User(token="t")).get(THINGS, "shop", "a")
    assert {seen.target for seen in api.seen} == {PATH}


async def test_lists_are_compressed_on_their_way_unless_the_kubeconfig_says_no(api: FakeApi, connect: Making) -> None:
    listing = {"metadata": {"resourceVersion": "5"}, "items": [THING]}

    async def answer(request: web.Request) -> web.Response:
        if request.headers["Accept-Encoding"] != "gzip":
            return web.json_response(listing)
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=gzip.compress(json.dumps(listing).encode()), headers=headers)

    api.on("GET", "/api/v1/namespaces/shop/things", answer)
    for client in (connect(), connect(compress=False)):
        assert [each.uid for each in await client.list(THINGS, Selector("shop"))] == ["u1"]
    assert [seen.headers["Accept-Encoding"] for seen in api.seen] == ["gzip", "identity"]


def paged(*names: str, more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "5", "continue": more}, "items": [{"metadata": {"name": name}} for name in names]}


async def test_a_list_is_read_page_by_page(api: FakeApi, connect: Making) -> None:
    api.on("GET", "/api/v1/things", paged("a", "b", more="x"), paged("c"))
    found = await connect().list(THINGS, limit=2)
    assert [each.name for each in found] == ["a", "b", "c"]
    assert [seen.target for seen in api.seen] == ["/api/v1/things?limit=2", "/api/v1/things?limit=2&continue=x"]


async def test_a_list_whose_next_page_is_forgotten_begins_anew(api: FakeApi, connect: Making) -> None:
    api.on(
        "GET",
        "/api/v1/things",
        paged("a", more="x"),
        status(410, "Expired"),
        paged("b", more="y"),
        status(410, "Expired"),
        paged("c"),
    )
    found = await connect().list(THINGS, limit=1)
    assert [each.name for each in found] == ["c"]
    assert api.seen[-1].target == "/api/v1/things"


async def test_a_list_that_fails_half_way_is_no_list(api: FakeApi, connect: Making) -> None:
    api.on("GET", "/api/v1/things", paged("a", more="x"), status(500, "InternalError"))
    with pytest.raises(errors.ServerError):
        await connect().list(THINGS, limit=1)


async def test_nonsense_is_an_error_and_not_an_empty_answer(api: FakeApi, connect: Making) -> None:
    api.on("GET", "/api/v1/things", {"status": "Success"})
    with pytest.raises(errors.ServerError, match="makes no sense"):
        await connect().list(THINGS)


async def test_an_answer_has_a_bound(api: FakeApi, connect: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.targets.kubernetes.transport.ANSWER_BYTES_MAX", 1_000)
    api.on("GET", "/api/v1/things", paged(*"abcdefghijkl" * 10), paged("a"))
    assert [each.name for each in await connect().list(THINGS, limit=500)] == ["a"]
    assert [seen.target for seen in api.seen] == ["/api/v1/things?limit=500", "/api/v1/things?limit=50"]


async def test_large_bodies_are_sent_whole(api: FakeApi, connect: Making) -> None:
    api.on("PATCH", PATH, status(503), THING)
    await connect().apply(THINGS, "shop", "a", {"data": "x" * (1 << 21)}, force=True)
    assert [len(seen.body) for seen in api.seen] == [(1 << 21) + 11] * 2


async def test_logs_come_line_by_line_while_they_are_written(api: FakeApi, connect: Making) -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\r\ntw")
        await go_on.wait()
        await response.write(b"o\nthree")
        return response

    api.on("GET", "/api/v1/namespaces/shop/pods/web/log", answer)
    lines = connect().logs("shop", "web", follow=True, tail=5)
    assert await anext(lines) == b"one"
    go_on.set()
    assert [line async for line in lines] == [b"two", b"three"]
    assert api.seen[0].target.endswith("?follow=true&tailLines=5")


async def test_streams_do_not_take_the_connections_of_requests(api: FakeApi, connect: Making) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"line\n")
        await asyncio.sleep(30)
        return response

    api.on("GET", "/api/v1/namespaces/shop/pods/web/log", endless)
    api.on("GET", PATH, THING)
    client = connect()
    followed = [client.logs("shop", "web", follow=True) for _ in range(10)]
    assert await asyncio.gather(*(anext(each) for each in followed)) == [b"line"] * 10
    async with asyncio.timeout(2):
        await client.get(THINGS, "shop", "a")
    for each in followed:
        await each.aclose()  # type: ignore[attr-defined]


async def test_a_stream_that_is_cut_says_so(api: FakeApi, connect: Making) -> None:
    api.on("GET", "/api/v1/namespaces/shop/pods/web/log", broken(b"one\ntw"))
    lines = connect().logs("shop", "web")
    assert await anext(lines) == b"one"
    with pytest.raises(errors.Unreachable, match="the answer broke off"):
        await anext(lines)


async def test_credentials_that_cannot_be_had_are_a_reason(api: FakeApi, connect: Making, tmp_path: Path) -> None:
    with pytest.raises(errors.Unreachable, match="No such file") as caught:
        await connect(User(token_file=tmp_path / "none")).get(THINGS, "shop", "a")
    assert not caught.value.sent
    assert api.seen == []


async def test_what_is_sent_is_counted(api: FakeApi, connect: Making) -> None:
    api.on("GET", PATH, status(503), THING)
    client = connect()
    await client.get(THINGS, "shop", "a")
    assert isinstance(client.transport, Transport)
    assert (client.transport.counts.requests, client.transport.counts.repeated) == (2, 1)
