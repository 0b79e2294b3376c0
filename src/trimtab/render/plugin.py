"""Rendering by a command of the operator's: the directory as its working directory, parameters in its environment, manifests on its
standard output.

Which commands there are is said where the server is started; a commit can only choose among them. A command sees a copy of the
directory, an empty HOME, no network unless the operator allows it, and none of our variables.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from trimtab.core.model.errors import Problem, TransientError, UserError
from trimtab.core.model.limits import Limits
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.text import escaped, one_line
from trimtab.plumbing import processes
from trimtab.plumbing.confined import REASON, REFUSED, Bounds, command
from trimtab.ports.git import Tree
from trimtab.ports.renderer import RenderRequest

from . import content, paths
from .plain import failed
from .prepared import Prepared
from .printed import Printed, read

PREFIX: Final = "PARAMETER_"
OPEN_FILES_MAX: Final = 1024
PROCESSES_MAX: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_UNCONFINED: Final = "Declare it with --plugin-network if it may use the network, or permit user namespaces on this machine"


@dataclass(frozen=True)
class PluginCommand:
    """``arguments`` begin with the program. ``network``: it runs without a namespace of its own, so it has the network."""

    arguments: tuple[str, ...]
    network: bool = False


class Plugins:
    def __init__(self, commands: Mapping[str, PluginCommand], limits: Limits) -> None:
        self._commands, self._limits = dict(commands), limits

    def prepare(self, request: RenderRequest, tree: Tree, directory: str) -> Prepared:
        """Raises UserError for a plugin that is not there or a parameter that cannot be, TransientError for a program that is not."""
        name = request.source.plugin.name
        doing = f"render {request.application}"
        chosen = self._commands.get(name)
        if chosen is None:
            known = ", ".join(sorted(self._commands)) or "none"
            raise UserError(
                f"{doing}: this server has no plugin {escaped(name)}",
                remedy=f"Plugins: {known}. Start the server with --plugin NAME=COMMAND",
            )
        variables = _variables(request, doing)
        program = shutil.which(chosen.arguments[0])
        if program is None:
            text = f"{doing}: there is no {chosen.arguments[0]} on this machine"
            raise TransientError(text, remedy=f"Install what the plugin {name} runs")
        status = Path(program).stat()
        entry = tree.entry(directory)
        assert entry is not None, "its directory was found"
        known_by = (chosen.arguments, chosen.network, program, status.st_mtime_ns, status.st_size)
        return Prepared(
            parts=("plugin", name, known_by, variables, tree.repository, directory, entry.id),
            inputs=((directory, entry.id),),
            render=partial(self._render, name, chosen, program, variables, tree, directory),
            covered=directory,
        )

    async def _render(
        self, name: str, chosen: PluginCommand, program: str, variables: Mapping[str, str], tree: Tree, directory: str
    ) -> list[Manifest]:
        limits = self._limits
        with tempfile.TemporaryDirectory(prefix="trimtab-render-") as made:
            root = Path(made).resolve()
            place, home = root / "files", root / "home"
            await asyncio.to_thread(_materialise, tree, directory, place, limits)
            home.mkdir()
            try:
                finished = await self._run((program, *chosen.arguments[1:]), chosen.network, variables, place, home)
            finally:
                await asyncio.to_thread(_writable, place)
        doing = f"render {paths.shown(directory)}: the plugin {name}"
        said = one_line(finished.stderr.decode("utf-8", "replace").replace(f"{place}/", ""), characters_max=2000)
        if finished.code == REFUSED and said.startswith(REASON):
            raise TransientError(f"{doing} {said}", remedy=_UNCONFINED)
        if finished.code:
            problem = Problem(f"{name} failed with {finished.code}: {said or 'no words'}", paths.shown(directory))
            raise failed(tree, directory, [problem], limits)
        return await read(name, tree, directory, [Printed(paths.shown(directory), finished.stdout)], limits)

    async def _run(
        self, arguments: tuple[str, ...], network: bool, variables: Mapping[str, str], place: Path, home: Path
    ) -> processes.Finished:
        limits = self._limits
        bounds = Bounds(
            memory_bytes=limits.tool_memory_bytes,
            cpu_seconds=int(limits.tool_seconds) + 1,
            file_bytes=limits.source_bytes,
            open_files=OPEN_FILES_MAX,
            processes=PROCESSES_MAX,
            isolation="none" if network else "required",
        )
        try:
            return await processes.run(
                command(bounds, list(arguments)),
                environment={**_environment(home, network), **variables},
                timeout_seconds=limits.tool_seconds,
                output_bytes_max=limits.tool_bytes,
                directory=place,
            )
        except processes.TooMuchOutput as error:
            text = f"{arguments[0]} printed more than {limits.tool_bytes} bytes"
            raise UserError(text, remedy="Split the Application") from error
        except processes.ProcessError as error:
            raise TransientError(f"run {arguments[0]}: {error}") from error


def _variables(request: RenderRequest, doing: str) -> dict[str, str]:
    told = {"TRIMTAB_APPLICATION": request.application, "TRIMTAB_ENVIRONMENT": request.environment}
    for name, value in request.source.plugin.parameters.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            text = f"{doing}: the parameter {escaped(name)} cannot be given to a program"
            raise UserError(text, remedy="Use letters, digits, dashes, dots and underscores in its name")
        told[PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())] = value
    return dict(sorted(told.items()))


def _environment(home: Path, network: bool) -> dict[str, str]:
    if network:
        clean = processes.clean_environment(home)
        return {**clean, "TMPDIR": str(home)}
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"}


def _materialise(tree: Tree, directory: str, root: Path, limits: Limits) -> None:
    """The directory's files, which nobody may write to; executables stay executable. Links are refused, wherever they lead."""
    size = count = 0
    problems: list[Problem] = []
    try:
        root.mkdir()
        for entry in tree.walk(directory):
            inside = entry.path[len(directory) + 1 :] if directory else entry.path
            size, count = size + entry.size, count + 1
            if size > limits.source_bytes or count > limits.files:
                text = f"more than {limits.files} files or {limits.source_bytes} bytes"
                raise failed(tree, directory, [Problem(text, paths.shown(directory), remedy="Name a smaller directory")], limits)
            if entry.type != "blob":
                problems.append(Problem("a link or a submodule", paths.shown(entry.path), remedy="Put the file itself there"))
                continue
            data = tree.read(entry.path, bytes_max=limits.source_bytes)
            if data.startswith(content.LFS_HEAD):
                problems.append(Problem("a pointer of Git LFS", paths.shown(entry.path), remedy=content.LFS_REMEDY))
            file = root / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(0o555 if entry.executable else 0o444)
        for folder in [root, *(each for each in root.rglob("*") if each.is_dir())]:
            folder.chmod(0o555)
    except OSError as error:
        raise TransientError(f"write files for a plugin: {error.strerror or error}", remedy="Free space in TMPDIR") from error
    if problems:
        raise failed(tree, directory, problems, limits)


def _writable(root: Path) -> None:
    """So that it can be thrown away."""
    for folder in [root, *(each for each in root.rglob("*") if each.is_dir() and not each.is_symlink())]:
        folder.chmod(stat.S_IRWXU)
