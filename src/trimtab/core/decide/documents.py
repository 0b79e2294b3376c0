"""YAML and JSON as kubectl reads them: bytes of a file in, documents with the line that each starts at and Problems out.

libyaml tells the events and the builder below makes values of them by the rules of `scalars`: about one and a half times as
fast as PyYAML's own construction, and it never makes objects of tags. Duplicate keys are errors, aliases are counted before
they can do harm, and nothing but values and Problems leaves this module, whatever the bytes are. A document that is wrong
does not hide the others of its file. Lines of fields are found by reading the document once more, when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import DEFAULT, Limits
from trimtab.core.model.text import escaped, one_line

from . import scalars, sources
from .positions import Event, Path, dotted, positions


class Document(NamedTuple):
    """``value`` is a JSON value (never None at the root); ``line`` is where it starts, from 1."""

    value: Any
    line: int


class Documents(NamedTuple):
    """What a file says, in order, and what is wrong with it. Empty documents are left out."""

    documents: list[Document]
    problems: list[Problem]


def read(data: bytes, file: str, *, limits: Limits = DEFAULT) -> Documents:
    """The documents of a YAML or JSON file (JSON by the ending of ``file``, which otherwise only names it). Never raises."""
    problem = sources.unreadable(data, file, limits)
    if problem is not None:
        return Documents([], [problem])
    data = sources.prepared(data, file)
    try:
        return Documents(list(_Builder(data, limits).documents()), [])
    except (_Wrong, yaml.YAMLError):
        return _piece_by_piece(data, file, limits)


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """What the builder does not accept, with the line (from 0) and the remedy."""

    def __init__(self, message: str, line: int, remedy: str, *, duplicate: bool = False) -> None:
        self.message, self.line, self.remedy, self.duplicate = message, line, remedy, duplicate
        super().__init__(message)


_OPEN: Final = object()


class _Builder:
    """Values from libyaml's events. One per stream."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._next: Callable[[], Event] = CParser(data).get_event
        self._limits = limits
        self._plain: dict[str, scalars.Scalar] = {}
        self._keys: dict[str, str] = {}  # what an unquoted key means, and the one copy of its text
        self._anchors: dict[str, Any] = {}
        self._weights: dict[str, int] = {}
        self._alias_bytes = 0

    def documents(self) -> Iterator[Document]:
        self._next()
        count = 0
        while not isinstance(event := self._next(), StreamEndEvent):
            count += 1
            if count > self._limits.documents:
                text = f"the file has more than {self._limits.documents} documents"
                raise _Wrong(text, event.start_mark.line, "Split the file")
            self._anchors, self._weights, self._alias_bytes = {}, {}, 0
            event = self._next()
            value = self._node(event, 1)
            self._next()
            if value is not None:
                yield Document(value, event.start_mark.line + 1)

    def _node(self, event: Event, depth: int) -> Any:
        kind = event.__class__
        if kind is ScalarEvent:
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchor(event.anchor, value)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth > self._limits.depth:
            raise _Wrong(f"nested deeper than {self._limits.depth} levels", event.start_mark.line, "Flatten the document")
        if event.anchor is not None:
            self._anchor(event.anchor, _OPEN)
        made = self._mapping(depth) if kind is MappingStartEvent else self._sequence(depth)
        if event.anchor is not None:
            self._anchor(event.anchor, made)
        return made

    def _sequence(self, depth: int) -> list[Any]:
        values: list[Any] = []
        following, node = self._next, self._node
        while (event := following()).__class__ is not SequenceEndEvent:
            values.append(node(event, depth + 1))
        return values

    def _mapping(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        own: set[str] | None = None  # keys that the mapping has itself, once a merge has added others
        following, node, keys = self._next, self._node, self._keys
        while (event := following()).__class__ is not MappingEndEvent:
            if event.__class__ is ScalarEvent and event.value == "<<" and _is_merge(event):
                own = set(values) if own is None else own
                self._merge(values, node(following(), depth + 1), event)
                continue
            known = event.__class__ is ScalarEvent and event.implicit[0] and event.anchor is None and keys.get(event.value)
            key = known or self._key(event, depth)
            if key in (values if own is None else own):
                text = f'the key "{escaped(key)}" is there twice'
                raise _Wrong(text, event.start_mark.line, "Keep one of the two", duplicate=True)
            if own is not None:
                own.add(key)
            values[key] = node(following(), depth + 1)
        return values

    def _key(self, event: Event, depth: int) -> str:
        value = self._node(event, depth + 1)
        if isinstance(value, dict | list):
            raise _Wrong("a key is a mapping or a list, not text", event.start_mark.line, "Use a text as the key")
        try:
            key = scalars.key(value)
        except scalars.ScalarError as error:
            raise _Wrong(str(error), event.start_mark.line, "Give it a text; put null in quotes if that is its name") from None
        if event.__class__ is ScalarEvent and event.implicit[0] and event.anchor is None and event.tag is None:
            self._keys[event.value] = key
        return key

    def _scalar(self, event: Event) -> scalars.Scalar:
        text: str = event.value
        tag = event.tag
        if tag is None and not event.implicit[0]:
            return text
        try:
            if tag is not None:
                return scalars.tagged(tag, text)
            if text not in self._plain:
                self._plain[text] = scalars.plain(text)
            return self._plain[text]
        except scalars.ScalarError as error:
            raise _Wrong(one_line(str(error)), event.start_mark.line, "Put it in quotes if text is meant") from None

    def _merge(self, values: dict[str, Any], merged: Any, event: Event) -> None:
        # goyaml.v2 merges where the "<<" stands: it wins over keys before it, and keys after it win over it. Of several
        # mappings the first wins.
        for one in reversed(merged) if isinstance(merged, list) else [merged]:
            if not isinstance(one, dict):
                raise _Wrong(
                    '"<<" needs a mapping or a list of mappings', event.start_mark.line, 'Put "<<" in quotes if text is meant'
                )
            values.update(one)

    def _anchor(self, name: str, value: Any) -> None:
        self._anchors[name] = value
        self._weights.pop(name, None)

    def _alias(self, event: Event) -> Any:
        name, line = event.anchor, event.start_mark.line
        if name not in self._anchors:
            raise _Wrong(f'there is no anchor "{escaped(name)}" before this alias', line, "Define the anchor before it is used")
        value = self._anchors[name]
        if value is _OPEN:
            raise _Wrong(f'the anchor "{escaped(name)}" contains itself', line, "Write the value out")
        if name not in self._weights:
            self._weights[name] = _weight(value, self._limits.alias_bytes)
        self._alias_bytes += self._weights[name]
        if self._alias_bytes > self._limits.alias_bytes:
            text = f"aliases expand to more than {self._limits.alias_bytes} bytes"
            raise _Wrong(text, line, "Write the values out, or use fewer aliases")
        return value


def _is_merge(event: Event) -> bool:
    return bool(event.implicit[0]) if event.tag is None else event.tag == "tag:yaml.org,2002:merge"


def _weight(value: Any, most: int) -> int:
    """Roughly the bytes that ``value`` has when written out. The walk ends beyond ``most``: what it holds was bounded so far."""
    weight, stack = 0, [value]
    while stack and weight <= most:
        one = stack.pop()
        weight += 16
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, dict):
            weight += sum(map(len, one))
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
    return weight


