"""From a directory of a repository to Manifests, deterministically."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from trimtab.core.model.config import Source
from trimtab.core.model.errors import Problem
from trimtab.core.model.fetched import Fetched
from trimtab.core.model.manifest import Manifest

from .git import Tree

Capabilities = Callable[[], Awaitable[tuple[str, ...]]]
"""Asks the target what it can do: see `Target.capabilities`. May raise what the target raises."""


class RenderRequest(msgspec.Struct, frozen=True):
    """What to render. ``path`` is relative to the root of the repository; ``renderer`` is "" to detect it. ``source`` has what is
    declared for one way to render only, with that of the Environment already in it.
    """

    application: str
    environment: str
    path: str
    renderer: str = ""
    source: Source = Source()


class Rendered(msgspec.Struct, frozen=True):
    """The result. ``inputs`` lists every path that was read with its object id then ("" = looked for and not there): while all of
    them are the same in another Revision, so is the result. ``digest`` covers the Manifests, not the place of their lines.
    ``elsewhere`` lists what was read of other sources: the name of the source, path, object id. ``capabilities`` is the digest of
    what the target can do, where the result depends on it ("" = it does not).
    """

    manifests: tuple[Manifest, ...]
    inputs: tuple[tuple[str, str], ...]
    digest: str
    cached: bool = False
    elsewhere: tuple[tuple[str, str, str], ...] = ()
    capabilities: str = ""


Limit = Callable[[Sequence[Fetched]], Sequence[Problem]]
"""What somebody has against content from there. Asked before any of it is fetched."""


async def nothing_special() -> tuple[str, ...]:
    """The capabilities of a place that says nothing of itself."""
    return ()


class Renderer(Protocol):
    async def render(
        self,
        request: RenderRequest,
        tree: Tree,
        *,
        others: Mapping[str, Tree] = {},
        capabilities: Capabilities = nothing_special,
        limit: Limit | None = None,
    ) -> Rendered:
        """``others`` are the Trees of the Application's other sources, by the name of the source; ``capabilities`` is only called
        for what depends on them, ``limit`` only where something is fetched, and each time.

        Raises UserError with one Problem for each thing wrong, in order of file and line; TransientError when a tool was killed
        or timed out. An empty result is a result: what it means is decided elsewhere.
        """
        ...

    def current(self, rendered_inputs: tuple[tuple[str, str], ...], tree: Tree) -> bool:
        """True when every input has the same object id in ``tree``: nothing needs rendering."""
        ...

    async def discover(self, tree: Tree) -> list[str]:
        """The top folders of a repository without configuration that hold manifests, sorted; "" when the root itself does and no
        folder. Raises UserError when the tree cannot be read.
        """
        ...
