"""`charts.lock`: which content each chart of a chart repository must have. It stands in the root of the Git repository that asks for the
charts, is written by `trimtab chart lock`, and is all that rendering believes: ranges are settled there and never here. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec
import yaml
from msgspec import Meta

from trimtab.core.decide import documents, positions
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.fetched import Fetched
from trimtab.core.model.limits import DEFAULT, Limits
from trimtab.core.model.text import escaped
from trimtab.ports.git import Tree

FILE: Final = "charts.lock"
COMMAND: Final = "trimtab chart lock ."
_HEAD: Final = "# Written by `trimtab chart lock`: the content that each chart of a chart repository must have.\n"


class Wanted(msgspec.Struct, frozen=True, order=True):
    """A chart as somebody asks for it; ``version`` may be a range."""

    repository: str
    name: str
    version: str

    def __str__(self) -> str:
        return escaped(f"{self.name} {self.version} of {self.repository}", characters_max=400)


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for, and what it is: ``resolved`` is the version, ``url`` where the content is, ``digest`` that of the archive."""

    repository: str
    name: str
    version: str
    resolved: str
    url: str
    digest: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.repository, self.name, self.version)

    @property
    def file(self) -> str:
        """What people call the archive."""
        return escaped(f"{self.name}-{self.resolved}", characters_max=200)


class _Lock(msgspec.Struct, forbid_unknown_fields=True):
    charts: list[Pin] = []


def of(tree: Tree, limits: Limits) -> dict[Wanted, Pin]:
    """What the tree pins. Raises UserError for a lock that cannot be read."""
    entry = tree.entry(FILE)
    return {} if entry is None else parse(tree.read(FILE, bytes_max=limits.file_bytes))


def parse(data: bytes) -> dict[Wanted, Pin]:
    read = documents.read(data, FILE, limits=DEFAULT)
    problems = list(read.problems)
    try:
        found = msgspec.convert(read.documents[0].value if read.documents else {}, _Lock)
    except msgspec.ValidationError as error:
        problems.append(Problem(str(error), FILE, remedy=f"Write it anew: {COMMAND}"))
    if problems:
        raise UserError(f"read {FILE}: {problems[0].message}", remedy=f"Write it anew: {COMMAND}", problems=problems)
    return {pin.wanted: pin for pin in found.charts}


def fetched(tree: Tree, pins: Iterable[Pin], limits: Limits) -> list[Fetched]:
    """Where these come from, each with the line that says so: the chart repository, and the archive."""
    data = tree.read(FILE, bytes_max=limits.file_bytes)
    (document,) = documents.read(data, FILE, limits=DEFAULT).documents
    places = {pin: at for at, pin in enumerate(msgspec.convert(document.value, _Lock).charts)}
    asked = [
        (path, address, within)
        for pin in pins
        for path, address, within in (
            (("charts", places[pin], "repository"), pin.repository, ""),
            (("charts", places[pin], "url"), pin.url, pin.repository),
        )
    ]
    lines = positions.lines_of(data, FILE, document.line, [path for path, _, _ in asked])
    return [Fetched(address, within, FILE, lines[path], positions.dotted(path)) for path, address, within in asked]


def written(pins: Mapping[Wanted, Pin]) -> str:
    """The file, the same for the same pins."""
    body = {"charts": [msgspec.to_builtins(pins[wanted]) for wanted in sorted(pins)]}
    return _HEAD + yaml.safe_dump(body, sort_keys=False, width=1000, allow_unicode=True)


def missing(wanted: Iterable[Wanted], file: str, field: str = "") -> list[Problem]:
    """What to say of charts that are not pinned."""
    return [
        Problem(f"the chart {one} is not in {FILE}", file, field=field, remedy=f"Pin it and commit the file: {COMMAND}")
        for one in wanted
    ]
