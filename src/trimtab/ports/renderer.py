"""From a directory of a repository to Manifests, deterministically."""

from __future__ import annotations

from typing import Protocol

import msgspec

from trimtab.core.model.manifest import Manifest

from .git import Tree


class RenderRequest(msgspec.Struct, frozen=True):
    """What to render. ``path`` is relative to the root of the repository; ``renderer`` is "" to detect it."""

    application: str
    environment: str
    path: str
    renderer: str = ""


class Rendered(msgspec.Struct, frozen=True):
    """The result. ``inputs`` lists every path that was read with its object id then ("" = looked for and not there): while all of
    them are the same in another Revision, so is the result. ``digest`` covers the Manifests, not the place of their lines.
    """

    manifests: tuple[Manifest, ...]
    inputs: tuple[tuple[str, str], ...]
    digest: str
    cached: bool = False


class Renderer(Protocol):
    async def render(self, request: RenderRequest, tree: Tree) -> Rendered:
        """Raises UserError with one Problem for each thing wrong, in order of file and line; TransientError when a tool was killed
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
