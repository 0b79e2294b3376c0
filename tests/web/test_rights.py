"""What a Principal may over HTTP: every route asks for its right first, and what may not be read looks like what is not there."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from trimtab.core.model.event import Event
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, User, UserSpec
from trimtab.core.model.rights import OPERATOR, Action, Principal, TokenScope
from trimtab.testing.factories import app, environment
from trimtab.web.app import create_app
from trimtab.web.guard import Names
from trimtab.web.needs import Need, oneself, only_shown, sees_event
from trimtab.web.parameters import Act
from trimtab.web.routes import ROUTES
from trimtab.web.server import serve

from .conftest import NOW, TOKEN, Engine, House, access, raw


def grant(name: str, role: Any, user: str, **scope: list[str]) -> Grant:
    return Grant(Metadata(name), GrantSpec(role, users=[user], scope=GrantScope(**scope)))


def user(name: str, *, disabled: bool = False) -> User:
    return User(Metadata(name), UserSpec(disabled=disabled))


PLACES = [
    environment("host"),
    environment("other"),
    *(app(f"app-{number}") for number in range(5)),
    app("shop"),
    app("cart", "other"),
]
PEOPLE = [
    *(user(name) for name in ("admin", "reader", "deployer", "stranger", "other-reader")),
    grant("a", "admin", "admin"),
    grant("r", "reader", "reader"),
    grant("d", "deployer", "deployer", environments=["host"]),
    grant("o", "reader", "other-reader", environments=["other"]),
]


@pytest.fixture
def house() -> House:
    return House(*PLACES, *PEOPLE)


@pytest.fixture
async def world(house: House, engine: Engine) -> AsyncIterator[SimpleNamespace]:
    """`await world.ask("reader", "GET", path)`; `world.tokens` has the token of each User."""
    door = access(house)
    names = Names.read("https://trimtab.example.com/x", (), ("10.0.0.0/8", "127.0.0.1"))
    serving = await serve(create_app(engine, engine, access=door, ready=lambda: True, names=names), "127.0.0.1:0")
    tokens = {name: await token(door, name) for name in house.world.configuration.users}

    async def ask(who: str, method: str, path: str, body: Any = None, **headers: str) -> SimpleNamespace:
        sent = json.dumps(body).encode() if body is not None else b""
        answer = await raw(serving.url, method, path, token=tokens.get(who, who), body=sent, **headers)
        answer.json = json.loads(answer.body) if answer.body and answer.headers["content-type"] == "application/json" else None
        return answer

    yield SimpleNamespace(ask=ask, tokens=tokens, access=door, url=serving.url)
    await serving.close()


async def token(door: Any, name: str, *, days: int = 90, **scope: Any) -> str:
    operator = await door.authenticate([(b"authorization", f"Bearer {TOKEN}".encode())], "")
    made = await door.create_token(operator, user=name, days=days, description="", scope=TokenScope(**scope))
    secret: str = made.secret
    return secret


def test_every_route_says_what_it_needs() -> None:
    """There is no route without a need; a route that changes something needs a right, but for one's own tokens."""
    for route in ROUTES:
        assert isinstance(route.needs, Need), route.path
        if route.method == "POST" and route.needs is not oneself:
            assert route.needs.action is not None, route.path
        if issubclass(route.parameters, Act):
            assert route.needs.action is Action.DEPLOY, route.path
        if route.needs is only_shown:
            assert route.method == "GET", route.path


async def test_a_stranger_may_nothing(world: SimpleNamespace, engine: Engine) -> None:
    """A User without a Grant asks in vain: nothing is asked of the engine but what is filtered to nothing."""
    for route in ROUTES:
        if route.needs in (oneself, only_shown) or route.needs.on is None:
            continue  # the engine finds what it is about, and asks: tests/engine/test_asking.py
        body = {"reason": "x", "hash": "x", "repository": "/srv/shop.git", "revision": "x", "name": "x", "source": "x"}
        wanted = {name: value for name, value in body.items() if name in route.parameters.__struct_fields__}
        path = route.path.replace("{name}", "shop") + ("?name=x" if route.path.endswith("/hosted") else "")
        answer = await world.ask("stranger", route.method, path, wanted if route.method == "POST" else None)
        assert answer.status == 403, route.path
        assert "stranger may not" in answer.json["message"]
    assert engine.asked == []
    assert (await world.ask("stranger", "GET", "/api/v1/applications")).json["applications"] == []
    assert (await world.ask("stranger", "GET", "/api/v1/events")).json["events"] == []


