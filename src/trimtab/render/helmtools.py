"""Two ways to run Helm behind one interface: the library of `trimtab[helm]` in a child that stays, or the user's own `helm`."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import one_line
from trimtab.plumbing import processes
from trimtab.plumbing.confined import Bounds, command

from . import paths
from .children import Children, Failed
from .libraries import installed

VERSION_SECONDS: Final = 10.0
REMEDY: Final = "Run `pip install 'trimtab[helm]'` where the server runs, or install helm on its PATH"
DISTRIBUTION: Final = "helm-python-sdk"
_SOURCE: Final = re.compile(r"^---\n# Source: (.+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """What a chart is rendered for."""

    name: str
    namespace: str
    values: dict[str, Any] = field(default_factory=dict)
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """As the library takes them; nothing is said of a target that says nothing."""
        told: dict[str, Any] = {"name": self.name, "namespace": self.namespace, "is_install": True}
        if self.kube_version:
            told["kube_version"] = self.kube_version
        if self.api_versions:
            told["api_versions"] = list(self.api_versions)
        return told


class Tool(Protocol):
    @property
    def version(self) -> str:
        """Part of every cache key."""
        ...

    async def render(self, shown: str, chart: Path, release: Release, *, crds: bool) -> list[tuple[str, str]]:
        """The chart's files by path, and what they render to. Raises Failed, UserError or TransientError."""
        ...


class Tools:
    """``program`` names a helm; None takes the library where it is installed, and else looks on the PATH."""

    def __init__(self, program: str | None, limits: Limits) -> None:
        self._program, self._limits = program, limits
        self._children = Children(limits)
        self._known: tuple[tuple[str, float, int], Tool] | None = None

    @property
    def started(self) -> int:
        """How many children there have been."""
        return self._children.started

    async def tool(self) -> Tool:
        """Raises TransientError when there is none: once somebody installs it, the next try works."""
        library = None if self._program else installed(DISTRIBUTION)
        if library is not None:
            return _Library(library, self._children)
        found = shutil.which(self._program or "helm")
        if found is None:
            wanted = self._program or "helm"
            raise TransientError(f"render with helm: there is no {wanted} on this machine", remedy=REMEDY)
        status = Path(found).stat()
        mark = (found, status.st_mtime, status.st_size)
        if self._known is None or self._known[0] != mark:
            self._known = (mark, _Program(found, await _version(found), self._limits))
        return self._known[1]

    async def close(self) -> None:
        await self._children.close()


@dataclass(frozen=True)
class _Library:
    version: str
    children: Children

    async def render(self, shown: str, chart: Path, release: Release, *, crds: bool) -> list[tuple[str, str]]:
        asked = {"do": "helm", "chart": str(chart), "values": release.values, "options": release.options, "crds": crds}
        made = await self.children.ask("helm", shown, asked)
        return [*sorted(made["crds"].items()), *sorted(made["templates"].items())]


@dataclass(frozen=True)
class _Program:
    program: str
    version: str
    limits: Limits

    async def render(self, shown: str, chart: Path, release: Release, *, crds: bool) -> list[tuple[str, str]]:
        home = chart.parent / "home"
        home.mkdir()
        (home / "values.json").write_text(json.dumps(release.values))
        arguments = [self.program, "template", release.name, str(chart), "--namespace", release.namespace]
        arguments += ["--values", str(home / "values.json"), *(["--include-crds"] if crds else [])]
        arguments += ["--kube-version", release.kube_version] if release.kube_version else []
        arguments += ["--api-versions", ",".join(release.api_versions)] if release.api_versions else []
        finished = await self._run(arguments, home, shown)
        if finished.code:
            raise Failed(finished.stderr.decode("utf-8", "replace").removeprefix("Error: "))
        # `helm template` names the file that each document comes from.
        parts = _SOURCE.split(finished.stdout.decode("utf-8", "replace"))
        return list(zip(parts[1::2], parts[2::2], strict=True))

    async def _run(self, arguments: list[str], home: Path, shown: str) -> processes.Finished:
        doing = f"render {paths.shown(shown)}"
        bounds = Bounds(memory_bytes=self.limits.tool_memory_bytes, file_bytes=self.limits.source_bytes)
        try:
            return await processes.run(
                command(bounds, arguments),
                environment=_environment(home),
                timeout_seconds=self.limits.tool_seconds,
                output_bytes_max=self.limits.tool_bytes,
                directory=home,
            )
        except processes.TooMuchOutput as error:
            raise UserError(
                f"{doing}: helm printed more than {self.limits.tool_bytes} bytes", remedy="Split the Application"
            ) from error
        except processes.ProcessError as error:
            raise TransientError(f"{doing}: {error}") from error


async def _version(found: str) -> str:
    try:
        finished = await processes.run(
            [found, "version", "--short"],
            environment=_environment(Path("/nonexistent")),
            timeout_seconds=VERSION_SECONDS,
            output_bytes_max=10_000,
        )
    except processes.ProcessError as error:
        raise TransientError(f"ask {found} for its version: {error}", remedy=REMEDY) from error
    if finished.code:
        said = one_line(finished.stderr.decode("utf-8", "replace"))
        raise TransientError(f"ask {found} for its version: it failed with {finished.code}: {said}", remedy=REMEDY)
    return one_line(finished.stdout.decode("utf-8", "replace"))


def _environment(home: Path) -> dict[str, str]:
    told = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C", "KUBECONFIG": os.devnull}
    return {**told, "HELM_CACHE_HOME": str(home), "HELM_CONFIG_HOME": str(home), "HELM_DATA_HOME": str(home)}
