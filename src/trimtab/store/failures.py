"""What SQLite and the file system say, in our words: which file, what is wrong, and what to do about it.

A full disk or a lock passes, so it is a TransientError; a damaged file does not, so it is a UserError. Result codes:
https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
from sqlalchemy.exc import DBAPIError

from trimtab.core.model.errors import Bug, TransientError, TrimtabError, UserError

REBUILT = "Ownership is rebuilt from the target and Git; only older history is lost"

_TRANSIENT = {
    sqlite3.SQLITE_BUSY: ("it is locked by another process", "End the process that holds it; the write is tried again"),
    sqlite3.SQLITE_LOCKED: ("it is locked by another process", "End the process that holds it; the write is tried again"),
    sqlite3.SQLITE_FULL: (
        "the disk is full",
        "Free some space there; nothing on the record is lost and the write is tried again",
    ),
    sqlite3.SQLITE_READONLY: ("it is read-only", "Make the file and its directory writable for the server's user"),
    sqlite3.SQLITE_PERM: ("access is denied", "Make the file and its directory writable for the server's user"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Check that its directory exists and is writable for the server's user"),
    sqlite3.SQLITE_IOERR: ("reading or writing it failed", "Check the disk and its file system; the write is tried again"),
    sqlite3.SQLITE_NOMEM: ("there is not enough memory", "Free some memory; the write is tried again"),
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def result_code(error: BaseException) -> int:
    """SQLite's primary result code, 0 when ``error`` does not come from SQLite."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", 0)
    return int(code) & 0xFF


def translate(error: Exception, doing: str, path: Path) -> TrimtabError:
    """``doing`` completes "store: …": ``write``, ``read``, ``open``."""
    if isinstance(error, TrimtabError):
        return error
    if isinstance(error, OSError):
        return TransientError(f"store: {doing} {path}: {error.strerror or error}", remedy="Check the file and its directory")
    if isinstance(error, msgspec.DecodeError):
        return damaged(path)
    code = result_code(error)
    if code in _DAMAGED:
        return damaged(path)
    if code in _TRANSIENT:
        reason, remedy = _TRANSIENT[code]
        return TransientError(f"store: {doing} {path}: {reason}", remedy=remedy)
    origin = error.orig if isinstance(error, DBAPIError) else error
    return Bug(f"store: {doing} {path}: {type(origin).__name__}: {origin}", remedy="Please report this")


def damaged(path: Path) -> UserError:
    return UserError(
        f"store: {path} is damaged or is not a database",
        remedy=f"Stop the server, move {path.name} and the files beside it that begin with its name away, and start again. {REBUILT}",
    )
