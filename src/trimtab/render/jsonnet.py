"""Rendering Jsonnet: one file and what it imports from Git, evaluated in a child; every object in the result is a Manifest.

Imports are literal texts, so the files that an evaluation can read are found beforehand: those are its inputs, and the child gets them
and nothing else. The result may be an object, a list, or mappings of them, however deep, as Tanka and kubecfg write them.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from trimtab.core.decide.documents import Document
from trimtab.core.model.errors import Problem, TransientError
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.text import escaped, one_line
from trimtab.ports.git import Tree
from trimtab.ports.renderer import RenderRequest

from . import content, paths, values
from .children import Children, Failed
from .libraries import installed
from .plain import failed
from .prepared import Prepared
from .printed import taken

MAIN: Final = "main.jsonnet"
DISTRIBUTION: Final = "gojsonnet"
REMEDY: Final = "Run `pip install 'trimtab[jsonnet]'` where the server runs"
_IMPORT: Final = re.compile(r"""\bimport(?:str|bin)?\s*(@?)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
_PLACE: Final = re.compile(r"([^\s:]+):\(?(\d+)")
_OTHER: Final = "$"


@dataclass
class _Closure:
    """``files`` by the name that the child knows them by: the path, or `$source/path` for one of another source."""

    files: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[tuple[str, str], str] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    size: int = 0


def is_jsonnet(tree: Tree, directory: str) -> bool:
    entry = tree.entry(posixpath.join(directory, MAIN))
    return entry is not None and entry.type == "blob"


class Jsonnet:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._children = Children(limits)

    async def close(self) -> None:
        await self._children.close()

    def prepare(self, request: RenderRequest, tree: Tree, directory: str, others: Mapping[str, Tree]) -> Prepared:
        """Raises UserError for what is wrong before anything is evaluated, TransientError without the library."""
        version = installed(DISTRIBUTION)
        if version is None:
            raise TransientError("render with jsonnet: the library is not installed", remedy=REMEDY)
        told = request.source.jsonnet
        file = _file(tree, directory, told.file)
        closure = _Closure()
        if isinstance(file, Problem):
            closure.problems.append(file)
        else:
            closure.libraries = list(_libraries(told.libraries, tree, directory, others, closure))
            _follow(file, tree, others, closure, self._limits)
        if closure.problems or isinstance(file, Problem):
            raise failed(tree, directory, closure.problems, self._limits)
        asked = {
            "do": "jsonnet",
            "file": file,
            "files": closure.files,
            "libraries": closure.libraries,
            "variables": {name: json.dumps(value) for name, value in sorted(told.variables.items())},
            "arguments": {name: json.dumps(value) for name, value in sorted(told.arguments.items())},
        }
        inputs = tuple(sorted(closure.inputs.items()))
        elsewhere = tuple(sorted((*place, object_id) for place, object_id in closure.elsewhere.items()))
        settings = (file, closure.libraries, asked["variables"], asked["arguments"])
        return Prepared(
            parts=("jsonnet", version, tree.repository, inputs, elsewhere, settings),
            inputs=inputs,
            render=partial(self._render, tree, directory, file, asked),
            elsewhere=elsewhere,
        )

    async def _render(self, tree: Tree, directory: str, file: str, asked: dict[str, Any]) -> list[Manifest]:
        try:
            made = await self._children.ask("jsonnet", directory, asked)
        except Failed as error:
            raise failed(tree, directory, [_problem(str(error), file, asked["files"])], self._limits) from error
        problems: list[Problem] = []
        found = [(file, [Document(value, 0)]) for value in _objects(made, (), file, problems)]
        return taken(tree, directory, found, self._limits, problems)


def _file(tree: Tree, directory: str, named: str) -> str | Problem:
    remedy = f"Add {MAIN}, or name the file in source.jsonnet.file"
    try:
        path = paths.clean(named or MAIN, directory=directory)
    except paths.PathError as error:
        return Problem(f"{escaped(named)}: {error}", field="spec.source.jsonnet.file", remedy=remedy)
    entry = tree.entry(path)
    if entry is None or entry.type != "blob":
        return Problem(f"there is no file {paths.shown(path)}", paths.shown(path), remedy=remedy)
    return path


