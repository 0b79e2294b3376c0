"""The Renderer port: picks the way to render a directory, and asks the cache before anything is read.

A plain directory is known by its tree id, a kustomization by the ids of the files that it reaches; with the renderer, the tool's
version, the path and the repository that is all a result depends on. Commits, Applications and Environments are no part of it.
Small inputs are rendered in place; large ones in a thread, so that the loop is not held up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from trimtab.core.model.errors import UserError
from trimtab.core.model.limits import DEFAULT, Limits
from trimtab.core.model.manifest import Manifest, digest
from trimtab.ports.git import Tree
from trimtab.ports.renderer import Capabilities, Rendered, RenderRequest, nothing_special

from . import closure, paths, plain
from .cache import BYTES_MAX, Cache, key_of
from .kustomize import Kustomize

Inputs = tuple[tuple[str, str], ...]

IN_PLACE_BYTES: Final = 64 * 1024
IN_PLACE_FILES: Final = 500
DISCOVERY_FILES_MAX: Final = 1_000
_FOLDERS_MAX: Final = 20_000
WRITE_SECONDS: Final = 1.0
"""How long after a rendering the cache is written to disk."""
_API_VERSION: Final = re.compile(rb"""(?:^|[{,])[ \t]*["']?apiVersion["']?[ \t]*:""", re.MULTILINE)
_KIND: Final = re.compile(rb"""(?:^|[{,])[ \t]*["']?kind["']?[ \t]*:""", re.MULTILINE)


class TreeRenderer:
    """``cache_dir`` holds the cache and may be deleted at any time. ``kustomize`` names the tool; None looks on the PATH."""

    def __init__(
        self,
        cache_dir: Path,
        *,
        limits: Limits = DEFAULT,
        kustomize: str | None = None,
        cache_bytes_max: int = BYTES_MAX,
    ) -> None:
        self._cache = Cache(cache_dir, bytes_max=cache_bytes_max)
        self._limits = limits
        self._kustomize = Kustomize(kustomize)
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._folders: dict[str, bool] = {}  # tree id -> holds manifests

    async def render(
        self,
        request: RenderRequest,
        tree: Tree,
        *,
        others: Mapping[str, Tree] = {},
        capabilities: Capabilities = nothing_special,
    ) -> Rendered:
        if request.renderer not in ("", "plain", "kustomize"):
            raise UserError(
                f"render {request.application}: there is no renderer {request.renderer} here", remedy="Correct renderer"
            )
        path = _directory(request, tree)
        kustomized = request.renderer == "kustomize" or (
            not request.renderer and closure.kustomization_of(tree, path) is not None
        )
        return await self._kustomized(path, tree) if kustomized else await self._plain(path, tree)

    def current(self, rendered_inputs: Inputs, tree: Tree) -> bool:
        for path, object_id in rendered_inputs:
            entry = tree.entry(path)
            if (entry.id if entry is not None else "") != object_id:
                return False
        return True

    async def discover(self, tree: Tree) -> list[str]:
        return await asyncio.to_thread(self._discover, tree)

    async def _plain(self, path: str, tree: Tree) -> Rendered:
        entry = tree.entry(path)
        assert entry is not None, "its directory was found"
        key = key_of("plain", tree.repository, path, entry.id)
        cached = self._cached(key, tree)
        if cached is not None:
            return cached
        if _is_small(tree, path):
            found = plain.render(tree, path, self._limits)
        else:
            found = await asyncio.to_thread(plain.render, tree, path, self._limits)
        return self._keep(key, found, [(path, entry.id)], path)

    async def _kustomized(self, path: str, tree: Tree) -> Rendered:
        reached = closure.find(tree, path, self._limits)
        if reached.problems:
            raise plain.failed(tree, path, reached.problems, self._limits)
        tool = await self._kustomize.tool()
        key = key_of("kustomize", tool.version, tree.repository, path, reached.inputs)
        cached = self._cached(key, tree)
        if cached is not None:
            return cached
        found = await self._kustomize.render(tree, path, reached, self._limits)
        return self._keep(key, found, reached.inputs, None)

    def _cached(self, key: str, tree: Tree) -> Rendered | None:
        cached = self._cache.get(key)
        # Content outside the directory is no part of the key, since it is known only once the manifests are read.
        if cached is None or not self.current(cached.inputs, tree):
            return None
        return msgspec.structs.replace(cached, cached=True)

    def _keep(self, key: str, found: list[Manifest], inputs: Iterable[tuple[str, str]], covered: str | None) -> Rendered:
        """``covered`` is the directory whose content the inputs name already; None when they name single files."""
        contents = {one.path: one.id for manifest in found for one in manifest.content}
        more = {(path, id_) for path, id_ in contents.items() if covered is None or not paths.is_below(path, covered)}
        rendered = Rendered(
            tuple(found), tuple(sorted({*inputs, *more})), digest(sorted([*one.identity, one.digest] for one in found))
        )
        self._cache.put(key, rendered)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_later())
        return rendered

    async def _write_later(self) -> None:
        """What a thousand renderings wait for is not the disk cache: it is written when they have gone on."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), WRITE_SECONDS)
        await asyncio.to_thread(self._cache.flush)

    async def close(self) -> None:
        """Wait until the cache is on disk."""
        self._hurry.set()
        while self._cache.has_unwritten or (self._writing is not None and not self._writing.done()):
            if self._writing is not None:
                await self._writing
            self._cache.flush()

    def _discover(self, tree: Tree) -> list[str]:
        if closure.kustomization_of(tree, "") is not None:
            return [""]
        tops = tree.entries("")
        found = [
            top.path
            for top in tops
            if top.type == "tree" and not top.path.startswith(".") and self._holds(tree, top.path, top.id)
        ]
        if found:
            return found
        return [""] if any(_is_manifest(tree, top.path, self._limits) for top in tops if top.type == "blob") else []

    def _holds(self, tree: Tree, path: str, tree_id: str) -> bool:
        if tree_id not in self._folders:
            if len(self._folders) >= _FOLDERS_MAX:
                self._folders.clear()
            self._folders[tree_id] = holds_manifests(tree, path, self._limits)
        return self._folders[tree_id]


def holds_manifests(tree: Tree, path: str, limits: Limits = DEFAULT) -> bool:
    """True when any file below the directory looks like a manifest, or it is a kustomization. Looks at a bounded number of files."""
    if closure.kustomization_of(tree, path) is not None:
        return True
    skip = len(path) + 1 if path else 0
    visible = (entry for entry in tree.walk(path) if entry.type == "blob" and not _is_hidden(entry.path[skip:]))
    files = (entry.path for entry in visible if entry.path.endswith(plain.ENDINGS) and entry.size <= limits.file_bytes)
    return any(_is_manifest(tree, file, limits) for file in islice(files, DISCOVERY_FILES_MAX))


def _directory(request: RenderRequest, tree: Tree) -> str:
    try:
        path = paths.clean(request.path)
    except paths.PathError as error:
        text = f"render {request.application}: {paths.shown(request.path)}: {error}"
        raise UserError(text, remedy="Correct the path in the Application") from None
    entry = tree.entry(path)
    if entry is not None and entry.type == "tree":
        return path
    what = (
        {"blob": "is a file", "link": "is a symbolic link", "submodule": "is a submodule"}[entry.type]
        if entry
        else "is not there"
    )
    text = f"render {request.application} at {tree.revision[:7]}: {paths.shown(path)} {what}"
    raise UserError(text, remedy="Name a directory of the repository in the Application's source.path or its environment's path")


def _is_small(tree: Tree, path: str) -> bool:
    total = 0
    for count, entry in enumerate(tree.walk(path), start=1):
        if entry.path.endswith(plain.ENDINGS):
            total += entry.size
        if total > IN_PLACE_BYTES or count > IN_PLACE_FILES:
            return False
    return True


def _is_hidden(inside: str) -> bool:
    return inside.startswith(".") or "/." in inside


def _is_manifest(tree: Tree, path: str, limits: Limits) -> bool:
    if not path.endswith(plain.ENDINGS) or path.startswith("."):
        return False
    try:
        data = tree.read(path, bytes_max=limits.file_bytes)
    except UserError:
        return False
    return _API_VERSION.search(data) is not None and _KIND.search(data) is not None
