"""What is kept of a kind: the watch and the answers to our own requests tell of the same writes, in either order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import msgspec
import pytest

from trimtab.plumbing.clock import SystemClock
from trimtab.targets.kubernetes.client import Client
from trimtab.targets.kubernetes.known import Kind, Known
from trimtab.targets.kubernetes.objects import Object
from trimtab.targets.kubernetes.requests import Selector
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.watching import Change, Event

MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
Moves = list[tuple[Known | None, Known | None]]


class Watching:
    """A client of which only the watch is asked; what it tells is put into a queue."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def watch(self, resource: Resource, select: Selector, *, since: str = "") -> Watching:
        return self

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self.queue.get()

    async def tell(self, change: Change, found: Object | None = None) -> None:
        named = (found.namespace, found.name, found.uid) if found is not None else ("", "", "")
        self.queue.put_nowait(Event(change, *named, found))
        for _ in range(3):
            await asyncio.sleep(0)


def found(version: int, uid: str = "u1", **data: str) -> Object:
    metadata = {"name": "one", "namespace": "n", "uid": uid, "resourceVersion": str(version)}
    return Object(MAPS, msgspec.json.encode({"metadata": metadata, "data": data}))


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def moves() -> Moves:
    return []


@pytest.fixture
async def kind(watching: Watching, moves: Moves) -> AsyncIterator[Kind]:
    def moved(before: Known | None, after: Known | None) -> None:
        moves.append((before, after))

    made = Kind(cast("Client", watching), MAPS, Selector(), SystemClock(), moved, home="n")
    await watching.tell(Change.SYNCED)
    yield made
    await made.close()


async def test_a_write_is_told_once_whoever_is_faster(kind: Kind, watching: Watching, moves: Moves) -> None:
    """The event of a write may come before the answer to it; then the answer is neither read nor told again."""
    await watching.tell(Change.ADDED, found(5))
    known = kind.get("n", "one")
    assert kind.put(found(5)) is known
    after = kind.put(found(6, x="y"))
    await watching.tell(Change.MODIFIED, found(6, x="y"))
    assert moves == [(None, known), (known, after)]


async def test_an_answer_about_another_object_of_the_name_is_read(kind: Kind, watching: Watching) -> None:
    """A version alone does not say which object it is of."""
    await watching.tell(Change.ADDED, found(5))
    assert kind.put(found(5, uid="u2")).uid == "u2"


async def test_it_is_sure_only_while_the_watch_is_heard(kind: Kind, watching: Watching) -> None:
    """So that nobody passes over the wait in which trouble is told."""
    assert kind.sure
    await watching.tell(Change.INTERRUPTED)
    assert not kind.sure
    await watching.tell(Change.SYNCED)
    assert kind.sure
