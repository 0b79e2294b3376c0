"""The Tree in memory answers as Git does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trimtab.core.model.errors import UserError
from trimtab.testing.trees import Executable, Link, MemoryTree, Submodule


def git(directory: Path, *arguments: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    return subprocess.run(["git", *arguments], cwd=directory, env=environment, capture_output=True, check=True, text=True).stdout


def test_ids_are_those_of_git(tmp_path: Path) -> None:
    """A tree in memory has the object ids that Git gives to the same files."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.yaml").write_text("kind: X\n")
    (tmp_path / "a.b").write_text("sorts before the directory a/")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "link").symlink_to("a/x.yaml")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    expected = git(tmp_path, "write-tree").strip()
    tree = MemoryTree(
        {
            "a/x.yaml": "kind: X\n",
            "a.b": "sorts before the directory a/",
            "run": Executable(b"#!/bin/sh\n"),
            "link": Link("a/x.yaml"),
        }
    )
    root = tree.entry("")
    assert root is not None
    assert root.id == expected
    executable = tree.entry("run")
    assert executable is not None
    assert executable.executable


def test_walk_and_entries() -> None:
    """Walking yields files, links and submodules in order of path; entries are the direct children."""
    tree = MemoryTree({"b/c": b"1", "b.d": b"2", "a": Link("b"), "sub": Submodule()})
    assert [(entry.path, entry.type) for entry in tree.walk("")] == [
        ("a", "link"),
        ("b.d", "blob"),
        ("b/c", "blob"),
        ("sub", "submodule"),
    ]
    assert [entry.path for entry in tree.entries("b")] == ["b/c"]
    assert list(tree.walk("missing")) == []
    assert tree.entry("missing") is None


def test_read_is_bounded() -> None:
    """A file that is missing or too large is the user's error."""
    tree = MemoryTree({"big": b"12345"})
    assert tree.read("big", bytes_max=5) == b"12345"
    for path in ("big", "missing", ""):
        with pytest.raises(UserError):
            tree.read(path, bytes_max=4)
