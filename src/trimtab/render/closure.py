"""What a kustomization reads: its directory in, every file that it can reach out, with the object id of each.

kustomize loads files only from below the directory of the kustomization that names them, and other directories only as bases and
components; so following the fields that name paths finds everything. A kustomization that configures generators, transformers or
validators (whose own files name further ones) takes its directory whole. Nothing outside the repository is followed: addresses,
links and submodules are refused before any tool sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab.core.decide import documents
from trimtab.core.decide.positions import Path
from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import escaped
from trimtab.ports.git import Tree, TreeEntry

from . import content, paths
from .manifests import Source
from .plain import KUSTOMIZATIONS

_LISTS: Final = ("resources", "bases", "components", "crds", "configurations", "patchesStrategicMerge")
_CONFIGURED: Final = ("generators", "transformers", "validators")
_WITH_PATH: Final = ("patches", "patchesJson6902", "replacements")
_GENERATORS: Final = ("configMapGenerator", "secretGenerator")
_HELM: Final = ("helmCharts", "helmChartInflationGenerator")
# What kustomize takes for an address: a scheme, a user at a host, a query, or the hosts that it knows.
_REMOTE: Final = re.compile(
    r"^[a-zA-Z][a-zA-Z0-9+.-]*::?/?/|^[^/]+@[^/]+[:/]|\?(?:ref|version|timeout|submodules)=|^(?:www\.)?(?:github\.com|gitlab\.com|bitbucket\.org)[:/]|^git::|//"
)


@dataclass
class Closure:
    """``files`` by path; ``directories`` that are taken whole, by path with their ids; ``absent`` are paths that were looked for and
    are not there.
    """

    files: dict[str, TreeEntry] = field(default_factory=dict)
    directories: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @property
    def inputs(self) -> tuple[tuple[str, str], ...]:
        found = {path: entry.id for path, entry in self.files.items()} | self.directories
        return tuple(sorted((found | dict.fromkeys(self.absent, "")).items()))


def kustomization_of(tree: Tree, directory: str) -> str | None:
    """The path of the kustomization file right in ``directory``; None when there is none."""
    names = (f"{directory}/{name}" if directory else name for name in KUSTOMIZATIONS)
    return next((name for name in names if tree.entry(name) is not None), None)


def find(tree: Tree, directory: str, limits: Limits) -> Closure:
    """Everything that the kustomization in ``directory`` reaches, as far as nothing is wrong; ``problems`` says what is."""
    closure = Closure()
    waiting, seen = [directory], {directory}
    size = 0
    while waiting and not closure.problems:
        for reached in _follow(tree, waiting.pop(), closure, limits):
            if reached.type == "tree":
                if reached.path not in seen:
                    seen.add(reached.path)
                    waiting.append(reached.path)
            elif reached.path not in closure.files:
                closure.files[reached.path] = reached
                size += reached.size
        if len(closure.files) > limits.files or size > limits.source_bytes:
            text = f"the kustomization reaches more than {limits.files} files or {limits.source_bytes} bytes"
            closure.problems.append(Problem(text, paths.shown(directory), remedy="Split the Application"))
    return closure


@dataclass(frozen=True)
class _Kustomization:
    """One kustomization file that is being followed."""

    tree: Tree
    closure: Closure
    directory: str
    source: Source
    line: int

    def wrong(self, message: str, path: Path, remedy: str) -> None:
        self.closure.problems.append(self.source.problem(message, self.line, path, remedy))


def _follow(tree: Tree, directory: str, closure: Closure, limits: Limits) -> Iterator[TreeEntry]:
    """The kustomization file of a directory and all that it names."""
    entry = _kustomization(tree, directory, closure)
    if entry is None:
        return
    yield entry
    if entry.type != "blob" or entry.size > limits.file_bytes:
        text = "the kustomization is no file, or too large to be read"
        closure.problems.append(Problem(text, entry.path, remedy="Put a small file in its place"))
        return
    data = tree.read(entry.path, bytes_max=limits.file_bytes)
    read = documents.read(data, entry.path, limits=limits)
    closure.problems += read.problems
    for document in read.documents:
        one = _Kustomization(tree, closure, directory, Source(entry.path, data), document.line)
        if not isinstance(document.value, dict):
            one.wrong("a mapping is wanted here", (), "Write fields such as resources:")
            continue
        yield from _named(one, document.value)


def _kustomization(tree: Tree, directory: str, closure: Closure) -> TreeEntry | None:
    names = [f"{directory}/{name}" if directory else name for name in KUSTOMIZATIONS]
    found = [entry for entry in map(tree.entry, names) if entry is not None]
    closure.absent |= set(names) - {entry.path for entry in found}
    if len(found) == 1:
        return found[0]
    if found:
        text = f"{paths.shown(found[0].path)} and {paths.shown(found[1].path)} stand side by side"
        closure.problems.append(Problem(text, paths.shown(found[1].path), remedy="Keep one of the two"))
    else:
        text = "there is no kustomization file in this directory"
        closure.problems.append(
            Problem(text, paths.shown(directory), remedy=f"Add {KUSTOMIZATIONS[0]}, or use the renderer plain")
        )
    return None


def _named(one: _Kustomization, value: dict[str, Any]) -> Iterator[TreeEntry]:
    for helm in _HELM:
        if value.get(helm):
            one.wrong("charts inside a kustomization are not rendered", (helm,), "Render the chart and put the result in Git")
    if any(value.get(name) for name in _CONFIGURED):
        yield from _whole(one)
    for text, path in _paths_in(value):
        named = _resolve(one, text, path)
        if named is not None:
            yield named


def _whole(one: _Kustomization) -> Iterator[TreeEntry]:
    directory = one.tree.entry(one.directory)
    if directory is not None:
        one.closure.directories[one.directory] = directory.id
    for entry in one.tree.walk(one.directory):
        if entry.type == "blob":
            yield entry


def _paths_in(value: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Every text of a kustomization that names a file or a directory, with its place."""
    for name in (*_LISTS, *_CONFIGURED):
        for index, item in enumerate(_list(value.get(name))):
            if isinstance(item, str) and not _is_inline(item):
                yield item, (name, index)
    for name in _WITH_PATH:
        for index, item in enumerate(_list(value.get(name))):
            if isinstance(item, dict) and isinstance(item.get("path"), str):
                yield item["path"], (name, index, "path")
    openapi = value.get("openapi")
    if isinstance(openapi, dict) and isinstance(openapi.get("path"), str):
        yield openapi["path"], ("openapi", "path")
    for name in _GENERATORS:
        for index, item in enumerate(_list(value.get(name))):
            if isinstance(item, dict):
                yield from ((text, (name, index, *path)) for text, path in _generated(item))


