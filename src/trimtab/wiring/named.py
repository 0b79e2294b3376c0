"""Commands that the operator gives the server under a name, as ``NAME=COMMAND``: plugins and checkers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from trimtab.core.model.errors import UserError

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


def named_commands(what: str, texts: Iterable[str], *, example: str) -> dict[str, tuple[str, ...]]:
    """``what`` is what they are called, ``example`` one of them. Raises UserError for what none can be."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, words = text.partition("=")
        arguments = _words(words)
        if not equals or not _NAME.fullmatch(name) or not arguments:
            raise UserError(f"read the {what} {text}: NAME=COMMAND is wanted", remedy=f"Such as --{what} {example}")
        if name in found:
            raise UserError(f"read the {what} {text}: {name} is there twice", remedy="Give each its own name")
        found[name] = arguments
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"read the command {text}: {error}", remedy="Close the quotes") from error
