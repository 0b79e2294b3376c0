"""`trimtab change checkout`: git fetches what was pushed, and switches to it."""

from __future__ import annotations

import subprocess

import click

from trimtab.cli.change.here import git, remotes, session_here
from trimtab.cli.change.look import number_argument
from trimtab.cli.session import DONE, FAILED, Session, asks_server
from trimtab.core.model.changeviews import ChangeView
from trimtab.core.model.errors import UserError


@click.command()
@number_argument
@asks_server
def checkout(number: int) -> int:
    """Fetch the newest patch set of a change into this clone, as branch change-NUMBER, and switch to it.

    \b
    Example:
      trimtab change checkout 12
    """
    session = session_here()
    view = session.client.change(number)
    branch = f"change-{number}"
    known = bool(git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"))
    commands = [["git", "fetch", _source(session, view), view.ref]]
    if known:
        commands += [["git", "switch", branch], ["git", "merge", "--ff-only", "FETCH_HEAD"]]
    else:
        commands += [["git", "switch", "--create", branch, "FETCH_HEAD"]]
    for command in commands:
        if subprocess.run(command, stdout=subprocess.DEVNULL if session.out.json else None, check=False).returncode:
            return FAILED
    session.out.show(
        view, lambda: session.out.line(f"change {number}, patch set {view.patch_sets[-1].number}, is branch {branch} here")
    )
    return DONE


def _source(session: Session, view: ChangeView) -> str:
    """The remote of this clone that leads to the repository of the Change, or its address."""
    if not git("rev-parse", "--git-dir"):
        raise UserError("check out a change: this directory is no clone", remedy=f"git clone {session.client.url}{view.path}")
    names = [one.remote for one in remotes() if one.name == view.repository]
    return names[0] if names else f"{session.client.url}{view.path}"
