"""`trimtab change create|merge|unmerge|close|reopen|edit`."""

from __future__ import annotations

import time
from datetime import timedelta

import click

from trimtab.cli.change.here import branch_here, repository_here, session_here
from trimtab.cli.change.look import number_argument
from trimtab.cli.change.telling import tell_change, tell_missing
from trimtab.cli.output import short
from trimtab.cli.session import DIFFERENT, DONE, FAILED, Session, asks_server
from trimtab.cli.times import Duration
from trimtab.core.model.changeviews import ChangeView
from trimtab.core.model.text import one_line

PAUSE_SECONDS = 0.5


@click.command()
@click.argument("branch", required=False, default="")
@click.option("--repository", metavar="NAME", default="", help="The hosted repository. Default: that of this clone.")
@click.option("--target", metavar="BRANCH", default="", help="The branch to be changed. Default: the default branch.")
@click.option("--title", metavar="TEXT", default="", help="What it is called. Default: as its first commit.")
@click.option("--description", metavar="TEXT", default="", help="What there is to say of it. Default: as its commits.")
@click.option("--draft", is_flag=True, help="Not to be merged yet.")
@asks_server
def create(branch: str, repository: str, target: str, title: str, description: str, draft: bool) -> int:
    """Propose BRANCH, which is pushed already; without it, the branch that is checked out. `git push -o change` does both at once.

    \b
    Example:
      trimtab change create more-replicas --title "Three replicas"
    """
    session = session_here()
    here = repository_here(session) if not repository else None
    repository, branch = repository or (here.name if here is not None else ""), branch or branch_here()
    if not repository or not branch:
        raise click.UsageError("Name the branch and its --repository; this directory is no clone that tells them.")
    view = session.client.create_change(repository, branch, target=target, title=title, description=description, draft=draft)
    session.out.show(view, lambda: tell_change(session.out, view, [], session.now()))
    return DONE


@click.command()
@number_argument
@click.option("--wait", is_flag=True, help="Wait until it is merged, or cannot be.")
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="How long to wait, such as 60s, 5m or 1h.")
@asks_server
def merge(number: int, wait: bool, timeout: timedelta) -> int:
    """Merge a change: at once when nothing is missing, and otherwise as soon as nothing is. A new push ends that wish.

    The exit code is 0 when it is merged, 3 when something is missing still, 1 when it was tried and failed.

    \b
    Example:
      trimtab change merge 12 --wait
    """
    session = session_here()
    view = session.client.change_act(number, "merge")
    if wait:
        view = _waited(session, view, timeout)
    session.out.show(view, lambda: _tell_merge(session, view))
    if view.stage == "merged":
        return DONE
    return DIFFERENT if view.wanted_by else FAILED


@click.command()
@number_argument
@asks_server
def unmerge(number: int) -> int:
    """Take back that you want a change merged; nothing that is merged is undone by it.

    \b
    Example:
      trimtab change unmerge 12
    """
    return _done(number, "unmerge", "It is not merged by itself any more.")


@click.command()
@number_argument
@click.option("--reason", metavar="TEXT", default="", help="Why.")
@asks_server
def close(number: int, reason: str) -> int:
    """Close a change without merging it. It can be reopened.

    \b
    Example:
      trimtab change close 12 --reason "no longer needed"
    """
    return _done(number, "close", "closed", reason=reason)


@click.command()
@number_argument
@asks_server
def reopen(number: int) -> int:
    """Open a closed change again; it has to be approved anew.

    \b
    Example:
      trimtab change reopen 12
    """
    return _done(number, "reopen", "open again")


@click.command()
@number_argument
@click.option("--title", metavar="TEXT", default="", help="What it is called from now on.")
@click.option("--description", metavar="TEXT", default=None, help="What there is to say of it from now on.")
@click.option("--draft/--ready", default=None, help="Not to be merged yet, or ready.")
@asks_server
def edit(number: int, title: str, description: str | None, draft: bool | None) -> int:
    """Change the title or the description of a change, or whether it is a draft.

    \b
    Example:
      trimtab change edit 12 --ready
    """
    return _done(number, "edit", "changed", title=title, description=description, draft=draft)


def _done(number: int, verb: str, said: str, **parameters: object) -> int:
    session = session_here()
    view = session.client.change_act(number, verb, **parameters)
    session.out.show(view, lambda: session.out.line(f"change {view.number}: {one_line(view.title)}: {said}"))
    return DONE


def _waited(session: Session, view: ChangeView, timeout: timedelta) -> ChangeView:
    deadline = time.monotonic() + timeout.total_seconds()
    while view.stage == "open" and view.wanted_by and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        view = session.client.change(view.number)
    return view


def _tell_merge(session: Session, view: ChangeView) -> None:
    if view.stage == "merged":
        session.out.line(f"change {view.number}: merged into {one_line(view.target)} as {short(view.merged)}")
        return
    if not view.wanted_by:
        session.out.line(f"change {view.number}: it was not merged")
    tell_missing(session.out, view)
