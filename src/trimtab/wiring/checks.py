"""What `trimtab doctor` says about the machine: the tools that we call, their versions, and room on the disk."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from trimtab.core.model.views import Finding
from trimtab.plumbing.processes import ProcessError, clean_environment, run

GIT_VERSION_MIN = (2, 31)
"""The first git that takes its configuration from GIT_CONFIG_COUNT (git 2.31 release notes)."""
FREE_BYTES_MIN = 256 << 20
FREE_BYTES_LOW = 1 << 30
SECONDS_MAX = 10.0
OUTPUT_BYTES_MAX = 10_000


async def machine(data: Path) -> list[Finding]:
    """One Finding for each thing that Trimtab needs of this machine."""
    return [await _git(data), _kustomize(), _disk(data), Finding("python", "ok", sys.version.split()[0])]


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


def _disk(data: Path) -> Finding:
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        return Finding("disk", "failed", f"{data}: {error.strerror}", "Make the data directory readable")
    state = "failed" if free < FREE_BYTES_MIN else "warning" if free < FREE_BYTES_LOW else "ok"
    remedy = "" if state == "ok" else "Make room, or move the data directory"
    return Finding("disk", state, f"{free / (1 << 30):.1f} GiB free below {data}", remedy)
