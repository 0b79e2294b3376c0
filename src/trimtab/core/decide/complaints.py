"""What an external checker has said, read from its exit code and its output: Problems, none when it has nothing against it.

Three ways to say it: conftest's JSON (a list of files with ``failures``, each with ``msg``), a JSON list of texts or of objects with
``message``, ``file``, ``line``, ``remedy``, or plain lines with a failing exit code. https://www.conftest.dev/options/#output
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trimtab.core.model.errors import Problem
from trimtab.core.model.text import one_line, printable

COMPLAINTS_MAX = 100
TEXT_CHARACTERS_MAX = 500


def complaints(name: str, code: int, output: bytes, errors: bytes) -> tuple[Problem, ...]:
    """``code`` 0 and nothing said is a pass; any other code without a word is a complaint about the checker itself."""
    text = output.decode("utf-8", "replace").strip()
    try:
        found = tuple(_read(msgspec.json.decode(text))) if text else ()
    except msgspec.DecodeError:
        found = tuple(Problem(one_line(line)) for line in printable(text).splitlines() if line.strip()) if code else ()
    if found or code == 0:
        return found[:COMPLAINTS_MAX]
    words = one_line(errors.decode("utf-8", "replace"), characters_max=TEXT_CHARACTERS_MAX) or "it said nothing"
    return (Problem(f"checker {name} failed with {code}: {words}", remedy="Run it by hand with the same input"),)


def _read(value: Any) -> Iterator[Problem]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield Problem(_line(one))
        elif isinstance(one, dict) and isinstance(one.get("failures"), list):
            yield from (
                _problem(failure, str(one.get("filename", ""))) for failure in one["failures"] if isinstance(failure, dict)
            )
        elif isinstance(one, dict) and ("message" in one or "msg" in one):
            yield _problem(one, "")


def _problem(said: dict[str, Any], file: str) -> Problem:
    line = said.get("line")
    return Problem(
        _line(said.get("message", said.get("msg", ""))) or "it is against it without a word",
        _line(said.get("file", "")) or _line(file),
        line if isinstance(line, int) and not isinstance(line, bool) and 0 < line < 1 << 31 else 0,
        remedy=_line(said.get("remedy", "")),
    )


def _line(text: Any) -> str:
    return one_line(text, characters_max=TEXT_CHARACTERS_MAX) if isinstance(text, str) else ""
