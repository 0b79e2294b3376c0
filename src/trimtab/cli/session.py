"""What every command shares: the options --data, --server and --output, the client of the running server, and the screen.

A Session is made once per command line. Tests give it a client and a clock of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trimtab.cli.output import Out
from trimtab.cli.times import now

if TYPE_CHECKING:
    from trimtab.client import Client

DONE, FAILED, USAGE, DIFFERENT, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes. DIFFERENT also says that something is held."""

COMPLETION_VARIABLE = "_TRIMTAB_COMPLETE"
"""Set by a completion script: what the command line should say instead of doing anything."""

Command = TypeVar("Command", bound=Callable[..., Any])


def _connect(data: str | None, server: str | None, token_file: str | None = None) -> Client:
    from trimtab.client import Client

    return Client.find(data=data, server=server, token_file=token_file)


class Session:
    """``out`` writes to the screen; ``client`` is found when it is first asked for."""

    def __init__(self, *, connect: Callable[..., Client] = _connect, clock: Callable[[], datetime] = now) -> None:
        self._connect = connect
        self.now = clock
        self.data: str | None = None
        self.server: str | None = None
        self.token_file: str | None = None
        self.out = Out()

    @cached_property
    def client(self) -> Client:
        """Raises TrimtabError when no server can be found."""
        given = {"token_file": self.token_file} if self.token_file else {}
        return self._connect(self.data, self.server, **given)


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        session = context.find_object(Session)
        if session is not None and value is not None:
            setattr(session, name, value)

    return callback


def _set_output(context: click.Context, _: click.Parameter, value: str) -> None:
    session = context.find_object(Session)
    if session is not None:
        session.out.json = value == "json"


output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    expose_value=False,
    is_eager=True,
    callback=_set_output,
    help="How to print the answer.",
)
data_option = click.option(
    "--data",
    metavar="DIR",
    envvar="TRIMTAB_DATA",
    show_envvar=True,
    expose_value=False,
    is_eager=True,
    callback=_set("data"),
    help="The data directory of the server to ask.",
)
server_option = click.option(
    "--server",
    metavar="URL",
    envvar="TRIMTAB_SERVER",
    show_envvar=True,
    expose_value=False,
    is_eager=True,
    callback=_set("server"),
    help="The address of the server to ask.",
)
token_file_option = click.option(
    "--token-file",
    metavar="FILE",
    envvar="TRIMTAB_TOKEN_FILE",
    show_envvar=True,
    expose_value=False,
    callback=_set("token_file"),
    help="A file with the token to show to the server.",
)
environment_option = click.option(
    "--environment",
    "-e",
    metavar="NAME",
    default="",
    help="Only in this Environment.",
    shell_complete=lambda *found: _names(*found),
)


def render_options(command: Command) -> Command:
    """For commands that render by themselves."""
    for option in reversed(_RENDER_OPTIONS):
        command = option(command)
    return command


_RENDER_OPTIONS = (
    click.option("--helm", metavar="PROGRAM", default="", help="The helm to use, in place of trimtab[helm] or one on the PATH."),
    click.option("--plugin", metavar="NAME=COMMAND", multiple=True, help="A command that renders, for sources that name it."),
    click.option("--plugin-network", metavar="NAME", multiple=True, help="Let a plugin use the network."),
)


def asks_server(command: Command) -> Command:
    """The options of a command that asks a running server."""
    return data_option(server_option(output_option(command)))


def _names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from trimtab.cli.completion import environments

    return environments(context, parameter, incomplete)


def current() -> Session:
    """The Session of the command that is running."""
    return click.get_current_context().find_object(Session) or Session()
