"""The screen: sentences and tables for people, JSON for programs, errors for both.

Everything that is shown may stem from a repository or a process, so it goes through `core/model/text.py` on its way, and JSON has
unsafe characters as escapes, which does not change its meaning. Colours and rich's tables are for terminals; elsewhere a table
is text in columns.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from trimtab.core.model.errors import Problem, TrimtabError
from trimtab.core.model.text import one_line, printable
from trimtab.core.model.views import ErrorView, ProblemView

GOOD, BAD, WAITING, QUIET = "green", "red", "yellow", "bright_black"
COLOURS = {
    **dict.fromkeys(("healthy", "synced", "ok", "create", "adopt"), GOOD),
    **dict.fromkeys(("failed", "degraded", "missing", "remove"), BAD),
    **dict.fromkeys(
        ("pending", "applying", "progressing", "held", "drifted", "warning", "update", "replace", "handover", "run"), WAITING
    ),
    **dict.fromkeys(("superseded", "reverted", "suspended", "unknown"), QUIET),
}
"""The colour of a word wherever it stands alone."""

CELL_CHARACTERS_MAX = 500
FULL_ID = re.compile(r"[0-9a-f]{40}")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class Out:
    """``json`` says that a program reads; a command asks for it where it has two answers."""

    def __init__(self) -> None:
        self.json = False

    @property
    def terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def colours(self) -> bool:
        """See https://no-color.org: any value that is not empty turns colours off."""
        return self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def line(self, text: str = "") -> None:
        sys.stdout.write(printable(text) + "\n")

    def verbatim(self, text: str) -> None:
        """A text of many lines for another program: cleaned on a terminal only, where alone it can do harm."""
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) if self.terminal else text)

    def lines(self, *texts: str) -> None:
        for text in texts:
            self.line(text)

    def parts(self, *parts: str | tuple[str, str]) -> None:
        """One line from texts and (text, colour) pairs."""
        shown = []
        for part in parts:
            text, colour = (part, "") if isinstance(part, str) else part
            text = printable(text)
            shown.append(click.style(text, fg=colour) if colour and self.colours else text)
        sys.stdout.write("".join(shown) + "\n")

    def flush(self) -> None:
        sys.stdout.flush()

    def document(self, view: Any) -> None:
        """One JSON document."""
        sys.stdout.write(_safe_json(msgspec.json.format(msgspec.json.encode(view), indent=2)) + "\n")

    def record(self, view: Any) -> None:
        """One line of JSON lines, at once."""
        sys.stdout.write(_safe_json(msgspec.json.encode(view)) + "\n")
        sys.stdout.flush()

    def show(self, view: Any, text: Callable[[], None]) -> None:
        """The answer of a command: ``view`` for programs, or what ``text`` prints for people."""
        if self.json:
            self.document(view)
        else:
            text()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        clean = [[_indented(cell) for cell in row] for row in rows]
        if self.terminal:
            _rich_table(columns, clean, colours=self.colours)
        else:
            _plain_table(columns, clean)

    def problems(self, problems: Sequence[ProblemView | Problem], *, err: bool = False) -> None:
        """Every problem with its place, and below it what to do."""
        for problem in problems:
            for line in _problem_lines(problem):
                click.echo(line, err=err)

    def failure(self, error: Exception) -> None:
        """What a command could not do. With ``json`` one document on the standard output, and text on the standard error else."""
        message, remedy, problems = _explained(error)
        if self.json:
            self.document(ErrorView(message, remedy, [ProblemView.of(problem) for problem in problems]))
            return
        click.echo(f"trimtab: {printable(message)}", err=True)
        self.problems([problem for problem in problems if problem.message != message or problem.file], err=True)
        if remedy:
            click.echo(printable(remedy), err=True)


def _indented(cell: str) -> str:
    """A cell on one line; blanks before it stay, as they show what stands below what."""
    text = one_line(cell, characters_max=CELL_CHARACTERS_MAX)
    return " " * (len(cell) - len(cell.lstrip(" "))) + text if text else text


def short(revision: str) -> str:
    """The first characters of a full id; names stay as they are."""
    return revision[:10] if FULL_ID.fullmatch(revision) else one_line(revision)


def _explained(error: Exception) -> tuple[str, str, tuple[Problem, ...]]:
    if isinstance(error, TrimtabError):
        # An error that is one Problem carries its own text in it; it must not be said twice.
        return error.message, error.remedy, error.problems
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), "", ()
    from traceback import format_exception

    click.echo(printable("".join(format_exception(error))), err=True)
    return f"a defect in Trimtab: {type(error).__name__}: {error}", "Please report it, with what is printed above.", ()


def _problem_lines(problem: ProblemView | Problem) -> list[str]:
    place = f"{problem.file}:{problem.line}" if problem.file and problem.line else problem.file
    head = ": ".join(one_line(part) for part in (place, problem.field, problem.message) if part)
    return [f"  {head}", *([f"      {printable(problem.remedy)}"] if problem.remedy else [])]


def _safe_json(encoded: bytes) -> str:
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded.decode())


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = [[column.upper() for column in columns], *rows]
    widths = [max(len(row[index]) for row in table) for index in range(len(columns))]
    for row in table:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        # Text, never markup: brackets in a cell are somebody's text.
        table.add_row(*(Text(cell, style=_rich_style(cell)) for cell in row))
    Console(file=sys.stdout, force_terminal=colours, no_color=not colours, highlight=False).print(table)


def _rich_style(cell: str) -> str:
    return COLOURS.get(cell, "")
