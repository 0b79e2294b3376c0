"""What an Application's configuration asks to be rendered for one Environment: one `Part` for each of its sources.

What an Environment says for itself (`path`, `revision`, `helm`) goes to the first source. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from trimtab.core.decide.joining import merged
from trimtab.core.model.config import Application, Placement, Source
from trimtab.core.model.names import Key
from trimtab.ports.renderer import RenderRequest

Place = tuple[str, str]
"""A repository and a revision expression."""


@dataclass(frozen=True)
class Part:
    """One source: where it is followed, and what to render of it."""

    repository: str
    expression: str
    request: RenderRequest

    @property
    def place(self) -> Place:
        return (self.repository, self.expression)

    @property
    def is_rendered(self) -> bool:
        return self.request.renderer != "none"


@dataclass(frozen=True)
class Wish:
    """What to render for a Key: when it is unchanged and so are its inputs, so is the content. A Deployment has the first's Revision."""

    parts: tuple[Part, ...]

    @property
    def first(self) -> Part:
        return self.parts[0]

    @property
    def places(self) -> frozenset[Place]:
        return frozenset(part.place for part in self.parts)


def wish_of(key: Key, application: Application, placement: Placement, home: str) -> Wish:
    """``home`` is the configuration repository, which sources that name none come from."""
    sources = application.sources
    first = _in_place(sources[0], placement)
    return Wish(tuple(_part(key, source, home) for source in (first, *sources[1:])))


def _part(key: Key, source: Source, home: str) -> Part:
    request = RenderRequest(key.application, key.environment, source.path, source.renderer, source)
    return Part(source.repository or home, source.revision, request)


def _in_place(source: Source, placement: Placement) -> Source:
    helm = msgspec.structs.replace(
        source.helm,
        value_files=[*source.helm.value_files, *placement.helm.value_files],
        values=merged(source.helm.values, placement.helm.values),
    )
    return msgspec.structs.replace(
        source, path=placement.path or source.path, revision=placement.revision or source.revision, helm=helm
    )
