"""The values of a release: files of this source or of others, the later ones over the earlier, and inline values over all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trimtab.core.decide import documents
from trimtab.core.decide.joining import merged
from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import escaped
from trimtab.ports.git import Tree
from trimtab.ports.renderer import RenderRequest

from . import content, paths

_REMEDY: Final = "Correct valueFiles, add the file, or set ignoreMissingValueFiles"


@dataclass
class Values:
    """``inputs`` are of this source, by path; ``elsewhere`` of others: name of the source, path, object id ("" = not there)."""

    merged: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    elsewhere: list[tuple[str, str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """A file or directory that a source names, of itself or of another (``source``)."""

    tree: Tree
    path: str
    source: str = ""


def place(text: str, tree: Tree, directory: str, others: Mapping[str, Tree]) -> Place | str:
    """What ``text`` names: `$name/path` in another source, `/path` from the root, else relative to ``directory``. Or what is wrong."""
    source = ""
    if text.startswith("$"):
        source, _, text = text[1:].partition("/")
        if source not in others:
            return f"there is no other source named {escaped(source)}"
        tree, directory = others[source], ""
    if "://" in text:
        return "this is an address; files of values stand in Git"
    try:
        return Place(tree, paths.clean(text, directory=directory), source)
    except paths.PathError as error:
        return str(error)


def read(request: RenderRequest, tree: Tree, directory: str, others: Mapping[str, Tree], limits: Limits) -> Values:
    found = Values()
    for index, text in enumerate(request.source.helm.value_files):
        where = place(text, tree, directory, others)
        if isinstance(where, str):
            found.problems.append(Problem(f"{escaped(text)}: {where}", field=_field(index), remedy=_REMEDY))
        else:
            _add(found, where, index, request, limits)
    found.merged = merged(found.merged, request.source.helm.values)
    return found


def _add(found: Values, where: Place, index: int, request: RenderRequest, limits: Limits) -> None:
    entry = where.tree.entry(where.path)
    object_id = entry.id if entry is not None else ""
    if where.source:
        found.elsewhere.append((where.source, where.path, object_id))
    else:
        found.inputs[where.path] = object_id
    if entry is None and request.source.helm.ignore_missing_value_files:
        return
    if entry is None or entry.type != "blob":
        what = {"link": "is a symbolic link", "tree": "is a directory"}.get(entry.type, "is no file") if entry else "is not there"
        found.problems.append(Problem(f"{paths.shown(where.path)} {what}", field=_field(index), remedy=_REMEDY))
        return
    data = where.tree.read(where.path, bytes_max=limits.file_bytes)
    if data.startswith(content.LFS_HEAD):
        found.problems.append(Problem("a pointer of Git LFS, not the content", where.path, 1, remedy=content.LFS_REMEDY))
        return
    document = documents.read(data, where.path, limits=limits)
    found.problems += document.problems
    for one in document.documents:
        if isinstance(one.value, dict):
            found.merged = merged(found.merged, one.value)
        elif one.value is not None:
            remedy = 'Write "name: value" lines'
            found.problems.append(Problem("values are a mapping, and this is none", where.path, one.line, remedy=remedy))


def _field(index: int) -> str:
    return f"spec.source.helm.valueFiles[{index}]"
