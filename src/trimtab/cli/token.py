"""`trimtab token create|list|revoke`, `trimtab whoami` and `trimtab login`: who I am, and what I show to say so."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import click

from trimtab.cli.output import Out
from trimtab.cli.session import DONE, Session, asks_server, current, output_option
from trimtab.cli.times import Duration, absolute, ago
from trimtab.core.model.errors import UserError
from trimtab.core.model.views import NewTokenView, TokensView, TokenView, WhoView


@click.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command()
@click.option("--user", metavar="NAME", required=True, help="The User that it belongs to.")
@click.option(
    "--expires", type=Duration(), default="90d", show_default=True, help="How long it is good: whole days, at most 366d."
)
@click.option(
    "--action", "actions", metavar="ACTION", multiple=True, help="Narrow it to this action, such as read. May be repeated."
)
@click.option("--project", "projects", metavar="GLOB", multiple=True, help="Narrow it to these Projects. May be repeated.")
@click.option(
    "--environment", "environments", metavar="GLOB", multiple=True, help="Narrow it to these Environments. May be repeated."
)
@click.option(
    "--repository", "repositories", metavar="GLOB", multiple=True, help="Narrow it to these Repositories. May be repeated."
)
@click.option("--description", metavar="TEXT", default="", help="What it is for, for people.")
@asks_server
def create(
    user: str,
    expires: timedelta,
    actions: tuple[str, ...],
    projects: tuple[str, ...],
    environments: tuple[str, ...],
    repositories: tuple[str, ...],
    description: str,
) -> int:
    """Make a token for a User that Git declares. It is printed once, and nowhere else kept.

    It may do what the User may, or less, where it is narrowed.

    \b
    Example:
      trimtab token create --user ada --expires 30d
    """
    session = current()
    view = session.client.create_token(
        user,
        days=math.ceil(expires / timedelta(days=1)),
        description=description,
        actions=actions,
        projects=projects,
        environments=environments,
        repositories=repositories,
    )
    session.out.show(view, lambda: _tell_new(session, view))
    return DONE


@token.command(name="list")
@asks_server
def list_() -> int:
    """List tokens, without their secret: your own, or everybody's for an admin.

    \b
    Example:
      trimtab token list
    """
    session = current()
    view = session.client.tokens()
    session.out.show(view, lambda: _tell_tokens(session.out, view, session.now()))
    return DONE


@token.command()
@click.argument("id")
@asks_server
def revoke(id: str) -> int:  # noqa: A002
    """Revoke a token, at once: the next request that shows it is refused, and streams that run on it end.

    ID is what `trimtab token list` shows, or how it begins.

    \b
    Example:
      trimtab token revoke 3f2a91c0d4e5
    """
    session = current()
    view = session.client.revoke_token(id)
    session.out.show(view, lambda: session.out.line(f"Token {view.id} of {view.user} opens nothing any more."))
    return DONE


@click.command()
@asks_server
def whoami() -> int:
    """Who am I to the server, and what may I do?

    \b
    Example:
      trimtab whoami
    """
    session = current()
    view = session.client.whoami()
    session.out.show(view, lambda: _tell_who(session.out, view, session.now()))
    return DONE


@click.command()
@click.argument("url")
@click.option("--user", metavar="NAME", required=True, help="Your login.")
@output_option
def login(url: str, user: str) -> int:
    """Keep a token for the server at URL with git's credential helper, where git and trimtab find it. The token is asked for.

    \b
    Example:
      trimtab login https://trimtab.example.com --user ada
    """
    from trimtab.client import Client, remember

    session = current()
    shown = click.prompt("Token", hide_input=True, err=True).strip()
    view = Client(url, shown).whoami()
    if view.user != user:
        raise UserError(f"log in as {user}: this token belongs to {view.user}", remedy=f"Give --user {view.user}")
    remember(url, user, shown)
    session.out.show(view, lambda: session.out.line(f"Logged in at {url} as {view.user}."))
    return DONE


def _tell_new(session: Session, view: NewTokenView) -> None:
    session.out.line(view.secret)
    click.echo(
        f"Token {view.token.id} of {view.token.user}, good until {absolute(view.token.expires)}. It is not shown again.", err=True
    )


def _tell_tokens(out: Out, view: TokensView, now: datetime) -> None:
    if not view.tokens:
        out.line("There are no tokens.")
        return
    out.table(
        ["id", "user", "scope", "expires", "last used", "description"],
        [
            [
                one.id,
                one.user,
                _scope(one),
                one.ended or ago(one.expires, now),
                ago(one.used, now) if one.used else "never",
                one.description,
            ]
            for one in view.tokens
        ],
    )


def _tell_who(out: Out, view: WhoView, now: datetime) -> None:
    if view.operator:
        out.line("You hold the server's own token: you are the operator, and may everything.")
        return
    out.line(
        f"{view.user}" + (f" ({view.name})" if view.name else "") + (f", in {', '.join(view.groups)}" if view.groups else "")
    )
    for one in view.grants:
        limits = [f"{name} {', '.join(globs)}" for name, globs in one.scope.items() if globs != ["*"]]
        out.line(
            f"    {one.role} of {'; '.join(limits) or 'everything'}, by the Grant {one.grant}"
            + (", with emergency pushes" if one.emergency else "")
        )
    if not view.grants:
        out.line("    nothing is granted to you")
    if view.token is not None:
        out.line(f"Token {view.token.id}: {_scope(view.token)}; it expires {ago(view.token.expires, now)}")


def _scope(view: TokenView) -> str:
    parts = {
        "actions": view.actions,
        "projects": view.projects,
        "environments": view.environments,
        "repositories": view.repositories,
    }
    return "; ".join(f"{name} {', '.join(found)}" for name, found in parts.items() if found) or "not narrowed"