async def test_a_reader_changes_nothing(world: SimpleNamespace, engine: Engine) -> None:
    """A reader reads, and every command is refused with who could do it."""
    assert (await world.ask("reader", "GET", "/api/v1/applications/shop/plan")).status == 200
    engine.asked.clear()
    for verb, body in (("sync", {}), ("approve", {"hash": "x"}), ("suspend", {"reason": "x"}), ("resume", {}), ("rollback", {})):
        answer = await world.ask("reader", "POST", f"/api/v1/applications/shop/{verb}", body)
        assert answer.status == 403
        assert answer.json["remedy"] == "Ask admin, deployer"
    assert engine.asked == []


async def test_an_application_in_another_environment_is_out_of_reach(world: SimpleNamespace, engine: Engine) -> None:
    """A Grant for one Environment allows nothing in another, also when the request names none or the wrong one."""
    assert (await world.ask("deployer", "POST", "/api/v1/applications/shop/sync", {})).status == 202
    engine.asked.clear()
    for body in ({}, {"environment": "other"}, {"environment": "Host"}, {"environment": "ho*"}):
        assert (await world.ask("deployer", "POST", "/api/v1/applications/cart/sync", body)).status == 403, body
    assert engine.asked == []


async def test_lists_hold_what_may_be_read(world: SimpleNamespace) -> None:
    """Rows of other Environments, and events, are left out; a reader of everything sees all."""
    assert len((await world.ask("reader", "GET", "/api/v1/applications")).json["applications"]) == 2
    assert (await world.ask("other-reader", "GET", "/api/v1/applications")).json["applications"] == []
    assert (await world.ask("other-reader", "GET", "/api/v1/status")).json["deployments"] == []
    assert {one["application"] for one in (await world.ask("reader", "GET", "/api/v1/events")).json["events"]} == {"shop", "cart"}
    assert (await world.ask("other-reader", "GET", "/api/v1/doctor")).status == 403


def test_what_is_told_of_a_change_is_for_those_who_may_read_its_repository(house: House) -> None:
    """Also for a reader of that repository alone, who may not read what is about everything; and for nobody else."""
    house.declare(
        *PLACES,
        *PEOPLE,
        user("rita"),
        grant("rita", "reader", "rita", repositories=["hosted:shop"]),
    )
    door = access(house)
    told = Event("change.opened", NOW, "ada proposes: x", data={"change": 1, "repository": "shop"})
    other = msgspec.structs.replace(told, data={"change": 2, "repository": "secret"})
    operator = Principal(OPERATOR, operator=True)
    rita = asyncio.run(door.create_token(operator, user="rita", days=1, description="", scope=TokenScope())).token
    who = Principal("rita", rita.id)
    assert (sees_event(door, who, told), sees_event(door, who, other)) == (True, False)
    assert not sees_event(door, Principal("stranger"), told)


async def test_who_acts_is_who_asks(world: SimpleNamespace, engine: Engine, house: House) -> None:
    """`who` in a request is believed from the operator alone, whose acts are told loudly once Git declares people."""
    await world.ask("deployer", "POST", "/api/v1/applications/shop/sync", {"who": "admin"})
    assert engine.asked.pop() == ("sync", "shop", "", "deployer")
    assert "operator.acted" not in {event.kind for event in house.told}
    await world.ask(TOKEN, "POST", "/api/v1/applications/shop/sync", {"who": "grace"})
    assert engine.asked.pop() == ("sync", "shop", "", "grace")
    (told,) = [event for event in house.told if event.kind == "operator.acted"]
    assert told.message == "grace: POST /api/v1/applications/shop/sync"


