"""The files of one commit, straight from the object database: the port's Tree over `Objects`. Links are entries, never followed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.ports.git import TreeEntry

from .objects import LINK, SUBMODULE, Child, Objects
from .text import shown

# Trees may share their subtrees, so a few hundred bytes can stand for more files than there are atoms.
VISITS_MAX = 1_000_000
DEPTH_MAX = 200


class GitTree:
    def __init__(self, repository: str, revision: Revision, root: str, objects: Objects) -> None:
        self._repository, self._revision, self._root, self._objects = repository, revision, root, objects
        self._last: tuple[str, Mapping[str, Child]] | None = None

    @property
    def repository(self) -> str:
        return self._repository

    @property
    def revision(self) -> Revision:
        return self._revision

    def entry(self, path: str) -> TreeEntry | None:
        child = self._at(path)
        return None if child is None else self._entry(path, child)

    def entries(self, path: str) -> list[TreeEntry]:
        child = self._objects.at(self._root, path)
        if child is None or not child.is_tree:
            raise UserError(
                f"list {shown(path) or '.'} at {self._revision[:7]}: there is no such directory", remedy="Correct the path"
            )
        children = sorted(self._objects.tree(child.id).items(), key=lambda item: _bytes(item[0]))
        return [self._entry(_join(path, name), below) for name, below in children]

    def walk(self, path: str) -> Iterator[TreeEntry]:
        """As the port says. Raises UserError past `DEPTH_MAX` directories in each other or `VISITS_MAX` entries."""
        child = self._objects.at(self._root, path)
        if child is None or not child.is_tree:
            return
        # Git's order within a tree ("a.b" before "a/") makes the whole walk sorted by path.
        open_trees = [(path, iter(self._objects.tree(child.id).items()))]
        for visits in itertools.count():
            if visits > VISITS_MAX or len(open_trees) > DEPTH_MAX:
                raise UserError(f"walk {shown(path) or '.'} at {self._revision[:7]}: too many directories", remedy="Use fewer")
            base, children = open_trees[-1]
            name, below = next(children, (None, None))
            if name is None or below is None:
                open_trees.pop()
                if not open_trees:
                    return
            elif below.is_tree:
                open_trees.append((_join(base, name), iter(self._objects.tree(below.id).items())))
            else:
                yield self._entry(_join(base, name), below)

    def read(self, path: str, *, bytes_max: int) -> bytes:
        child = self._at(path)
        if child is None or not child.is_blob:
            raise UserError(f"read {shown(path)} at {self._revision[:7]}: there is no such file", remedy="Correct the path")
        size = self._objects.size(child.id)
        if size > bytes_max:
            raise UserError(
                f"read {shown(path)} at {self._revision[:7]}: it has {size} bytes, more than the {bytes_max} allowed",
                remedy="Make the file smaller",
            )
        return self._objects.blob(child.id)

    def _at(self, path: str) -> Child | None:
        """As `Objects.at`. Whoever asks for one file mostly asks for others beside it, so the last directory is remembered."""
        above, slash, name = path.rpartition("/")
        if not name or (slash and not above):
            return self._objects.at(self._root, path)
        last = self._last
        if last is None or last[0] != above:
            child = self._objects.at(self._root, above)
            last = self._last = (above, self._objects.tree(child.id) if child is not None and child.is_tree else {})
        return last[1].get(name)

    def _entry(self, path: str, child: Child) -> TreeEntry:
        if child.is_tree:
            return TreeEntry(path, "tree", child.id)
        if child.mode == LINK:
            return TreeEntry(path, "link", child.id)
        if child.mode == SUBMODULE:
            return TreeEntry(path, "submodule", child.id)
        return TreeEntry(path, "blob", child.id, self._objects.size(child.id), child.executable)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
