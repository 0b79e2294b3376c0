"""Brings the schema of a database file to the one this program knows, at every start.

A new file gets the schema as it is now. A file of an older one is copied beside itself first; then all migrations run in one
transaction. A file of a newer one is refused: an older program must not guess. Alembic is only imported when there is something to
migrate, as it costs a quarter of a second.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy import Connection

from trimtab.core.model.errors import UserError

from .failures import REBUILT
from .schema import metadata

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, path: Path, *, migrations: Path = MIGRATIONS) -> None:
    """``connection`` is to ``path``, outside a transaction. Raises UserError when the file is newer or somebody else's."""
    versions = known(migrations)
    version = current(connection, path)
    if version == versions[-1]:
        return
    if version and version not in versions:
        raise _newer(path, version, versions)
    if version:
        _copy(connection, path, version)
    with connection.begin():
        version = version or make(connection)
        if version != versions[-1]:
            migrate(connection, migrations)


def make(connection: Connection) -> str:
    """The tables as this program knows them, in an empty file: the same that its migrations make. Returns their version."""
    version = known()[-1]
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (version,))
    metadata.create_all(connection)
    return version


def known(migrations: Path = MIGRATIONS) -> list[str]:
    """The schema versions that this program knows, oldest first, from the names of the migrations (``v0001_first.py``)."""
    return sorted(file.name[1:5] for file in (migrations / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py"))


def current(connection: Connection, path: Path) -> str:
    """The schema version of a file, "" for a new one."""
    with connection.begin():
        tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
        if "alembic_version" in tables:
            return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")
    if tables:
        raise UserError(
            f"store: {path} is a database of another program",
            remedy="Give the server a data directory of its own with --data",
        )
    return ""


def _newer(path: Path, version: str, versions: list[str]) -> UserError:
    """Names the copy that was made of the file before a newer program altered it, where there is one that this program knows."""
    copies = [copy.name for known in reversed(versions) if (copy := _beside(path, known)).exists()]
    away = f"move {path.name} away and start again. {REBUILT}"
    if copies:
        away = f"put {copies[0]} in its place, without {path.name}-wal and {path.name}-shm. What was recorded since is then lost"
    return UserError(
        f"store: {path} was written by a newer Trimtab (schema {version}; this one knows up to {versions[-1]})",
        remedy=f"Run the newer Trimtab, or {away}",
    )


def _beside(path: Path, version: str) -> Path:
    return path.with_name(f"{path.name}.schema-{version}")


def _copy(connection: Connection, path: Path, version: str) -> None:
    """A whole and consistent copy, readable by its owner only; it appears under its name once it is complete."""
    copy = _beside(path, version)
    part = copy.with_name(copy.name + ".part")
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    source = cast("sqlite3.Connection", connection.connection.driver_connection)
    with closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.replace(copy)


def migrate(connection: Connection, migrations: Path = MIGRATIONS, version: str = "head") -> None:
    """Every migration up to ``version`` that the file has not had."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, version)
