"""What goes wrong with a file: each fault is named, with what to do, and what was answered before is still there."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event as sqlalchemy_event

from trimtab.core.model.errors import Bug, TransientError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Revision
from trimtab.ports.store import Seen, Writes
from trimtab.store import SqlStore
from trimtab.store.files import SETTINGS

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def note(message: str = "x") -> Writes:
    return Writes(events=(Event("step.applied", NOW, message),))


async def opened(path: Path) -> SqlStore:
    store = SqlStore.open(path)
    await store.lease("me", now=NOW, seconds=30)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trimtab.db"


async def test_only_its_owner_may_read_it(path: Path) -> None:
    """The database and the log beside it can be read by their owner only, also when the file was open to others before."""
    path.touch(0o644)
    store = await opened(path)
    await store.write(note(), epoch=1)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    await store.close()
    assert modes
    assert set(modes.values()) == {0o600}


async def test_a_full_disk_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a write says so and stores nothing; once there is room it goes through."""
    await (await opened(path)).close()
    with monkeypatch.context() as patch:
        patch.setitem(SETTINGS, "max_page_count", 40)
        store = SqlStore.open(path)
        with pytest.raises(TransientError, match="the disk is full") as caught:
            await store.write(note("x" * 500_000), epoch=1)
        assert str(path) in str(caught.value)
        await store.write(note("small"), epoch=1)
        await store.close()
    store = SqlStore.open(path)
    await store.write(note("x" * 500_000), epoch=1)
    assert [len(event.message) for event in await store.events()] == [5, 500_000]
    await store.close()


