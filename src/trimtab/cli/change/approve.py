"""`trimtab change approve|unapprove`. An approval is of a plan that was shown: the plan comes first, then the question."""

from __future__ import annotations

import sys

import click

from trimtab.cli.change.here import session_here
from trimtab.cli.change.look import number_argument
from trimtab.cli.change.telling import HASH_CHARACTERS, tell_environment, tell_missing
from trimtab.cli.session import DONE, Session, asks_server, environment_option
from trimtab.core.model.changeviews import ChangeView
from trimtab.core.model.errors import Refused

ABBREVIATED_CHARACTERS_MIN = HASH_CHARACTERS


@click.command()
@number_argument
@environment_option
@click.option("--content", is_flag=True, help="Approve what is in the files, where that is asked for.")
@click.option("--plan", "plan_hash", metavar="HASH", default="", help="Approve this very plan, which was shown before.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@asks_server
def approve(number: int, environment: str, content: bool, plan_hash: str, yes: bool) -> int:
    """See the plan for an environment, and approve that very plan: when it becomes another one, your approval is void.

    Where you have approved an earlier plan, only the difference is shown. Without --yes or --plan you are asked, on a terminal. The environment may
    be left out where only one waits.

    \b
    Example:
      trimtab change approve 12 --environment production
    """
    session = session_here()
    view = session.client.change(number)
    where = "" if content else environment or _the_one(view)
    shown = _shown(session, view, where)
    if plan_hash and shown != plan_hash and not (len(plan_hash) >= ABBREVIATED_CHARACTERS_MIN and shown.startswith(plan_hash)):
        raise Refused(f"approve change {number}: the plan is {shown} now", remedy=f"See: trimtab change plan {number}")
    if not yes and not plan_hash and not _confirmed(where):
        session.out.line("Nothing was approved.")
        return DONE
    after = session.client.change_act(number, "approve", environment=where, hash=shown)
    session.out.show(after, lambda: _tell(session, after, where, shown))
    return DONE


@click.command()
@number_argument
@environment_option
@asks_server
def unapprove(number: int, environment: str) -> int:
    """Take your approval back: of one environment's plan, or of everything.

    \b
    Example:
      trimtab change unapprove 12
    """
    session = session_here()
    view = session.client.change_act(number, "unapprove", environment=environment)
    session.out.show(view, lambda: _taken_back(session, view))
    return DONE


def _the_one(view: ChangeView) -> str:
    """The Environment that an approval is asked for, where there is one."""
    asked = dict.fromkeys(one.environment for one in view.requirements if len(one.given) < one.count)
    if len(asked) != 1:
        waiting = ", ".join(name or "--content" for name in asked) or "nothing"
        raise click.UsageError(f"Say what you approve, with --environment or --content. What waits: {waiting}.")
    return next(iter(asked))


def _shown(session: Session, view: ChangeView, environment: str) -> str:
    """Show what would be approved, and return its hash."""
    if not environment:
        if not session.out.json:
            session.out.line(f"the content of change {view.number}: see trimtab change diff {view.number}")
        return view.content
    plans = session.client.change_plan(view.number, environment, since_approval=True).environments
    if not plans:
        raise Refused(
            f"approve change {view.number}: you may not read the plan for {environment}", remedy="Ask for the right to read it"
        )
    if not session.out.json:
        tell_environment(session.out, plans[0])
    return plans[0].hash


def _confirmed(environment: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Give --plan HASH, or --yes for the plan as it is now.")
    return click.confirm(f"Approve this plan for {environment}?" if environment else "Approve the content?")


def _tell(session: Session, view: ChangeView, environment: str, plan_hash: str) -> None:
    session.out.line(f"approved: {environment or 'the content'} {plan_hash}")
    tell_missing(session.out, view)


def _taken_back(session: Session, view: ChangeView) -> None:
    session.out.line("Your approval is taken back.")
    tell_missing(session.out, view)
