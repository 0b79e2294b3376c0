"""`trimtab environment list|show`: the places where things run."""

from __future__ import annotations

from typing import Any

import click

from trimtab.cli.output import COLOURS, Out
from trimtab.cli.rows import tell_applications
from trimtab.cli.session import DONE, asks_server, current
from trimtab.core.model.text import one_line
from trimtab.core.model.views import EnvironmentsView, EnvironmentView


def _complete(*found: Any) -> list[str]:
    from trimtab.cli.completion import environments

    return environments(*found)


@click.group()
def environment() -> None:
    """Look at environments: the places where things run."""


@environment.command(name="list")
@asks_server
def list_() -> int:
    """List the environments, with what runs there and how well.

    \b
    Example:
      trimtab environment list
    """
    session = current()
    view = session.client.environments()
    session.out.show(view, lambda: tell_environments(session.out, view))
    return DONE


@environment.command()
@click.argument("name", shell_complete=_complete)
@asks_server
def show(name: str) -> int:
    """Show an environment: its rules, where they are declared, and its applications.

    \b
    Example:
      trimtab environment show production
    """
    session = current()
    view = session.client.environment(name)
    session.out.show(view, lambda: tell_environment(session.out, view))
    return DONE


def tell_environments(out: Out, view: EnvironmentsView) -> None:
    if not view.environments:
        out.line("There are no environments.")
        return
    out.table(
        ["name", "target", "health", "healthy", "applications", "objects", "message"],
        [
            [row.name, row.target, row.health.value, str(row.healthy), str(row.applications), str(row.objects), row.message]
            for row in view.environments
        ],
    )


def tell_environment(out: Out, view: EnvironmentView) -> None:
    import json

    out.line(f"{one_line(view.name)}: target {one_line(view.target)}")
    if view.origin is not None and view.origin.file:
        out.line(f"declared in {one_line(view.origin.file)}:{view.origin.line}")
    else:
        out.line("declared nowhere: the rules are the defaults")
    for name, value in view.spec.items():
        out.parts("  ", (name, COLOURS["unknown"]), f": {one_line(json.dumps(value, ensure_ascii=False))}")
    out.line()
    tell_applications(out, view.applications)
