"""Reading the record beside a server that has it open."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trimtab.ports.store import Writes
from trimtab.store import peek
from trimtab.store.store import SqlStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def test_what_is_on_the_record_is_read_while_it_is_open_and_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a%b?.db"
    assert peek.documents(path, ["state/a"]) == {}
    assert list(tmp_path.iterdir()) == []
    store = SqlStore.open(path)
    lease = await store.lease("one", now=NOW, seconds=60)
    await store.write(Writes(documents=(("state/a", b"1"), ("state/b", b"2"))), epoch=lease.epoch)
    assert peek.documents(path, ["state/a", "state/c"]) == {"state/a": b"1"}
    await store.close()
    assert peek.documents(path, ["state/b"]) == {"state/b": b"2"}


async def test_a_file_that_is_no_record_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one of another user: a reader would leave files beside it that its server cannot use."""
    path = tmp_path / "trimtab.db"
    path.write_bytes(b"no database" * 100)
    assert peek.documents(path, ["a"]) == {}
    path.unlink()
    path.mkdir()
    assert peek.documents(path, ["a"]) == {}
    path.rmdir()
    await SqlStore.open(path).close()
    monkeypatch.setattr(peek.sqlite3, "connect", lambda *_, **__: pytest.fail("it is somebody else's"))
    monkeypatch.setattr(peek.os, "geteuid", lambda: -1)
    assert peek.documents(path, ["a"]) == {}
