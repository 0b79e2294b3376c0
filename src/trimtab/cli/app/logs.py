"""`trimtab app logs`: what an application's processes print."""

from __future__ import annotations

from datetime import timedelta

import click

from trimtab.cli.completion import applications
from trimtab.cli.output import QUIET
from trimtab.cli.session import DONE, asks_server, current, environment_option
from trimtab.cli.times import Duration, absolute
from trimtab.core.model.text import one_line

SOURCES = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")
"""Colours that tell apart who has printed a line; none of those that mean good or bad."""


@click.command()
@click.argument("name", shell_complete=applications)
@environment_option
@click.option("--object", "object_", metavar="KIND/NAME", default="", help="Only of this object, such as Process/web.")
@click.option("--lines", "-n", type=click.IntRange(0, 10_000), default=100, show_default=True, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what comes, until interrupted.")
@click.option(
    "--container", "-c", metavar="NAME", default="", help="Only of this container; without it of all, init containers too."
)
@click.option("--previous", "-p", is_flag=True, help="Of the run before, where the target keeps it apart.")
@click.option("--since", type=Duration(), help="Nothing older than this, such as 90s, 10m or 2h.")
@asks_server
def logs(
    name: str,
    environment: str,
    object_: str,
    lines: int,
    follow: bool,
    container: str,
    previous: bool,
    since: timedelta | None,
) -> int:
    """Print what an application's processes have printed, the newest last. With --output json as JSON lines.

    \b
    Example:
      trimtab app logs shop --object Process/web --follow
      trimtab app logs shop --object Deployment/shop/web --container migrate --previous
    """
    session = current()
    out = session.out
    colours: dict[str, str] = {}
    for line in session.client.logs(
        name,
        environment=environment,
        object=object_,
        lines=lines,
        follow=follow,
        container=container,
        previous=previous,
        since_seconds=max(1, int(since.total_seconds())) if since is not None else 0,
    ):
        if out.json:
            out.record(line)
            continue
        time = f" {absolute(line.time)}" if line.time else ""
        colour = colours.setdefault(line.source, SOURCES[len(colours) % len(SOURCES)])
        out.parts((f"{one_line(line.source)}", colour), (f"{time} | ", QUIET), one_line(line.text, characters_max=10_000))
        if follow:
            out.flush()
    return DONE
