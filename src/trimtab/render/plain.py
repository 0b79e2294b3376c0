"""Plain rendering: every *.yaml, *.yml and *.json file below a directory is read, in order of path, and its objects are the Manifests.

Left out are files and folders whose name begins with a dot, kustomization files, and content: what a Manifest names as
`spec.tree` or `spec.file` is taken for bytes, not for Manifests, unless the Manifest itself stands in it. Everything that is
wrong is collected; one Problem is enough to have no Manifests at all, so that a half-read directory never looks like a removal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from trimtab.core.decide import documents
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest
from trimtab.ports.git import Tree, TreeEntry

from . import content, paths
from .manifests import Source, check_unique, manifests

ENDINGS: Final = (".yaml", ".yml", ".json")
KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_NAME_REMEDY: Final = "Rename it; use letters, digits, dashes, dots and underscores"


def render(tree: Tree, path: str, limits: Limits) -> list[Manifest]:
    """The Manifests below the directory ``path``. Raises UserError with all Problems, sorted by file and line."""
    problems: list[Problem] = []
    files: list[_File] = []
    strays: list[tuple[str, Problem]] = []
    entries = _visible(tree, path, limits)
    for entry in entries:
        problem = _stray(entry)
        if problem is not None:
            strays.append((entry.path, problem))
        elif entry.path.endswith(ENDINGS) and entry.path.rpartition("/")[2] not in KUSTOMIZATIONS:
            files.append(_File(entry))
    strays += _colliding(entries)
    for file in _bounded(files, limits, problems):
        _read(file, tree, limits)
    named = _content_paths(files)
    files = [file for file in files if not _is_content(file.entry.path, named)]
    problems += [problem for where, problem in strays if not _is_content(where, named)]
    problems += [problem for file in files for problem in file.problems]
    found = [manifest for file in files for manifest in file.manifests]
    problems += check_unique(found)
    if len(found) > limits.manifests:
        text = f"{len(found)} objects; at most {limits.manifests} belong to one Application"
        problems.append(Problem(text, path, remedy="Split the Application"))
    if problems:
        raise failed(tree, path, problems, limits)
    return found


def failed(tree: Tree, path: str, problems: Iterable[Problem], limits: Limits) -> UserError:
    """One error for all that is wrong, in order of file and line."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line))[: limits.problems]
    more = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    first = ordered[0]
    where = f"{first.file}:{first.line}" if first.line else first.file
    text = ": ".join(
        part for part in (f"render {paths.shown(path)} at {tree.revision[:7]}", where, first.field, first.message) if part
    )
    return UserError(text + more, remedy=first.remedy, problems=ordered)


@dataclass
class _File:
    entry: TreeEntry
    manifests: list[Manifest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _visible(tree: Tree, path: str, limits: Limits) -> list[TreeEntry]:
    """Everything below ``path`` that is not hidden there, up to a bound."""
    skip = len(path) + 1 if path else 0
    found: list[TreeEntry] = []
    for entry in tree.walk(path):
        inside = entry.path[skip:]
        if inside.startswith(".") or "/." in inside:
            continue
        found.append(entry)
        if len(found) > limits.files * 10:
            text = f"more than {limits.files * 10} files below {paths.shown(path)}"
            raise failed(tree, path, [Problem(text, path, remedy="Name a smaller directory")], limits)
    return found


def _stray(entry: TreeEntry) -> Problem | None:
    """What may not stand among manifests, whatever its name ends in."""
    name = paths.shown(entry.path)
    if name != entry.path:
        return Problem("the name has bytes that are not UTF-8, or control characters", name, remedy=_NAME_REMEDY)
    if entry.type == "link":
        text = "a symbolic link; links among manifests are not followed, wherever they lead"
        return Problem(text, name, remedy="Put the file itself here, or use kustomize to share it")
    if entry.type == "submodule":
        return Problem("a submodule; its content is in another repository", name, remedy="Put the files themselves here")
    return None


def _colliding(entries: list[TreeEntry]) -> Iterator[tuple[str, Problem]]:
    """Names of one directory that are the same but for upper and lower case: some file systems can hold only one of them."""
    names = {entry.path for entry in entries}
    for directory in {entry.path.rpartition("/")[0] for entry in entries}:
        while directory and directory not in names:
            names.add(directory)
            directory = directory.rpartition("/")[0]
    if len({name.casefold() for name in names}) == len(names):
        return
    seen: dict[tuple[str, str], str] = {}
    for name in sorted(names):
        directory, _, last = name.rpartition("/")
        first = seen.setdefault((directory, last.casefold()), name)
        if first != name:
            text = f"differs from {paths.shown(first)} only in upper and lower case"
            yield name, Problem(text, paths.shown(name), remedy="Rename one of the two")


def _bounded(files: list[_File], limits: Limits, problems: list[Problem]) -> Iterator[_File]:
    if len(files) > limits.files:
        text = f"{len(files)} files; at most {limits.files} are read for one Application"
        problems.append(Problem(text, remedy="Split the Application, or name a smaller directory"))
        return
    total = 0
    for file in files:
        total += file.entry.size
        if total > limits.source_bytes:
            text = f"more than {limits.source_bytes} bytes of manifests up to here"
            problems.append(Problem(text, file.entry.path, remedy="Split the Application, or name a smaller directory"))
            return
        yield file


def _read(file: _File, tree: Tree, limits: Limits) -> None:
    path = file.entry.path
    if file.entry.size > limits.file_bytes:
        text = f"the file has {file.entry.size} bytes; at most {limits.file_bytes} are read"
        file.problems.append(Problem(text, path, remedy="Split the file, or keep generated data out of the manifests"))
        return
    data = tree.read(path, bytes_max=limits.file_bytes)
    if data.startswith(content.LFS_HEAD):
        file.problems.append(Problem("a pointer of Git LFS, not the content", path, 1, remedy=content.LFS_REMEDY))
        return
    source = Source(path, data)
    read = documents.read(data, path, limits=limits)
    file.problems += read.problems
    for document in read.documents:
        for one in manifests(document, source):
            if isinstance(one, Problem):
                file.problems.append(one)
                continue
            manifest, problems = content.resolve(one, tree, source, document.line)
            file.manifests.append(manifest)
            file.problems += problems


def _content_paths(files: list[_File]) -> set[str]:
    """What the Manifests name as content, and do not stand in themselves."""
    named = [
        (one.path, file.entry.path)
        for file in files
        for manifest in file.manifests
        for one in manifest.content
        if not paths.is_below(file.entry.path, one.path)
    ]
    # A file that is content itself has no say about what else is.
    every = {path for path, _ in named}
    return {path for path, by in named if not _is_content(by, every)}


def _is_content(path: str, named: set[str]) -> bool:
    if not named:
        return False
    parts = path.split("/")
    return "" in named or any("/".join(parts[:depth]) in named for depth in range(1, len(parts) + 1))
