"""`trimtab chart lock PATH`: pins the charts of chart repositories that a repository asks for. Works without a server."""

from __future__ import annotations

import click

from trimtab.cli.output import QUIET, Out
from trimtab.cli.session import DONE, current, output_option
from trimtab.core.model.text import one_line
from trimtab.core.model.views import ChartsView


@click.group()
def chart() -> None:
    """Pin charts of chart repositories."""


@chart.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False))
@click.option("--update", is_flag=True, help="Settle everything anew, also what is pinned already.")
@output_option
def lock(path: str, update: bool) -> int:
    """Write down what each chart that PATH asks for is: its version and the digest of its content.

    Looks at the Applications and the charts of the repository around PATH, asks their chart repositories, and writes charts.lock in the
    repository's root, for you to commit. What is pinned already stays as it is. Who you are to a private repository is read from your
    netrc file.

    \b
    Example:
      trimtab chart lock .
    """
    from trimtab.wiring import offline_lock

    session = current()
    view = offline_lock(path, update=update)
    session.out.show(view, lambda: tell_charts(session.out, view))
    return DONE


def tell_charts(out: Out, view: ChartsView) -> None:
    if not view.charts:
        out.line("no chart of a chart repository is asked for")
    for row in view.charts:
        was = f" (was {one_line(row.before)})" if row.before else ""
        out.parts(
            (f"{row.change:8}", QUIET), f" {one_line(row.name)} {one_line(row.resolved)}{was} of {one_line(row.repository)}"
        )
    if any(row.change != "kept" for row in view.charts):
        out.line(f"{view.file} is written; commit it")
