"""Words from repositories, remotes and git, made fit to be shown: one line, bounded, without escapes and without credentials."""

from __future__ import annotations

import re

LINE_CHARACTERS_MAX = 300

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_VERDICT = re.compile(r"^(fatal|error|remote error|ERROR):\s*", re.IGNORECASE)


def masked(text: str) -> str:
    """The text with user and password of every URL in it replaced.

    >>> masked("fatal: https://me:hush@example.org/x.git not found")
    'fatal: https://***@example.org/x.git not found'
    """
    return _CREDENTIALS.sub("***@", text)


def shown(name: str) -> str:
    r"""A name from a repository, so that it can stand in a message: control characters and stray bytes are escaped.

    >>> shown("caf\udce9\x1b[2J")
    'caf\\xe9\\x1b[2J'
    """
    raw = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(character if character.isprintable() else _escaped(character) for character in raw)
    return text if len(text) <= LINE_CHARACTERS_MAX else text[: LINE_CHARACTERS_MAX - 1] + "…"


def last_words(stderr: bytes) -> str:
    """The line of git's standard error that says what went wrong: the last fatal or error, else the last of all ("" for none)."""
    lines = [line for line in map(_clean, re.split(r"[\r\n]+", stderr.decode("utf-8", "replace"))) if line]
    verdicts = [line for line in lines if _VERDICT.match(line)]
    line = (verdicts or lines or [""])[-1]
    return masked(_VERDICT.sub("", line))[:LINE_CHARACTERS_MAX]


def _clean(line: str) -> str:
    return "".join(character for character in _ANSI.sub("", line) if character.isprintable()).strip()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
