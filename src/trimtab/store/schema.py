"""The tables as they are now; `migrations/versions` says how a file got there, and a test holds the two together.

A column stands here when something is looked up, ordered or counted by it; the value itself is the JSON in ``body``, so a
new field of a noun needs no migration. Times are microseconds since 1970 in UTC. Every table is small (bounded by what
exists) except ``event`` and ``deployment``, which retention bounds, and ``change``, ``comment`` and ``link``, which are kept for good.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

# Ids are given out by us from `counter` and not by the database: many rows go in by one statement, and no id comes back.
event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("application", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("event_time", "time"),
    Index("event_kind", "kind", "id"),
    Index("event_application", "application", "environment", "id"),
    Index("event_environment", "environment", "id"),
    Index("event_revision", "revision", "id"),
)

counter = Table(
    "counter",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("application", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("ended", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("deployment_sequence", "sequence"),
    Index("deployment_ended", "ended", "environment", "application", "sequence"),
)

# An object is named by group, kind, namespace and name: another version of its API is the same object.
entry = Table(
    "entry",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

document = Table(
    "document",
    metadata,
    Column("name", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

seen = Table(
    "seen",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("repository", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Index("seen_repository", "repository", "sequence"),
    Index("seen_revision", "repository", "revision", "sequence"),
)

change = Table(
    "change",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("repository", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("change_stage", "stage", "number"),
    Index("change_repository", "repository", "stage", "number"),
    Index("change_author", "author", "stage", "number"),
)

comment = Table(
    "comment",
    metadata,
    Column("change", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

# The trail. Nothing is ever taken out of it.
link = Table(
    "link",
    metadata,
    Column("trail", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

# One row. It stays when the Lease is given back, with no holder, so that the epoch goes on ascending.
lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
)
