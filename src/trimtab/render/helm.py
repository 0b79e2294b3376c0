"""Rendering Helm charts: of this repository, or pinned ones of a chart repository; never with a look at what runs (`lookup` is empty).

What a result depends on is known before anything is rendered: the ids of the chart's directories, the digests of what is pinned, the
values as they come out, the release, the tool, and, for a chart that asks for them, what the target can do. Hooks stay what they are,
objects with an annotation.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from trimtab.core.decide import semver
from trimtab.core.model.errors import Problem, TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.text import escaped, one_line
from trimtab.ports.git import Tree
from trimtab.ports.renderer import Capabilities, Limit, RenderRequest

from . import archive, chart, lock, values
from .chart import CHART_FILE, Closure
from .children import Failed
from .fetching import Charts
from .helmtools import Release, Tool, Tools
from .lock import Pin, Wanted
from .plain import failed
from .prepared import Prepared
from .printed import Printed, read

_USES_MAX: Final = 10_000
_PLACE: Final = re.compile(r"([\w.-]+(?:/[\w.+-]+)+):(\d+)")
_TESTS: Final = frozenset({"test", "test-success", "test-failure"})
_HOOK: Final = "helm.sh/hook"


@dataclass(frozen=True)
class _Chart:
    """``files`` reads all of it; ``shown`` is what its path is called in Problems."""

    identity: tuple[object, ...]
    closure: Closure
    shown: str


class Helm:
    def __init__(self, tools: Tools, charts: Charts, limits: Limits) -> None:
        self._tools, self._charts, self._limits = tools, charts, limits
        self._uses: dict[object, bool] = {}

    async def prepare(
        self,
        request: RenderRequest,
        tree: Tree,
        directory: str,
        others: Mapping[str, Tree],
        capabilities: Capabilities,
        limit: Limit | None,
    ) -> Prepared:
        """Raises UserError for what is wrong before anything is rendered, TransientError when the tool or a chart cannot be had."""
        found = self._find(request, tree, directory)
        given = values.read(request, tree, directory, others, self._limits)
        problems = [*found.closure.problems, *given.problems]
        if limit is not None and found.closure.pins:
            problems += limit(lock.fetched(tree, found.closure.pins.values(), self._limits))
        if problems:
            raise failed(tree, directory, problems, self._limits)
        tool = await self._tools.tool()
        text = json.dumps(given.merged, sort_keys=True)
        abilities = await capabilities() if await self._asks(tree, found, text) else ()
        release = _release(request, given.merged, abilities)
        parts = ("helm", tool.version, tree.repository, found.shown, found.identity, text, release.options, abilities)
        return Prepared(
            parts=(*parts, request.source.helm.include_crds, request.source.helm.skip_tests),
            inputs=tuple(sorted((found.closure.inputs | given.inputs).items())),
            render=partial(self._render, tool, request, tree, found, release),
            elsewhere=tuple(given.elsewhere),
            capabilities=digest(abilities) if abilities else "",
        )

    def _find(self, request: RenderRequest, tree: Tree, directory: str) -> _Chart:
        asked = request.source.chart
        pins = lock.of(tree, self._limits)
        if not asked.name:
            closure = chart.find(tree, directory, pins, self._limits)
            return _Chart(tuple(closure.identity), closure, directory)
        wanted = Wanted(asked.repository, asked.name, asked.version)
        entry = tree.entry(lock.FILE)
        closure = Closure(inputs={lock.FILE: entry.id if entry is not None else ""})
        pin = pins.get(wanted)
        if pin is None:
            closure.problems += lock.missing([wanted], lock.FILE)
            return _Chart((), closure, "")
        closure.pins[""] = pin
        return _Chart(tuple(closure.identity), closure, pin.file)

    async def _asks(self, tree: Tree, found: _Chart, given: str) -> bool:
        """Whether the result can depend on what the target can do: only where a template, or a value that is taken for one, says so."""
        if "Capabilities" in given:
            return True
        if found.identity not in self._uses:
            files = await self._files(tree, found)
            if len(self._uses) >= _USES_MAX:
                self._uses.clear()
            self._uses[found.identity] = any(_mentions(path, data) for path, data in files.items())
        return self._uses[found.identity]

    async def _files(self, tree: Tree, found: _Chart) -> dict[str, bytes]:
        files, problems = await asyncio.to_thread(chart.files, tree, found.closure, self._limits)
        if problems:
            raise failed(tree, found.shown, problems, self._limits)
        for place, pin in found.closure.pins.items():
            for path, data in (await self._unpacked(pin)).items():
                files[posixpath.join(place, path)] = data
        return files

    async def _unpacked(self, pin: Pin) -> dict[str, bytes]:
        data = await self._charts.archive(pin)
        try:
            return await asyncio.to_thread(archive.unpack, data, self._limits)
        except archive.ArchiveError as error:
            text = f"the chart {pin.wanted} cannot be used: {error}"
            raise UserError(text, remedy="Tell who publishes it, or pin another version") from error

    async def _render(self, tool: Tool, request: RenderRequest, tree: Tree, found: _Chart, release: Release) -> list[Manifest]:
        files = await self._files(tree, found)
        problems = _unfit(files, found, release, self._limits)
        if problems:
            raise failed(tree, found.shown, problems, self._limits)
        with tempfile.TemporaryDirectory(prefix="trimtab-render-") as made:
            place = Path(made).resolve() / "chart"
            await asyncio.to_thread(_write, files, place)
            try:
                printed = await tool.render(found.shown, place, release, crds=request.source.helm.include_crds)
            except Failed as error:
                raise failed(tree, found.shown, [_problem(str(error), found.shown, place)], self._limits) from error
        outputs = [Printed(_file(path, found.shown), text.encode()) for path, text in printed if _counts(path, text)]
        manifests = await read("helm", tree, found.shown, outputs, self._limits)
        return [one for one in manifests if not (request.source.helm.skip_tests and _is_test(one))]


def _release(request: RenderRequest, merged: dict[str, Any], abilities: tuple[str, ...]) -> Release:
    told = [word.partition("=") for word in abilities]
    return Release(
        name=request.source.helm.release_name or request.application,
        namespace=request.source.helm.namespace,
        values=merged,
        kube_version=next((value for name, _, value in told if name == "version"), ""),
        api_versions=tuple(value for name, _, value in told if name == "api"),
    )


def _mentions(path: str, data: bytes) -> bool:
    return b"Capabilities" in data or path.endswith(".tgz") or (path.endswith(CHART_FILE) and b"kubeVersion" in data)


def _unfit(files: dict[str, bytes], found: _Chart, release: Release, limits: Limits) -> list[Problem]:
    """Why the chart is none that is installed, or none for this cluster."""
    file = posixpath.join(found.shown, CHART_FILE)
    header = chart.header(files[CHART_FILE], file, limits)
    if not isinstance(header, chart.Header):
        return header
    if header.type == "library":
        return [Problem("a library chart has nothing to render", file, 0, "type", "Name a chart that uses it")]
    wanted = semver.parse_range(header.kube_version) if header.kube_version else None
    version = semver.version(release.kube_version) if release.kube_version else None
    if wanted is None or version is None or wanted.admits(semver.Version(*version.core)):
        return []
    text = f"the chart wants Kubernetes {escaped(header.kube_version)}, and the cluster is {escaped(release.kube_version)}"
    return [Problem(text, file, 0, "kubeVersion", "Use another version of the chart, or of the cluster")]


def _write(files: dict[str, bytes], root: Path) -> None:
    try:
        for path, data in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    except OSError as error:
        raise TransientError(f"write files for helm: {error.strerror or error}", remedy="Free space in TMPDIR") from error


def _problem(said: str, shown: str, place: Path) -> Problem:
    """What helm says, at the innermost place that it names."""
    said = said.replace(f"{place}/", "")
    places = _PLACE.findall(said)
    words = one_line(said, characters_max=1500)
    remedy = "Correct the template or the values; `helm template` in that directory shows it again"
    if not places:
        return Problem(f"helm: {words}", posixpath.join(shown, CHART_FILE), remedy=remedy)
    file, line = places[-1]
    return Problem(f"helm: {words}", _file(file, shown), int(line), remedy=remedy)


def _file(path: str, shown: str) -> str:
    """Helm calls files by the chart's name and their path in it."""
    return escaped(posixpath.join(shown, path.partition("/")[2]))


def _counts(path: str, text: str) -> bool:
    name = path.rpartition("/")[2]
    return bool(text.strip()) and name != "NOTES.txt" and not name.startswith("_")


def _is_test(manifest: Manifest) -> bool:
    hooks = ((manifest.body.get("metadata") or {}).get("annotations") or {}).get(_HOOK, "")
    words = {word.strip() for word in hooks.split(",")} if isinstance(hooks, str) and hooks else set()
    return bool(words) and words <= _TESTS
