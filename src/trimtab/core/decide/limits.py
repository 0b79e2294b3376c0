"""What a Project forbids of what an Application renders. Asked before anything of the commit is applied."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trimtab.core.model.config import Project
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Manifest


def outside_of(project: Project | None, manifests: Iterable[Manifest]) -> list[Problem]:
    """A Problem for each Manifest whose kind is not among ``spec.kinds`` of the Project (empty: all kinds are)."""
    if project is None or not project.spec.kinds:
        return []
    allowed = project.spec.kinds
    return [
        Problem(
            f"{manifest.ref}: project {project.metadata.name} does not allow this kind",
            manifest.file,
            manifest.line,
            "kind",
            f"Allowed: {', '.join(allowed)}",
        )
        for manifest in manifests
        if not any(_matches(pattern, manifest) for pattern in allowed)
    ]


def _matches(pattern: str, manifest: Manifest) -> bool:
    named = f"{manifest.ref.group}/{manifest.ref.kind}" if "/" in pattern else manifest.ref.kind
    return glob(pattern, named)


def glob(pattern: str, text: str) -> bool:
    """Shell-style: ``*`` is any run of characters, ``?`` is one; everything else is itself."""
    expression = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
