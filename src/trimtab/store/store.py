"""The `Store` port on SQLite: a writer thread, a reader thread, and the schema checked once at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Comment
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.errors import Bug, TransientError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.trail import Link
from trimtab.ports.store import Lease, Loaded, Seen, Writes

from . import leases, reads, retention
from .failures import translate
from .files import connect, disconnect, prepare
from .rows import batch
from .upgrade import upgrade
from .writer import Writer

T = TypeVar("T")


class SqlStore:
    """Made by `open`. Everything may raise TransientError; a damaged file is a UserError that says what to do."""

    def __init__(self, path: Path, writing: Connection, reading: Connection) -> None:
        self._path = path
        self._reading = reading
        self._writer = Writer(path, writing)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="trimtab-store-reader")
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> SqlStore:
        """The store in the file ``path``, made when it is not there, its schema brought up to date. Blocks for milliseconds.

        Raises UserError when the file is newer than this program, damaged, another program's, or cannot be made; TransientError
        when it is locked or read-only.
        """
        prepare(path)
        opened: list[Connection] = []
        try:
            opened.append(connect(path, begin="BEGIN IMMEDIATE"))
            upgrade(opened[0], path)
            opened.append(connect(path, begin="BEGIN"))
            return cls(path, *opened)
        except BaseException as error:
            for connection in opened:
                disconnect(connection)
            if isinstance(error, Exception):
                raise translate(error, "open", path) from error
            raise

    async def load(self) -> Loaded:
        return await self._read(reads.load)

    async def write(self, writes: Writes, *, epoch: int) -> tuple[Event, ...]:
        try:
            rows = batch(writes)
        except (ValueError, TypeError, OverflowError) as error:
            raise Bug(f"store: write {self._path}: a value cannot be stored: {error}", remedy="Please report this") from error
        return await self._writer.write(rows, epoch)

    async def lease(self, holder: str, *, now: datetime, seconds: float) -> Lease:
        return await self._writer.act("lease", partial(leases.take, holder=holder, now=now, seconds=seconds))

    async def release(self, holder: str) -> None:
        await self._writer.act("release", partial(leases.release, holder=holder))

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
        equal = {"application": application, "environment": environment, "kind": kind, "revision": revision}
        return await self._read(
            partial(reads.events, after=after, before=before, limit=limit, newest_first=newest_first, equal=equal)
        )

    async def deployments(self, *, key: Key | None = None, sequence_max: int | None = None, limit: int = 100) -> list[Deployment]:
        return await self._read(partial(reads.deployments, key=key, sequence_max=sequence_max, limit=limit))

    async def in_force(self, sequence: int) -> list[Deployment]:
        return await self._read(partial(reads.in_force, sequence=sequence))

    async def seen(
        self, *, repository: str, revision: Revision | None = None, before: int | None = None, limit: int = 100
    ) -> list[Seen]:
        return await self._read(
            partial(reads.seen_of_repository, repository=repository, revision=revision, before=before, limit=limit)
        )

    async def reviews(
        self, *, repository: str = "", stage: str = "", author: str = "", before: int | None = None, limit: int = 100
    ) -> list[Review]:
        equal = {"repository": repository, "stage": stage, "author": author}
        return await self._read(partial(reads.reviews, equal=equal, before=before, limit=limit))

    async def review(self, number: int) -> Review | None:
        return await self._read(partial(reads.review, number=number))

    async def comments(self, number: int) -> list[Comment]:
        return await self._read(partial(reads.comments, number=number))

    async def trail(self, name: str, *, after: int = 0, limit: int = 1000) -> list[Link]:
        return await self._read(partial(reads.trail, name=name, after=after, limit=limit))

    async def trail_end(self, name: str) -> Link | None:
        return await self._read(partial(reads.trail_end, name=name))

    async def trails(self) -> list[str]:
        return await self._read(reads.trail_names)

    async def prune(self, *, events_before: datetime, deployments_keep: int) -> int:
        gone = 0
        for act in (
            partial(retention.prune_events, before=events_before),
            partial(retention.prune_deployments, keep=deployments_keep),
        ):
            while went := await self._writer.act("prune", act):
                gone += went
        return gone

    async def close(self) -> None:
        """What waits is written first. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._reader.shutdown)
        disconnect(self._reading)
        await self._writer.close()

    async def _read(self, question: Callable[[Connection], T]) -> T:
        if self._closed:
            raise TransientError(f"store: read {self._path}: the store is closed", remedy="Wait for the server to start again")
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._ask, question)

    def _ask(self, question: Callable[[Connection], T]) -> T:
        try:
            with self._reading.begin():
                return question(self._reading)
        except Exception as error:
            raise translate(error, "read", self._path) from error
