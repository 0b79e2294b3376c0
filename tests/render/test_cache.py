"""The cache of rendered results: found again, bounded, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trimtab.core.model.manifest import Content, Manifest
from trimtab.core.model.names import ObjectRef
from trimtab.ports.renderer import Rendered
from trimtab.render.cache import Cache, key_of


def rendered(name: str, size: int = 10) -> Rendered:
    body = {"kind": "X", "metadata": {"name": name}, "spec": {"text": "x" * size, "n": [1, 1.5, None, True, -(2**63)]}}
    manifest = Manifest(ObjectRef("v1", "X", "", name), body, "a.yaml", 3, (Content("p", "tree", "1", "r"),))
    return Rendered((manifest,), (("a", "1"), ("b", "")), "sha256:0")


def put(cache: Cache, name: str, size: int = 10) -> None:
    cache.put(name, rendered(name, size))
    cache.flush()


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


def test_found_again_by_another_process(tmp_path: Path) -> None:
    """What one Cache has written, the next one reads, equal in everything."""
    put(Cache(tmp_path), "one")
    again = Cache(tmp_path)
    assert again.get("one") == rendered("one")
    assert again.get("two") is None


def test_a_corrupt_entry_is_discarded(tmp_path: Path) -> None:
    """An entry that is damaged, cut or of another shape is removed and counts as not there."""
    for damage in (lambda data: data[:-1], lambda data: data[:20] + b"!" + data[21:], lambda _: b"", lambda _: b"\0" * 40):
        put(Cache(tmp_path), "one")
        (path,) = [found for found in tmp_path.rglob("one") if found.is_file()]
        path.write_bytes(damage(path.read_bytes()))
        assert Cache(tmp_path).get("one") is None
        assert files(tmp_path) == set()


def test_bounded_on_disk(tmp_path: Path) -> None:
    """Beyond the bound the entries that were used longest ago go; what was used lately stays."""
    cache = Cache(tmp_path, bytes_max=50_000, memory_bytes_max=0)
    for index in range(9):
        put(cache, f"e{index}", 5_000)
        (path,) = tmp_path.rglob(f"e{index}")
        os.utime(path, (index + 1, index + 1))
    assert cache.get("e0") is not None
    put(cache, "last", 5_000)
    left = files(tmp_path)
    assert {"e0", "last"} <= left
    assert "e1" not in left
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 50_000
    put(cache, "huge", 60_000)
    assert "huge" not in files(tmp_path)


def test_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    """An unfinished file of a crash is removed at the next start that writes."""
    put(Cache(tmp_path), "one")
    (folder,) = tmp_path.iterdir()
    (folder / ".two.123").write_bytes(b"half")
    put(Cache(tmp_path), "three")
    assert files(tmp_path) == {"one", "three"}


def test_bounded_in_memory(tmp_path: Path) -> None:
    """The newest results are kept in memory up to a bound, and are the same objects then."""
    cache = Cache(tmp_path, memory_bytes_max=12_000)
    for name in ("a", "b", "c"):
        put(cache, name, 5_000)
    for path in list(tmp_path.rglob("*")):
        if path.is_file():
            path.unlink()
    assert cache.get("a") is None
    held = cache.get("c")
    assert held is not None
    assert held is cache.get("c")


def test_a_disk_that_does_not_take_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the directory cannot be made or has vanished, the result is still there in memory, and later writes try again."""
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file")
    put(cache, "one")
    assert cache.get("one") == rendered("one")
    assert "rendered again" in caplog.text
    (tmp_path / "file").unlink()
    put(cache, "two")
    assert files(tmp_path) == {"two"}


def test_keys() -> None:
    """Equal parts have equal keys; different ones differ, also where their texts run together."""
    assert key_of("a", ("b", "c")) == key_of("a", ("b", "c"))
    assert len({key_of("a", "b"), key_of("ab", ""), key_of("a", ["b"]), key_of("a", "b", "")}) == 4