async def test_without_people_the_operator_is_quiet(engine: Engine) -> None:
    """While Git declares nobody, the operator does as always."""
    house = House(*PLACES)
    serving = await serve(create_app(engine, engine, access=access(house), ready=lambda: True), "127.0.0.1:0")
    assert (await raw(serving.url, "POST", "/api/v1/wake", token=TOKEN)).status == 202
    assert house.told == []
    await serving.close()


async def test_a_second_token_is_the_same_person(world: SimpleNamespace, engine: Engine) -> None:
    """What acts is the User, whichever token was shown: nobody approves as somebody else with another token."""
    second = await token(world.access, "deployer")
    for shown in (world.tokens["deployer"], second):
        await world.ask(shown, "POST", "/api/v1/applications/shop/approve", {"hash": "x"})
        assert engine.asked.pop()[-1] == "deployer"


async def test_a_narrow_token_does_less(world: SimpleNamespace, house: House) -> None:
    """A token's scope narrows what its User may, and makes no other token."""
    narrow = await token(world.access, "admin", actions=(Action.READ,), environments=("host",))
    assert (await world.ask(narrow, "GET", "/api/v1/applications/shop")).status == 200
    assert (await world.ask(narrow, "GET", "/api/v1/applications/cart")).status == 403
    assert (await world.ask(narrow, "POST", "/api/v1/applications/shop/sync", {})).status == 403
    assert (await world.ask(narrow, "POST", "/api/v1/tokens", {"user": "admin"})).status == 409
    assert (await world.ask(narrow, "POST", "/api/v1/tokens", {"user": "reader"})).status == 409


async def test_an_expired_token(world: SimpleNamespace, house: House) -> None:
    """When its time is over it opens nothing, and says so to who holds it."""
    short = await token(world.access, "reader", days=1)
    house.at = 86_399
    assert (await world.ask(short, "GET", "/api/v1/doctor")).status == 200
    house.at = 86_400
    answer = await world.ask(short, "GET", "/api/v1/doctor")
    assert (answer.status, answer.json["message"]) == (401, "the token expired on 2026-03-02")
    assert house.told[-1].kind == "token.refused"
    assert short not in repr(house.told)


async def test_a_revoked_token(world: SimpleNamespace, house: House) -> None:
    """From the moment that it is revoked it opens nothing. A stranger cannot revoke it, nor tell whether it is there."""
    mine = next(one for one in house.tokens.values() if one.user == "reader")
    assert (await world.ask("stranger", "POST", "/api/v1/tokens/revoke", {"id": mine.id})).status == 404
    assert (await world.ask("admin", "POST", "/api/v1/tokens/revoke", {"id": mine.id[:6]})).json[
        "ended"
    ] == "the token was revoked"
    assert (await world.ask("reader", "GET", "/api/v1/doctor")).json["message"] == "the token was revoked"


async def test_a_stream_ends_when_its_token_is_revoked(world: SimpleNamespace, house: House, engine: Engine) -> None:
    """Nothing more is told after the revocation; the last line says why."""
    gate = asyncio.Event()

    async def follow_events(after: int) -> AsyncIterator[Any]:
        yield engine_event(1)
        await gate.wait()
        yield engine_event(2)

    engine.follow_events = follow_events  # type: ignore[method-assign]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    head = f"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {world.tokens['reader']}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    await asyncio.wait_for(reader.readuntil(b"event 1"), 5)
    mine = next(one for one in house.tokens.values() if one.user == "reader")
    await world.ask("admin", "POST", "/api/v1/tokens/revoke", {"id": mine.id})
    gate.set()
    rest = await asyncio.wait_for(reader.read(), 5)
    assert b"event 2" not in rest
    assert b"the token was revoked" in rest
    writer.close()


def engine_event(number: int) -> Any:
    return Event("step.applied", NOW, f"event {number}", application="shop", environment="host", id=number)


