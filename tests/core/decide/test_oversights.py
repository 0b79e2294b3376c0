"""What `doctor` says about people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from trimtab.core.decide.oversights import NAMED_MAX, oversights
from trimtab.core.decide.rights import directory
from trimtab.core.model.config import Configuration, Environment
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, Group, User
from trimtab.core.model.token import Token

from .test_rights import configuration, grant, user

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def found(*declared: User | Group | Grant, tokens: tuple[Token, ...] = ()) -> list[str]:
    made = msgspec.structs.replace(configuration(*declared), environments={"staging": Environment(Metadata("staging"))})
    return [one.message for one in oversights(made, directory(made), tokens, NOW)]


def token(id: str, days: int, **fields: object) -> Token:  # noqa: A002
    return msgspec.structs.replace(Token(id, "ada", "0" * 64, NOW, NOW + timedelta(days=days)), **fields)


def test_nothing_is_said_while_nobody_is_declared_or_all_is_well() -> None:
    """A world without people has no oversights, nor has one where everybody may something that is there."""
    assert list(oversights(Configuration(), directory(Configuration()), [], NOW)) == []
    assert found(user("ada"), grant("g", "reader", users=("ada",), environments=["stag*"]), tokens=(token("t", 30),)) == []


def test_users_who_may_nothing() -> None:
    """A User whom no Grant names is told, a disabled one is not; a long list is cut."""
    assert found(user("ada"), user("bob", disabled=True)) == ["granted nothing: ada"]
    many = found(*(user(f"u{number:02}") for number in range(NAMED_MAX + 2)))
    assert many[0].endswith("u09 and 2 more")


def test_grants_about_what_is_not_there() -> None:
    """A pattern that matches no Environment, Project or Application is told with its Grant."""
    grants = (
        grant("g", "reader", users=("ada",), environments=["staging", "prod*"]),
        grant("h", "reader", users=("ada",), projects=["x"]),
    )
    assert found(user("ada"), *grants) == ["Grants about what is not there: g (prod*), h (x)"]


def test_tokens_that_end_soon() -> None:
    """Within a week; one that has ended already, or was revoked, is no news."""
    tokens = (token("a", 3), token("b", 8), token("c", -1), token("d", 2, revoked=NOW))
    assert found(user("ada"), grant("g", "reader", users=("ada",)), tokens=tokens) == [
        "tokens that end soon: a of ada on 2026-03-04"
    ]