async def test_a_full_disk_fails_only_the_write_that_does_not_fit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of writes that wait together, those that fit are stored when one does not."""
    await (await opened(path)).close()
    monkeypatch.setitem(SETTINGS, "max_page_count", 40)
    store = SqlStore.open(path)
    writes = [note("a"), note("x" * 500_000), note("b")]
    answers = await asyncio.gather(*(store.write(one, epoch=1) for one in writes), return_exceptions=True)
    assert [type(answer) for answer in answers] == [tuple, TransientError, tuple]
    assert [event.message for event in await store.events()] == ["a", "b"]
    await store.close()


async def test_a_locked_file_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the file, every waiting write says so; afterwards writes go through, and reads always do."""
    monkeypatch.setitem(SETTINGS, "busy_timeout", 50)
    store = await opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(*(store.write(note(), epoch=1) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [TransientError] * 3
    assert "locked by another process" in str(answers[0])
    assert await store.events() == []
    other.execute("ROLLBACK")
    other.close()
    assert await store.write(note(), epoch=1)
    await store.close()


async def test_a_read_only_file(path: Path) -> None:
    """A file that cannot be written to says so at the write, and can still be read."""
    store = await opened(path)
    await store._writer.act("set", lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON"))
    with pytest.raises(TransientError, match="read-only"):
        await store.write(note(), epoch=1)
    assert await store.events() == []
    await store.close()


async def test_a_read_only_file_is_told_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written to is told when it is opened, with the remedy."""
    await (await opened(path)).close()
    monkeypatch.setitem(SETTINGS, "query_only", "ON")
    with pytest.raises(TransientError, match=r"read-only.*writable for the server's user"):
        SqlStore.open(path)


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A directory that cannot be made is a UserError that names the file and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--data"):
        SqlStore.open(tmp_path / "file" / "trimtab.db")


async def test_a_file_that_is_no_database(path: Path) -> None:
    """A file with something else in it is refused, left as it is, with the remedy."""
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"trimtab\.db is damaged.*move trimtab\.db .*away.*rebuilt from the target and Git"):
        SqlStore.open(path)
    assert path.read_bytes() == before


async def test_a_damaged_file(path: Path) -> None:
    """Damage inside the file is a UserError with the remedy, when it is met."""
    store = await opened(path)
    await asyncio.gather(*(store.write(note("y" * 2_000), epoch=1) for _ in range(50)))
    await store.close()
    pages = bytearray(path.read_bytes())
    for start in range(3 * 4096, len(pages), 4096):
        pages[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(pages)
    store = SqlStore.open(path)
    with pytest.raises(UserError, match=r"trimtab\.db is damaged"):
        await store.events(limit=1000)
    await store.close()


async def test_a_value_that_is_no_longer_readable(path: Path) -> None:
    """A body that is not what we wrote is damage too."""
    store = await opened(path)
    await store.write(note(), epoch=1)
    await store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE event SET body = '{'")
    other.close()
    store = SqlStore.open(path)
    with pytest.raises(UserError, match="is damaged"):
        await store.events()
    await store.close()


async def test_a_file_that_is_taken_away(path: Path) -> None:
    """Once the file is removed or replaced, nothing more is written into the void."""
    store = await opened(path)
    await store.write(note(), epoch=1)
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(TransientError, match="removed or replaced"):
        await store.write(note(), epoch=1)
    path.touch()
    with pytest.raises(TransientError, match="removed or replaced"):
        await store.write(note(), epoch=1)
    await store.close()


async def test_a_value_that_cannot_be_stored_fails_alone(path: Path) -> None:
    """A write that SQLite or JSON cannot take is a Bug of its caller; those that wait with it are stored."""
    store = await opened(path)
    answers = await asyncio.gather(
        store.write(note("one"), epoch=1),
        store.write(Writes(seen=(Seen(2**70, "r", Revision("a"), NOW),)), epoch=1),
        store.write(note("\udcff"), epoch=1),
        store.write(note("two"), epoch=1),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [tuple, Bug, Bug, tuple]
    assert [event.message for event in await store.events()] == ["one", "two"]
    await store.close()


async def test_waiting_writes_share_a_transaction(path: Path) -> None:
    """What waits while the thread is busy is committed together."""
    store = await opened(path)
    commits: list[object] = []
    sqlalchemy_event.listen(store._writer._connection.engine, "commit", commits.append)
    busy = asyncio.ensure_future(store._writer.act("sleep", lambda _: time.sleep(1.0)))
    await asyncio.sleep(0.1)
    await asyncio.gather(*(store.write(note(), epoch=1) for _ in range(200)))
    await busy
    assert len(commits) == 2
    await store.close()


async def test_a_cancelled_caller_disturbs_nobody(path: Path) -> None:
    """A caller that goes away while it waits leaves the others their answers."""
    store = await opened(path)
    tasks = [asyncio.ensure_future(store.write(note(str(number)), epoch=1)) for number in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for number, answer in enumerate(answers) if number != 3] == [tuple] * 9
    await store.close()


async def test_what_waits_at_the_end_is_written(path: Path) -> None:
    """Closing writes what waits; afterwards every call says that the store is closed; closing again does nothing."""
    store = await opened(path)
    tasks = [asyncio.ensure_future(store.write(note(), epoch=1)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*tasks)) == 20
    for call in (store.write(note(), epoch=1), store.load()):
        with pytest.raises(TransientError, match="closed"):
            await call
    await store.close()


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from trimtab.core.model.event import Event
from trimtab.ports.store import Writes
from trimtab.store import SqlStore

async def main():
    store = SqlStore.open(Path(sys.argv[1]))
    now = datetime.now(UTC)
    epoch = (await store.lease("child", now=now, seconds=1)).epoch
    async def one(number):
        while True:
            for event in await store.write(Writes(events=(Event("step.applied", now, str(number)),)), epoch=epoch):
                print(event.id, flush=True)
    await asyncio.gather(*(one(number) for number in range(4)))

asyncio.run(main())
"""


def test_nothing_answered_is_lost_by_a_kill(path: Path) -> None:
    """After `kill -9` in the middle of writing, every write that was answered is there, and the file is whole."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    answered = [int(process.stdout.readline()) for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    answered += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.stdout.close()
    process.wait()
    assert asyncio.run(all_ids(path)) >= set(answered)
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.close()


async def all_ids(path: Path) -> set[int]:
    store = SqlStore.open(path)
    ids = {event.id for event in await store.events(limit=1_000_000)}
    await store.close()
    return ids
