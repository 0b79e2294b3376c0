"""Fields of a body by pointer, and by patterns of pointers: pure.

A pattern is an RFC 6901 pointer with two more things in its parts: `*` stands for any text of a key, and alone for each item of a list;
`[name=web]` stands for the items of a list whose `name` is `web`. A place is what a pattern comes to in a body: keys, indices, and
items by their key, since an item is the same one wherever it stands in its list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

PLACES_MAX = 1_000
"""More than this many places of one object are not looked at; a pattern that names more is no pattern for a person."""
_ITEM = re.compile(r"\[([^=\[\]]+)=(.*)\]")


class Item(NamedTuple):
    """The item of a list whose ``key`` has this ``value``."""

    key: str
    value: Any


Part = str | int | Item
Place = tuple[Part, ...]


class _Absent:
    pass


ABSENT = _Absent()


def parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def places(patterns: Iterable[str], *bodies: Any) -> tuple[Place, ...]:
    """Where ``patterns`` are in any of ``bodies``, each place once."""
    found: dict[Place, None] = {}
    for pattern in patterns:
        for body in bodies:
            for place in _matches(parts(pattern), body, ()):
                found[place] = None
                if len(found) == PLACES_MAX:
                    return tuple(found)
    return tuple(found)


def get(value: Any, place: Place) -> Any:
    """The value there; ABSENT where there is none."""
    for part in place:
        match part:
            case Item():
                index = _index(value, part)
                value = ABSENT if index is None else value[index]
            case int():
                value = value[part] if isinstance(value, list) and part < len(value) else ABSENT
            case _:
                value = value[part] if isinstance(value, dict) and part in value else ABSENT
        if value is ABSENT:
            return ABSENT
    return value


def put(value: Any, place: Place, new: Any, *, at: Any = None) -> Any:
    """``value`` with ``new`` at ``place``, made where it is not there. ``at`` is a body that shows where in its list a new item goes."""
    if not place:
        return new
    head, rest = place[0], place[1:]
    if isinstance(head, Item):
        return _put_item(value, head, rest, new, at)
    if isinstance(head, int):
        if not isinstance(value, list) or head >= len(value):
            return value
        return [*value[:head], put(value[head], rest, new, at=get(at, (head,))), *value[head + 1 :]]
    if isinstance(value, dict) and (head in value or _makes_room(rest)):
        room: Any = [] if rest and isinstance(rest[0], Item) else {}
        return {**value, head: put(value.get(head, room), rest, new, at=get(at, (head,)))}
    return value


def drop(value: Any, place: Place, *, beside: Any = ABSENT) -> Any:
    """``value`` without what is at ``place``, nor mappings that have nothing left in them thereby and that ``beside`` does not have."""
    head, rest = place[0], place[1:]
    if isinstance(value, dict) and head in value:
        other = get(beside, (head,))
        inner = drop(value[head], rest, beside=other) if rest else ABSENT
        if inner is ABSENT or (inner == {} and value[head] != {} and beside is not ABSENT and other is ABSENT):
            return {name: one for name, one in value.items() if name != head}
        return {**value, head: inner}
    index = _index(value, head) if isinstance(head, Item) else head
    if not isinstance(value, list) or not isinstance(index, int) or index >= len(value):
        return value
    inner = [drop(value[index], rest, beside=get(beside, (head,)))] if rest else []
    return [*value[:index], *inner, *value[index + 1 :]]


def shown(place: Place) -> str:
    """As a pointer, for people."""
    return "".join(f"/[{part.key}={part.value}]" if isinstance(part, Item) else f"/{escape(str(part))}" for part in place)


def _matches(wanted: list[str], value: Any, before: Place) -> Iterator[Place]:
    if not wanted:
        yield before
        return
    for part, inner in _steps(wanted[0], value):
        yield from _matches(wanted[1:], inner, (*before, part))


def _steps(wanted: str, value: Any) -> Iterator[tuple[Part, Any]]:
    if isinstance(value, dict):
        if wanted in value:
            yield wanted, value[wanted]
        elif "*" in wanted:
            yield from ((name, inner) for name, inner in value.items() if fnmatchcase(name, _glob(wanted)))
    elif isinstance(value, list):
        if selected := _ITEM.fullmatch(wanted):
            yield from _selected(selected[1], selected[2], value)
        elif wanted == "*":
            yield from enumerate(value)
        elif wanted.isdecimal() and int(wanted) < len(value):
            yield int(wanted), value[int(wanted)]


def _selected(key: str, wanted: str, items: list[Any]) -> Iterator[tuple[Part, Any]]:
    for item in items:
        value = item.get(key, ABSENT) if isinstance(item, dict) else ABSENT
        if isinstance(value, str | int) and fnmatchcase(str(value), _glob(wanted)):
            yield Item(key, value), item


def _glob(text: str) -> str:
    """Only `*` is special."""
    return re.sub(r"([\[?])", r"[\1]", text)


def _index(value: Any, item: Item) -> int | None:
    if not isinstance(value, list):
        return None
    return next((at for at, one in enumerate(value) if isinstance(one, dict) and one.get(item.key, ABSENT) == item.value), None)


def _put_item(value: Any, item: Item, rest: Place, new: Any, at: Any) -> Any:
    if not isinstance(value, list):
        return value
    index = _index(value, item)
    there = get(at, (item,))
    if index is not None:
        return [*value[:index], put(value[index], rest, new, at=there), *value[index + 1 :]]
    if rest:
        return value  # a field of an item that is not there is nobody's
    place = _index(at, item)
    place = len(value) if place is None else min(place, len(value))
    return [*value[:place], new, *value[place:]]


def _makes_room(rest: Place) -> bool:
    """Whether a way that is not there yet can be made: through mappings, and at its end to a new item of a list."""
    return not any(isinstance(part, int) for part in rest) and not any(isinstance(part, Item) for part in rest[:-1])
