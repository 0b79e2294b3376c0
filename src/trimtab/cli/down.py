"""`trimtab down`: ends the server of a data directory, and everything that it runs."""

from __future__ import annotations

import click

from trimtab.cli.session import DONE, current, output_option
from trimtab.core.model.views import Accepted


@click.command()
@click.option(
    "--data", metavar="DIR", required=True, envvar="TRIMTAB_DATA", show_envvar=True, help="The data directory of the server."
)
@output_option
def down(data: str) -> int:
    """End the server, if it runs, and every process that it holds. Files that it has written stay.

    \b
    Example:
      trimtab down --data ~/.local/state/trimtab
    """
    from trimtab.wiring import down as run

    session = current()
    message = run(data)
    session.out.show(Accepted(message), lambda: session.out.line(message))
    return DONE
