"""Signed commits in a whole engine: what is not signed as the Environment asks does not run there, and what ran goes on."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from trimtab.core.model.config import Environment, Signatures
from trimtab.core.model.kind import Metadata
from trimtab.core.model.names import Key
from trimtab.core.model.people import Group, GroupSpec, User, UserSpec
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.stage import Stage, on_stage


def key(number: int) -> str:
    """What an SSH public key looks like; the fake asks no more of it."""
    kind = b"ssh-ed25519"
    blob = len(kind).to_bytes(4, "big") + kind + (32).to_bytes(4, "big") + bytes([number]) * 32
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


WEB, DB, JOB = manifest("Process", "web"), manifest("Process", "db"), manifest("Process", "job")


def user(name: str, *keys: str) -> User:
    return User(Metadata(name), UserSpec(ssh_keys=list(keys)))


def guarded(name: str = "host", *by: str, required: bool = True) -> Environment:
    return environment(name, signatures=Signatures(required=required, by=list(by)))


ADA, EVE = user("ada", key(1)), user("eve", key(2))
OPS = Group(Metadata("ops"), GroupSpec(users=["ada"]))
PEOPLE = (ADA, OPS)
SHOP = app("shop")


class Story:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def commit(self, *documents: Any, by: str = "", **directories: Any) -> str:
        """Committed, signed by ``by``, before anybody fetches; then time passes."""
        revision = self.stage.commit(*documents, **directories)
        if by:
            self.stage.remotes.signed[revision] = by
        await asyncio.sleep(10)
        return revision


def test_an_unsigned_commit_waits_and_what_ran_goes_on() -> None:
    """It is pending with the reason and who can lift it; a signed commit on top with the same content does."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        s = Story(stage)
        await s.commit(guarded("host", "ops"), SHOP, *PEOPLE, by="ada", shop=[WEB])
        assert stage.there().keys() == {"web"}
        unsigned = await s.commit(guarded("host", "ops"), SHOP, *PEOPLE, shop=[WEB, DB])
        assert stage.there().keys() == {"web"}
        pending = engine.current().world.states[Key("host", "shop")].pending
        assert pending is not None
        assert f"commit {unsigned[:12]} is not signed" in pending.message
        assert "a member of ops lifts this" in pending.message
        stage.targets.get("host").delete(WEB.identity)
        await asyncio.sleep(10)
        assert stage.there().keys() == {"web"}, "what ran is kept true"
        await s.commit(guarded("host", "ops"), SHOP, *PEOPLE, app("other"), by="ada", shop=[WEB, DB], other=[])
        assert stage.there().keys() == {"web", "db"}
        await stage.stop(task)

    on_stage(story)


def test_a_commit_does_not_bring_its_own_key_or_take_the_rule_away() -> None:
    """Keys and rules are those of before: a commit signed with a key that it declares itself is signed with an unknown one."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        s = Story(stage)
        await s.commit(guarded(), SHOP, ADA, by="ada", shop=[WEB])
        await s.commit(guarded(), SHOP, ADA, EVE, by="eve", shop=[WEB, DB])
        assert stage.there().keys() == {"web"}
        await s.commit(guarded(required=False), SHOP, ADA, EVE, by="eve", shop=[WEB, DB])
        assert stage.there().keys() == {"web"}
        assert stage.kinds().count("trust.kept") >= 1
        await s.commit(guarded(), SHOP, ADA, EVE, by="ada", shop=[WEB])
        await s.commit(guarded(), SHOP, ADA, EVE, by="eve", shop=[WEB, JOB])
        assert stage.there().keys() == {"web", "job"}, "now a signed commit has brought the key"
        await stage.stop(task)

    on_stage(story)


def test_an_unsigned_removal_waits_too() -> None:
    """Neither an application that is declared no more nor a rule that goes with its Environment gets anything removed."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        s = Story(stage)
        await s.commit(guarded(), SHOP, ADA, by="ada", shop=[WEB])
        await s.commit(guarded(), ADA)
        pending = engine.current().world.states[Key("host", "shop")].pending
        assert pending is not None
        assert "is not signed" in pending.message
        await s.commit(ADA)
        await s.commit()
        assert stage.there().keys() == {"web"}
        await s.commit(guarded(), ADA, by="ada")
        assert engine.current().world.states[Key("host", "shop")].pending is None, "from here on the removal budget decides"
        await stage.stop(task)

    on_stage(story)


def test_another_environment_is_not_touched() -> None:
    """The rule is of one Environment; elsewhere the unsigned commit runs."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        s = Story(stage)
        both = app("shop", "host", "staging")
        await s.commit(guarded(), environment("staging"), both, ADA, by="ada", shop=[WEB])
        await s.commit(guarded(), environment("staging"), both, ADA, shop=[WEB, DB])
        assert stage.there("host").keys() == {"web"}
        assert stage.there("staging").keys() == {"web", "db"}
        await stage.stop(task)

    on_stage(story)


def test_it_holds_over_a_restart() -> None:
    """Trust is on the record: a server that starts at an unsigned head, with another's key in it, lets nothing through."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        s = Story(stage)
        await s.commit(guarded(), SHOP, ADA, by="ada", shop=[WEB])
        await stage.stop(task)
        await s.commit(guarded(required=False), SHOP, EVE, by="eve", shop=[WEB, DB])
        _, task = stage.start()
        await asyncio.sleep(30)
        assert stage.there().keys() == {"web"}
        await s.commit(guarded(), SHOP, ADA, by="ada", shop=[WEB, DB])
        assert stage.there().keys() == {"web", "db"}
        await stage.stop(task)

    on_stage(story)


def test_an_earlier_commit_that_is_signed_is_enough() -> None:
    """Content that a signed commit brought runs, although an unsigned one that leaves it alone has come on top meanwhile."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        s = Story(stage)
        base, shop = app("base"), app("shop", depends_on=["base"])
        await s.commit(guarded(), base, shop, ADA, by="ada", base=[DB], shop=[WEB])
        await s.commit(guarded(), base, shop, ADA, by="ada", base=[DB], shop=[WEB, JOB])
        await s.commit(
            guarded(), base, shop, app("idle", "other"), environment("other"), ADA, base=[DB], shop=[WEB, JOB], idle=[]
        )
        assert stage.there().keys() == {"web", "db", "job"}
        assert engine.current().world.states[Key("host", "shop")].pending is None
        await stage.stop(task)

    on_stage(story)
