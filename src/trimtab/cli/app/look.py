"""`trimtab app list|show|plan|explain|history`: reading only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from trimtab.cli.app.tree import tell_objects
from trimtab.cli.completion import applications
from trimtab.cli.output import COLOURS, Out, short
from trimtab.cli.plans import exit_code, tell_hold, tell_plan
from trimtab.cli.rows import tell_applications
from trimtab.cli.session import DONE, asks_server, current, environment_option
from trimtab.cli.status import tell_deployment
from trimtab.cli.times import absolute, ago
from trimtab.core.model.text import one_line
from trimtab.core.model.views import ApplicationDetails, ApplicationView, ExplainView, HistoryView

name_argument = click.argument("name", shell_complete=applications)


@click.command(name="list")
@environment_option
@asks_server
def list_(environment: str) -> int:
    """List applications, with the revision that runs, whether it is what Git says, and health.

    \b
    Example:
      trimtab app list --environment production
    """
    session = current()
    rows = session.client.applications(environment=environment)
    session.out.show(rows, lambda: tell_applications(session.out, rows.applications))
    return DONE


@click.command()
@name_argument
@environment_option
@click.option("--tree/--no-tree", default=True, show_default=True, help="With what stands behind each object, such as Pods.")
@asks_server
def show(name: str, environment: str, tree: bool) -> int:
    """Show an application: where it comes from, its objects, what stands behind them, their health, and what is held.

    \b
    Example:
      trimtab app show shop --environment production
    """
    session = current()
    view = session.client.application(name, environment=environment, tree=tree)
    session.out.show(view, lambda: tell_details(session.out, view, session.now()))
    return DONE


@click.command()
@name_argument
@environment_option
@asks_server
def plan(name: str, environment: str) -> int:
    """What would Trimtab do now for an application, and what is held?

    The exit code is 0 when there is nothing to do, 3 when there are differences or something is held, 1 when what stands in
    Git is wrong.

    \b
    Example:
      trimtab app plan shop --environment production
    """
    session = current()
    view = session.client.plan(name, environment=environment)
    session.out.show(view, lambda: tell_plan(session.out, view))
    return exit_code(view)


@click.command()
@name_argument
@environment_option
@asks_server
def explain(name: str, environment: str) -> int:
    """Why is something done or not done, and who or what moves it on?

    \b
    Example:
      trimtab app explain shop --environment production
    """
    session = current()
    views = session.client.explain(name, environment=environment)
    session.out.show(views, lambda: tell_explanations(session.out, views))
    return DONE


@click.command()
@name_argument
@environment_option
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@asks_server
def history(name: str, environment: str, limit: int) -> int:
    """The deployments of an application, newest first.

    \b
    Example:
      trimtab app history shop --limit 5
    """
    session = current()
    view = session.client.history(name, environment=environment, limit=limit)
    session.out.show(view, lambda: tell_history(session.out, view, session.now()))
    return DONE


def tell_details(out: Out, view: ApplicationDetails, now: datetime) -> None:
    for number, application in enumerate(view.applications):
        if number:
            out.line()
        tell_application(out, application, now)


def tell_application(out: Out, view: ApplicationView, now: datetime) -> None:
    health, sync = view.health.value, one_line(view.sync)
    out.parts(f"{view.name} in {view.environment}: ", (sync, COLOURS.get(sync, "")), ", ", (health, COLOURS.get(health, "")))
    said_below = view.suspension is not None or (view.deployment is not None and view.deployment.message == view.message)
    if view.message and not said_below:
        out.line(f"  {one_line(view.message)}")
    out.line(f"  from {one_line(view.path) or '.'} at {short(view.revision) or 'no revision yet'} of {one_line(view.repository)}")
    if view.suspension is not None:
        until = f", until {absolute(view.suspension.until)}" if view.suspension.until else ""
        out.parts("  ", ("suspended", COLOURS["suspended"]), f": {one_line(view.suspension.reason)}{until}")
    if view.next_try is not None:
        out.line(f"  next try {ago(view.next_try, now)}")
    if view.deployment is not None:
        tell_deployment(out, view.deployment, view.deployment.revision, now)
    out.problems(view.errors)
    if view.objects:
        tell_objects(out, view.objects, now)
    for one in view.objects:
        addresses = one.status.get("addresses")
        for port, address in addresses.items() if isinstance(addresses, dict) else ():
            out.line(f"{one.object} serves {one_line(str(port))} on {one_line(str(address))}")
    for hold in view.holds:
        tell_hold(out, hold)


def tell_explanations(out: Out, views: Sequence[ExplainView]) -> None:
    for view in views:
        tell_reasons(out, view)


def tell_reasons(out: Out, view: ExplainView) -> None:
    out.line(one_line(view.summary))
    for reason in view.reasons:
        out.parts(f"  {one_line(reason.subject)}: ", (one_line(reason.state), COLOURS.get(reason.state, "")))
        if reason.reason:
            out.line(f"      {one_line(reason.reason)}")
        for number, link in enumerate(reason.chain):
            out.line(f"      {'   ' * number}└─ {one_line(link)}")
        if reason.next:
            out.line(f"      next: {one_line(reason.next)}")


def tell_history(out: Out, view: HistoryView, now: datetime) -> None:
    if not view.deployments:
        out.line("There are no deployments yet.")
        return
    out.table(
        ["environment", "revision", "phase", "since", "message"],
        [[one.environment, short(one.revision), one.phase.value, ago(one.since, now), one.message] for one in view.deployments],
    )
