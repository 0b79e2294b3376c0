"""A reflector tells what is there and what happens to it, exactly once, whatever the network does: seeded walks in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from trimtab.targets.kubernetes import errors
from trimtab.targets.kubernetes.errors import ApiError
from trimtab.targets.kubernetes.objects import Object, Page
from trimtab.targets.kubernetes.requests import Request, Selector
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.watching import Change, Event, Reflector
from trimtab.testing import time
from trimtab.testing.time import SeededChance, VirtualClock

THINGS = Resource("", "v1", "things", "Thing", namespaced=True)
GONE = errors.Gone("watch", "too old", code=410)
CUT = errors.Unreachable("watch", "the answer broke off", sent=True)
AWAY = errors.ServerError("watch", "away", code=503)


class Store:
    """An API server's idea of one collection: a version that grows, objects, a history with a beginning, and watches on it."""

    def __init__(self, clock: VirtualClock, page_size: int = 2) -> None:
        self.clock = clock
        self.page_size = page_size
        self.version = 10
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, str, dict[str, Any]]] = []
        self.oldest = 10
        self.uids = 0
        self.lists = self.watches = 0
        self.faults: Callable[[str], ApiError | None] = lambda _: None
        self.bell = asyncio.Event()

    # What happens

    def put(self, name: str) -> None:
        self.version += 1
        there = self.objects.get(name)
        if there is None:
            self.uids += 1
        uid = there["metadata"]["uid"] if there else f"u{self.uids}"
        self.objects[name] = {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(self.version)}}
        self._record("MODIFIED" if there else "ADDED", self.objects[name])

    def drop(self, name: str) -> None:
        if name in self.objects:
            self.version += 1
            last = self.objects.pop(name)
            self._record("DELETED", {"metadata": {**last["metadata"], "resourceVersion": str(self.version)}})

    def forget(self) -> None:
        """Compaction: what was is no more."""
        self.oldest = self.version
        self.history.clear()

    def _record(self, kind: str, item: dict[str, Any]) -> None:
        self.history.append((self.version, kind, item))
        self.ring()

    def ring(self) -> None:
        self.bell.set()
        self.bell = asyncio.Event()

    # What is answered

    async def page(self, resource: Resource, select: Selector, *, limit: int, more: str) -> Page:
        self.lists += not more
        await self.clock.sleep(0.01)
        if (fault := self.faults("list")) is not None:
            raise fault
        version, _, start = more.partition(":") if more else (str(self.version), "", "")
        if int(version) < self.oldest:
            raise GONE
        at = self._at(int(version))
        names = sorted(name for name in at if name > start)
        shown = names[: self.page_size]
        items = [Object(resource, msgspec.json.encode(at[name])) for name in shown]
        return Page(items, version, f"{version}:{shown[-1]}" if len(names) > len(shown) else "")

    def _at(self, version: int) -> dict[str, dict[str, Any]]:
        """The collection as it was; the history reaches back to ``oldest``."""
        if version == self.version:
            return dict(self.objects)
        found = dict(self.objects)
        for when, kind, item in reversed(self.history):
            if when > version:
                self._undo(found, when, kind, item["metadata"]["name"])
        return found

    def _undo(self, found: dict[str, dict[str, Any]], when: int, kind: str, name: str) -> None:
        before = [item for at, did, item in self.history if at < when and item["metadata"]["name"] == name and did != "DELETED"]
        if kind == "ADDED":
            found.pop(name, None)
        elif before:
            found[name] = before[-1]

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        self.watches += 1
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        await self.clock.sleep(0.01)
        if (fault := self.faults("open")) is not None:
            raise fault
        yield self._events(int(query["resourceVersion"]), float(query["timeoutSeconds"]))

    async def _events(self, since: int, seconds: float) -> AsyncIterator[bytes]:
        ends = self.clock.monotonic() + seconds
        while True:
            if since < self.oldest:
                yield line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})
                return
            for when, kind, item in [each for each in self.history if each[0] > since]:
                since = when
                if (fault := self.faults("event")) is not None:
                    yield line(kind, item)[:20]
                    raise fault
                yield line(kind, item)
            bell, left = self.bell, ends - self.clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    await bell.wait()
            except TimeoutError:
                yield line("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})
                return
            if (fault := self.faults("wait")) is not None:
                raise fault


def line(kind: str, item: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "object": item}) + b"\n"


