"""Where a field stands: a file and the path of a field in, the line out; and which key of a mapping came first.

Lines are not kept while values are read, since hardly anybody asks for them: the one document is walked again instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec
import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.text import escaped

from . import scalars, sources

Path = tuple[str | int, ...]
"""Keys and indices from a document's root to a field: ``("spec", "environments", 0, "name")``."""

_PARTS = re.compile(r"\[\d+\]|[^.\[]+")

Event = Any
"""An event of libyaml; its attributes depend on its class, and the class is asked for first."""


def line_of(data: bytes, file: str, document_line: int, path: Path) -> int:
    """The line of the field at ``path`` in the document that starts at ``document_line``, or of what is nearest above it."""
    return lines_of(data, file, document_line, [path])[path]


def lines_of(data: bytes, file: str, document_line: int, paths: Collection[Path]) -> dict[Path, int]:
    """As `line_of`, for several fields in one walk. Never raises."""
    found = {path[:depth]: document_line for path in paths for depth in range(len(path) + 1)}
    if sources.unreadable(data, file, DEFAULT) is None:
        for place in _positions_at(sources.prepared(data, file), document_line):
            if place.document == document_line and place.path in found:
                found[place.path] = place.line
    return {path: max(found[path[:depth]] for depth in range(len(path) + 1)) for path in paths}


def pinned(problem: Problem, data: bytes) -> Problem:
    """``problem`` with the line of its field, where it came with that of its document; ``data`` is the content of its file."""
    path: Path = tuple(int(part[1:-1]) if part.startswith("[") else part for part in _PARTS.findall(problem.field))
    if not path or not problem.line:
        return problem
    return msgspec.structs.replace(problem, line=line_of(data, problem.file, problem.line, path))


def dotted(path: Path) -> str:
    """For people: ``spec.environments[0].name``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return escaped(text.removeprefix("."))


class Place(NamedTuple):
    """A field: ``document`` is the line at which its document starts, ``line`` its own; ``is_key`` sets it off from list items."""

    document: int
    path: Path
    line: int
    is_key: bool


def _positions_at(data: bytes, document_line: int) -> Iterator[Place]:
    """The places of the piece that holds the line, counted from the start of the file."""
    for piece, line in sources.pieces(data):
        if line < document_line <= line + piece.count(b"\n") + 1:
            for place in positions(piece):
                yield place._replace(document=place.document + line, line=place.line + line)


def positions(data: bytes) -> Iterator[Place]:
    """Every field with its line, in order, as far as the text can be read. Merged keys stand where they were written."""
    following = CParser(data).get_event
    try:
        following()
        while not isinstance(following(), StreamEndEvent):
            yield from _positions_of_one(following)
    except yaml.YAMLError:
        return


def _positions_of_one(following: Any) -> Iterator[Place]:
    start = 0
    stack: list[tuple[Path, list[Any]]] = []  # the path of each open node, and [index | None, waiting key | None]
    while not isinstance(event := following(), DocumentEndEvent):
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            stack.pop()
            continue
        line = event.start_mark.line + 1
        start = start or line
        path: Path = ()
        if stack:
            above, state = stack[-1]
            if state[0] is not None:
                path = (*above, state[0])
                state[0] += 1
                yield Place(start, path, line, is_key=False)
            elif state[1] is None:
                key = _key_text(event)
                state[1] = key
                path = (*above, key)
                yield Place(start, path, line, is_key=key != "<<")
                if isinstance(event, ScalarEvent | AliasEvent):
                    continue
            else:
                path = (*above, state[1])
                state[1] = None
        if isinstance(event, MappingStartEvent):
            stack.append((path, [None, None]))
        elif isinstance(event, SequenceStartEvent):
            stack.append((path, [0, None]))


def _key_text(event: Event) -> str:
    """The key as the builder has it; what the builder refuses has no place of its own."""
    if not isinstance(event, ScalarEvent):
        return ""
    try:
        if event.tag is not None:
            return scalars.key(scalars.tagged(event.tag, event.value))
        return scalars.key(scalars.plain(event.value)) if event.implicit[0] else str(event.value)
    except scalars.ScalarError:
        return ""