def _generated(item: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    for at, text in enumerate(_list(item.get("files"))):
        if isinstance(text, str):
            yield text.partition("=")[2] or text, ("files", at)
    for at, text in enumerate(_list(item.get("envs"))):
        if isinstance(text, str):
            yield text, ("envs", at)
    if isinstance(item.get("env"), str):
        yield item["env"], ("env",)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_inline(text: str) -> bool:
    return "\n" in text or text.lstrip().startswith(("{", "- "))


def _resolve(one: _Kustomization, text: str, path: Path) -> TreeEntry | None:
    if _REMOTE.search(text):
        one.wrong(f'"{escaped(text)}" is an address', path, "Copy what it holds into this repository and name it by its path")
        return None
    try:
        if text.startswith("/"):
            raise paths.PathError("the path is absolute")
        clean = paths.clean(text, directory=one.directory)
    except paths.PathError as error:
        one.wrong(str(error), path, "Name something inside this repository, relative to this file")
        return None
    entry = one.tree.entry(clean)
    if entry is not None and entry.type in ("tree", "blob"):
        if content.is_pointer(one.tree, entry):
            one.wrong(f"{paths.shown(clean)} is a pointer of Git LFS, not the content", path, content.LFS_REMEDY)
        return entry
    what = {"link": "is a symbolic link", "submodule": "is a submodule"}.get(entry.type, "") if entry else "is not there"
    one.wrong(f"{paths.shown(clean)} {what}", path, "Correct the path, or put the file itself there")
    return None
