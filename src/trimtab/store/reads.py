"""Reading the record: one function for each question of the port, from a connection to values. Every list is bounded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, and_, func, select

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Comment, Stage
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.trail import Link
from trimtab.ports.store import Loaded, Seen

from .rows import comment_of, deployment_of, entry_of, event_of, link_of, review_of, seen_of
from .schema import change, comment, deployment, document, entry, event, link, seen


def load(connection: Connection) -> Loaded:
    newest_seen = select(seen.c.repository, func.max(seen.c.sequence).label("sequence")).group_by(seen.c.repository).subquery()
    return Loaded(
        entries=tuple(map(entry_of, connection.execute(select(entry.c.body).order_by(*entry.primary_key.columns)).scalars())),
        deployments=_open_and_last_ended(connection),
        documents={row.name: row.body for row in connection.execute(select(document.c.name, document.c.body))},
        seen=tuple(
            seen_of(*row)
            for row in connection.execute(
                select(*seen.columns).join(newest_seen, seen.c.sequence == newest_seen.c.sequence).order_by(seen.c.sequence)
            )
        ),
        sequence=max(
            connection.execute(select(func.coalesce(func.max(column), 0))).scalar_one()
            for column in (seen.c.sequence, deployment.c.sequence)
        ),
        reviews=tuple(reviews(connection, equal={"stage": Stage.OPEN}, before=None, limit=None)[::-1]),
        change=connection.execute(select(func.coalesce(func.max(change.c.number), 0))).scalar_one(),
    )


def _open_and_last_ended(connection: Connection) -> tuple[Deployment, ...]:
    ended = (
        select(deployment.c.environment, deployment.c.application, func.max(deployment.c.sequence).label("sequence"))
        .where(deployment.c.ended)
        .group_by(deployment.c.environment, deployment.c.application)
        .subquery()
    )
    last = select(deployment.c.body).join(
        ended,
        and_(
            deployment.c.environment == ended.c.environment,
            deployment.c.application == ended.c.application,
            deployment.c.sequence == ended.c.sequence,
        ),
    )
    rows = [
        *connection.execute(select(deployment.c.body).where(~deployment.c.ended)).scalars(),
        *connection.execute(last).scalars(),
    ]
    return tuple(sorted(map(deployment_of, rows), key=lambda one: (one.sequence, one.environment, one.application)))


def events(
    connection: Connection,
    *,
    after: int,
    before: int | None,
    limit: int,
    newest_first: bool,
    equal: Mapping[str, str],
) -> list[Event]:
    """``equal`` holds columns and what they must be; "" is anything."""
    query = select(event.c.id, event.c.body).where(event.c.id > after)
    if before is not None:
        query = query.where(event.c.id < before)
    query = query.where(*(event.c[name] == value for name, value in equal.items() if value))
    query = query.order_by(event.c.id.desc() if newest_first else event.c.id).limit(limit)
    return [msgspec.structs.replace(event_of(row.body), id=row.id) for row in connection.execute(query)]


def deployments(connection: Connection, *, key: Key | None, sequence_max: int | None, limit: int) -> list[Deployment]:
    query = select(deployment.c.body).order_by(deployment.c.sequence.desc(), deployment.c.environment, deployment.c.application)
    if key is not None:
        query = query.where(deployment.c.environment == key.environment, deployment.c.application == key.application)
    if sequence_max is not None:
        query = query.where(deployment.c.sequence <= sequence_max)
    return list(map(deployment_of, connection.execute(query.limit(limit)).scalars()))


def in_force(connection: Connection, sequence: int) -> list[Deployment]:
    newest = (
        select(deployment.c.environment, deployment.c.application, func.max(deployment.c.sequence).label("sequence"))
        .where(deployment.c.sequence <= sequence)
        .group_by(deployment.c.environment, deployment.c.application)
        .subquery()
    )
    query = (
        select(deployment.c.body)
        .join(
            newest,
            and_(
                deployment.c.environment == newest.c.environment,
                deployment.c.application == newest.c.application,
                deployment.c.sequence == newest.c.sequence,
            ),
        )
        .order_by(deployment.c.environment, deployment.c.application)
    )
    return list(map(deployment_of, connection.execute(query).scalars()))


def seen_of_repository(
    connection: Connection, *, repository: str, revision: Revision | None, before: int | None, limit: int
) -> list[Seen]:
    query = select(*seen.columns).where(seen.c.repository == repository).order_by(seen.c.sequence.desc())
    if revision is not None:
        query = query.where(seen.c.revision == revision)
    if before is not None:
        query = query.where(seen.c.sequence < before)
    return [seen_of(*row) for row in connection.execute(query.limit(limit))]


def reviews(connection: Connection, *, equal: Mapping[str, str], before: int | None, limit: int | None) -> list[Review]:
    """Newest first. ``equal`` as in `events`."""
    query = select(change.c.body).where(*(change.c[name] == value for name, value in equal.items() if value))
    if before is not None:
        query = query.where(change.c.number < before)
    return list(map(review_of, connection.execute(query.order_by(change.c.number.desc()).limit(limit)).scalars()))


def review(connection: Connection, number: int) -> Review | None:
    body = connection.execute(select(change.c.body).where(change.c.number == number)).scalar_one_or_none()
    return review_of(body) if body is not None else None


def comments(connection: Connection, number: int) -> list[Comment]:
    query = select(comment.c.body).where(comment.c.change == number).order_by(comment.c.number)
    return list(map(comment_of, connection.execute(query).scalars()))


def trail(connection: Connection, name: str, *, after: int, limit: int) -> list[Link]:
    query = select(link.c.body).where(link.c.trail == name, link.c.number > after).order_by(link.c.number).limit(limit)
    return list(map(link_of, connection.execute(query).scalars()))


def trail_end(connection: Connection, name: str) -> Link | None:
    query = select(link.c.body).where(link.c.trail == name).order_by(link.c.number.desc()).limit(1)
    body = connection.execute(query).scalar_one_or_none()
    return link_of(body) if body is not None else None


def trail_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(link.c.trail).distinct().order_by(link.c.trail)).scalars())
