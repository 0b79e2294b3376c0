"""The `Store` port in memory, for tests and the simulation. It outlives the engine that uses it, as a disk does.

A write happens at one point in time, between two calls of ``hook``: an exception from ``store.write:before`` means that nothing
was stored, one from ``store.write:after`` that all of it was and the answer got lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from trimtab.core.decide.trail import linked, trails
from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Comment, Stage
from trimtab.core.model.deployment import ENDED, Deployment
from trimtab.core.model.errors import Refused
from trimtab.core.model.event import Event
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Identity, Key, Revision
from trimtab.core.model.trail import Link
from trimtab.ports.store import Lease, Loaded, Seen, Writes

Hook = Callable[[str], Awaitable[None]]


class MemoryStore:
    def __init__(self, hook: Hook | None = None) -> None:
        self.hook = hook
        self._events: list[Event] = []
        self._event_id = 0
        self._deployments: dict[Key, dict[int, Deployment]] = {}
        self._entries: dict[tuple[str, Identity], Entry] = {}
        self._documents: dict[str, bytes] = {}
        self._seen: dict[int, Seen] = {}
        self._lease = Lease("", 0, datetime.min.replace(tzinfo=UTC))
        self._reviews: dict[int, Review] = {}
        self._comments: dict[tuple[int, int], Comment] = {}
        self._trails: dict[str, list[Link]] = {}

    async def load(self) -> Loaded:
        newest: dict[str, Seen] = {}
        for one in sorted(self._seen.values(), key=lambda one: one.sequence):
            newest[one.repository] = one
        return Loaded(
            entries=tuple(entry for _, entry in sorted(self._entries.items(), key=lambda item: item[0])),
            deployments=tuple(_ordered(kept for of_key in self._deployments.values() for kept in _open_and_last_ended(of_key))),
            documents=dict(self._documents),
            seen=tuple(sorted(newest.values(), key=lambda one: one.sequence)),
            sequence=max([0, *self._seen, *(sequence for of_key in self._deployments.values() for sequence in of_key)]),
            reviews=tuple(one for _, one in sorted(self._reviews.items()) if one.change.stage == Stage.OPEN),
            change=max(self._reviews, default=0),
        )

    async def write(self, writes: Writes, *, epoch: int) -> tuple[Event, ...]:
        await self._call("store.write:before")
        if not self._lease.holder or epoch != self._lease.epoch:
            raise Refused(f"store: write under epoch {epoch}: epoch {self._lease.epoch} holds the lease")
        stored = self._put(writes)
        await self._call("store.write:after")
        return stored

    async def lease(self, holder: str, *, now: datetime, seconds: float) -> Lease:
        held = self._lease
        if held.holder in ("", holder) or held.until <= now:
            epoch = held.epoch + (held.holder != holder)
            self._lease = Lease(holder, epoch, now + timedelta(seconds=seconds))
        return self._lease

    async def release(self, holder: str) -> None:
        if self._lease.holder == holder:
            self._lease = Lease("", self._lease.epoch, self._lease.until)

    async def events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        application: str = "",
        environment: str = "",
        kind: str = "",
        revision: str = "",
        newest_first: bool = False,
    ) -> list[Event]:
        found = [
            event
            for event in self._events
            if event.id > after
            and (before is None or event.id < before)
            and application in ("", event.application)
            and environment in ("", event.environment)
            and kind in ("", event.kind)
            and revision in ("", event.revision)
        ]
        return (found[::-1] if newest_first else found)[:limit]

    async def deployments(self, *, key: Key | None = None, sequence_max: int | None = None, limit: int = 100) -> list[Deployment]:
        keys = self._deployments if key is None else [key]
        found = [
            one
            for each in keys
            for one in self._deployments.get(each, {}).values()
            if sequence_max is None or one.sequence <= sequence_max
        ]
        return sorted(found, key=lambda one: (-one.sequence, one.environment, one.application))[:limit]

    async def in_force(self, sequence: int) -> list[Deployment]:
        newest = [
            max((one for one in of_key.values() if one.sequence <= sequence), key=lambda one: one.sequence, default=None)
            for _, of_key in sorted(self._deployments.items())
        ]
        return [one for one in newest if one is not None]

    async def seen(
        self, *, repository: str, revision: Revision | None = None, before: int | None = None, limit: int = 100
    ) -> list[Seen]:
        found = [
            one
            for one in self._seen.values()
            if one.repository == repository
            and (revision is None or one.revision == revision)
            and (before is None or one.sequence < before)
        ]
        return sorted(found, key=lambda one: -one.sequence)[:limit]

    async def reviews(
        self, *, repository: str = "", stage: str = "", author: str = "", before: int | None = None, limit: int = 100
    ) -> list[Review]:
        found = [
            one
            for number, one in sorted(self._reviews.items(), reverse=True)
            if (before is None or number < before)
            and repository in ("", one.change.repository)
            and stage in ("", one.change.stage)
            and author in ("", one.change.author)
        ]
        return found[:limit]

    async def review(self, number: int) -> Review | None:
        return self._reviews.get(number)

    async def comments(self, number: int) -> list[Comment]:
        return [one for (change, _), one in sorted(self._comments.items()) if change == number]

    async def trail(self, name: str, *, after: int = 0, limit: int = 1000) -> list[Link]:
        return [link for link in self._trails.get(name, ()) if link.number > after][:limit]

    async def trail_end(self, name: str) -> Link | None:
        chain = self._trails.get(name)
        return chain[-1] if chain else None

    async def trails(self) -> list[str]:
        return sorted(self._trails)

    async def prune(self, *, events_before: datetime, deployments_keep: int) -> int:
        kept = [event for event in self._events if event.time >= events_before]
        gone = len(self._events) - len(kept)
        self._events = kept
        for of_key in self._deployments.values():
            ended = sorted((one.sequence for one in of_key.values() if one.phase in ENDED), reverse=True)
            for sequence in ended[deployments_keep:]:
                del of_key[sequence]
                gone += 1
        return gone

    async def close(self) -> None:
        """Nothing to give back: what is stored stays, as on a disk."""

    async def _call(self, point: str) -> None:
        if self.hook is not None:
            await self.hook(point)

    def _put(self, writes: Writes) -> tuple[Event, ...]:
        stored = tuple(self._numbered(event) for event in writes.events)
        self._events.extend(stored)
        for environment, ref in writes.dropped:
            self._entries.pop((environment, ref.identity), None)
        for entry in writes.entries:
            self._entries[entry.environment, entry.ref.identity] = entry
        for name, body in writes.documents:
            self._documents.pop(name, None)
            if body is not None:
                self._documents[name] = body
        for deployment in writes.deployments:
            self._deployments.setdefault(deployment.key, {})[deployment.sequence] = deployment
        self._seen.update((one.sequence, one) for one in writes.seen)
        self._reviews.update((one.change.number, one) for one in writes.reviews)
        self._comments.update(((one.change, one.number), one) for one in writes.comments)
        for event in stored:
            for trail in trails(event):
                chain = self._trails.setdefault(trail, [])
                chain.append(linked(event, trail, chain[-1] if chain else None))
        return stored

    def _numbered(self, event: Event) -> Event:
        self._event_id += 1
        # Through JSON and back, as on a disk: nobody can change ``data`` afterwards, and a tuple in it has become a list.
        return msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(event, id=self._event_id)), type=Event)


def _open_and_last_ended(of_key: dict[int, Deployment]) -> Iterable[Deployment]:
    yield from (one for one in of_key.values() if one.phase not in ENDED)
    ended = [one for one in of_key.values() if one.phase in ENDED]
    if ended:
        yield max(ended, key=lambda one: one.sequence)


def _ordered(deployments: Iterable[Deployment]) -> list[Deployment]:
    return sorted(deployments, key=lambda one: (one.sequence, one.environment, one.application))
