"""`trimtab repository …`: what is followed, what to do when a history was rewritten, and the repositories that live in the server."""

from __future__ import annotations

from datetime import datetime

import click

from trimtab.cli.output import BAD, Out, short
from trimtab.cli.session import DONE, FAILED, asks_server, current
from trimtab.cli.times import ago
from trimtab.core.model.errors import UserError
from trimtab.core.model.text import one_line
from trimtab.core.model.views import HostedView, RepositoriesView


@click.group()
def repository() -> None:
    """Look at repositories: those that are followed, and those that live in the server."""


@repository.command(name="list")
@asks_server
def list_() -> int:
    """List the repositories that are followed: the commit that counts, and why one does not move. Then those that live here.

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


@repository.command()
@click.argument("name")
@click.option("--default-branch", metavar="BRANCH", default="main", show_default=True, help="The branch that people get.")
@asks_server
def create(name: str, default_branch: str) -> int:
    """Make a repository in the server, empty, to push to.

    \b
    Example:
      trimtab repository create shop
    """
    session = current()
    view = session.client.create_repository(name, default_branch)
    session.out.show(view, lambda: tell_hosted(session.out, view, session.client.url))
    return DONE


@repository.command(name="import")
@click.argument("name")
@click.argument("source", metavar="URL|PATH")
@asks_server
def import_(name: str, source: str) -> int:
    """Make a repository in the server, with the branches, tags and notes of another one. A path is one of the server's machine.

    \b
    Example:
      trimtab repository import shop https://git.example.org/shop.git
    """
    session = current()
    view = session.client.import_repository(name, source)
    session.out.show(view, lambda: tell_hosted(session.out, view, session.client.url))
    return DONE


@repository.command()
@click.argument("name")
@asks_server
def show(name: str) -> int:
    """Show a repository that lives in the server: where to clone it from, its default branch, its size.

    \b
    Example:
      trimtab repository show shop
    """
    session = current()
    view = session.client.hosted(name)
    session.out.show(view, lambda: tell_hosted(session.out, view, session.client.url))
    return DONE


@repository.command()
@click.argument("name")
@asks_server
def key(name: str) -> int:
    """Print a line for git's file of allowed signers that knows the merges which the server has signed in a repository of its.

    \b
    Example:
      trimtab repository key shop >> ~/.config/git/allowed_signers
    """
    session = current()
    view = session.client.hosted(name)
    if not view.signer:
        raise UserError("this server has no key to sign with", remedy="`trimtab doctor` says why")
    session.out.show(view, lambda: session.out.line(one_line(view.signer)))
    return DONE


@repository.command()
@click.argument("name")
@asks_server
def delete(name: str) -> int:
    """Take a repository of the server out of service. Its data is kept aside, where the answer says, until somebody removes it.

    \b
    Example:
      trimtab repository delete shop
    """
    session = current()
    view = session.client.delete_repository(name)
    session.out.show(view, lambda: session.out.line(view.message))
    return DONE


def tell_hosted(out: Out, view: HostedView, server: str) -> None:
    at = f"{view.default_branch} at {short(view.head)}" if view.head else f"{view.default_branch}, nothing pushed yet"
    out.line(f"{one_line(view.repository)}: {one_line(at)}, {view.bytes / 1_000_000:.1f} MB")
    if server.startswith("http"):
        out.line(f"    git clone {server}{view.path}")


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
    for hosted in view.hosted:
        tell_hosted(out, hosted, "")
