"""`trimtab app logs`: what an application's processes print."""

from __future__ import annotations

import click

from trimtab.cli.completion import applications
from trimtab.cli.output import QUIET
from trimtab.cli.session import DONE, asks_server, current, environment_option
from trimtab.cli.times import absolute
from trimtab.core.model.text import one_line


@click.command()
@click.argument("name", shell_complete=applications)
@environment_option
@click.option("--object", "object_", metavar="KIND/NAME", default="", help="Only of this object, such as Process/web.")
@click.option("--lines", "-n", type=click.IntRange(0, 10_000), default=100, show_default=True, help="How many of the last lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing what comes, until interrupted.")
@asks_server
def logs(name: str, environment: str, object_: str, lines: int, follow: bool) -> int:
    """Print what an application's processes have printed, the newest last. With --output json as JSON lines.

    \b
    Example:
      trimtab app logs shop --object Process/web --follow
    """
    session = current()
    out = session.out
    for line in session.client.logs(name, environment=environment, object=object_, lines=lines, follow=follow):
        if out.json:
            out.record(line)
            continue
        time = f" {absolute(line.time)}" if line.time else ""
        out.parts((f"{one_line(line.source)}{time} | ", QUIET), one_line(line.text, characters_max=10_000))
        if follow:
            out.flush()
    return DONE