async def test_a_user_who_is_disabled_or_gone(world: SimpleNamespace, house: House) -> None:
    """A commit that disables or removes a User voids its tokens at once; one that brings it back makes them good again."""
    rest = [one for one in PEOPLE if one.metadata.name != "reader"]
    for people, message in (
        ([*rest, user("reader", disabled=True)], "reader is disabled in Git"),
        (rest, "Git declares no User reader any more"),
    ):
        house.declare(*PLACES, *people)
        answer = await world.ask("reader", "GET", "/api/v1/doctor")
        assert (answer.status, answer.json["message"]) == (401, message)
    house.declare(*PLACES, *PEOPLE)
    assert (await world.ask("reader", "GET", "/api/v1/doctor")).status == 200


async def test_basic_is_for_git(world: SimpleNamespace) -> None:
    """HTTP Basic with the login and its token; another's login, a strange one, or a broken header opens nothing."""
    secret = world.tokens["reader"]

    async def basic(login: str, password: str) -> int:
        value = base64.b64encode(f"{login}:{password}".encode()).decode()
        return int((await raw(world.url, "GET", "/api/v1/doctor", token=None, Authorization=f"Basic {value}")).status)

    assert await basic("reader", secret) == 200
    assert await basic("operator", TOKEN) == 200
    for login in ("admin", "Reader", "reader ", "reader\x00", "", "ｒeader", "../reader"):
        assert await basic(login, secret) == 401, login
    for header in ("Basic", "Basic !!!", "Basic cmVhZGVy", f"Digest {secret}", secret, f"Bearer{secret}"):
        answer = await raw(world.url, "GET", "/api/v1/doctor", token=None, Authorization=header)
        assert answer.status in (401, 429), header


async def test_two_authorization_headers(world: SimpleNamespace) -> None:
    """A request with two is refused, whichever of them is good: a proxy may have looked at the other one."""
    port = int(world.url.rpartition(":")[2])
    for first, second in (("x", world.tokens["reader"]), (world.tokens["reader"], "x"), (world.tokens["reader"],) * 2):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/v1/doctor HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {first}\r\nauthorization: Bearer {second}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 401")
        writer.close()


async def test_who_guesses_waits(world: SimpleNamespace, house: House) -> None:
    """After ten failures an address gets 429 with Retry-After, also with a good token; others, and the operator's key, are not harmed."""
    bad = {"X-Forwarded-For": "203.0.113.9"}
    for _ in range(10):
        assert (await world.ask("guess", "GET", "/api/v1/doctor", **bad)).status == 401
    locked = await world.ask("reader", "GET", "/api/v1/doctor", **bad)
    assert (locked.status, locked.headers["retry-after"]) == (429, "30")
    assert (await world.ask("reader", "GET", "/api/v1/doctor", X_Forwarded_For="203.0.113.10")).status == 200
    assert (await world.ask(TOKEN, "GET", "/api/v1/doctor", **bad)).status == 200
    assert [event.kind for event in house.told if event.kind == "login.refused"] == ["login.refused"]
    house.at = 30
    assert (await world.ask("reader", "GET", "/api/v1/doctor", **bad)).status == 200


async def test_host_names(world: SimpleNamespace) -> None:
    """The configured public name is answered to, beside those of this machine, and no other."""
    for host, status in (
        ("trimtab.example.com", 200),
        ("TRIMTAB.example.com:443", 200),
        ("evil.example", 421),
        ("trimtab.example.com.evil.example", 421),
    ):
        assert (await world.ask("reader", "GET", "/api/v1/doctor", Host=host)).status == status, host


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", ["203.0.113.1"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["6.6.6.6", "203.0.113.1, 10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "nonsense"),
        ("", ["203.0.113.1"], ""),
    ],
)
def test_forwarded_addresses(peer: str, forwarded: list[str], address: str) -> None:
    """X-Forwarded-For counts from trusted proxies alone, and only what they vouch for: what a client wrote before is passed over."""
    assert Names.read("", (), ("10.0.0.0/8",)).client(peer, forwarded) == address
