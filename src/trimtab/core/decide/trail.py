"""Which events are worth proving, how they are chained, and whether a chain holds. All of it pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from trimtab.core.model.event import Event
from trimtab.core.model.manifest import digest
from trimtab.core.model.trail import Link

AUDITED = frozenset(
    {
        "application.removed",
        "application.resumed",
        "application.suspended",
        "deployment.failed",
        "deployment.healthy",
        "deployment.held",
        "deployment.reverted",
        "deployment.started",
        "deployment.superseded",
        "plan.approved",
        "plan.cleared",
        "repository.accepted",
    }
)
"""Beside all of a Change: what was decided about an Environment, and what became of it. Single steps are on the record only."""


def trails(event: Event) -> tuple[str, ...]:
    """The chains that ``event`` belongs to, in the order in which they are written; mostly none."""
    number = event.data.get("change")
    of_change = (f"change/{number}",) if isinstance(number, int) and event.kind.startswith("change.") else ()
    audited = event.environment and (event.kind in AUDITED or of_change)
    return (*of_change, f"environment/{event.environment}") if audited else of_change


def linked(event: Event, trail: str, last: Link | None) -> Link:
    """The link that puts ``event`` behind ``last`` (None: it is the first of its trail)."""
    link = Link(
        trail=trail,
        number=last.number + 1 if last is not None else 1,
        time=event.time,
        kind=event.kind,
        message=event.message,
        application=event.application,
        environment=event.environment,
        revision=event.revision,
        # As it will be read back: a tuple has become a list by then.
        data=msgspec.json.decode(msgspec.json.encode(event.data)),
        before=last.hash if last is not None else "",
    )
    return msgspec.structs.replace(link, hash=hash_of(link))


def hash_of(link: Link) -> str:
    """``sha256:…`` over everything but the hash itself."""
    return digest(msgspec.to_builtins(msgspec.structs.replace(link, hash="")))


def broken(links: Iterable[Link], last: Link | None = None) -> Iterator[str]:
    """What is wrong with a chain, link by link; nothing when it holds. ``last`` is the one before the first of ``links``."""
    for link in links:
        number, before = (last.number + 1, last.hash) if last is not None else (1, "")
        if link.number != number:
            yield f"{link.trail}: link {number} is missing; {link.number} stands in its place"
        elif link.before != before:
            yield f"{link.trail}: link {link.number} does not follow the one before it"
        if link.hash != hash_of(link):
            yield f"{link.trail}: link {link.number} is not what was written ({link.kind} of {link.time.isoformat()})"
        last = link
