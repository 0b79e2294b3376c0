"""A tree or blob of a mirror put on disk: checked whole first, written beside its place, and renamed there.

What a checkout would do for people is not done: no line endings, no filters, no submodules. Refused, with the path: names that
would leave the directory, links that do, submodules, and Git LFS pointers (the file would hold the pointer, not the content).
Files are read-only; directories stay writable for their owner, so that they can be removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trimtab.core.model.errors import TransientError, UserError

from .links import leaves
from .objects import LINK, SUBMODULE, Child, Objects
from .text import shown

FILES_MAX = 200_000
DEPTH_MAX = 200
TREE_BYTES_MAX = 4 * 1024**3
LINK_BYTES_MAX = 4096
LFS_BYTES_MAX = 1024
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class _Item:
    path: str
    child: Child


def materialise(objects: Objects, object_id: str, destination: Path, *, stop: threading.Event) -> None:
    """Write the tree or blob to ``destination``, whole or not at all. Meant for a worker thread, with `Objects` of its own.

    Raises UserError for content that is refused, TransientError for a disk that does not take it.
    """
    kind = objects.kind(object_id)
    if kind not in ("tree", "blob"):
        raise UserError(f"materialise {shown(object_id)}: there is no such tree or file", remedy="Fetch the repository again")
    if os.path.lexists(destination):
        raise UserError(f"materialise {object_id[:12]}: {destination} is there already", remedy="Choose another place")
    items = list(islice(_items(objects, object_id, ""), FILES_MAX + 1)) if kind == "tree" else []
    _check(objects, items)
    partial = destination.with_name(f".{destination.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        if kind == "blob":
            _write_blob(objects, object_id, partial, destination)
        else:
            _write_tree(objects, items, partial, stop)
            partial.rename(destination)
    except OSError as error:
        where = error.filename or destination
        raise TransientError(f"materialise {object_id[:12]}: {error.strerror or error}: {shown(str(where))}") from error
    finally:
        _remove(partial)


def _items(objects: Objects, tree_id: str, base: str) -> Iterator[_Item]:
    """Everything below, directories before what is in them."""
    for name, child in objects.tree(tree_id).items():
        path = f"{base}/{name}" if base else name
        if name in ("", ".", "..") or "/" in name or name.lower() == ".git":
            raise UserError(
                f"materialise: the name {shown(path)} is not allowed in a tree", remedy="Remove it from the repository"
            )
        yield _Item(path, child)
        if child.is_tree:
            if path.count("/") >= DEPTH_MAX:
                raise UserError(f"materialise: more than {DEPTH_MAX} directories in each other", remedy="Use fewer")
            yield from _items(objects, child.id, path)


def _check(objects: Objects, items: list[_Item]) -> None:
    if len(items) > FILES_MAX:
        raise UserError(f"materialise: more than {FILES_MAX} files and directories", remedy="Use a smaller directory")
    links: dict[str, str] = {}
    bytes_total = 0
    for item in items:
        if item.child.mode == SUBMODULE:
            raise UserError(
                f"materialise: {shown(item.path)} is a submodule", remedy="Submodules are not supported: copy the files"
            )
        if item.child.mode == LINK:
            links[item.path] = _target(objects, item)
        elif item.child.is_blob:
            bytes_total += objects.size(item.child.id)
            _refuse_pointer(objects, item.child.id, item.path)
    if bytes_total > TREE_BYTES_MAX:
        raise UserError(f"materialise: {bytes_total} bytes, more than {TREE_BYTES_MAX}", remedy="Use a smaller directory")
    for path, target in links.items():
        if leaves(links, path):
            raise UserError(
                f"materialise: the link {shown(path)} leads out of the directory, to {shown(target)}",
                remedy="Let it point inside, or put the file there",
            )


def _target(objects: Objects, item: _Item) -> str:
    if objects.size(item.child.id) > LINK_BYTES_MAX:
        raise UserError(f"materialise: the link {shown(item.path)} is too long", remedy="Remove it")
    data = objects.blob(item.child.id)
    if not data or b"\0" in data:
        raise UserError(f"materialise: the link {shown(item.path)} has no usable target", remedy="Remove it")
    return os.fsdecode(data)


def _refuse_pointer(objects: Objects, blob_id: str, path: str) -> None:
    if objects.size(blob_id) <= LFS_BYTES_MAX and objects.blob(blob_id).startswith(_LFS):
        raise UserError(
            f"materialise: {shown(path)} is a Git LFS pointer, not the file itself",
            remedy="Git LFS is not supported: commit the file, or fetch it in the command that needs it",
        )


def _write_tree(objects: Objects, items: list[_Item], root: Path, stop: threading.Event) -> None:
    root.mkdir(mode=0o755)
    for item in items:
        if stop.is_set():
            raise InterruptedError(None, "cancelled")
        place = root / item.path
        if item.child.is_tree:
            place.mkdir(mode=0o755)
        elif item.child.mode == LINK:
            place.symlink_to(_target(objects, item))
        else:
            _write_file(place, objects.blob(item.child.id), 0o555 if item.child.executable else 0o444)


def _write_blob(objects: Objects, blob_id: str, partial: Path, destination: Path) -> None:
    _refuse_pointer(objects, blob_id, destination.name)
    _write_file(partial, objects.blob(blob_id), 0o444)
    os.link(partial, destination)  # unlike a rename it never replaces


def _write_file(place: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)  # whatever our umask says


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            partial.unlink()