class Listener:
    """Believes what it is told, and complains about what cannot be."""

    def __init__(self) -> None:
        self.there: dict[str, tuple[str, str]] = {}
        self.told: list[str] = []
        self.synced = False

    def hear(self, event: Event) -> None:
        match event.change:
            case Change.ADDED:
                assert event.object is not None
                assert event.name not in self.there, f"{event.name} added twice"
                self.there[event.name] = (event.uid, event.object.resource_version)
            case Change.MODIFIED:
                assert event.object is not None
                assert self.there[event.name][0] == event.uid
                assert int(self.there[event.name][1]) < int(event.object.resource_version), "told again what was known"
                self.there[event.name] = (event.uid, event.object.resource_version)
            case Change.DELETED:
                assert self.there.pop(event.name)[0] == event.uid
            case Change.SYNCED:
                self.synced = True
            case Change.INTERRUPTED:
                assert event.error is not None
                self.synced = False
        self.told.append(f"{event.change.value} {event.name}".strip())

    async def follow(self, reflector: Reflector) -> None:
        async with aclosing(reflector.events()) as events:
            async for event in events:
                self.hear(event)


def shown(store: Store) -> dict[str, tuple[str, str]]:
    return {name: (item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for name, item in store.objects.items()}


def reflector(store: Store, seed: int = 1, since: str = "") -> Reflector:
    chance = SeededChance(random.Random(seed))
    return Reflector(store.page, store.stream, THINGS, Selector("n"), clock=store.clock, chance=chance, since=since)


def story(play: Callable[[Store, Listener], Any], *, page_size: int = 2, since: str = "") -> tuple[Store, Listener]:
    """Run ``play`` beside a reflector in virtual time."""

    async def main(clock: VirtualClock) -> tuple[Store, Listener]:
        store, listener = Store(clock, page_size), Listener()
        task = asyncio.create_task(listener.follow(reflector(store, since=since)))
        await play(store, listener)
        await asyncio.sleep(0.5)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return store, listener

    return time.run(main)


def once(kind: str, error: ApiError) -> Callable[[str], ApiError | None]:
    left = [error]
    return lambda what: left.pop() if what == kind and left else None


def test_what_is_there_comes_first_and_then_what_happens() -> None:
    async def play(store: Store, _: Listener) -> None:
        for name in "abc":
            store.put(name)
        await asyncio.sleep(1)
        store.put("b")
        store.drop("a")
        store.put("d")

    store, listener = story(play)
    assert listener.told == ["ADDED a", "ADDED b", "ADDED c", "SYNCED", "MODIFIED b", "DELETED a", "ADDED d"]
    assert (store.lists, store.watches) == (1, 1)


def test_what_was_empty_a_moment_ago_is_watched_from_there_without_a_list() -> None:
    async def play(store: Store, _: Listener) -> None:
        store.put("a")  # after the list in which there was nothing, before the watch
        await asyncio.sleep(1)
        store.put("b")

    store, listener = story(play, since="10")
    assert listener.told == ["SYNCED", "ADDED a", "ADDED b"]
    assert (store.lists, store.watches) == (0, 1)


def test_a_watch_from_where_it_was_empty_tells_why_it_cannot_begin() -> None:
    """And lists when the version is forgotten by then."""

    async def play(store: Store, listener: Listener) -> None:
        store.faults = once("open", AWAY)
        await asyncio.sleep(0.1)
        assert not listener.synced
        store.put("a")
        store.forget()
        await asyncio.sleep(10)

    store, listener = story(play, since="10")
    assert listener.told[0] == "INTERRUPTED"
    assert listener.told[-2:] == ["ADDED a", "SYNCED"]
    assert store.lists == 1


def test_a_watch_that_ends_in_its_time_goes_on_where_it_was() -> None:
    async def play(store: Store, _: Listener) -> None:
        await asyncio.sleep(2000)
        store.put("a")

    store, listener = story(play)
    assert listener.told == ["SYNCED", "ADDED a"]
    assert store.lists == 1
    assert 7 <= store.watches <= 10


def test_a_cut_watch_costs_a_watch_and_no_list() -> None:
    async def play(store: Store, _: Listener) -> None:
        store.put("a")
        await asyncio.sleep(10)
        store.faults = once("wait", CUT)
        store.put("b")
        await asyncio.sleep(10)

    store, listener = story(play)
    assert listener.told == ["ADDED a", "SYNCED", "INTERRUPTED", "SYNCED", "ADDED b"]
    assert (store.lists, store.watches) == (1, 2)


def test_a_forgotten_version_costs_a_list_which_tells_only_differences() -> None:
    async def play(store: Store, _: Listener) -> None:
        for name in "abcd":
            store.put(name)
        await asyncio.sleep(10)
        store.faults = lambda what: CUT if what in ("wait", "open", "list") else None
        store.ring()
        store.put("b")
        store.drop("c")
        store.drop("d")
        store.put("d")
        store.forget()
        await asyncio.sleep(60)
        store.faults = lambda _: None
        await asyncio.sleep(60)

    _, listener = story(play)
    assert listener.told[5:] == ["INTERRUPTED", "SYNCED", "MODIFIED b", "DELETED d", "ADDED d", "DELETED c", "SYNCED"]


def test_bookmarks_keep_a_quiet_watch_young() -> None:
    async def play(store: Store, _: Listener) -> None:
        await asyncio.sleep(10)
        store.version += 1_000  # things happen elsewhere
        await asyncio.sleep(400)
        store.forget()
        store.put("a")
        await asyncio.sleep(400)

    store, listener = story(play)
    assert listener.told == ["SYNCED", "ADDED a"]
    assert store.lists == 1


def test_a_list_that_fails_half_way_takes_nothing_away() -> None:
    async def play(store: Store, listener: Listener) -> None:
        for name in "abcdef":
            store.put(name)
        await asyncio.sleep(10)
        calls = iter(range(100))
        store.faults = lambda what: (
            (AWAY if what == "list" and next(calls) % 2 else None) if what in ("list",) else (CUT if what == "wait" else None)
        )
        store.forget()
        store.put("a")
        await asyncio.sleep(300)
        assert set(listener.there) == set("abcdef")
        store.faults = lambda _: None
        await asyncio.sleep(60)

    _, listener = story(play)
    assert not [told for told in listener.told if told.startswith("DELETED")]


def test_a_server_that_is_away_is_asked_less_and_less() -> None:
    async def play(store: Store, _: Listener) -> None:
        store.faults = lambda what: AWAY if what == "list" else None
        await asyncio.sleep(600)
        assert 20 <= store.lists <= 60
        store.faults = lambda _: None
        await asyncio.sleep(31)

    _, listener = story(play)
    assert listener.told == ["INTERRUPTED", "SYNCED"]


def test_a_server_that_ends_every_watch_at_once_is_not_asked_without_pause() -> None:
    async def play(store: Store, _: Listener) -> None:
        @asynccontextmanager
        async def ended(request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
            async with stream(request):
                yield nothing()

        async def nothing() -> AsyncIterator[bytes]:
            for each in ():
                yield each

        stream = Store.stream.__get__(store)
        store.stream = ended  # type: ignore[method-assign]
        await asyncio.sleep(600)
        assert store.watches <= 60

    async def main(clock: VirtualClock) -> None:
        store, listener = Store(clock), Listener()
        playing = asyncio.create_task(play(store, listener))
        await asyncio.sleep(0)
        task = asyncio.create_task(listener.follow(reflector(store)))
        await playing
        task.cancel()

    time.run(main)


@pytest.mark.parametrize(
    "error", [errors.NotFound("list", "404 page not found", code=404), errors.Invalid("list", "bad selector", code=400)]
)
def test_a_kind_that_is_not_served_ends_it(error: ApiError) -> None:
    async def main(clock: VirtualClock) -> None:
        store = Store(clock)
        store.faults = once("list", error)
        with pytest.raises(type(error)):
            await Listener().follow(reflector(store))

    time.run(main)


def test_nonsense_in_a_watch_leads_to_a_new_list() -> None:
    async def play(store: Store, _: Listener) -> None:
        await asyncio.sleep(1)
        store.history.append((store.version + 1, "ADDED", {"metadata": {"name": 5}}))
        store.ring()
        await asyncio.sleep(1)
        store.history.clear()
        store.put("a")
        await asyncio.sleep(60)

    store, listener = story(play)
    assert listener.told[-2:] == ["ADDED a", "SYNCED"]
    assert "INTERRUPTED" in listener.told
    assert store.lists >= 2


@pytest.mark.parametrize("seed", range(60))
def test_after_any_walk_through_failures_it_knows_what_is_there(seed: int) -> None:
    chance = random.Random(seed)

    def fault(what: str) -> ApiError | None:
        likely = {"list": 0.2, "open": 0.3, "event": 0.1, "wait": 0.1}[what]
        return (
            chance.choice([CUT, AWAY, GONE if what != "list" else AWAY, errors.ServerError("x", "y", code=500)])
            if chance.random() < likely
            else None
        )

    async def play(store: Store, listener: Listener) -> None:
        store.faults = fault
        for _ in range(300):
            deed = chance.choice([store.put, store.put, store.drop])
            deed(chance.choice("abcdefgh"))
            if chance.random() < 0.05:
                store.forget()
            await asyncio.sleep(chance.choice([0, 0, 0.005, 0.02, 1]))
        store.faults = lambda _: None
        store.ring()
        await asyncio.sleep(400)
        assert listener.there == shown(store), f"seed {seed}"
        assert listener.synced, f"seed {seed}"
        before = list(listener.told)
        await asyncio.sleep(400)
        assert listener.told == before, f"seed {seed}: not quiet"

    story(play, page_size=3)
