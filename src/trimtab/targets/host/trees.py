"""Content of repositories, put in place once for each Git object id and shared by all who name it.

A directory or file is written read-only to DATA/host/trees/<id> and thrown away when no record names its id any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from trimtab.core.model.manifest import Content
from trimtab.ports.git import Contents


class Trees:
    def __init__(self, root: Path, contents: Contents) -> None:
        self._root = root
        self._contents = contents
        self._locks: dict[str, asyncio.Lock] = {}
        self._recent: set[str] = set()

    async def place(self, content: Content) -> Path:
        """Where the content stands, written if it was not there. Raises UserError or TransientError."""
        destination = self._root / content.id
        self._recent.add(content.id)
        async with self._locks.setdefault(content.id, asyncio.Lock()):
            if not destination.exists():
                self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
                await self._contents.materialise(content.repository, content.id, destination)
        self._locks.pop(content.id, None)
        return destination

    async def keep_only(self, ids: Iterable[str]) -> None:
        """Throw away the rest, but for what was asked for since the last call: its record may not be written yet."""
        keep = set(ids) | self._recent
        self._recent.clear()
        await asyncio.to_thread(_sweep, self._root, keep)


def _sweep(root: Path, keep: set[str]) -> None:
    if not root.is_dir():
        return
    for path in root.iterdir():
        if path.name not in keep:
            with contextlib.suppress(OSError):
                remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a file or a directory, read-only or not. Raises OSError."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for directory in [path, *(each for each in path.rglob("*") if each.is_dir() and not each.is_symlink())]:
        directory.chmod(0o700)
    shutil.rmtree(path)
