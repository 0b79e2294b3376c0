"""One thread that writes. Whatever waits when it gets to work shares a transaction and its sync to the disk (group commit).

In come jobs, each with the future of its caller; out goes an answer for each. The jobs of a group are first tried together;
when that fails, each is tried alone, so that one caller's bad write is nobody else's. The write of a holder whose Lease has
passed on is left out and refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Select, bindparam, select

from trimtab.core.decide.trail import linked, trails
from trimtab.core.model.errors import Refused, TransientError, TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.trail import Link

from .failures import PASSING, result_code, translate
from .files import disconnect, gone, identity
from .rows import ADD_EVENT, ADD_LINK, PUT_COUNTER, Batch, Operation, Row, Statement, link_of, link_row
from .schema import counter, lease, link

GROUP_MAX = 256
EVENTS = "event"

T = TypeVar("T")
Answer = Any


@dataclass(frozen=True)
class Job:
    """Either ``batch`` under ``epoch``, which may share a transaction, or ``act``, which has one of its own."""

    doing: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Answer]
    batch: Batch | None = None
    epoch: int = 0
    act: Callable[[Connection], Answer] | None = None


class Writer:
    """Owns the writing connection from now on; `close` gives it back to the system."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._file = identity(path)
        self._connection = connection
        self._cursor = connection.connection.cursor()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._held: list[Job | None] = []
        self._compiled: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="trimtab-store-writer", daemon=True)
        self._thread.start()

    async def write(self, batch: Batch, epoch: int) -> tuple[Event, ...]:
        events: tuple[Event, ...] = await self._submit("write", batch=batch, epoch=epoch)
        return events

    async def act(self, doing: str, act: Callable[[Connection], T]) -> T:
        """Run ``act`` in the thread, in a transaction of its own."""
        result: T = await self._submit(doing, act=act)
        return result

    async def close(self) -> None:
        """What waits is still written."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, doing: str, **what: Any) -> Answer:
        if self._closed:
            raise TransientError(f"store: {doing} {self._path}: the store is closed", remedy="Wait for the server to start again")
        loop = asyncio.get_running_loop()
        job = Job(doing, loop, loop.create_future(), **what)
        self._waiting.put(job)
        return await job.future

    # From here on: the thread.

    def _run(self) -> None:
        while group := self._group():
            _answer(self._commit(group))
        with contextlib.suppress(Exception):
            self._cursor.close()  # else the file stays open, and what is in its log outside it
            disconnect(self._connection)

    def _group(self) -> list[Job]:
        """The jobs that go together: several batches, or one act. Empty at the end."""
        first = self._held.pop() if self._held else self._waiting.get()
        if first is None:
            return []
        group = [first]
        while first.batch is not None and len(group) < GROUP_MAX:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                break
            if job is None or job.batch is None:
                self._held.append(job)
                break
            group.append(job)
        return group

    def _commit(self, group: list[Job]) -> list[tuple[Job, Answer]]:
        try:
            if identity(self._path) != self._file:
                raise gone(self._path)
            with self._connection.begin():
                answers = [self._connection_act(group[0])] if group[0].batch is None else self._together(group)
        except Exception as error:
            if len(group) > 1 and result_code(error) not in PASSING and not isinstance(error, TrimtabError):
                return [answer for job in group for answer in self._commit([job])]
            return [(job, _failure(error, job, self._path)) for job in group]
        return answers

    def _connection_act(self, job: Job) -> tuple[Job, Answer]:
        assert job.act is not None
        return job, job.act(self._connection)

    def _together(self, group: Sequence[Job]) -> list[tuple[Job, Answer]]:
        epoch = self._epoch()
        accepted = [(job, job.batch) for job in group if job.batch is not None and job.epoch == epoch]
        self._operate([operation for _, batch in accepted for operation in batch.operations])
        stored = self._record([batch for _, batch in accepted])
        refused = [(job, _refusal(job.epoch, epoch)) for job in group if job.epoch != epoch]
        return [*((job, events) for (job, _), events in zip(accepted, stored, strict=True)), *refused]

    def _epoch(self) -> int | None:
        """That of the current Lease, None when nobody holds it."""
        row = self._ask(_LEASE)
        return row[1] if row is not None and row[0] else None

    def _operate(self, operations: list[Operation]) -> None:
        """Many rows by one statement. Order is kept within a table, where it matters, and not between tables, where it does not."""
        streams: dict[int, list[Operation]] = {}
        for operation in operations:
            streams.setdefault(id(operation[0].table), []).append(operation)
        for stream in streams.values():
            for _, run in itertools.groupby(stream, key=lambda operation: id(operation[0])):
                same = list(run)
                self._put(same[0][0], [row for _, row in same])

    def _put(self, statement: Statement, rows: Sequence[Row]) -> None:
        text, names = self._driven(statement, list(rows[0]))
        self._cursor.executemany(text, [tuple(row[name] for name in names) for row in rows])

    def _ask(self, statement: Select[Any], **given: Any) -> tuple[Any, ...] | None:
        """The first row. What is left of the others is let go of by the next statement, at the latest the one that writes the answer."""
        text, names = self._driven(statement, None)
        found: tuple[Any, ...] | None = self._cursor.execute(text, [given[name] for name in names]).fetchone()
        return found

    def _driven(self, statement: Statement | Select[Any], columns: list[str] | None) -> tuple[str, tuple[str, ...]]:
        """The text of a statement for the driver, and what goes into it in which order, compiled once. Most transactions have few rows,
        and what SQLAlchemy does to execute a statement costs several times what these cost in the database.
        """
        known = self._compiled.get(id(statement))
        if known is None:
            made = statement.compile(dialect=self._connection.dialect, column_keys=columns)
            known = self._compiled[id(statement)] = (str(made), tuple(made.positiontup or ()))
        return known

    def _record(self, batches: Sequence[Batch]) -> list[tuple[Event, ...]]:
        """Add the events and return them with their ids, for each batch."""
        if not any(batch.events for batch in batches):
            return [()] * len(batches)
        last = self._ask(_LAST, name=EVENTS)
        ids = itertools.count(last[0] + 1 if last is not None else 1)
        stored = [tuple(msgspec.structs.replace(event, id=next(ids)) for event in batch.events) for batch in batches]
        rows = [
            {**row, "id": event.id}
            for batch, events in zip(batches, stored, strict=True)
            for row, event in zip(batch.event_rows, events, strict=True)
        ]
        self._put(ADD_EVENT, rows)
        self._put(PUT_COUNTER, [{"name": EVENTS, "value": next(ids) - 1}])
        self._link(event for events in stored for event in events)
        return stored

    def _link(self, events: Iterable[Event]) -> None:
        """Put what must stay provable behind the last link of each of its trails."""
        last: dict[str, Link | None] = {}
        links: list[Link] = []
        for event in events:
            for trail in trails(event):
                if trail not in last:
                    row = self._ask(_LAST_LINK, trail=trail)
                    last[trail] = link_of(row[0]) if row is not None else None
                last[trail] = made = linked(event, trail, last[trail])
                links.append(made)
        if links:
            self._put(ADD_LINK, [link_row(one) for one in links])


_LEASE = select(lease.c.holder, lease.c.epoch)
_LAST = select(counter.c.value).where(counter.c.name == bindparam("name"))
_LAST_LINK = select(link.c.body).where(link.c.trail == bindparam("trail")).order_by(link.c.number.desc())


def _refusal(epoch: int, current: int | None) -> Refused:
    holder = f"epoch {current} holds the lease" if current is not None else "nobody holds the lease"
    return Refused(
        f"store: write under epoch {epoch}: {holder}",
        remedy="Another server works on this data; this one takes over when that one ends",
    )


def _failure(error: Exception, job: Job, path: Path) -> TrimtabError:
    """An exception of its own for each caller, as a traceback belongs to one."""
    if isinstance(error, TrimtabError):
        return type(error)(error.message, remedy=error.remedy, problems=error.problems)
    failure = translate(error, job.doing, path)
    failure.__cause__ = error
    return failure


def _answer(answers: list[tuple[Job, Answer]]) -> None:
    """One wake of each loop for the whole group. A loop that is closed has nobody who waits."""
    for loop, of_loop in itertools.groupby(answers, key=lambda answer: answer[0].loop):
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, [(job.future, answer) for job, answer in of_loop])


def _settle(answers: list[tuple[asyncio.Future[Answer], Answer]]) -> None:
    for future, answer in answers:
        if future.done():
            continue  # The caller was cancelled while it waited; what it wrote is written.
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
