"""Forgetting, a bounded piece at a time, so that no write waits long behind it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, select, tuple_

from .rows import microseconds
from .schema import deployment, event

ROWS_MAX = 2_000


def prune_events(connection: Connection, before: datetime) -> int:
    """Drop up to `ROWS_MAX` events that are older; how many went."""
    old = select(event.c.id).where(event.c.time < microseconds(before)).limit(ROWS_MAX)
    return connection.execute(delete(event).where(event.c.id.in_(old))).rowcount


def prune_deployments(connection: Connection, keep: int) -> int:
    """Drop up to `ROWS_MAX` ended Deployments beyond the newest ``keep`` of their Key; how many went."""
    key = (deployment.c.environment, deployment.c.application)
    ranked = (
        select(
            *key,
            deployment.c.sequence,
            func.row_number().over(partition_by=key, order_by=deployment.c.sequence.desc()).label("rank"),
        )
        .where(deployment.c.ended)
        .subquery()
    )
    surplus = select(ranked.c.environment, ranked.c.application, ranked.c.sequence).where(ranked.c.rank > keep).limit(ROWS_MAX)
    return connection.execute(delete(deployment).where(tuple_(*key, deployment.c.sequence).in_(surplus))).rowcount
