"""`trimtab completion SHELL`, and the names that complete: those of a running server, quietly nothing where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click

from trimtab.cli.session import COMPLETION_VARIABLE, DONE, Session
from trimtab.core.model.text import is_safe_line

NAMES_MAX = 1000


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script for a shell.

    \b
    Example:
      eval "$(trimtab completion bash)"          # in ~/.bashrc
      eval "$(trimtab completion zsh)"           # in ~/.zshrc
      trimtab completion fish > ~/.config/fish/completions/trimtab.fish
    """
    from click.shell_completion import get_completion_class

    from trimtab.cli.main import root

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(root, {}, "trimtab", COMPLETION_VARIABLE).source())
    return DONE


def applications(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return _names(context, incomplete, lambda client: {row.name for row in client.applications().applications})


def changes(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The numbers of those that are open."""
    return _names(context, incomplete, lambda client: {str(row.number) for row in client.changes(stage="open").changes})


def environments(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return _names(context, incomplete, lambda client: {row.name for row in client.environments().environments})


def _names(context: click.Context, incomplete: str, ask: Callable[[Any], Iterable[str]]) -> list[str]:
    session = context.find_object(Session) or Session()
    # While completing, click parses leniently and calls no callbacks: the options have to be looked up.
    session.data = context.params.get("data") or session.data or os.environ.get("TRIMTAB_DATA")
    session.server = context.params.get("server") or session.server or os.environ.get("TRIMTAB_SERVER")
    try:
        names = ask(session.client)
    except Exception:
        return []  # Somebody is typing: no server, no names.
    return sorted(name for name in names if name.startswith(incomplete) and is_safe_line(name))[:NAMES_MAX]
