"""`trimtab repository list|wake|accept`: what is followed, and what to do when a history was rewritten."""

from __future__ import annotations

from datetime import datetime

import click

from trimtab.cli.output import BAD, Out, short
from trimtab.cli.session import DONE, FAILED, asks_server, current
from trimtab.cli.times import ago
from trimtab.core.model.text import one_line
from trimtab.core.model.views import RepositoriesView


@click.group()
def repository() -> None:
    """Look at the repositories that are followed."""


@repository.command(name="list")
@asks_server
def list_() -> int:
    """List the repositories that are followed: the commit that counts, and why one does not move.

    The exit code is 1 when one of them cannot be followed now.

    \b
    Example:
      trimtab repository list
    """
    session = current()
    view = session.client.repositories()
    session.out.show(view, lambda: tell_repositories(session.out, view, session.now()))
    return FAILED if any(row.message for row in view.repositories) else DONE


@repository.command()
@click.argument("repository", required=False, default="")
@asks_server
def wake(repository: str) -> int:
    """Fetch REPOSITORY now, or all of them. For hooks: a push that Trimtab is told of is seen at once.

    \b
    Example:
      trimtab repository wake
    """
    session = current()
    view = session.client.wake(repository)
    session.out.show(view, lambda: session.out.line(view.message))
    return DONE


@repository.command()
@click.argument("repository")
@click.argument("revision")
@asks_server
def accept(repository: str, revision: str) -> int:
    """Follow a history that was rewritten by a force-push. Until then, what runs stays as it is.

    REVISION is the new commit, as `trimtab repository list` shows it.

    \b
    Example:
      trimtab repository accept https://git.example.org/shop.git 3f2a91c0d4
    """
    session = current()
    view = session.client.accept(repository, revision)
    session.out.show(view, lambda: session.out.line(view.message))
    return DONE


def tell_repositories(out: Out, view: RepositoriesView, now: datetime) -> None:
    if not view.repositories:
        out.line("No repository is followed.")
    for row in view.repositories:
        of = f" ({one_line(row.revision_expression)})" if row.revision_expression else ""
        seen = f", seen {ago(row.seen, now)}" if row.seen else ""
        out.line(f"{one_line(row.repository)}{of}: {short(row.revision) or 'nothing yet'}{seen}")
        if row.message:
            out.parts("    ", (one_line(row.message), BAD))
        if row.remedy:
            out.line(f"    {one_line(row.remedy)}")
