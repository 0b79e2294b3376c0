"""What `trimtab doctor` says about the machine: the tools that we call, their versions, and room on the disk."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from trimtab.core.model.rendering import DETECTED, RenderSettings
from trimtab.core.model.views import Finding
from trimtab.plumbing.confined import REASON, Bounds, command
from trimtab.plumbing.processes import ProcessError, clean_environment, run
from trimtab.render import helmtools, jsonnet
from trimtab.render.libraries import installed
from trimtab.render.plugin import PluginCommand

from .rendering import commands

GIT_VERSION_MIN = (2, 31)
"""The first git that takes its configuration from GIT_CONFIG_COUNT (git 2.31 release notes)."""
FREE_BYTES_MIN = 256 << 20
FREE_BYTES_LOW = 1 << 30
SECONDS_MAX = 10.0
OUTPUT_BYTES_MAX = 10_000


async def machine(data: Path, settings: RenderSettings = DETECTED) -> list[Finding]:
    """One Finding for each thing that Trimtab needs of this machine."""
    isolated = await _isolation()
    return [
        await _git(data),
        _kustomize(),
        _helm(settings),
        _jsonnet(),
        isolated,
        *(_plugin(name, command, isolated.state == "ok") for name, command in sorted(commands(settings).items())),
        _disk(data),
        Finding("python", "ok", sys.version.split()[0]),
    ]


async def _git(data: Path) -> Finding:
    try:
        done = await run(
            ["git", "--version"],
            environment=clean_environment(data),
            timeout_seconds=SECONDS_MAX,
            output_bytes_max=OUTPUT_BYTES_MAX,
        )
    except ProcessError as error:
        return Finding("git", "failed", f"git cannot be run: {error}", "Install git")
    shown = done.stdout.decode(errors="replace").strip()
    found = re.search(r"(\d+)\.(\d+)", shown)
    wanted = ".".join(str(part) for part in GIT_VERSION_MIN)
    if found is None or (int(found[1]), int(found[2])) < GIT_VERSION_MIN:
        return Finding("git", "failed", shown or "no version", f"Install git {wanted} or newer")
    return Finding("git", "ok", shown)


def _kustomize() -> Finding:
    tool = shutil.which("kustomize") or shutil.which("kubectl")
    if tool is None:
        return Finding("kustomize", "ok", "not installed; only applications with a kustomization.yaml need it")
    return Finding("kustomize", "ok", f"{tool}{' kustomize' if tool.endswith('kubectl') else ''}")


def _helm(settings: RenderSettings) -> Finding:
    library = None if settings.helm else installed(helmtools.DISTRIBUTION)
    if library is not None:
        return Finding("helm", "ok", library)
    program = shutil.which(settings.helm or "helm")
    if program is None and settings.helm:
        return Finding("helm", "failed", f"there is no {settings.helm}", "Correct --helm, or install it")
    return Finding("helm", "ok", program or "not installed; only charts need it: pip install 'trimtab[helm]'")


def _jsonnet() -> Finding:
    found = installed(jsonnet.DISTRIBUTION)
    return Finding("jsonnet", "ok", found or "not installed; only Jsonnet needs it: pip install 'trimtab[jsonnet]'")


async def _isolation() -> Finding:
    """Whether what renders can be kept off the network."""
    try:
        with tempfile.TemporaryDirectory(prefix="trimtab-") as home:
            done = await run(
                command(Bounds(isolation="required"), ["true"]),
                environment=clean_environment(home),
                timeout_seconds=SECONDS_MAX,
                output_bytes_max=OUTPUT_BYTES_MAX,
            )
    except (ProcessError, OSError) as error:  # a full disk has no room for a temporary directory
        return Finding("isolation", "warning", f"cannot be tried: {error}")
    if not done.code:
        return Finding("isolation", "ok", "what renders has no network and ends with all that it has started")
    said = done.stderr.decode(errors="replace").removeprefix(REASON).strip()
    remedy = "Permit user namespaces; until then plugins need --plugin-network"
    return Finding("isolation", "warning", f"the kernel gives us no namespaces: {said}", remedy)


def _plugin(name: str, plugin: PluginCommand, isolated: bool) -> Finding:
    check, program = f"plugin {name}", shutil.which(plugin.arguments[0])
    if program is None:
        return Finding(check, "failed", f"there is no {plugin.arguments[0]}", "Correct --plugin, or install it")
    if not isolated and not plugin.network:
        return Finding(
            check, "failed", "it cannot be kept off the network here, so it is not run", "Declare it with --plugin-network"
        )
    return Finding(check, "ok", f"{program}{', with the network' if plugin.network else ''}")


def _disk(data: Path) -> Finding:
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        return Finding("disk", "failed", f"{data}: {error.strerror}", "Make the data directory readable")
    state = "failed" if free < FREE_BYTES_MIN else "warning" if free < FREE_BYTES_LOW else "ok"
    remedy = "" if state == "ok" else "Make room, or move the data directory"
    return Finding("disk", state, f"{free / (1 << 30):.1f} GiB free below {data}", remedy)
