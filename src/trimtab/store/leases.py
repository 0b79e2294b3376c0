"""Who may act. The epoch ascends with each change of holder, so that a write of the one before can be told and refused."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from trimtab.ports.store import Lease

from .rows import PUT_LEASE, microseconds, moment
from .schema import lease


def take(connection: Connection, holder: str, *, now: datetime, seconds: float) -> Lease:
    """Take or renew the Lease when it is free, over, or ours; the one that holds now, which may be another's."""
    row = connection.execute(select(lease)).one_or_none()
    if row is not None and row.holder not in ("", holder) and moment(row.until) > now:
        return Lease(row.holder, row.epoch, moment(row.until))
    epoch = row.epoch if row is not None else 0
    if row is None or row.holder != holder:
        epoch += 1
    taken = Lease(holder, epoch, now + timedelta(seconds=seconds))
    connection.execute(PUT_LEASE, [{"id": 1, "holder": holder, "epoch": epoch, "until": microseconds(taken.until)}])
    return taken


def release(connection: Connection, holder: str) -> None:
    connection.execute(update(lease).where(lease.c.holder == holder).values(holder="", until=0))
