"""The database file and connections to it: who may read it, how it is synced, who may use it at the same time.

Write-ahead log with ``synchronous=FULL``: a commit that was answered is on the disk. A write before an act on a target (the
Inventory entry) is worth nothing if a power cut can take it back, and group commit shares the price of a sync (docs/decisions/0003).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from trimtab.core.model.errors import TransientError, UserError

SETTINGS: dict[str, str | int] = {
    "busy_timeout": 5_000,  # milliseconds
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "journal_size_limit": 16 * 1024 * 1024,
    "trusted_schema": "OFF",
}


def prepare(path: Path) -> None:
    """Make the file if it is not there, for its owner only. Raises UserError when that cannot be done."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # SQLite gives the log beside it the same mode.
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(
            f"store: open {path}: {error.strerror}",
            remedy="Give a data directory with --data that the server's user may write to",
        ) from error


def connect(path: Path, *, begin: str) -> Connection:
    """``begin`` starts each transaction: ``BEGIN IMMEDIATE`` for a writer, so that it never waits half-way; ``BEGIN`` for a reader.

    Raises what SQLite says (`failures.translate`).
    """
    engine = create_engine("sqlite://", creator=lambda: _open(path), poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine.connect()


def disconnect(connection: Connection) -> None:
    engine: Engine = connection.engine
    connection.close()
    engine.dispose()


def identity(path: Path) -> tuple[int, int]:
    """Which file it is. Raises TransientError when it is gone."""
    try:
        found = path.stat()
    except OSError as error:
        raise gone(path) from error
    return (found.st_dev, found.st_ino)


def gone(path: Path) -> TransientError:
    return TransientError(
        f"store: {path} was removed or replaced while the server had it open",
        remedy="Put the file back, or restart the server to begin a new one; ownership is rebuilt from the target and Git",
    )


def _open(path: Path) -> sqlite3.Connection:
    # isolation_level=None: we begin transactions ourselves, so that statements which define tables are part of them too.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    for name, value in SETTINGS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
