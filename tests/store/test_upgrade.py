"""Opening a file of another schema: older is copied and migrated, newer is refused, somebody else's is left alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from trimtab.core.model.errors import UserError
from trimtab.store import SqlStore
from trimtab.store import upgrade as upgrading
from trimtab.store.files import connect, disconnect
from trimtab.store.schema import metadata
from trimtab.store.upgrade import MIGRATIONS, known, upgrade

HERE = known()[-1]
NEXT = f"{int(HERE) + 1:04d}"
NEXT_MIGRATION = """
from alembic import op
revision = "{next}"
down_revision = "{here}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE extra (id INTEGER)")
    op.execute("{then}")
"""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "trimtab.db"
    store = SqlStore.open(path)
    await store.lease("me", now=datetime(2026, 1, 1, tzinfo=UTC), seconds=30)
    await store.close()
    return path


def one_more(folder: Path, then: str) -> Path:
    """The shipped migrations and one more."""
    migrations = folder / "migrations 100%"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / f"v{NEXT}_next.py").write_text(NEXT_MIGRATION.format(next=NEXT, here=HERE, then=then))
    return migrations


def migrate(path: Path, migrations: Path) -> None:
    connection = connect(path, begin="BEGIN IMMEDIATE")
    try:
        upgrade(connection, path, migrations=migrations)
    finally:
        disconnect(connection)


def made_by(path: Path, way: Callable[[Connection], object]) -> list[tuple[object, ...]]:
    """The schema of a new file."""
    connection = connect(path, begin="BEGIN IMMEDIATE")
    try:
        with connection.begin():
            way(connection)
    finally:
        disconnect(connection)
    return ask(
        path,
        "SELECT type, name, tbl_name, replace(replace(replace(sql, char(10), ''), char(9), ''), ', ', ',') FROM sqlite_master ORDER BY type, name",
    )


def ask(path: Path, question: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchall()
    finally:
        connection.close()


def test_a_new_file_is_what_the_migrations_make(tmp_path: Path) -> None:
    """Tables, columns and indexes, and the version."""
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    assert made_by(made, upgrading.make) == made_by(migrated, upgrading.migrate)
    assert ask(made, "SELECT * FROM alembic_version") == ask(migrated, "SELECT * FROM alembic_version") == [(HERE,)]


def test_the_migrations_make_the_schema(tmp_path: Path) -> None:
    """What the migrations make is what the code expects, to the column."""
    made_by(tmp_path / "migrated.db", upgrading.migrate)
    connection = connect(tmp_path / "migrated.db", begin="BEGIN")
    with connection.begin():
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    disconnect(connection)


def test_the_names_of_the_migrations_tell_the_newest() -> None:
    """The newest version by file name is the head that alembic finds."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [known()[-1]]


async def test_an_older_file_is_copied_and_migrated(path: Path, tmp_path: Path) -> None:
    """An older file is migrated; a copy from before, whole and private, stays beside it."""
    migrate(path, one_more(tmp_path, "INSERT INTO extra VALUES (7)"))
    assert ask(path, "SELECT version_num FROM alembic_version") == [(NEXT,)]
    assert ask(path, "SELECT id FROM extra") == [(7,)]
    assert ask(path, "SELECT holder FROM lease") == [("me",)]
    copy = path.with_name(f"trimtab.db.schema-{HERE}")
    assert ask(copy, "SELECT holder FROM lease") == [("me",)]
    assert ask(copy, "SELECT version_num FROM alembic_version") == [(HERE,)]
    assert copy.stat().st_mode & 0o777 == 0o600


async def test_a_migration_that_fails_changes_nothing(path: Path, tmp_path: Path) -> None:
    """A migration that fails half-way is rolled back, tables and all; the file opens as before."""
    with pytest.raises(Exception, match="no such table: nonsense"):
        migrate(path, one_more(tmp_path, "INSERT INTO nonsense VALUES (1)"))
    assert ask(path, "SELECT name FROM sqlite_master WHERE name = 'extra'") == []
    assert ask(path, "SELECT version_num FROM alembic_version") == [(HERE,)]
    await SqlStore.open(path).close()


async def test_a_newer_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A file that a newer Trimtab wrote is refused, untouched, with both versions and the remedy."""
    migrate(path, one_more(tmp_path, "INSERT INTO extra VALUES (7)"))
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"newer Trimtab \(schema {NEXT}; this one knows up to {HERE}\)\. Run the newer Trimtab"):
        SqlStore.open(path)
    assert path.read_bytes() == before


async def test_the_refusal_of_a_newer_file_names_the_copy_of_before(path: Path, tmp_path: Path) -> None:
    """It works when it is put there; without one, the file is to be moved away."""
    migrate(path, one_more(tmp_path, "INSERT INTO extra VALUES (7)"))
    copy = path.with_name(f"{path.name}.schema-{HERE}")
    with pytest.raises(UserError, match=rf"or put {copy.name} in its place, without {path.name}-wal"):
        SqlStore.open(path)
    for newer in path.parent.glob(f"{path.name}-*"):
        newer.unlink()
    copy.replace(path)
    await SqlStore.open(path).close()
    migrate(path, one_more(tmp_path / "again", "INSERT INTO extra VALUES (7)"))
    copy.unlink()
    with pytest.raises(UserError, match=rf"or move {path.name} away"):
        SqlStore.open(path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """A database with other tables in it is refused, untouched."""
    path = tmp_path / "trimtab.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE customers (id INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="another program"):
        SqlStore.open(path)
    assert ask(path, "SELECT name FROM sqlite_master") == [("customers",)]
