"""How the demo looks: acts with a heading, commands with their output, ticks with what was measured. Plain text elsewhere.

Everything from a command is cleaned and cut to the width of the screen on its way.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence

import click

from trimtab.cli.output import BAD, COLOURS, GOOD, QUIET, Out
from trimtab.core.model.text import printable

WIDTH_MIN, WIDTH_MAX = 50, 100
READING_SECONDS = 1.0
"""A person needs a moment for the sentence below a heading. Nobody waits where nobody reads."""
TITLE = "cyan"
FANCY = {"tick": "✓", "cross": "✗", "rule": "─", "more": "…"}
PLAIN = {"tick": "+", "cross": "x", "rule": "-", "more": "..."}
_WORDS = re.compile(r"(?<![\w./-])(healthy|failed|held|pending|superseded|reverted|degraded|synced)(?![\w/-])")


class Screen:
    """``silent`` shows nothing at all: a program reads."""

    def __init__(self, *, silent: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = Out()
        self._silent = silent
        self._clock = clock
        self._began = clock()
        self._progress = False
        self._typed = False
        self.width = max(WIDTH_MIN, min(shutil.get_terminal_size((80, 24)).columns, WIDTH_MAX))
        self._signs = FANCY if _can_show("".join(FANCY.values())) else PLAIN

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return self._clock() - self._began

    def act(self, title: str, why: str) -> None:
        """A heading with the time, and what this is about."""
        elapsed = f"{self.seconds:.1f} s"
        room = self.width - len(title) - len(elapsed) - 2
        self._line()
        self._line(self._styled(title, fg=TITLE, bold=True), " " * max(1, room + 2), self._styled(elapsed, fg=QUIET))
        self._line(self._styled(self._signs["rule"] * self.width, fg=QUIET))
        self.say(why)
        if self._out.terminal and not self._silent:
            time.sleep(READING_SECONDS)

    def say(self, text: str) -> None:
        for line in textwrap.wrap(text, self.width):
            self._line(line)

    def command(self, line: str, *, who: str = "") -> None:
        """What a person would type; ``who`` is told where it is another one than before."""
        if not self._typed:
            self._line()
        prompt = f"  {who} $ " if who else "  $ "
        room = self.width - len(prompt) - 2
        first, *more = textwrap.wrap(line, room, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        self._line(self._styled(prompt, fg=QUIET), self._styled(first, bold=True))
        for part in more:
            self._line("    ", self._styled(part, bold=True))
        self._typed = True

    def output(self, text: str, *, lines_max: int = 12, wrap: bool = False, words: bool = True) -> None:
        """What a command has printed. A line that is too long is cut, or wrapped. ``words`` gives colours to phases."""
        lines = [line.rstrip() for line in printable(text).split("\n") if line.strip()]
        for line in lines[:lines_max]:
            for part in self._wrapped(line) if wrap else [self.cut(line, self.width - 4)]:
                self._line("    ", self._worded(part) if words else part)
        if len(lines) > lines_max:
            self._line(self._styled(f"    {self._signs['more']} and {len(lines) - lines_max} more lines", fg=QUIET))

    def tick(self, claim: str, measured: str) -> None:
        self._mark("tick", GOOD, claim, measured)

    def cross(self, claim: str, seen: str) -> None:
        self._mark("cross", BAD, claim, "")
        for line in textwrap.wrap(printable(seen), self.width - 4)[:12]:
            self._line("    ", line)

    def progress(self, text: str) -> None:
        """One line that is written over by the next; only on a terminal. "" takes it away."""
        if self._silent or not self._out.terminal or (not text and not self._progress):
            return
        shown = self._styled(self.cut(text, self.width - 4), fg=QUIET)
        sys.stdout.write(f"\r\x1b[K    {shown}" if text else "\r\x1b[K")
        sys.stdout.flush()
        self._progress = bool(text)

    def heading(self, text: str) -> None:
        self._line()
        self._line(self._styled(text, bold=True))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """What to type, and what for."""
        wide = max(len(left) for left, right in pairs if right)
        for left, right in pairs:
            self._line("  ", self._styled(left.ljust(wide), bold=True), "  ", self._styled(right, fg=QUIET))

    def blank(self) -> None:
        self._line()

    def cut(self, line: str, width: int) -> str:
        more = self._signs["more"]
        return line if len(line) <= width else line[: width - len(more)] + more

    def _mark(self, sign: str, colour: str, claim: str, measured: str) -> None:
        """The claim to the left, what was measured to the right; on a line of its own where there is no room."""
        room = self.width - 4
        *lines, last = textwrap.wrap(claim, room) or [""]
        if measured and len(last) + 2 + len(measured) > room:
            lines, last = [*lines, last], ""
        marks = [self._styled(self._signs[sign], fg=colour), *[" "] * len(lines)]
        for mark, line in zip(marks, lines, strict=False):
            self._line("  ", mark, " ", line)
        gap = " " * max(2, room - len(last) - len(measured))
        self._line("  ", marks[-1], " ", last, *((gap, self._styled(measured, fg=QUIET)) if measured else ()))

    def _wrapped(self, line: str) -> list[str]:
        """Broken after a blank or a comma, so that JSON stays readable too; what is too long for a line of its own is cut."""
        indent = " " * (len(line) - len(line.lstrip()))
        parts = [""]
        for piece in re.split(r"(?<=[ ,])", line.strip()):
            if len(indent) + 2 + len(parts[-1]) + len(piece.rstrip()) > self.width - 4:
                parts.append("")
            parts[-1] += piece
        first, *more = [part for part in parts if part]
        return [self.cut(part.rstrip(), self.width - 4) for part in (indent + first, *(f"{indent}  {part}" for part in more))]

    def _worded(self, line: str) -> str:
        if line.startswith(("+", "-")):
            return self._styled(line, fg=GOOD if line[0] == "+" else BAD)
        return _WORDS.sub(lambda word: self._styled(word[0], fg=COLOURS.get(word[0], "")), line)

    def _styled(self, text: str, *, fg: str = "", bold: bool | None = None) -> str:
        return click.style(text, fg=fg or None, bold=bold) if self._out.colours and text else text

    def _line(self, *parts: str) -> None:
        if not self._silent:
            self.progress("")
            self._typed = False
            sys.stdout.write("".join(parts).rstrip() + "\n")
            sys.stdout.flush()


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
