"""A Helm chart in a repository: what it is made of, before anything is read of it but its Chart.yaml.

`find` follows the dependencies: those that stand in `charts/` belong to it as they are, one that is named by `file://` is another directory of
the repository, one of a chart repository must be pinned. `Closure.inputs` are object ids and digests, so nothing is read to know that
nothing has changed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from trimtab.core.decide import documents
from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import escaped
from trimtab.ports.git import Tree

from . import content, lock, paths
from .lock import Pin, Wanted

CHART_FILE: Final = "Chart.yaml"
DEPTH_MAX: Final = 10
_REMOTE: Final = ("https://", "http://", "oci://")
_VENDOR: Final = "Run `helm dependency update` there and commit its charts/"


class Dependency(msgspec.Struct, frozen=True):
    name: str
    version: str = ""
    repository: str = ""


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """What a Chart.yaml says that matters here."""

    name: str
    version: str
    type: str = "application"
    kube_version: str = ""
    dependencies: list[Dependency] = []


@dataclass
class Closure:
    """``directories`` of the tree and ``pins`` of other charts, each by the path in the chart that it belongs at ("" is the chart)."""

    directories: dict[str, str] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    wanted: set[Wanted] = field(default_factory=set)
    header: Header | None = None

    @property
    def identity(self) -> list[tuple[str, str]]:
        """The content, wherever it comes from."""
        found = [(place, self.inputs[directory]) for place, directory in self.directories.items()]
        return sorted([*found, *((place, pin.digest) for place, pin in self.pins.items())])


def is_chart(tree: Tree, directory: str) -> bool:
    entry = tree.entry(f"{directory}/{CHART_FILE}" if directory else CHART_FILE)
    return entry is not None and entry.type == "blob"


def find(tree: Tree, directory: str, pins: dict[Wanted, Pin], limits: Limits) -> Closure:
    """What the chart in ``directory`` is made of; ``problems`` says what is missing or cannot be."""
    closure = Closure()
    _follow(tree, directory, "", pins, limits, closure, DEPTH_MAX)
    return closure


def header(data: bytes, file: str, limits: Limits) -> Header | list[Problem]:
    read = documents.read(data, file, limits=limits)
    if read.problems:
        return list(read.problems)
    value: Any = read.documents[0].value if read.documents else None
    try:
        return msgspec.convert(value, Header)
    except msgspec.ValidationError as error:
        return [Problem(f"this is no chart: {error}", file, 1, remedy="A Chart.yaml has apiVersion, name and version")]


def _follow(
    tree: Tree, directory: str, place: str, pins: dict[Wanted, Pin], limits: Limits, closure: Closure, depth: int
) -> None:
    entry = tree.entry(directory)
    file = f"{directory}/{CHART_FILE}" if directory else CHART_FILE
    if entry is None or not is_chart(tree, directory):
        closure.problems.append(Problem("there is no chart here", file, remedy=f"Put a {CHART_FILE} there, or correct the path"))
        return
    if not depth or any(path == directory for path in closure.directories.values()):
        closure.problems.append(Problem("a chart that needs itself", file, remedy="Remove the circle from its dependencies"))
        return
    closure.directories[place] = directory
    closure.inputs[directory] = entry.id
    found = header(tree.read(file, bytes_max=limits.file_bytes), file, limits)
    if not isinstance(found, Header):
        closure.problems += found
        return
    closure.header = closure.header or found
    vendored = _vendored(tree, directory)
    for index, dependency in enumerate(found.dependencies):
        if dependency.name in vendored:
            continue
        inside = posixpath.join(place, "charts", dependency.name)
        problem = _dependency(tree, directory, dependency, inside, pins, limits, closure, depth)
        if problem:
            closure.problems.append(Problem(problem[0], file, 0, f"dependencies[{index}]", problem[1]))


def _dependency(
    tree: Tree,
    directory: str,
    dependency: Dependency,
    inside: str,
    pins: dict[Wanted, Pin],
    limits: Limits,
    closure: Closure,
    depth: int,
) -> tuple[str, str] | None:
    """Add it to the closure; (message, remedy) when that cannot be."""
    repository = dependency.repository
    if "/" in dependency.name or dependency.name in ("", ".", ".."):
        return f'"{escaped(dependency.name)}" is no name of a chart', "Correct the name"
    if repository.startswith("file://"):
        try:
            path = paths.clean(repository.removeprefix("file://"), directory=directory)
        except paths.PathError as error:
            return f"{escaped(repository)}: {error}", "Name a directory of this repository"
        _follow(tree, path, inside, pins, limits, closure, depth - 1)
        return None
    if not repository.startswith(_REMOTE):
        return f"{escaped(dependency.name)} is not in charts/, and its repository is no address", _VENDOR
    wanted = Wanted(repository, dependency.name, dependency.version)
    closure.wanted.add(wanted)
    if lock.FILE not in closure.inputs:
        pinned = tree.entry(lock.FILE)
        closure.inputs[lock.FILE] = pinned.id if pinned is not None else ""
    if wanted not in pins:
        return f"the chart {wanted} is not in {lock.FILE}", f"Pin it and commit the file: {lock.COMMAND}"
    closure.pins[inside] = pins[wanted]
    return None


def _vendored(tree: Tree, directory: str) -> set[str]:
    """The names of what stands in `charts/`: folders, and archives by the name before their version."""
    at = f"{directory}/charts" if directory else "charts"
    entry = tree.entry(at)
    if entry is None or entry.type != "tree":
        return set()
    names = [one.path.rpartition("/")[2] for one in tree.entries(at)]
    return {re.sub(r"-v?\d+(\.\d+)*[^/]*\.tgz$", "", name) for name in names}


def files(tree: Tree, closure: Closure, limits: Limits) -> tuple[dict[str, bytes], list[Problem]]:
    """What of the closure stands in the tree, by the path in the chart. Links are not followed, wherever they lead."""
    found: dict[str, bytes] = {}
    problems: list[Problem] = []
    size = 0
    for place, directory in closure.directories.items():
        for entry in tree.walk(directory):
            inside = entry.path[len(directory) + 1 :] if directory else entry.path
            size += entry.size
            if entry.type != "blob":
                what = "a symbolic link" if entry.type == "link" else "a submodule"
                text = f"{what}; what a chart is made of is not followed elsewhere"
                problems.append(Problem(text, paths.shown(entry.path), remedy="Put the file itself there"))
            elif size > limits.source_bytes or len(found) >= limits.files:
                text = f"the chart has more than {limits.files} files or {limits.source_bytes} bytes"
                return found, [Problem(text, paths.shown(directory), remedy="Keep what is no part of the chart elsewhere")]
            else:
                found[posixpath.join(place, inside)] = tree.read(entry.path, bytes_max=limits.source_bytes)
    problems += _pointers(found, closure)
    return found, problems


def _pointers(found: dict[str, bytes], closure: Closure) -> Iterable[Problem]:
    for path, data in found.items():
        if data.startswith(content.LFS_HEAD):
            file = posixpath.join(closure.directories[""], path)
            yield Problem("a pointer of Git LFS, not the content", file, 1, remedy=content.LFS_REMEDY)
