"""One rendering before it is done: what it depends on, and how to do it. The cache stands between the two."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trimtab.core.model.manifest import Manifest

Inputs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prepared:
    """``parts`` is all that the result depends on, for the cache's key; ``inputs`` and ``elsewhere`` are what a commit may change of it.
    ``covered`` is the directory that is an input as a whole; None when single files are.
    """

    parts: tuple[object, ...]
    inputs: Inputs
    render: Callable[[], Awaitable[list[Manifest]]]
    elsewhere: tuple[tuple[str, str, str], ...] = ()
    capabilities: str = ""
    covered: str | None = None
