"""The Renderer port: picks the way to render a directory, and asks the cache before anything is read.

A plain directory is known by its tree id, a kustomization or Jsonnet by the ids of the files that it reaches, a chart by those of its
directories, the digests of what it needs and its values; with the renderer, the tool's version, the path and the repository that is all
a result depends on. Commits, Applications and Environments are no part of it.
Small inputs are rendered in place; large ones in a thread, so that the loop is not held up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from trimtab.core.decide.joining import digest_of
from trimtab.core.model.errors import UserError
from trimtab.core.model.limits import DEFAULT, Limits
from trimtab.core.model.manifest import Manifest
from trimtab.ports.git import Tree
from trimtab.ports.renderer import Capabilities, Limit, Rendered, RenderRequest, nothing_special

from . import chart, closure, paths, plain
from .cache import BYTES_MAX, Cache, key_of
from .credentials import Credentials
from .fetching import Charts
from .helm import Helm
from .helmtools import Tools
from .jsonnet import Jsonnet, is_jsonnet
from .kustomize import Kustomize
from .plugin import PluginCommand, Plugins
from .prepared import Inputs, Prepared

IN_PLACE_BYTES: Final = 64 * 1024
IN_PLACE_FILES: Final = 500
DISCOVERY_FILES_MAX: Final = 1_000
_FOLDERS_MAX: Final = 20_000
WRITE_SECONDS: Final = 1.0
"""How long after a rendering the cache is written to disk."""
_API_VERSION: Final = re.compile(rb"""(?:^|[{,])[ \t]*["']?apiVersion["']?[ \t]*:""", re.MULTILINE)
_KIND: Final = re.compile(rb"""(?:^|[{,])[ \t]*["']?kind["']?[ \t]*:""", re.MULTILINE)


class TreeRenderer:
    """``cache_dir`` holds the cache and the charts that were fetched, and may be deleted at any time. ``kustomize`` and ``helm`` name the
    tools; None takes what is installed. ``plugins`` are the operator's commands; ``netrc`` is a file with who we are to chart repositories,
    ``charts`` where what they gave is kept, when not in the cache.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        limits: Limits = DEFAULT,
        kustomize: str | None = None,
        helm: str | None = None,
        plugins: Mapping[str, PluginCommand] = {},
        netrc: Path | None = None,
        charts: Path | None = None,
        cache_bytes_max: int = BYTES_MAX,
    ) -> None:
        self._cache = Cache(cache_dir, bytes_max=cache_bytes_max)
        self._limits = limits
        self._kustomize = Kustomize(kustomize)
        self._tools = Tools(helm, limits)
        self._charts = Charts(charts or cache_dir / "charts", Credentials(netrc), limits)
        self._helm = Helm(self._tools, self._charts, limits)
        self._jsonnet = Jsonnet(limits)
        self._plugins = Plugins(plugins, limits)
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
        limit: Limit | None = None,
    ) -> Rendered:
        path = _directory(request, tree)
        prepared = await self._prepare(request, tree, path, others, capabilities, limit)
        key = key_of(*prepared.parts)
        cached = self._cached(key, prepared, tree)
        return cached if cached is not None else self._keep(key, prepared, await prepared.render())

    async def _prepare(
        self,
        request: RenderRequest,
        tree: Tree,
        path: str,
        others: Mapping[str, Tree],
        capabilities: Capabilities,
        limit: Limit | None,
    ) -> Prepared:
        match request.renderer or detected(request, tree, path):
            case "helm":
                return await self._helm.prepare(request, tree, path, others, capabilities, limit)
            case "kustomize":
                return await self._kustomized(path, tree)
            case "jsonnet":
                return self._jsonnet.prepare(request, tree, path, others)
            case "plugin":
                return self._plugins.prepare(request, tree, path)
            case "plain":
                return self._plain(path, tree)
            case other:
                text = f"render {request.application}: there is no renderer {other} here"
                raise UserError(text, remedy="Correct source.renderer")

    @property
    def children_started(self) -> int:
        """How many processes for Helm there have been: one serves many renderings."""
        return self._tools.started

    def current(self, rendered_inputs: Inputs, tree: Tree) -> bool:
        for path, object_id in rendered_inputs:
            entry = tree.entry(path)
            if (entry.id if entry is not None else "") != object_id:
                return False
        return True

    async def discover(self, tree: Tree) -> list[str]:
        return await asyncio.to_thread(self._discover, tree)

    def _plain(self, path: str, tree: Tree) -> Prepared:
        entry = tree.entry(path)
        assert entry is not None, "its directory was found"

        async def render() -> list[Manifest]:
            if _is_small(tree, path):
                return plain.render(tree, path, self._limits)
            return await asyncio.to_thread(plain.render, tree, path, self._limits)

        return Prepared(("plain", tree.repository, path, entry.id), ((path, entry.id),), render, covered=path)

    async def _kustomized(self, path: str, tree: Tree) -> Prepared:
        reached = closure.find(tree, path, self._limits)
        if reached.problems:
            raise plain.failed(tree, path, reached.problems, self._limits)
        tool = await self._kustomize.tool()
        parts = ("kustomize", tool.version, tree.repository, path, reached.inputs)
        return Prepared(parts, reached.inputs, lambda: self._kustomize.render(tree, path, reached, self._limits))

    def _cached(self, key: str, prepared: Prepared, tree: Tree) -> Rendered | None:
        cached = self._cache.get(key)
        if cached is None:
            return None
        # Content outside the directory is no part of the key, since it is known only once the manifests are read. What is part of it
        # may have other ids by now, as a lock that pins one more chart.
        known = {path for path, _ in prepared.inputs}
        more = tuple(one for one in cached.inputs if one[0] not in known)
        if not self.current(more, tree):
            return None
        inputs = tuple(sorted({*prepared.inputs, *more}))
        return msgspec.structs.replace(cached, cached=True, inputs=inputs)

    def _keep(self, key: str, prepared: Prepared, found: list[Manifest]) -> Rendered:
        covered = prepared.covered
        contents = {one.path: one.id for manifest in found for one in manifest.content}
        more = {(path, id_) for path, id_ in contents.items() if covered is None or not paths.is_below(path, covered)}
        rendered = Rendered(
            tuple(found),
            tuple(sorted({*prepared.inputs, *more})),
            digest_of(found),
            elsewhere=prepared.elsewhere,
            capabilities=prepared.capabilities,
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
        """Wait until the cache is on disk, and end every child."""
        await asyncio.gather(self._tools.close(), self._jsonnet.close(), self._charts.close())
        self._hurry.set()
        while self._cache.has_unwritten or (self._writing is not None and not self._writing.done()):
            if self._writing is not None:
                await self._writing
            self._cache.flush()

    def _discover(self, tree: Tree) -> list[str]:
        if _by_its_file(tree, ""):
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
    """True when any file below the directory looks like a manifest, or it is a chart, a kustomization or Jsonnet. Looks at a bounded number of files."""
    if _by_its_file(tree, path):
        return True
    skip = len(path) + 1 if path else 0
    visible = (entry for entry in tree.walk(path) if entry.type == "blob" and not _is_hidden(entry.path[skip:]))
    files = (entry.path for entry in visible if entry.path.endswith(plain.ENDINGS) and entry.size <= limits.file_bytes)
    return any(_is_manifest(tree, file, limits) for file in islice(files, DISCOVERY_FILES_MAX))


def detected(request: RenderRequest, tree: Tree, path: str) -> str:
    """How to render what stands there."""
    return "helm" if request.source.chart.name else _by_its_file(tree, path) or "plain"


def _by_its_file(tree: Tree, path: str) -> str:
    """The renderer that a file right in the directory calls for; "" when there is none."""
    if chart.is_chart(tree, path):
        return "helm"
    if closure.kustomization_of(tree, path) is not None:
        return "kustomize"
    return "jsonnet" if is_jsonnet(tree, path) else ""


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
