"""The parameters of each route, with their bounds. An unknown parameter or a value out of bounds is answered with 400.

They are taken from the path, from a JSON object in the body, and from the query, in this order. Their descriptions stand in
docs/reference/api.md.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from trimtab.core.decide.tokens import DAYS_DEFAULT, DAYS_MAX
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.rights import Action

Word = Annotated[str, Meta(max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Phase = Literal["", "pending", "applying", "healthy", "failed", "held", "superseded", "reverted"]
Patterns = Annotated[tuple[Word, ...], Meta(max_length=100)]
PageSize = Annotated[int, Meta(ge=1, le=1_000)]
Parameters = TypeVar("Parameters", bound="Nothing")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A route without parameters, and the base of those with some."""


class Status(Nothing, frozen=True, kw_only=True):
    commit: Word = ""
    wait: Phase = ""
    timeout: Annotated[float, Meta(ge=0, le=3_600)] = 60.0


class Applications(Nothing, frozen=True, kw_only=True):
    environment: Word = ""
    after: Word = ""
    limit: PageSize = 100


class Environment(Nothing, frozen=True, kw_only=True):
    name: Word


class Application(Nothing, frozen=True, kw_only=True):
    name: Word
    environment: Word = ""


class Details(Application, frozen=True, kw_only=True):
    tree: bool = False


class History(Application, frozen=True, kw_only=True):
    limit: PageSize = 100


class Logs(Application, frozen=True, kw_only=True):
    object: Word = ""
    lines: Annotated[int, Meta(ge=0, le=10_000)] = 100
    follow: bool = False
    container: Word = ""
    previous: bool = False
    since_seconds: Annotated[int, Meta(ge=0, le=31_536_000)] = 0


class Events(Nothing, frozen=True, kw_only=True):
    after: Annotated[int, Meta(ge=0)] = 0
    before: Annotated[int, Meta(ge=0)] | None = None
    limit: PageSize = 100
    application: Word = ""
    environment: Word = ""
    kind: Word = ""
    revision: Word = ""
    newest_first: bool = False
    follow: bool = False


class Wake(Nothing, frozen=True, kw_only=True):
    repository: Word = ""


class Accept(Nothing, frozen=True, kw_only=True):
    repository: Annotated[Word, Meta(min_length=1)]
    revision: Annotated[Word, Meta(min_length=1)]
    who: Word = ""


class Hosted(Nothing, frozen=True, kw_only=True):
    name: Annotated[Word, Meta(min_length=1)]
    who: Word = ""


class Create(Hosted, frozen=True, kw_only=True):
    default_branch: Word = "main"


class Import(Hosted, frozen=True, kw_only=True):
    source: Annotated[Word, Meta(min_length=1)]


class Act(Application, frozen=True, kw_only=True):
    who: Word = ""


class Approve(Act, frozen=True, kw_only=True):
    hash: Annotated[Word, Meta(min_length=1)]


class Suspend(Act, frozen=True, kw_only=True):
    reason: Annotated[Word, Meta(min_length=1)]
    until: Annotated[datetime, Meta(tz=True)] | None = None


class Rollback(Act, frozen=True, kw_only=True):
    revision: Word = ""


class NewToken(Nothing, frozen=True, kw_only=True):
    user: Annotated[Word, Meta(min_length=1)]
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = DAYS_DEFAULT
    description: Word = ""
    actions: Annotated[tuple[Action, ...], Meta(max_length=20)] = ()
    projects: Patterns = ()
    environments: Patterns = ()
    repositories: Patterns = ()
    who: Word = ""


class RevokeToken(Nothing, frozen=True, kw_only=True):
    id: Annotated[Word, Meta(min_length=4)]
    who: Word = ""


Number = Annotated[int, Meta(ge=1, le=999_999_999)]
Text = Annotated[str, Meta(max_length=20_000)]


class Changes(Nothing, frozen=True, kw_only=True):
    repository: Word = ""
    stage: Literal["", "open", "merged", "closed"] = ""
    author: Word = ""
    before: Annotated[int, Meta(ge=0)] = 0
    limit: PageSize = 100


class NewChange(Nothing, frozen=True, kw_only=True):
    repository: Annotated[Word, Meta(min_length=1)]
    branch: Annotated[Word, Meta(min_length=1)]
    target: Word = ""
    title: Word = ""
    description: Text = ""
    draft: bool = False


class Change(Nothing, frozen=True, kw_only=True):
    number: Number


class ChangePlan(Change, frozen=True, kw_only=True):
    environment: Word = ""
    since_approval: bool = False


class ChangeDiff(Change, frozen=True, kw_only=True):
    patch_set: Annotated[int, Meta(ge=0)] = 0
    path: Word = ""


class Say(Change, frozen=True, kw_only=True):
    text: Annotated[Text, Meta(min_length=1)]
    thread: Annotated[int, Meta(ge=0)] = 0
    file: Word = ""
    line: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    environment: Word = ""
    object: Word = ""


class Resolve(Change, frozen=True, kw_only=True):
    thread: Number
    resolved: bool = True


class ApproveChange(Change, frozen=True, kw_only=True):
    environment: Word = ""
    hash: Annotated[Word, Meta(min_length=1)]


class Unapprove(Change, frozen=True, kw_only=True):
    environment: Word = ""


class Close(Change, frozen=True, kw_only=True):
    reason: Word = ""


class Edit(Change, frozen=True, kw_only=True):
    title: Word = ""
    description: Text | None = None
    draft: bool | None = None


class Trail(Nothing, frozen=True, kw_only=True):
    name: Annotated[Word, Meta(min_length=1)]
    after: Annotated[int, Meta(ge=0)] = 0
    limit: PageSize = 1_000


def read(kind: type[Parameters], values: dict[str, Any]) -> Parameters:
    """Raises UserError that names the parameter."""
    try:
        return msgspec.convert(values, type=kind, strict=False)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        field = where.rstrip("`")
        text = f"parameter {field}: {message}" if field else message
        remedy = "docs/reference/api.md lists the parameters of each route"
        raise UserError(text, remedy=remedy, problems=[Problem(message, field=field, remedy=remedy)]) from error
