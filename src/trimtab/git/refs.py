"""The refs of a repository on this disk, read from its files without starting git.

A directory comes in, a Refs comes out: what HEAD says and where branches and tags are. Two equal values mean that there is
nothing to fetch, so a poll of an unchanged repository costs well under a millisecond. Formats that we do not know (reftable) and
anything odd give None, and the caller asks git. Layout: gitrepository-layout(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ID = re.compile(r"[0-9a-f]{40}")
FOLLOWED = ("refs/heads/", "refs/tags/")
LOOSE_BYTES_MAX = 4096


@dataclass(frozen=True)
class Refs:
    """``head`` is the branch that HEAD names ("" when it is detached); ``detached`` is the commit then. ``ids`` has refs by
    full name; a tag's id may be that of a tag object.
    """

    head: str
    detached: str
    ids: Mapping[str, str]


def git_directory(path: Path) -> Path | None:
    """Where the repository at ``path`` keeps its data: for a work tree, a linked work tree or a bare repository, found as git
    itself finds it for a fetch; None when there is none. Raises PermissionError.
    """
    for candidate in (path / ".git", path, Path(f"{path}.git")):
        if candidate.is_file():
            text = candidate.read_text(errors="surrogateescape")
            pointed = (path / text.removeprefix("gitdir:").strip()) if text.startswith("gitdir:") else None
            if pointed is not None and (pointed / "HEAD").exists():
                return pointed
        elif (candidate / "HEAD").is_file() and ((candidate / "objects").is_dir() or (candidate / "commondir").is_file()):
            return candidate
    return None


def common_directory(directory: Path) -> Path:
    """Where the branches are: another directory than HEAD's for a linked work tree."""
    try:
        return directory / (directory / "commondir").read_text().strip()
    except FileNotFoundError:
        return directory


def read(directory: Path, prefixes: tuple[str, ...] = FOLLOWED) -> Refs | None:
    """What the git directory's refs are now; None when they cannot be read this way. ``prefixes`` says which (with a slash)."""
    try:
        common = common_directory(directory)
        if (common / "reftable").exists():
            return None
        # Loose before packed: git packs a ref first and deletes the loose file after, so nothing is missed in between.
        loose = {name: value for prefix in prefixes for name, value in _loose(common / prefix, prefix)}
        packed = {name: value for name, value in _packed(common).items() if name.startswith(prefixes)}
        ids = {**packed, **loose}
        head = _small(directory / "HEAD")
    except (OSError, ValueError):
        return None
    if head.startswith("ref:"):
        return Refs(head.removeprefix("ref:").strip(), "", ids)
    return Refs("", head, ids) if ID.fullmatch(head) else None


def _loose(directory: Path, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        found = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir():
            yield from _loose(Path(entry.path), f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".lock"):
            try:
                yield prefix + entry.name, _small(Path(entry.path))
            except FileNotFoundError:  # deleted or packed between the two looks
                continue


def _small(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LOOSE_BYTES_MAX).decode("utf-8", "surrogateescape").strip()


def _packed(directory: Path) -> Mapping[str, str]:
    path = directory / "packed-refs"
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _parsed(path, stat.st_ino, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _parsed(path: Path, inode: int, modified_ns: int, size: int) -> Mapping[str, str]:
    """Git replaces packed-refs by renaming, so inode, time and size tell one version from the next."""
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.split(" ", 1) for line in lines if line and line[0] not in "#^")
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
