"""`trimtab events`: what has happened, from the record; with `--follow` what happens."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.completion import applications
from trimtab.cli.output import BAD, GOOD, QUIET, WAITING, Out, short
from trimtab.cli.session import DONE, asks_server, current, environment_option
from trimtab.cli.status import resolved
from trimtab.cli.times import absolute
from trimtab.core.model.event import KINDS, Event
from trimtab.core.model.text import one_line

ENDINGS = {
    "failed": BAD,
    "rewritten": BAD,
    "held": WAITING,
    "detected": WAITING,
    "healthy": GOOD,
    "recovered": GOOD,
    "healed": GOOD,
}


@click.command()
@click.option("--application", "-a", metavar="NAME", default="", help="Only of this application.", shell_complete=applications)
@environment_option
@click.option(
    "--kind", type=click.Choice(sorted(KINDS)), default=None, metavar="KIND", help="Only of this kind, such as step.failed."
)
@click.option("--revision", metavar="COMMIT", default="", help="Only of this commit.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many of the newest.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what comes, until interrupted.")
@asks_server
def events(application: str, environment: str, kind: str | None, revision: str, limit: int, follow: bool) -> int:
    """What has happened, oldest first. With --output json as JSON lines, one for each event.

    \b
    Example:
      trimtab events --application shop --follow
    """
    session = current()
    found = session.client.events(
        application=application,
        environment=environment,
        kind=kind or "",
        revision=resolved(revision),
        limit=limit,
        follow=follow,
    )
    for event in found:
        if session.out.json:
            session.out.record(record(event))
        else:
            tell_event(session.out, event)
            session.out.flush()
    return DONE


def record(event: Event) -> dict[str, Any]:
    """The documented shape, in the documented order."""
    return {
        "id": event.id,
        "time": event.time,
        "kind": event.kind,
        "application": event.application,
        "environment": event.environment,
        "revision": event.revision,
        "message": event.message,
        "data": event.data,
    }


def tell_event(out: Out, event: Event) -> None:
    where = "@".join(part for part in (event.application, event.environment) if part)
    colour = ENDINGS.get(event.kind.rpartition(".")[2], "")
    about = " ".join(one_line(part) for part in (where, short(event.revision)) if part)
    out.parts(
        (absolute(event.time), QUIET), "  ", (event.kind, colour), f"  {about}: " if about else "  ", one_line(event.message)
    )
