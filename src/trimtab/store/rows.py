"""From nouns to rows and back: the statements that write, and the one encoding of each value.

`batch` runs in the caller, so that a value which cannot be stored fails its own caller and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Delete, Insert, Table, bindparam, delete
from sqlalchemy.dialects.sqlite import insert

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Comment
from trimtab.core.model.deployment import ENDED, Deployment
from trimtab.core.model.event import Event
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import ObjectRef, Revision
from trimtab.core.model.trail import Link
from trimtab.ports.store import Seen, Writes

from . import schema

Row = dict[str, Any]
Statement = Insert | Delete
Operation = tuple[Statement, Row]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode
event_of = msgspec.json.Decoder(Event).decode
deployment_of = msgspec.json.Decoder(Deployment).decode
entry_of = msgspec.json.Decoder(Entry).decode
review_of = msgspec.json.Decoder(Review).decode
comment_of = msgspec.json.Decoder(Comment).decode
link_of = msgspec.json.Decoder(Link).decode


def put(table: Table) -> Insert:
    """Insert, or replace what has the same primary key."""
    keys = list(table.primary_key.columns)
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={column.name: statement.excluded[column.name] for column in table.columns if column not in keys},
    )


def _drop(table: Table) -> Delete:
    return delete(table).where(*(column == bindparam(column.name) for column in table.primary_key.columns))


ADD_EVENT = insert(schema.event)
PUT_COUNTER = put(schema.counter)
PUT_DEPLOYMENT = put(schema.deployment)
PUT_ENTRY = put(schema.entry)
DROP_ENTRY = _drop(schema.entry)
PUT_DOCUMENT = put(schema.document)
DROP_DOCUMENT = _drop(schema.document)
PUT_SEEN = put(schema.seen)
PUT_LEASE = put(schema.lease)
PUT_CHANGE = put(schema.change)
PUT_COMMENT = put(schema.comment)
ADD_LINK = insert(schema.link)


class Batch(msgspec.Struct, frozen=True):
    """One caller's `Writes` as rows. The rows of ``events`` have no id yet."""

    events: tuple[Event, ...]
    event_rows: list[Row]
    operations: list[Operation]


def batch(writes: Writes) -> Batch:
    return Batch(writes.events, [_event_row(event) for event in writes.events], list(_operations(writes)))


def _operations(writes: Writes) -> Iterator[Operation]:
    # Dropped before put: an object that is named by both stays owned.
    for environment, ref in writes.dropped:
        yield DROP_ENTRY, _object(environment, ref)
    for entry in writes.entries:
        yield PUT_ENTRY, {**_object(entry.environment, entry.ref), "body": _encode(entry)}
    for name, body in writes.documents:
        yield (DROP_DOCUMENT, {"name": name}) if body is None else (PUT_DOCUMENT, {"name": name, "body": body})
    for deployment in writes.deployments:
        yield PUT_DEPLOYMENT, _deployment_row(deployment)
    for one in writes.seen:
        yield PUT_SEEN, _seen_row(one)
    for review in writes.reviews:
        yield PUT_CHANGE, _change_row(review)
    for comment in writes.comments:
        yield PUT_COMMENT, {"change": comment.change, "number": comment.number, "body": _encode(comment)}


def _event_row(event: Event) -> Row:
    return {
        "time": microseconds(event.time),
        "kind": event.kind,
        "application": event.application,
        "environment": event.environment,
        "revision": event.revision,
        "body": _encode(event),
    }


def _object(environment: str, ref: ObjectRef) -> Row:
    group, kind, namespace, name = ref.identity
    return {"environment": environment, "group": group, "kind": kind, "namespace": namespace, "name": name}


def _deployment_row(deployment: Deployment) -> Row:
    return {
        "environment": deployment.environment,
        "application": deployment.application,
        "sequence": deployment.sequence,
        "ended": deployment.phase in ENDED,
        "body": _encode(deployment),
    }


def _seen_row(one: Seen) -> Row:
    return {
        "sequence": one.sequence,
        "repository": one.repository,
        "revision": one.revision,
        "time": microseconds(one.time),
    }


def _change_row(review: Review) -> Row:
    change = review.change
    return {
        "number": change.number,
        "repository": change.repository,
        "target": change.target,
        "stage": str(change.stage),
        "author": change.author,
        "body": _encode(review),
    }


def link_row(link: Link) -> Row:
    return {"trail": link.trail, "number": link.number, "body": _encode(link)}


def seen_of(sequence: int, repository: str, revision: str, time: int) -> Seen:
    return Seen(sequence, repository, Revision(revision), moment(time))


def microseconds(time: datetime) -> int:
    # A division of the difference by a microsecond says the same and takes four times as long; every event comes through here.
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(time: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time)
