"""`trimtab change …`: look at changes (look.py), talk about them (talk.py), act on them (act.py, approve.py), have one here (checkout.py)."""

from __future__ import annotations

import click

from trimtab.cli.lazy import LazyGroup, Table

VERBS: Table = {
    "list": ("trimtab.cli.change.look:list_", "List changes, the newest first."),
    "show": ("trimtab.cli.change.look:show", "Show a change: what it would do, what is missing, what is said."),
    "plan": ("trimtab.cli.change.look:plan", "What would a change do, in each environment?"),
    "diff": ("trimtab.cli.change.look:diff", "What does a change alter in its files?"),
    "create": ("trimtab.cli.change.act:create", "Propose a branch that is pushed already."),
    "comment": ("trimtab.cli.change.talk:comment", "Comment, answer, resolve."),
    "approve": ("trimtab.cli.change.approve:approve", "See a plan, and approve that very plan."),
    "unapprove": ("trimtab.cli.change.approve:unapprove", "Take your approval back."),
    "merge": ("trimtab.cli.change.act:merge", "Merge it, as soon as nothing is missing."),
    "unmerge": ("trimtab.cli.change.act:unmerge", "Do not merge it after all."),
    "close": ("trimtab.cli.change.act:close", "Close it without merging it."),
    "reopen": ("trimtab.cli.change.act:reopen", "Open a closed one again."),
    "edit": ("trimtab.cli.change.act:edit", "Change its title, its description, or whether it is a draft."),
    "checkout": ("trimtab.cli.change.checkout:checkout", "Have it in this clone, to try it."),
}


@click.group(cls=LazyGroup, table=VERBS)
def change() -> None:
    """Propose, review and merge changes."""
