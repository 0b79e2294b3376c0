"""What a Generator makes Applications of: from what was found in repositories to Elements, each with the parameters of a template.

An `Ask` says what has to be looked up, `Found` what was seen there. What could not be looked up is `Unknown`, and never an empty
answer. Elements come in a stable order: that of the entries, and of names within them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem
from trimtab.core.model.generator import Elements, Generate, Generator, Globs
from trimtab.core.model.text import is_safe_line

from .positions import Path
from .selection import environment_parameters, selects
from .strict import Finding, shown
from .substitution import Parameters

ELEMENTS_MAX = 10_000
"""Elements of one Generator."""


@dataclass(frozen=True)
class Ask:
    """Directories, or files, of a repository ("" = the configuration repository) at a revision expression."""

    repository: str
    revision: str
    files: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundFile:
    """``documents`` are the values that it holds; ``problems`` is why it cannot be read."""

    path: str
    id: str
    documents: tuple[Any, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What is there, sorted by path."""

    directories: tuple[str, ...] = ()
    files: tuple[FoundFile, ...] = ()


@dataclass(frozen=True)
class Unknown:
    """It could not be looked up. Without a ``message`` it will be, in a moment."""

    message: str = ""
    remedy: str = ""


Found = Mapping[Ask, Seen | Unknown]


class Element(NamedTuple):
    """``name`` says in words which one it is; it is the same for the same element in another commit."""

    name: str
    parameters: Parameters


@dataclass(frozen=True)
class Elementary:
    """``elements`` are what could be made out; ``complete`` is False where something may be missing. ``findings`` are about the Generator,
    ``problems`` about files that were read.
    """

    elements: tuple[Element, ...] = ()
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True


def asks(generator: Generator) -> Iterator[Ask]:
    """All that has to be looked up for it."""
    for entry in generator.spec.generate:
        for one in (entry, *(entry.matrix or ())):
            if one.directories is not None:
                yield _ask(one.directories, files=False)
            if one.files is not None:
                yield _ask(one.files, files=True)


def wrong_entries(generator: Generator) -> Iterator[Finding]:
    """Entries that say nothing, or two things, or a pattern that cannot be meant."""
    for index, entry in enumerate(generator.spec.generate):
        path: Path = ("spec", "generate", index)
        yield from _wrong_entry(entry, path, allowed="directories, files, environments, elements or matrix")
        for at, one in enumerate(entry.matrix or ()):
            yield from _wrong_entry(one, (*path, "matrix", at), allowed="directories, files, environments or elements")
        if entry.matrix is not None and len(entry.matrix) != 2:
            yield Finding("a matrix is of two", (*path, "matrix"), "Write two entries below it")


def elements(generator: Generator, found: Found, environments: Mapping[str, Environment]) -> Elementary:
    """All elements of a Generator. An entry that comes to nothing is not complete: where there was something before, that stays."""
    gathering = _Gathering(found, environments)
    every: list[Element] = []
    for index, entry in enumerate(generator.spec.generate):
        path: Path = ("spec", "generate", index)
        made = gathering.matrix(entry.matrix, path) if entry.matrix is not None else gathering.of(entry, path)
        if not made and gathering.complete:
            gathering.wrong("nothing is found here; what it made before stays", path, "Correct it, or remove this entry")
        every += made
    if len(every) > ELEMENTS_MAX:
        text = f"these are {len(every)} elements, more than {ELEMENTS_MAX}; nothing is made of those beyond"
        gathering.wrong(text, ("spec", "generate"), "Use several Generators")
    return Elementary(tuple(every[:ELEMENTS_MAX]), tuple(gathering.findings), tuple(gathering.problems), gathering.complete)


def _ask(globs: Globs, *, files: bool) -> Ask:
    return Ask(globs.repository, globs.revision, files, tuple(globs.include), tuple(globs.exclude))


def _wrong_entry(entry: Elements, path: Path, *, allowed: str) -> Iterator[Finding]:
    said: list[Any] = [entry.directories, entry.files, entry.environments, entry.elements]
    if isinstance(entry, Generate):
        said.append(entry.matrix)
    if sum(one is not None for one in said) != 1:
        yield Finding("exactly one of these is wanted here", path, f"Write {allowed}")
    for name, globs in (("directories", entry.directories), ("files", entry.files)):
        for field in ("include", "exclude"):
            for at, pattern in enumerate(getattr(globs, field, ())):
                if ".." in pattern.split("/") or not pattern.strip("/") or "\\" in pattern:
                    yield Finding("no path can be like this", (*path, name, field, at), "Write it from the root, as in apps/*")


class _Gathering:
    def __init__(self, found: Found, environments: Mapping[str, Environment]) -> None:
        self._found = found
        self._environments = environments
        self.findings: list[Finding] = []
        self.problems: list[Problem] = []
        self.complete = True

    def wrong(self, message: str, path: Path, remedy: str) -> None:
        self.complete = False
        self.findings.append(Finding(message, path, remedy))

    def matrix(self, sides: Sequence[Elements], path: Path) -> list[Element]:
        first, second = (self.of(side, (*path, "matrix", at)) for at, side in enumerate(sides))
        common = sorted(first[0].parameters.keys() & second[0].parameters.keys()) if first and second else []
        if common:
            self.wrong(f"both sides say ${{{common[0]}}}", (*path, "matrix"), "Use different kinds of elements")
            return []
        return [
            Element(f"{one.name} × {other.name}", {**one.parameters, **other.parameters}) for one in first for other in second
        ]

    def of(self, entry: Elements, path: Path) -> list[Element]:
        if entry.environments is not None:
            selector = entry.environments
            chosen = (one for _, one in sorted(self._environments.items()) if selects(selector, one.metadata.labels))
            return [Element(one.metadata.name, environment_parameters(one)) for one in chosen]
        if entry.elements is not None:
            return [Element(f"element {at + 1}", {"element": one}) for at, one in enumerate(entry.elements)]
        if entry.directories is not None:
            seen = self._seen(_ask(entry.directories, files=False), (*path, "directories"))
            return [Element(one, _directory(one)) for one in seen.directories if self._safe(one, (*path, "directories"))]
        if entry.files is not None:
            seen = self._seen(_ask(entry.files, files=True), (*path, "files"))
            files = [one for one in seen.files if self._safe(one.path, (*path, "files"))]
            return [element for one in files for element in self._of_file(one)]
        return []

    def _seen(self, ask: Ask, path: Path) -> Seen:
        seen = self._found.get(ask, Unknown())
        if isinstance(seen, Seen):
            return seen
        self.complete = False
        if seen.message:
            self.wrong(seen.message, path, seen.remedy)
        return Seen()

    def _safe(self, name: str, path: Path) -> bool:
        if is_safe_line(name):
            return True
        self.wrong(f"{ascii(name)[:100]} has characters that cannot be shown", path, "Rename it, or exclude it")
        return False

    def _of_file(self, file: FoundFile) -> Iterator[Element]:
        directory, _, filename = file.path.rpartition("/")
        place = {**_directory(directory or "."), "path.filename": filename}
        if file.problems:
            self.complete = False
            self.problems += file.problems
        for at, value in enumerate(file.documents):
            if not isinstance(value, dict):
                self.complete = False
                self.problems.append(Problem(f"a mapping is wanted here, not {shown(value)}", file.path, remedy="Write fields"))
                continue
            name = file.path if len(file.documents) == 1 else f"{file.path} ({at + 1})"
            yield Element(name, {**place, "file": value})


def _directory(path: str) -> Parameters:
    segments = path.split("/")
    return {"path": path, "path.basename": segments[-1], "path.segments": segments}
