"""Objects of one mirror, read through libgit2: trees parsed by ourselves, blobs with a bound, commits and what tags point at.

Ids come in as hexadecimal strings, plain values go out. libgit2's handles are not made for several threads, so every call
holds a lock; calls take microseconds. Trees are parsed from their raw bytes, because names may be anything
(gitformat: ``mode SP name NUL id``).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, RepositoryOpenFlag

from trimtab.core.model.errors import TransientError, UserError

ENTRIES_MAX = 50_000  # of parsed trees that are kept in memory, some 300 bytes each
SIZES_MAX = 50_000
COMMITS_MAX = 256
TAG_DEPTH_MAX = 10
OBJECT_BYTES_MAX = 64 * 1024 * 1024

# Only mirrors of ours are opened through libgit2. What the user or the system has configured for other repositories has no say.
pygit2.settings.owner_validation = False
for _level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL, ConfigLevel.PROGRAMDATA):
    pygit2.settings.search_path[_level] = "/nonexistent"

TREE, BLOB, LINK, SUBMODULE = 0o040000, 0o100644, 0o120000, 0o160000

_REMEDY = "The next fetch checks the mirror and makes a new one if need be"

_KINDS = {ObjectType.COMMIT: "commit", ObjectType.TREE: "tree", ObjectType.BLOB: "blob", ObjectType.TAG: "tag"}
_TYPES = {name: kind for kind, name in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Child:
    """One line of a tree object. ``mode`` as git has it, in octal."""

    mode: int
    id: str

    @property
    def is_tree(self) -> bool:
        return self.mode & 0o170000 == TREE

    @property
    def is_blob(self) -> bool:
        return self.mode & 0o170000 == 0o100000

    @property
    def executable(self) -> bool:
        return self.is_blob and bool(self.mode & 0o111)


@dataclass(frozen=True, slots=True)
class Commit:
    tree: str
    parents: tuple[str, ...]
    seconds: int  # of the committer, since 1970


class Objects:
    """The object database of the repository at ``path``. ``name`` is for messages; ``also`` is a directory with more objects."""

    def __init__(self, path: Path, name: str, *, also: Path | None = None, remedy: str = _REMEDY) -> None:
        self._path, self._name, self._also, self._remedy = path, name, also, remedy
        self._lock = threading.RLock()
        self._trees: OrderedDict[str, Mapping[str, Child]] = OrderedDict()
        self._entries = 0
        self._sizes: dict[str, int] = {}
        self._commits: OrderedDict[str, Commit] = OrderedDict()
        self.damaged = False  # something that must be there could not be read
        self.repository = self._open()

    @contextmanager
    def held(self) -> Iterator[pygit2.Repository]:
        """libgit2's handle, kept from other threads meanwhile."""
        with self._lock:
            yield self.repository

    def reopen(self) -> None:
        """Look again at which packs there are; called after whatever may have replaced them."""
        with self._lock:
            # Closed first: libgit2 shares open packs by path within the process, so a pack that was replaced by a sound one of the
            # same name would otherwise go on being read as it was.
            self.repository.free()
            self.repository = self._open()
            self._commits.clear()

    def _open(self) -> pygit2.Repository:
        try:
            repository = pygit2.Repository(str(self._path), RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH)
            if self._also is not None:
                repository.odb.add_disk_alternate(str(self._also))
            return repository
        except pygit2.GitError as error:
            self.damaged = True
            raise TransientError(f"{self._name}: its objects cannot be opened: {error}", remedy=self._remedy) from error

    def kind(self, object_id: str) -> str | None:
        """commit, tree, blob or tag; None when the mirror does not have it."""
        try:
            with self._lock:
                return _KINDS.get(self.repository.odb.read_header(pygit2.Oid(hex=object_id))[0])
        except (KeyError, ValueError):
            return None
        except pygit2.GitError as error:
            self._broken(object_id, error)

    def tree(self, tree_id: str) -> Mapping[str, Child]:
        """Name to Child, in git's order. Names that are not UTF-8 have surrogate escapes."""
        with self._lock:
            known = self._trees.get(tree_id)
            if known is not None:
                self._trees.move_to_end(tree_id)
                return known
            parsed = self._trees[tree_id] = _parse_tree(self._read(tree_id, "tree"))
            self._entries += len(parsed) + 1
            while self._entries > ENTRIES_MAX and len(self._trees) > 1:
                self._entries -= len(self._trees.popitem(last=False)[1]) + 1
            return parsed

    def size(self, blob_id: str) -> int:
        with self._lock:
            size = self._sizes.get(blob_id)
            if size is None:
                if len(self._sizes) >= SIZES_MAX:
                    self._sizes.clear()
                size = self._sizes[blob_id] = self._header(blob_id)
            return size

    def blob(self, blob_id: str) -> bytes:
        """The whole content; ask for the size first."""
        return self._read(blob_id, "blob")

    def raw(self, object_id: str, kind: str) -> bytes:
        """The whole content of any object; ask for the size first."""
        return self._read(object_id, kind)

    def commit(self, commit_id: str) -> Commit:
        """Raises UserError when the mirror has no such commit."""
        with self._lock:
            known = self._commits.get(commit_id)
        if known is not None:
            return known
        if self.kind(commit_id) != "commit":
            raise UserError(
                f"{self._name}: there is no commit {commit_id[:40]} here",
                remedy="Push it to a branch or tag of the repository",
            )
        found = _parse_commit(self._read(commit_id, "commit"))
        with self._lock:
            self._commits[commit_id] = found
            while len(self._commits) > COMMITS_MAX:
                self._commits.popitem(last=False)
        return found

    def peeled(self, object_id: str) -> str | None:
        """The commit that a ref's id leads to, through tag objects; None when it leads to something else."""
        for _ in range(TAG_DEPTH_MAX):
            match self.kind(object_id):
                case "commit":
                    return object_id
                case "tag":
                    object_id = _field(self._read(object_id, "tag"), b"object")
                case None:  # a ref names it, so it must be here
                    self._broken(object_id, KeyError("missing"))
                case _:
                    return None
        return None

    def at(self, tree_id: str, path: str) -> Child | None:
        """What stands at ``path`` below a tree; "" is the tree itself."""
        child = Child(TREE, tree_id)
        for part in path.split("/") if path else ():
            below = self.tree(child.id).get(part) if child.is_tree else None
            if below is None:
                return None
            child = below
        return child

    def write(self, kind: str, data: bytes) -> str:
        """Store an object and return its id. Raises TransientError when the disk does not take it."""
        try:
            with self._lock:
                return str(self.repository.write(_TYPES[kind], data))
        except (pygit2.GitError, OSError) as error:
            raise TransientError(f"{self._name}: could not write to it: {error}") from error

    def write_tree(self, children: Mapping[str, Child]) -> str:
        """Store a tree. Git sorts a directory as if its name ended in a slash."""
        rows = sorted(
            (name.encode("utf-8", "surrogateescape") + (b"/" if child.is_tree else b""), name, child)
            for name, child in children.items()
        )
        encoded = ((name.encode("utf-8", "surrogateescape"), child) for _, name, child in rows)
        return self.write("tree", b"".join(b"%o %s\0%s" % (child.mode, name, bytes.fromhex(child.id)) for name, child in encoded))

    def write_commit(
        self, ref: str | None, tree: str, parents: list[str], message: str, author: pygit2.Signature, committer: pygit2.Signature
    ) -> str:
        """Store a commit and, unless ``ref`` is None, move the ref to it from its first parent. Raises TransientError."""
        try:
            with self._lock:
                return str(self.repository.create_commit(ref, author, committer, message, tree, parents))
        except (pygit2.GitError, ValueError, OSError) as error:
            raise TransientError(f"{self._name}: could not write to it: {error}") from error

    def write_signed(
        self,
        tree: str,
        parents: list[str],
        message: str,
        author: pygit2.Signature,
        committer: pygit2.Signature,
        *,
        sign: Callable[[bytes], str],
    ) -> str:
        """Store a commit with what ``sign`` makes of it, as git does: in the header ``gpgsig``. Raises TransientError."""
        above: list[str | pygit2.Oid] = [*parents]
        try:
            with self._lock:
                text = str(self.repository.create_commit_string(author, committer, message, tree, above))
            signature = sign(text.encode("utf-8", "surrogateescape"))
            with self._lock:
                return str(self.repository.create_commit_with_signature(text, signature, "gpgsig"))
        except (pygit2.GitError, ValueError, OSError) as error:
            raise TransientError(f"{self._name}: could not write to it: {error}") from error

    def _header(self, object_id: str) -> int:
        try:
            return int(self.repository.odb.read_header(pygit2.Oid(hex=object_id))[1])
        except (KeyError, pygit2.GitError) as error:
            self._broken(object_id, error)

    def _read(self, object_id: str, kind: str) -> bytes:
        try:
            with self._lock:
                found, data = self.repository.odb.read(pygit2.Oid(hex=object_id))
        except (KeyError, pygit2.GitError) as error:
            self._broken(object_id, error)
        if _KINDS.get(found) != kind:
            raise UserError(f"{self._name}: object {object_id} is no {kind}")
        return bytes(data)

    def _broken(self, object_id: str, error: Exception) -> NoReturn:
        self.damaged = True
        raise TransientError(
            f"{self._name}: object {object_id} cannot be read: {error}",
            remedy=self._remedy,
        ) from error


def _parse_tree(data: bytes) -> Mapping[str, Child]:
    children: dict[str, Child] = {}
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        name = data[space + 1 : end].decode("utf-8", "surrogateescape")
        children.setdefault(name, Child(int(data[at:space], 8), data[end + 1 : end + 21].hex()))
        at = end + 21
    return children


def _parse_commit(data: bytes) -> Commit:
    header = data.partition(b"\n\n")[0]
    parents = tuple(line[7:].decode("ascii") for line in header.split(b"\n") if line.startswith(b"parent "))
    committer = _field(header, b"committer").rsplit(" ", 2)
    seconds = committer[1] if len(committer) == 3 and committer[1].lstrip("-").isdigit() else "0"
    return Commit(_field(header, b"tree"), parents, int(seconds))


def _field(data: bytes, name: bytes) -> str:
    return next(
        (line[len(name) + 1 :].decode("utf-8", "replace") for line in data.split(b"\n") if line.startswith(name + b" ")), ""
    )