def _libraries(named: list[str], tree: Tree, directory: str, others: Mapping[str, Tree], closure: _Closure) -> Iterator[str]:
    for index, text in enumerate(named):
        where = values.place(text, tree, directory, others)
        if isinstance(where, str):
            at = f"spec.source.jsonnet.libraries[{index}]"
            closure.problems.append(Problem(f"{escaped(text)}: {where}", field=at, remedy="Name a directory of the repository"))
        else:
            yield f"{_OTHER}{where.source}/{where.path}" if where.source else where.path


def _follow(file: str, tree: Tree, others: Mapping[str, Tree], closure: _Closure, limits: Limits) -> None:
    """Every file that an import can mean, wherever it is looked for first. What looks like one in a comment does no harm."""
    waiting = [file]
    while waiting and not closure.problems:
        name = waiting.pop()
        if name in closure.files or not _read(name, tree, others, closure, limits):
            continue
        for match in _IMPORT.finditer(closure.files[name]):
            text = match[2] if match[2] is not None else match[3]
            text = text if match[1] else re.sub(r"\\(.)", r"\1", text)
            directory = name.rpartition("/")[0]
            waiting += [posixpath.normpath(posixpath.join(place, text)) for place in (directory, *closure.libraries)]


def _read(name: str, tree: Tree, others: Mapping[str, Tree], closure: _Closure, limits: Limits) -> bool:
    """Take a file into the closure, or note that it is not there; False when nothing is to be read."""
    source, path = "", name
    if name.startswith(_OTHER) and name[1:].partition("/")[0] in others:
        source, _, path = name[1:].partition("/")
        tree = others[source]
    if path.startswith(("/", "../")) or path in ("..", "."):
        return False  # an import that leaves the repository finds nothing
    entry = tree.entry(path)
    object_id = entry.id if entry is not None else ""
    if source:
        closure.elsewhere[source, path] = object_id
    else:
        closure.inputs[path] = object_id
    if entry is None or entry.type != "blob":
        return False
    closure.size += entry.size
    if closure.size > limits.source_bytes or len(closure.files) >= limits.files:
        text = f"it imports more than {limits.files} files or {limits.source_bytes} bytes"
        closure.problems.append(Problem(text, paths.shown(path), remedy="Split the Application"))
        return False
    data = tree.read(path, bytes_max=limits.source_bytes)
    if data.startswith(content.LFS_HEAD):
        closure.problems.append(Problem("a pointer of Git LFS, not the content", path, 1, remedy=content.LFS_REMEDY))
        return False
    closure.files[name] = data.decode("utf-8", "surrogateescape")
    return True


def _objects(value: Any, at: tuple[str | int, ...], file: str, problems: list[Problem]) -> Iterator[dict[str, Any]]:
    """The objects in a result: what has apiVersion and kind, wherever it stands."""
    if isinstance(value, dict) and ("apiVersion" in value or "kind" in value):
        yield value
    elif isinstance(value, dict):
        for name in value:
            yield from _objects(value[name], (*at, name), file, problems)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _objects(one, (*at, index), file, problems)
    elif value is not None:
        where = ".".join(map(str, at))
        remedy = "Keep what is no object in a hidden field (name::)"
        problems.append(Problem(f"{escaped(where) or 'the result'} is a single value, and no object", file, remedy=remedy))


def _problem(said: str, file: str, files: Mapping[str, str]) -> Problem:
    """What jsonnet says, at the first place of ours that it names."""
    words = one_line(said, characters_max=1500)
    remedy = "Correct it there; `jsonnet` on that file shows it again"
    for name, line in _PLACE.findall(said):
        if name in files:
            return Problem(f"jsonnet: {words}", escaped(name), int(line), remedy=remedy)
    return Problem(f"jsonnet: {words}", file, remedy=remedy)
