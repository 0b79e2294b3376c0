"""The record: what must outlive the process. One atomic write of everything that one step changed; reads for lists are paged."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Comment
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.event import Event
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Key, ObjectRef, Revision
from trimtab.core.model.trail import Link


class Seen(msgspec.Struct, frozen=True):
    """A Revision as it was seen at the head of a repository and ref; ``sequence`` ascends over all repositories."""

    sequence: int
    repository: str
    revision: Revision
    time: datetime


class Writes(msgspec.Struct, frozen=True):
    """What one step changes; all of it is stored or none. ``documents`` are named blobs (lifecycle states, last good
    configuration, approvals, suspensions); a value of None deletes one. What must stay provable of ``events`` is put on its trails
    in the same act (`core/decide/trail.py`).
    """

    events: tuple[Event, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    entries: tuple[Entry, ...] = ()
    dropped: tuple[tuple[str, ObjectRef], ...] = ()  # (environment, ref)
    documents: tuple[tuple[str, bytes | None], ...] = ()
    seen: tuple[Seen, ...] = ()
    reviews: tuple[Review, ...] = ()
    comments: tuple[Comment, ...] = ()


class Loaded(msgspec.Struct, frozen=True):
    """What an engine needs at its start: everything that is bounded by what exists, not by how long it has run.

    ``deployments`` holds those that have not ended, and for each Key the newest one that has.
    """

    entries: tuple[Entry, ...]
    deployments: tuple[Deployment, ...]
    documents: dict[str, bytes]
    seen: tuple[Seen, ...]  # the newest of each repository
    sequence: int  # the highest given so far
    reviews: tuple[Review, ...] = ()  # of the Changes that are open, by number
    change: int = 0  # the highest number of a Change so far


class Lease(msgspec.Struct, frozen=True):
    """Who may act. ``epoch`` ascends with each change of holder; a write under an older epoch is refused."""

    holder: str
    epoch: int
    until: datetime


class Store(Protocol):
    """Every method raises TransientError when the store does not answer (disk full, locked, gone)."""

    async def load(self) -> Loaded: ...

    async def write(self, writes: Writes, *, epoch: int) -> tuple[Event, ...]:
        """Store all of it, atomically and durably, and return the events with their ids. Writes of several callers may share a
        transaction. Raises Refused when ``epoch`` is not that of the current Lease.
        """
        ...

    async def lease(self, holder: str, *, now: datetime, seconds: float) -> Lease:
        """Take or renew the Lease when it is free, over, or ours; return the one that holds now, which may be another's."""
        ...

    async def release(self, holder: str) -> None:
        """Give the Lease back, if it is ours."""
        ...

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
        """A page of events, ids strictly between ``after`` and ``before``, in order of id."""
        ...

    async def deployments(self, *, key: Key | None = None, sequence_max: int | None = None, limit: int = 100) -> list[Deployment]:
        """Newest first."""
        ...

    async def in_force(self, sequence: int) -> list[Deployment]:
        """For each Key the Deployment with the highest sequence that is not above ``sequence``."""
        ...

    async def seen(
        self, *, repository: str, revision: Revision | None = None, before: int | None = None, limit: int = 100
    ) -> list[Seen]:
        """Newest first."""
        ...

    async def reviews(
        self, *, repository: str = "", stage: str = "", author: str = "", before: int | None = None, limit: int = 100
    ) -> list[Review]:
        """A page of Changes, newest first, with numbers below ``before``."""
        ...

    async def review(self, number: int) -> Review | None: ...

    async def comments(self, number: int) -> list[Comment]:
        """All of one Change, in their order."""
        ...

    async def trail(self, name: str, *, after: int = 0, limit: int = 1000) -> list[Link]:
        """A page of one trail, from its first link on; links with numbers above ``after``."""
        ...

    async def trail_end(self, name: str) -> Link | None:
        """The last link of a trail."""
        ...

    async def trails(self) -> list[str]:
        """The names of all trails, sorted."""
        ...

    async def prune(self, *, events_before: datetime, deployments_keep: int) -> int:
        """Retention: drop events older than that and, for each Key, ended Deployments beyond the newest ``deployments_keep``.
        Returns how many rows went.
        """
        ...

    async def close(self) -> None: ...
