"""What is there of one kind, and then everything that happens to it: a list and a watch that together miss nothing.

    start ──▶ list, page by page ──▶ SYNCED ──▶ watch from the list's version ──▶ ADDED MODIFIED DELETED …
                 ▲        │ fails                    │ ends, is cut
                 │        ▼                          ▼
                 │     INTERRUPTED, pause         watch again from the last version seen ──▶ SYNCED when it had failed
                 └───── 410: that version is forgotten ───┘

Rules that hold whatever the network does:
- an object is reported DELETED when the server has said so or a *complete* list has been without it, never because of a failure;
- after SYNCED everything that was there at some moment after the start of that list has been reported;
- what has not changed is not reported again: after a new list only differences are.
For that a name, a uid and a version are kept of each object, not the object. Bookmarks (KEP-956) keep the version young, so that a cut
costs a new watch and not a new list. Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import msgspec

from trimtab.core.model.text import one_line
from trimtab.ports.clock import Chance, Clock

from . import errors, requests, retrying
from .errors import ApiError, Gone, Invalid, NotFound, ServerError, TooLarge
from .lines import Whole
from .objects import Object, Page
from .requests import PAGE_ITEMS, Request, Selector
from .resources import Resource

FIRST_SECONDS = 0.2
PAUSE_SECONDS_MAX = 30.0
LINE_BYTES_MAX = 32 * 1024 * 1024
ITEMS_MAX = 10_000
STEADY_SECONDS = 5.0
"""A watch that lived this long starts a new account of failures."""


class Change(enum.Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"
    """All that is there has been reported, and what happens from here on will be."""
    INTERRUPTED = "INTERRUPTED"
    """Nothing is heard at the moment; ``error`` says why. SYNCED comes when that is over."""


class Event(msgspec.Struct, frozen=True):
    """``object`` is there for ADDED and MODIFIED, and for DELETED when the server told its last state; name and uid always are."""

    change: Change
    namespace: str = ""
    name: str = ""
    uid: str = ""
    object: Object | None = None
    error: ApiError | None = None


class Lister(Protocol):
    async def __call__(self, resource: Resource, select: Selector, *, limit: int, more: str) -> Page: ...


Streamer = Callable[[Request], AbstractAsyncContextManager[AsyncIterator[bytes]]]
Known = dict[tuple[str, str], tuple[str, str]]
"""(namespace, name) → (uid, resourceVersion)."""


class _Line(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


_line = msgspec.json.Decoder(_Line).decode


class Reflector:
    """Iterate `events()` once. ``size`` is the number of objects that are there, as far as has been heard."""

    def __init__(
        self,
        lister: Lister,
        streamer: Streamer,
        resource: Resource,
        select: Selector,
        *,
        clock: Clock,
        chance: Chance,
        limit: int = PAGE_ITEMS,
        since: str = "",
    ) -> None:
        """``since`` is the version of a complete list in which there was nothing, so that there need not be another one."""
        self.resource, self.select = resource, select
        self._lister, self._streamer = lister, streamer
        self._clock, self._chance = clock, chance
        self._limit = limit
        self._known: Known = {}
        self._version = since  # where to watch from; "" means that only a list can tell
        self._untold = bool(since)  # SYNCED comes with the watch then, as no list brings it
        self._interrupted = False
        self._failures = 0

    @property
    def size(self) -> int:
        return len(self._known)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Without end, through every failure but two, which it raises: NotFound and Invalid, when the server does not serve this
        kind (any more) or not this selector. Ask discovery then whether the kind is gone. Iterate it under `aclosing`, or cancel.
        """
        while True:
            began = self._clock.monotonic()
            error: ApiError | None = None
            try:
                if not self._version:
                    async with aclosing(self._listed()) as listed:
                        async for event in listed:
                            yield event
                request = requests.watch(self.resource, self.select, resource_version=self._version, seconds=self._seconds())
                async with self._streamer(request) as chunks:
                    if self._interrupted or self._untold:
                        yield self._synced()
                    cut = Whole(LINE_BYTES_MAX)
                    async for data in chunks:
                        for line in self._cut(cut, data):
                            for event in self._heard(line):
                                yield event
            except (NotFound, Invalid):
                raise
            except ApiError as failure:
                error = failure
                if _forgotten(failure):
                    self._version = ""
            if error is not None and not isinstance(error, Gone) and not self._interrupted:
                self._interrupted = True
                yield Event(Change.INTERRUPTED, error=error)
            await self._pause(error, self._clock.monotonic() - began)

    async def _listed(self) -> AsyncGenerator[Event, None]:
        seen: set[tuple[str, str]] = set()
        more = ""
        while True:
            page = await self._page(more)
            for item in page.items:
                seen.add((item.namespace, item.name))
                for event in self._found(item):
                    yield event
            more = page.more
            if not more:
                break
        # Only here: the list is complete, so what is not in it is not there.
        for key in [key for key in self._known if key not in seen]:
            yield self._lost(key)
        self._version = page.resource_version
        yield self._synced()

    async def _page(self, more: str) -> Page:
        try:
            return await self._lister(self.resource, self.select, limit=self._limit, more=more)
        except TooLarge:
            self._limit = max(1, self._limit // 10)
            raise
        except Gone:
            self._limit = min(ITEMS_MAX, self._limit * 4)  # between two pages; with larger ones there are fewer
            raise

    def _cut(self, cut: Whole, data: bytes) -> list[bytes]:
        try:
            return cut.feed(data)
        except ValueError as error:
            raise self._nonsense(str(error)) from error

    def _heard(self, line: bytes) -> Iterator[Event]:
        """The events that a line of a watch stands for. Raises ApiError when it is one, or nonsense."""
        try:
            heard = _line(line)
            if heard.type == "ERROR":
                raise errors.from_status(f"watch {self.resource}", errors.parse(bytes(heard.object), 0))
            item = Object(self.resource, heard.object)
        except msgspec.DecodeError as error:
            raise self._nonsense(str(error)) from error
        if item.resource_version:
            self._version = item.resource_version
        match heard.type:
            case "ADDED" | "MODIFIED":
                yield from self._found(item)
            case "DELETED":
                if self._known.pop((item.namespace, item.name), None) is not None:
                    yield Event(Change.DELETED, item.namespace, item.name, item.uid, item)
            case _:
                return  # BOOKMARK: only the version counts

    def _found(self, item: Object) -> Iterator[Event]:
        key = (item.namespace, item.name)
        before = self._known.get(key)
        now = (item.uid, item.resource_version)
        if before == now:
            return
        change = Change.MODIFIED
        if before is None or before[0] != now[0]:
            if before is not None:
                yield self._lost(key)
            change = Change.ADDED
        self._known[key] = now
        yield Event(change, item.namespace, item.name, item.uid, item)

    def _lost(self, key: tuple[str, str]) -> Event:
        uid, _ = self._known.pop(key)
        return Event(Change.DELETED, key[0], key[1], uid)

    def _synced(self) -> Event:
        self._interrupted = self._untold = False
        return Event(Change.SYNCED)

    def _seconds(self) -> float:
        """Not the same for all, so that watches that began together do not end together."""
        return requests.WATCH_SECONDS * self._chance.uniform(0.8, 1.0)

    async def _pause(self, error: ApiError | None, lived: float) -> None:
        """None after a watch that ended in its time; else longer with each failure."""
        if lived >= STEADY_SECONDS:
            self._failures = 0
            if error is None:
                return
        self._failures += 1
        most = PAUSE_SECONDS_MAX
        seconds = retrying.backoff(self._failures, self._chance.uniform(0.0, 1.0), most=most, first=FIRST_SECONDS)
        if error is not None and error.retry_after is not None:
            seconds = max(seconds, min(error.retry_after, most))
        await self._clock.sleep(seconds)

    def _nonsense(self, words: str) -> ServerError:
        return ServerError(f"watch {self.resource}", f"what came makes no sense: {one_line(words)}")


def _forgotten(error: ApiError) -> bool:
    """True when the version is no use any more. A cut connection and a server that is busy or away leave it as it is."""
    return isinstance(error, Gone) or (isinstance(error, ServerError) and error.code not in (502, 503))
