"""`trimtab app …`: look at applications (look.py), act on them (act.py), read their logs (logs.py)."""

from __future__ import annotations

import click

from trimtab.cli.lazy import LazyGroup, Table

VERBS: Table = {
    "list": ("trimtab.cli.app.look:list_", "List applications: revision, sync and health."),
    "show": ("trimtab.cli.app.look:show", "Show an application: objects, health, what is held."),
    "plan": ("trimtab.cli.app.look:plan", "What would Trimtab do now, and what is held?"),
    "explain": ("trimtab.cli.app.look:explain", "Why is something done, or not done?"),
    "history": ("trimtab.cli.app.look:history", "The deployments of an application, newest first."),
    "logs": ("trimtab.cli.app.logs:logs", "What an application's processes print."),
    "sync": ("trimtab.cli.app.act:sync", "Look at once, and apply what differs."),
    "approve": ("trimtab.cli.app.act:approve", "Allow a held plan, by its hash."),
    "rollback": ("trimtab.cli.app.act:rollback", "Go back to what ran before."),
    "suspend": ("trimtab.cli.app.act:suspend", "Leave an application alone for a while."),
    "resume": ("trimtab.cli.app.act:resume", "Reconcile a suspended application again."),
}


@click.group(cls=LazyGroup, table=VERBS)
def app() -> None:
    """Look at applications, and act on them."""
