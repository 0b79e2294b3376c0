"""Rendering by an external `kustomize`, or by `kubectl kustomize`: the closure of files in a directory of its own, Manifests out.

The tool sees the files that `closure` found and nothing else of the machine: no environment but a PATH, no home, no network
that it could use. What it prints is read as kubectl would read it. Its time and output are bounded.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trimtab.core.model.errors import Problem, TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.text import one_line
from trimtab.plumbing import processes
from trimtab.plumbing.confined import Bounds, command
from trimtab.ports.git import Tree

from . import paths
from .closure import Closure, kustomization_of
from .plain import failed
from .printed import Printed, read

VERSION_SECONDS: Final = 10.0
_REMEDY: Final = "Install kustomize (or kubectl) where the server finds it on its PATH, or use the renderer plain"
_NOWHERE: Final = "http://127.0.0.1:9"  # the discard port: nobody answers


@dataclass(frozen=True)
class Tool:
    """``command`` is followed by the directory. ``version`` is what it says of itself: part of every cache key."""

    command: tuple[str, ...]
    version: str


class Kustomize:
    """Finds the tool when it is first needed, and again when its file changes. ``program`` names one; None looks on the PATH."""

    def __init__(self, program: str | None = None) -> None:
        self._program = program
        self._known: tuple[tuple[str, float, int], Tool] | None = None

    async def tool(self) -> Tool:
        """Raises TransientError when there is none: once somebody installs it, the next try works."""
        found = self._find()
        if found is None:
            wanted = self._program or "kustomize or kubectl"
            raise TransientError(f"render with kustomize: there is no {wanted} on this machine", remedy=_REMEDY)
        status = Path(found).stat()
        mark = (found, status.st_mtime, status.st_size)
        if self._known is None or self._known[0] != mark:
            self._known = (mark, await _tool(found))
        return self._known[1]

    def _find(self) -> str | None:
        names = [self._program] if self._program else ["kustomize", "kubectl"]
        return next((found for found in map(shutil.which, names) if found), None)

    async def render(self, tree: Tree, path: str, closure: Closure, limits: Limits) -> list[Manifest]:
        """Raises UserError for what is wrong in the repository, TransientError for a tool that was killed or is not there."""
        tool = await self.tool()
        with tempfile.TemporaryDirectory(prefix="trimtab-render-") as made:
            root = Path(made).resolve()
            await asyncio.to_thread(_materialise, tree, closure, root / "files", limits)
            finished = await _run(tool, root, path, limits)
        if finished.code < 0:
            raise TransientError(f"render {paths.shown(path)}: {tool.command[0]} was killed by signal {-finished.code}")
        file = kustomization_of(tree, path) or path
        if finished.code:
            said = one_line(finished.stderr.decode("utf-8", "replace").replace(f"{root / 'files'}/", ""), characters_max=2000)
            problem = Problem(f"kustomize: {said}", file, remedy="Run `kustomize build` in this directory to see it again")
            raise failed(tree, path, [problem], limits)
        return await read("kustomize", tree, path, [Printed(file, finished.stdout)], limits)


async def _tool(found: str) -> Tool:
    kubectl = Path(found).name.startswith("kubectl")
    arguments = [found, "version", "--client", "-o", "json"] if kubectl else [found, "version"]
    with tempfile.TemporaryDirectory(prefix="trimtab-render-") as home:
        try:
            finished = await processes.run(
                arguments, environment=_environment(home), timeout_seconds=VERSION_SECONDS, output_bytes_max=100_000
            )
        except processes.ProcessError as error:
            raise TransientError(f"ask {found} for its version: {error}", remedy=_REMEDY) from error
    if finished.code:
        said = one_line(finished.stderr.decode("utf-8", "replace"))
        raise TransientError(f"ask {found} for its version: it failed with {finished.code}: {said}", remedy=_REMEDY)
    command = (found, "kustomize") if kubectl else (found, "build")
    return Tool(command, " ".join(finished.stdout.decode("utf-8", "replace").split())[:2000])


def _environment(home: Path | str) -> dict[str, str]:
    """A PATH and nothing of ours. What the tool would fetch, it fetches from nowhere."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "KUBECONFIG": os.devnull,
        "GIT_ALLOW_PROTOCOL": "none",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
    }


async def _run(tool: Tool, root: Path, path: str, limits: Limits) -> processes.Finished:
    home = root / "home"
    home.mkdir()
    try:
        return await processes.run(
            command(
                Bounds(memory_bytes=limits.tool_memory_bytes, file_bytes=limits.source_bytes),
                [*tool.command, str(root / "files" / path)],
            ),
            environment={**_environment(home), "TMPDIR": str(home)},
            timeout_seconds=limits.tool_seconds,
            output_bytes_max=limits.tool_bytes,
            directory=root / "files",
        )
    except processes.TooMuchOutput as error:
        raise UserError(
            f"render {paths.shown(path)}: kustomize printed more than {limits.tool_bytes} bytes", remedy="Split the Application"
        ) from error
    except processes.ProcessError as error:
        raise TransientError(f"render {paths.shown(path)}: {error}") from error


def _materialise(tree: Tree, closure: Closure, root: Path, limits: Limits) -> None:
    """Exactly the files of the closure, as plain files: no links, no executables."""
    try:
        root.mkdir()
        for path in closure.files:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tree.read(path, bytes_max=limits.source_bytes))
    except OSError as error:
        raise TransientError(f"write files for kustomize: {error.strerror or error}", remedy="Free space in TMPDIR") from error
