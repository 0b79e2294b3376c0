"""What about people is allowed but hardly meant: Users who may nothing, Grants about things that are not there, tokens that end soon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from trimtab.core.model.config import Configuration
from trimtab.core.model.people import EVERYTHING
from trimtab.core.model.token import Token
from trimtab.core.model.views import Finding

from . import tokens
from .limits import glob
from .rights import Directory

SOON: Final = timedelta(days=7)
NAMED_MAX: Final = 10


def oversights(configuration: Configuration, people: Directory, held: Iterable[Token], now: datetime) -> Iterator[Finding]:
    """One Finding for each sort, at most; none while Git declares no people."""
    if not people.declared:
        return
    able = {user for user, _ in people.given}
    idle = sorted(people.groups.keys() - able)
    if idle:
        yield _warning(f"granted nothing: {_listed(idle)}", "Name them in a Group or a Grant, or remove the User")
    empty = [f"{name} ({', '.join(found)})" for name in sorted(configuration.grants) if (found := _nothing(configuration, name))]
    if empty:
        yield _warning(f"Grants about what is not there: {_listed(empty)}", "Correct the scope")
    ending = [one for one in held if not tokens.ended(one, people, now) and one.expires - now <= SOON]
    if ending:
        shown = [f"{one.id} of {one.user} on {one.expires:%Y-%m-%d}" for one in sorted(ending, key=lambda one: one.expires)]
        yield _warning(f"tokens that end soon: {_listed(shown)}", "Make new ones: trimtab token create")


def _nothing(configuration: Configuration, grant: str) -> list[str]:
    """The patterns of a Grant that match no Environment, Project or Application."""
    scope = configuration.grants[grant].spec.scope
    sorts = (
        (scope.environments, configuration.environments),
        (scope.projects, configuration.projects),
        (scope.applications, configuration.applications),
    )
    return [
        pattern
        for patterns, names in sorts
        for pattern in patterns
        if pattern != EVERYTHING and not any(glob(pattern, name) for name in names)
    ]


def _warning(message: str, remedy: str) -> Finding:
    return Finding("people", "warning", message, remedy)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
