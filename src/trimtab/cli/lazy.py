"""A click group whose commands are modules that are imported when they are run, so that `--help` and each command start quickly.

The table of a group names each command, the line that the list of commands shows for it, and the module and attribute that hold
it. The line stands in the table because reading it from the command would import every module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

Table = dict[str, tuple[str, str]]
"""Name of the command -> (``module:attribute``, its line in the list)."""


class LazyGroup(click.Group):
    """``LazyGroup(name, table={"status": ("trimtab.cli.status:status", "Where is my commit?")})``"""

    def __init__(self, *args: Any, table: Table, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.table:
            raise click.UsageError(self._unknown(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])

    def _unknown(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self.table, n=1)
        return f"There is no command {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
