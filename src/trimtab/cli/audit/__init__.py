"""`trimtab audit …`: trails from the server (trails.py), and what Git alone can tell (rebuild.py)."""

from __future__ import annotations

import click

from trimtab.cli.lazy import LazyGroup, Table

VERBS: Table = {
    "verify": ("trimtab.cli.audit.trails:verify", "Does every trail hold?"),
    "show": ("trimtab.cli.audit.trails:show", "The trail of a change or of an environment."),
    "export": ("trimtab.cli.audit.trails:export", "Trails as JSON lines or CSV."),
    "rebuild": ("trimtab.cli.audit.rebuild:rebuild", "What a clone alone can tell. Works without a server."),
}


@click.group(cls=LazyGroup, table=VERBS)
def audit() -> None:
    """Who proposed, approved and merged what, and what became of it: shown, exported, and proven to be unchanged."""
