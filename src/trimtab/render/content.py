"""The files that Manifests of Trimtab's own groups name: `spec.tree` (a directory) and `spec.file` (a file) become Git object ids.

A path that begins with "/" counts from the repository's root, any other from the directory of the file that the Manifest stands
in. Content must be there, must not be a link or a submodule, and must be the real thing, not a pointer of Git LFS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from trimtab.core.decide.positions import Path
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import CONTENT_FIELDS, Content, Manifest
from trimtab.ports.git import Tree, TreeEntry

from . import paths
from .manifests import Source

LFS_HEAD: Final = b"version https://git-lfs.github.com/spec/"
_LFS_BYTES: Final = range(100, 1025)  # git-lfs specification: pointer files are smaller than 1024 bytes
LFS_REMEDY: Final = "Store the file itself in Git (git lfs migrate export), or fetch it at run time"
_GROUP: Final = "trimtab.dev"
_TYPES: Final = {"tree": "tree", "file": "blob"}


def resolve(manifest: Manifest, tree: Tree, source: Source, document_line: int) -> tuple[Manifest, list[Problem]]:
    """The Manifest with its content, and what is wrong with the paths that it names."""
    group = manifest.ref.group
    spec = manifest.body.get("spec")
    if not isinstance(spec, dict) or not (group == _GROUP or group.endswith("." + _GROUP)):
        return manifest, []
    found: list[Content] = []
    problems: list[Problem] = []
    for field in CONTENT_FIELDS:
        if spec.get(field) is None:
            continue
        content = _content(tree, source.file, field, spec[field])
        if isinstance(content, Content):
            found.append(content)
        else:
            message, remedy = content
            problems.append(_problem(source, manifest, document_line, ("spec", field), message, remedy))
    return (msgspec.structs.replace(manifest, content=tuple(found)), problems) if found else (manifest, problems)


def is_pointer(tree: Tree, entry: TreeEntry) -> bool:
    """True for a pointer of Git LFS in place of a file's content. Reads only files that are as small as a pointer."""
    return entry.type == "blob" and entry.size in _LFS_BYTES and tree.read(entry.path, bytes_max=entry.size).startswith(LFS_HEAD)


def _content(tree: Tree, file: str, field: str, value: object) -> Content | tuple[str, str]:
    if not isinstance(value, str) or not value:
        return "this is no path", "Write a path in quotes"
    directory = file.rpartition("/")[0]
    try:
        path = paths.clean(value, directory=directory)
    except paths.PathError as error:
        return str(error), "Name something inside the repository"
    wanted = _TYPES[field]
    entry = tree.entry(path)
    if entry is None or entry.type != wanted:
        return _missing(entry, path, "directory" if wanted == "tree" else "file")
    pointer = next(_pointers(tree, entry), None)
    if pointer is not None:
        return f"{paths.shown(pointer.path)} is a pointer of Git LFS, not the content", LFS_REMEDY
    return Content(path, wanted, entry.id, tree.repository)


def _missing(entry: TreeEntry | None, path: str, wanted: str) -> tuple[str, str]:
    if entry is None:
        remedy = 'Correct the path; it counts from the directory of this file, or from the root if it begins with "/"'
        return f"there is no {wanted} {paths.shown(path)} in the repository", remedy
    what = {"link": "a symbolic link", "submodule": "a submodule", "tree": "a directory", "blob": "a file"}[entry.type]
    return f"{paths.shown(path)} is {what}, not a {wanted}", f"Name a {wanted} of this repository"


def _pointers(tree: Tree, entry: TreeEntry) -> Iterator[TreeEntry]:
    for one in tree.walk(entry.path) if entry.type == "tree" else [entry]:
        if is_pointer(tree, one):
            yield one


def _problem(source: Source, manifest: Manifest, document_line: int, path: Path, message: str, remedy: str) -> Problem:
    # In a List the Manifest's own line is the nearest that is known; in a document of its own the field's line is.
    if manifest.line != document_line and not source.made:
        return Problem(message, source.file, manifest.line, ".".join(map(str, path)), remedy)
    return source.problem(message, document_line, path, remedy)
