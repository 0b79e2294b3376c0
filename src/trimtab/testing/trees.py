"""A Tree in memory, for tests: paths and contents in, the Tree port out, with the object ids that Git itself would give.

`MemoryTree({"apps/web.yaml": "kind: …", "run.sh": Executable(b"…"), "link": Link("apps"), "lib": Submodule()})`. Equal content
has equal ids, so whatever decides by ids (the render cache above all) behaves as on a real repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.ports.git import TreeEntry


@dataclass(frozen=True)
class Executable:
    """A file with the executable bit."""

    content: bytes


@dataclass(frozen=True)
class Link:
    """A symbolic link to ``target``."""

    target: str


@dataclass(frozen=True)
class Submodule:
    """A commit of another repository."""

    commit: str = "1" * 40


Node = str | bytes | Executable | Link | Submodule


class MemoryTree:
    """The port's Tree over a mapping of paths. ``reads`` counts calls of `read` and ``lookups`` all others, for tests of thrift."""

    def __init__(self, files: Mapping[str, Node], *, repository: str = "memory", revision: str = "") -> None:
        self.repository = repository
        self.reads = 0
        self.lookups = 0
        self._root = _Directory()
        for path, node in files.items():
            self._root.put(path.split("/"), _leaf(node))
        self.revision = Revision(revision or hashlib.sha1(self._root.id.encode()).hexdigest())  # noqa: S324

    def entry(self, path: str) -> TreeEntry | None:
        self.lookups += 1
        node = self._root.find(path)
        return None if node is None else _entry(path, node)

    def entries(self, path: str) -> list[TreeEntry]:
        self.lookups += 1
        node = self._root.find(path)
        if not isinstance(node, _Directory):
            raise UserError(f"list {path or '.'} at {self.revision[:7]}: there is no such directory")
        return [_entry(_join(path, name), child) for name, child in sorted(node.children.items(), key=_by_bytes)]

    def walk(self, path: str) -> Iterator[TreeEntry]:
        self.lookups += 1
        node = self._root.find(path)
        if isinstance(node, _Directory):
            yield from sorted(_below(path, node), key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))

    def read(self, path: str, *, bytes_max: int) -> bytes:
        self.reads += 1
        node = self._root.find(path)
        if not isinstance(node, _Leaf) or node.type != "blob":
            raise UserError(f"read {path} at {self.revision[:7]}: there is no such file")
        if len(node.content) > bytes_max:
            raise UserError(f"read {path} at {self.revision[:7]}: {len(node.content)} bytes, more than {bytes_max}")
        return node.content


@dataclass(frozen=True)
class _Leaf:
    type: str
    mode: bytes
    content: bytes
    id: str


@dataclass
class _Directory:
    children: dict[str, _Leaf | _Directory] = field(default_factory=dict)
    type: str = "tree"
    mode: bytes = b"40000"
    _id: str = ""

    @property
    def id(self) -> str:
        if not self._id:
            # Git sorts a directory as if its name ended in a slash: git-fsck(1), "treeNotSorted".
            rows = sorted(
                (name.encode("utf-8", "surrogateescape") + (b"/" if child.type == "tree" else b""), name, child)
                for name, child in self.children.items()
            )
            self._id = _object_id(
                "tree",
                b"".join(
                    child.mode + b" " + name.encode("utf-8", "surrogateescape") + b"\0" + bytes.fromhex(child.id)
                    for _, name, child in rows
                ),
            )
        return self._id

    def put(self, parts: list[str], leaf: _Leaf) -> None:
        if len(parts) == 1:
            self.children[parts[0]] = leaf
            return
        child = self.children.setdefault(parts[0], _Directory())
        if not isinstance(child, _Directory):
            raise ValueError(f"{parts[0]} is both a file and a directory")
        child.put(parts[1:], leaf)

    def find(self, path: str) -> _Leaf | _Directory | None:
        node: _Leaf | _Directory = self
        for part in path.split("/") if path else []:
            found = node.children.get(part) if isinstance(node, _Directory) else None
            if found is None:
                return None
            node = found
        return node


def _leaf(node: Node) -> _Leaf:
    match node:
        case Submodule(commit):
            return _Leaf("submodule", b"160000", b"", commit)
        case Link(target):
            return _blob("link", b"120000", target.encode("utf-8", "surrogateescape"))
        case Executable(content):
            return _blob("blob", b"100755", content)
        case str():
            return _blob("blob", b"100644", node.encode())
        case bytes():
            return _blob("blob", b"100644", node)


def _blob(kind: str, mode: bytes, content: bytes) -> _Leaf:
    return _Leaf(kind, mode, content, _object_id("blob", content))


def _object_id(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()  # noqa: S324 - Git's object format


def _entry(path: str, node: _Leaf | _Directory) -> TreeEntry:
    size = len(node.content) if isinstance(node, _Leaf) and node.type == "blob" else 0
    return TreeEntry(path, node.type, node.id, size, node.mode == b"100755")  # type: ignore[arg-type]


def _below(path: str, directory: _Directory) -> Iterator[TreeEntry]:
    for name, child in directory.children.items():
        if isinstance(child, _Directory):
            yield from _below(_join(path, name), child)
        else:
            yield _entry(_join(path, name), child)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _by_bytes(item: tuple[str, object]) -> bytes:
    return item[0].encode("utf-8", "surrogateescape")
