"""Access in a whole engine: rights follow Git, tokens are on the record, and the Git server asks the same questions."""

from __future__ import annotations

import asyncio
import base64

import pytest

from trimtab.core.model.errors import NotFound, Refused
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, User, UserSpec
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Refusal, Resource, TokenScope
from trimtab.engine.access import Access, GitEntry
from trimtab.ports import hosting
from trimtab.testing.factories import app, environment
from trimtab.testing.stage import Stage, on_stage

OPERATOR = Principal("operator", operator=True)
HOST = Resource(environment="host", application="shop")


def user(name: str, *, disabled: bool = False) -> User:
    return User(Metadata(name), UserSpec(disabled=disabled))


def grant(name: str, role: str, user: str, **scope: list[str]) -> Grant:
    return Grant(Metadata(name), GrantSpec(role, users=[user], scope=GrantScope(**scope)))  # type: ignore[arg-type]


def bearer(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {secret}".encode())]


async def made(access: Access, name: str, days: int = 90) -> str:
    return (await access.create_token(OPERATOR, user=name, days=days, description="", scope=TokenScope())).secret


def test_tokens_outlive_the_server_and_follow_git() -> None:
    """A token that was made before a restart is good after it; a commit that disables its User voids it, streams and all."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), user("ada"), grant("g", "deployer", "ada"), shop=[])
        await asyncio.sleep(5)
        secret = await made(Access(engine, operator_token="key"), "ada")
        await stage.stop(task)
        engine, task = stage.start()
        await asyncio.sleep(5)
        access = Access(engine, operator_token="key")
        ada = await access.authenticate(bearer(secret), "192.0.2.1")
        assert isinstance(ada, Principal)
        assert access.may(ada, Action.DEPLOY, HOST) == Allowed()
        assert secret not in repr(stage.store.__dict__)
        stage.commit(environment(), app("shop"), user("ada", disabled=True), grant("g", "deployer", "ada"), shop=[])
        await asyncio.sleep(5)
        assert access.ended(ada) == "ada is disabled in Git"
        assert isinstance(access.may(ada, Action.DEPLOY, HOST), Denied)
        assert isinstance(await access.authenticate(bearer(secret), ""), Refusal)
        await stage.stop(task)

    on_stage(story)


def test_use_is_noted_by_the_hour() -> None:
    """The record says when a token was last used, and is not written to for each request."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), user("ada"), grant("g", "reader", "ada"))
        await asyncio.sleep(5)
        access = Access(engine, operator_token="key")
        secret = await made(access, "ada")
        (token,) = engine.current().tokens.values()
        assert token.used is None
        for _ in range(50):
            await access.authenticate(bearer(secret), "")
            await asyncio.sleep(60)
        first = engine.current().tokens[token.id].used
        await asyncio.sleep(3600)
        await access.authenticate(bearer(secret), "")
        second = engine.current().tokens[token.id].used
        assert first is not None
        assert second is not None
        assert (second - first).total_seconds() > 3600
        await stage.stop(task)

    on_stage(story)


def test_who_may_make_tokens() -> None:
    """An admin for everybody; a User for itself, and not beyond the end of the token that it shows; nobody for one who is not there."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(
            environment(),
            user("ada"),
            user("bob"),
            grant("g", "reader", "ada"),
            grant("h", "admin", "bob", environments=["host"]),
        )
        await asyncio.sleep(5)
        access = Access(engine, operator_token="key")
        ada = await access.authenticate(bearer(await made(access, "ada", days=3)), "")
        bob = await access.authenticate(bearer(await made(access, "bob")), "")
        assert isinstance(ada, Principal)
        assert isinstance(bob, Principal)
        own = await access.create_token(ada, user="ada", days=90, description="", scope=TokenScope())
        assert (own.token.expires - own.token.created).days == 3
        for by in (ada, bob):
            with pytest.raises(Refused, match="may not administer"):
                await access.create_token(by, user="ada" if by is bob else "bob", days=1, description="", scope=TokenScope())
        with pytest.raises(NotFound):
            await access.create_token(OPERATOR, user="nobody", days=1, description="", scope=TokenScope())
        assert {one.user for one in (await access.list_tokens(ada)).tokens} == {"ada"}
        await stage.stop(task)

    on_stage(story)


def test_the_git_server_asks_the_same() -> None:
    """By Basic, with the login; read and write by what is granted on `hosted:NAME`; the identity is the User."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        grants = (grant("g", "author", "ada", repositories=["hosted:shop"], paths=["apps/*"]), grant("h", "reader", "bob"))
        stage.commit(environment(), user("ada"), user("bob"), *grants)
        await asyncio.sleep(5)
        access = Access(engine, operator_token="key")
        entry = GitEntry(access)

        async def enter(name: str, secret: str) -> hosting.Principal | hosting.Denied:
            basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
            return await entry.authenticate({"authorization": f"Basic {basic}"}, "192.0.2.1")

        ada, bob = await enter("ada", await made(access, "ada")), await enter("bob", await made(access, "bob"))
        assert not isinstance(ada, hosting.Denied)
        assert not isinstance(bob, hosting.Denied)
        assert ada.name == "ada"
        allowed = {
            (who.name, name, right): await entry.permit(who, name, right) is None
            for who in (ada, bob)
            for name in ("shop", "x")
            for right in ("read", "write")
        }  # type: ignore[arg-type]
        assert [key for key, value in allowed.items() if value] == [
            ("ada", "shop", "read"),
            ("ada", "shop", "write"),
            ("bob", "shop", "read"),
            ("bob", "x", "read"),
        ]
        assert isinstance(await enter("ada", "ttk_wrong"), hosting.Denied)
        refused = [await enter("ada", "x") for _ in range(12)][-1]
        assert isinstance(refused, hosting.Denied)
        assert refused.retry_seconds > 0
        await stage.stop(task)

    on_stage(story)


def test_a_standby_knows_the_operator_alone() -> None:
    """Without the Lease nobody's rights are known, so nobody is let in but the holder of the machine's key."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), user("ada"), grant("g", "admin", "ada"))
        await asyncio.sleep(5)
        secret = await made(Access(engine, operator_token="key"), "ada")
        other, second = stage.start("b")
        await asyncio.sleep(1)
        standby = Access(other, operator_token="key")
        found = await standby.authenticate(bearer(secret), "")
        assert isinstance(found, Refusal)
        assert found.status == 503
        assert await standby.authenticate(bearer("key"), "") == OPERATOR
        assert isinstance(standby.may(Principal("ada"), Action.READ, HOST), Denied)
        await stage.stop(second)
        await stage.stop(task)

    on_stage(story)
