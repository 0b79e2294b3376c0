"""`trimtab change list|show|plan|diff`: what is proposed, what it would do, and what is missing."""

from __future__ import annotations

import click

from trimtab.cli.change.here import repository_here, session_here
from trimtab.cli.change.telling import tell_change, tell_diff, tell_list, tell_plans
from trimtab.cli.completion import changes
from trimtab.cli.session import DIFFERENT, DONE, asks_server, environment_option

number_argument = click.argument("number", type=click.IntRange(min=1), shell_complete=changes)


@click.command(name="list")
@click.option(
    "--stage", type=click.Choice(["open", "merged", "closed", "all"]), default="open", show_default=True, help="Only these."
)
@click.option(
    "--repository", metavar="NAME", default="", help="Only of this hosted repository. Default: that of this clone, or all."
)
@click.option("--author", metavar="USER", default="", help="Only those by this user.")
@click.option("--before", metavar="NUMBER", type=click.IntRange(min=1), default=None, help="Only older ones: the next page.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@asks_server
def list_(stage: str, repository: str, author: str, before: int | None, limit: int) -> int:
    """List changes, the newest first, with the first thing that each one lacks.

    \b
    Example:
      trimtab change list --author ada
    """
    session = session_here()
    here = repository_here(session) if not repository else None
    view = session.client.changes(
        repository=repository or (here.name if here is not None else ""),
        stage="" if stage == "all" else stage,
        author=author,
        before=before or 0,
        limit=limit,
    )
    session.out.show(view, lambda: tell_list(session.out, view))
    return DONE


@click.command()
@number_argument
@asks_server
def show(number: int) -> int:
    """Show a change: what it would do where, what the checks say, who approved, what is said, and what is missing.

    The exit code is 3 while something is missing.

    \b
    Example:
      trimtab change show 12
    """
    session = session_here()
    view = session.client.change(number)
    if session.out.json:
        session.out.document(view)
    else:
        tell_change(session.out, view, session.client.change_comments(number).comments, session.now())
    return DIFFERENT if view.missing else DONE


@click.command()
@number_argument
@environment_option
@click.option("--since-approval", is_flag=True, help="Only what differs from the plan that you approved.")
@asks_server
def plan(number: int, environment: str, since_approval: bool) -> int:
    """What would a change do, in each environment? Made against what runs now, and masked; nothing is changed.

    The exit code is 3 when there are differences.

    \b
    Example:
      trimtab change plan 12 --environment production
    """
    session = session_here()
    view = session.client.change_plan(number, environment, since_approval=since_approval)
    session.out.show(view, lambda: tell_plans(session.out, view))
    return DIFFERENT if view.environments else DONE


@click.command()
@number_argument
@click.option("--patch-set", type=click.IntRange(min=1), default=None, help="As it was pushed then. Default: the newest.")
@click.option("--path", metavar="PATH", default="", help="Only this file or directory.")
@asks_server
def diff(number: int, patch_set: int | None, path: str) -> int:
    """What does a change alter in its files, since it left the branch that it is for?

    \b
    Example:
      trimtab change diff 12 --path apps/shop
    """
    session = session_here()
    view = session.client.change_diff(number, patch_set=patch_set or 0, path=path)
    session.out.show(view, lambda: tell_diff(session.out, view))
    return DONE
