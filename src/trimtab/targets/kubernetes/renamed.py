"""Elements of lists to which somebody has given another key, where an apply cannot put the old one beside the new one. Pure.

Server-side apply knows the elements of a list by their keys (a Service's ports by port and protocol). Whoever edits a key has, for the server,
removed our element and added one of their own; an apply of ours brings ours back and leaves theirs, and where the two cannot both be
(two ports of one name) it is refused, for ever. The cure is to make theirs ours first, in ``managedFields``: then the same apply takes it away.

Theirs is what carries all that Git says of the missing element but its keys. It is left alone when there is more than one it could be, and when
somebody who applies (rather than edits) owns it: that was added rightfully.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from trimtab.core.model.manifest import Body

from .adoption import joined, written
from .fields import Tree, names, tree
from .objects import Manager

Way = tuple[str, ...]
"""Of names in a tree of fields: ``("f:spec", "f:ports", 'k:{"port":81,"protocol":"TCP"}')``."""


class Renamed(msgspec.Struct, frozen=True):
    """``element`` is what is there, under ``way``; ``wanted`` is what Git says in its place."""

    way: Way
    element: dict[str, Any]
    wanted: dict[str, Any]


def renamed(wanted: Body, live: Body, entries: Sequence[Manager], manager: str) -> list[Renamed]:
    """Every element that somebody else has given another key."""
    trees = [tree(bytes(entry.fields)) for entry in entries]
    found = list(_walk(wanted, live, trees, ()))
    return [one for one in found if _edited(one.way, entries, manager)]


def taken_back(found: Sequence[Renamed], entries: Sequence[Manager], manager: str) -> list[dict[str, Any]] | None:
    """The ``managedFields`` in which ``manager`` owns them, alone; None when their owner writes another version than ours."""
    ours = next((entry for entry in entries if _is(entry, manager)), None)
    owners = [entry for entry in entries if entry is not ours and any(_at(entry, one.way) for one in found)]
    if ours is None or any(entry.api_version != ours.api_version for entry in owners):
        return None
    mine, kept = tree(bytes(ours.fields)), []
    for entry in entries:
        if entry is ours:
            continue
        left = tree(bytes(entry.fields))
        for one in found:
            part = _part(left, one.way)
            if part is not None:
                mine = joined(mine, _wrapped(part, one.way))
                left = _pruned(left, one.way)
        if left:
            kept.append(written(entry, left))
    return [*kept, written(ours, mine)]


def put_back(live: Body, found: Sequence[Renamed]) -> Body:
    """``live`` as it will be: with Git's elements in the place of the others."""

    def over(value: Any) -> Any:
        if isinstance(value, dict):
            for one in found:
                if value is one.element:
                    return {**value, **one.wanted}
            return {name: over(inner) for name, inner in value.items()}
        return [over(inner) for inner in value] if isinstance(value, list) else value

    changed: Body = over(live)
    return changed


def _walk(wanted: Any, live: Any, trees: list[Tree], way: Way) -> Iterator[Renamed]:
    if isinstance(wanted, dict) and isinstance(live, dict):
        for name in wanted.keys() & live.keys():
            yield from _walk(wanted[name], live[name], _inside(trees, f"f:{name}"), (*way, f"f:{name}"))
    elif isinstance(wanted, list) and isinstance(live, list):
        yield from _elements(wanted, live, trees, way)


def _elements(wanted: list[Any], live: list[Any], trees: list[Tree], way: Way) -> Iterator[Renamed]:
    keyed = {name: tree(name[2:].encode()) for each in trees for name in each if name.startswith("k:")}
    there = {
        name: element
        for name, keys in keyed.items()
        for element in live
        if isinstance(element, dict) and keys and all(element.get(key) == value for key, value in keys.items())
    }
    missing = []
    for element in (each for each in wanted if isinstance(each, dict)):
        name = next((name for name in there if names(keyed[name], element)), None)
        if name is None:
            missing.append(element)
        else:
            yield from _walk(element, there.pop(name), _inside(trees, name), (*way, name))
    for element in missing:
        could = [name for name, other in there.items() if _carries(other, element, keyed[name])]
        if len(could) == 1 and (len(missing) == 1 or element.keys() - keyed[could[0]].keys()):
            yield Renamed((*way, could[0]), there.pop(could[0]), element)


def _carries(there: Any, wanted: dict[str, Any], keys: Tree) -> bool:
    return all(_within(value, there.get(name)) for name, value in wanted.items() if name not in keys)


def _within(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(_within(value, there.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        return len(wanted) == len(there) and all(map(_within, wanted, there))
    return bool(wanted == there)


def _inside(trees: list[Tree], name: str) -> list[Tree]:
    return [each[name] for each in trees if isinstance(each.get(name), dict)]


def _edited(way: Way, entries: Sequence[Manager], manager: str) -> bool:
    """True when only writes of single people and programs own it, and none that applies or writes a subresource."""
    owners = [entry for entry in entries if _at(entry, way)]
    return bool(owners) and all(
        entry.operation == "Update" and not entry.subresource and not _is(entry, manager) for entry in owners
    )


def _is(entry: Manager, manager: str) -> bool:
    return (entry.manager, entry.operation, entry.subresource) == (manager, "Apply", "")


def _at(entry: Manager, way: Way) -> bool:
    return _part(tree(bytes(entry.fields)), way) is not None


def _part(fields: Tree, way: Way) -> Tree | None:
    for name in way:
        if not isinstance(fields, dict) or name not in fields:
            return None
        fields = fields[name]
    return fields


def _wrapped(part: Tree, way: Way) -> Tree:
    for name in reversed(way):
        part = {name: part}
    return part


def _pruned(fields: Tree, way: Way) -> Tree:
    """Without what stands under ``way``, nor what is left empty by that."""
    name, *rest = way
    if not rest:
        return {each: inner for each, inner in fields.items() if each != name}
    inner = _pruned(fields[name], tuple(rest))
    return {**fields, name: inner} if inner else {each: inner for each, inner in fields.items() if each != name}
