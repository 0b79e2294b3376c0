"""What was read of the configuration so far: documents that are right in themselves, and those that are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trimtab.core.model.config import Document, Origin
from trimtab.core.model.errors import Problem
from trimtab.core.model.generator import Generator
from trimtab.core.model.limits import Limits

from .elements import Ask, asks
from .positions import Path, dotted, line_of

Adapters = Mapping[str, type[Any]]
"""The type of each target's settings, by the target's kind."""


@dataclass
class Reading:
    """What was found so far. ``good`` and ``doubtful`` are by ``Kind/name``; ``broken`` holds files that hide what they declare."""

    files: Mapping[str, bytes]
    limits: Limits
    adapters: Adapters | None = None
    good: dict[str, Document] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    said: list[tuple[str, Any]] = field(default_factory=list)
    """Every document of people as it stands, right or wrong: what it no longer gives is not given."""

    def copy(self) -> Reading:
        """One to add to; the files and the documents themselves are the same ones."""
        return replace(
            self,
            good=dict(self.good),
            origins=dict(self.origins),
            doubtful=set(self.doubtful),
            broken=set(self.broken),
            problems=list(self.problems),
        )

    def asks(self) -> Iterator[Ask]:
        """What has to be looked up in repositories for the Generators."""
        for one in self.good.values():
            if isinstance(one, Generator):
                yield from asks(one)

    def wrong(self, key: str, message: str, path: Path, remedy: str) -> None:
        """A Problem of the document ``key``, where it stands."""
        origin = self.origins[key]
        line = line_of(self.files.get(origin.file, b""), origin.file, origin.line, path)
        self.problems.append(Problem(message, origin.file, line, dotted(path), remedy))