def _piece_by_piece(data: bytes, file: str, limits: Limits) -> Documents:
    """Each document by itself, so that the good ones of a bad file are still known."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for piece, line in sources.pieces(data):
        if len(documents) > limits.documents or len(problems) >= limits.problems:
            break
        try:
            documents += [Document(one.value, one.line + line) for one in _Builder(piece, limits).documents()]
        except _Wrong as wrong:
            problems.append(_first_of_two(piece, line, wrong, file))
        except yaml.YAMLError as error:
            problems.append(sources.complaint(error, piece, line, file))
    if not problems:
        problems.append(Problem(f"the file has more than {limits.documents} documents", file, 1, remedy="Split the file"))
    return Documents(documents, problems)


def _first_of_two(piece: bytes, line: int, wrong: _Wrong, file: str) -> Problem:
    if not wrong.duplicate:
        return Problem(wrong.message, file, line + wrong.line + 1, remedy=wrong.remedy)
    seen: dict[tuple[int, Path], int] = {}
    for place in positions(piece):
        if place.is_key and (place.document, place.path) in seen:
            first = line + seen[place.document, place.path]
            text = f"{wrong.message}, first at line {first}"
            return Problem(text, file, line + place.line, dotted(place.path), wrong.remedy)
        seen.setdefault((place.document, place.path), place.line)
    return Problem(wrong.message, file, line + wrong.line + 1, remedy=wrong.remedy)
