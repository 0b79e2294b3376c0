"""The objects of an application as a table, and below each what stands behind it, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from trimtab.cli.output import Out
from trimtab.cli.times import length
from trimtab.core.decide.order import FOUNDATION
from trimtab.core.model.views import ChildView, ObjectView

Row = list[str]


def tell_objects(out: Out, objects: Sequence[ObjectView], now: datetime) -> None:
    """With columns for replicas and age where anything stands behind anything."""
    if not any(one.children or one.more or one.folded for one in objects):
        out.table(
            ["object", "sync", "health", "wave", "from", "message"],
            [[str(one.object), one.sync, one.health.value, _wave(one), place(one), one.message] for one in objects],
        )
        return
    rows: list[Row] = []
    for one in objects:
        rows.append([str(one.object), one.sync, one.health.value, "", "", _wave(one), place(one), one.message])
        rows += _below(one.children, one.more, one.folded, "", now)
    out.table(["object", "sync", "health", "ready", "age", "wave", "from", "message"], rows)


def place(one: ObjectView) -> str:
    return f"{one.file}:{one.line}" if one.file and one.line else one.file


def _wave(one: ObjectView) -> str:
    return "first" if one.wave <= FOUNDATION else str(one.wave)


def _below(children: Sequence[ChildView], more: int, folded: int, indent: str, now: datetime) -> Iterator[Row]:
    rest = _rest(more, folded)
    for number, child in enumerate(children):
        last = number == len(children) - 1 and not rest
        name = f"{indent}{'└─' if last else '├─'} {child.object.kind}/{child.object.name}"
        since = length(now - child.since) if child.since is not None else ""
        yield [name, "", child.health.value, _ready(child), since, "", "", child.message]
        yield from _below(child.children, child.more, child.folded, indent + ("   " if last else "│  "), now)
    if rest:
        yield [f"{indent}└─ {rest}", *[""] * 7]


def _ready(child: ChildView) -> str:
    restarts = f", {child.restarts} restart{'s' if child.restarts != 1 else ''}" if child.restarts else ""
    return f"{child.ready}{restarts}".removeprefix(", ")


def _rest(more: int, folded: int) -> str:
    words = [f"{more} more" if more else "", f"{folded} older without Pods" if folded else ""]
    return ", ".join(word for word in words if word)
