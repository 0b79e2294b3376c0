"""`trimtab app sync|approve|rollback|suspend|resume`: asks the server to act; it answers what happens now."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from trimtab.cli.completion import applications
from trimtab.cli.session import DONE, Session, asks_server, current, environment_option
from trimtab.cli.times import Duration, Time
from trimtab.core.model.views import Accepted

name_argument = click.argument("name", shell_complete=applications)


@click.command()
@name_argument
@environment_option
@asks_server
def sync(name: str, environment: str) -> int:
    """Look at the repository and the target at once, and apply what differs.

    Trimtab does so by itself; this only saves the wait, also the one before the next try of something that failed.

    \b
    Example:
      trimtab app sync shop
    """
    session = current()
    return _taken(session, session.client.sync(name, environment=environment))


@click.command()
@name_argument
@click.argument("plan_hash", metavar="PLAN-HASH")
@environment_option
@asks_server
def approve(name: str, plan_hash: str, environment: str) -> int:
    """Allow a held plan, by its hash, as `trimtab app plan NAME` shows it.

    The approval is of that very plan: when the plan changes, it is void.

    \b
    Example:
      trimtab app approve shop sha256:3f2a91c0… --environment production
    """
    session = current()
    return _taken(session, session.client.approve(name, plan_hash, environment=environment))


@click.command()
@name_argument
@click.option(
    "--to", "revision", metavar="REVISION", default="", help="The revision to go back to. Default: that of the deployment before."
)
@environment_option
@asks_server
def rollback(name: str, revision: str, environment: str) -> int:
    """Go back to what ran before, by a commit: the application's directory becomes what it was at REVISION.

    \b
    Example:
      trimtab app rollback shop --to v1.4.2
    """
    session = current()
    return _taken(session, session.client.rollback(name, environment=environment, revision=revision))


@click.command()
@name_argument
@click.option("--reason", metavar="TEXT", required=True, help="Why; everybody who looks is shown it.")
@click.option("--for", "duration", type=Duration(), help="For how long, such as 30m, 2h or 1d.")
@click.option("--until", type=Time(), help="Until when, such as 2026-01-31T18:00:00Z.")
@environment_option
@asks_server
def suspend(name: str, reason: str, duration: timedelta | None, until: datetime | None, environment: str) -> int:
    """Leave an application alone, with a reason and an end. What runs goes on running; nothing is applied or healed.

    \b
    Example:
      trimtab app suspend shop --reason "looking at the leak" --for 2h
    """
    session = current()
    if (duration is None) == (until is None):
        raise click.UsageError("A suspension has one end: give either --for or --until.")
    end = until if duration is None else session.now() + duration
    return _taken(session, session.client.suspend(name, environment=environment, reason=reason, until=end))


@click.command()
@name_argument
@environment_option
@asks_server
def resume(name: str, environment: str) -> int:
    """Reconcile a suspended application again.

    \b
    Example:
      trimtab app resume shop
    """
    session = current()
    return _taken(session, session.client.resume(name, environment=environment))


def _taken(session: Session, view: Accepted) -> int:
    session.out.show(view, lambda: session.out.line(view.message))
    return DONE
