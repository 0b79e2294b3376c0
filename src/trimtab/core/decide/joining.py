"""Several into one: the Manifests of an Application's sources, and values over values.

What two sources both declare is a mistake, never a choice: the Problem names both places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.names import Identity
from trimtab.core.model.text import escaped


def join(parts: Iterable[tuple[str, Sequence[Manifest]]]) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    """All Manifests in the order of the sources, and a Problem for each that is there twice. A part is what people call the source,
    and its Manifests.
    """
    seen: dict[Identity, tuple[str, Manifest]] = {}
    found: list[Manifest] = []
    problems: list[Problem] = []
    for called, manifests in parts:
        for manifest in manifests:
            before, first = seen.setdefault(manifest.identity, (called, manifest))
            if first is not manifest:
                problems.append(_twice(before, first, called, manifest))
            found.append(manifest)
    return tuple(found), tuple(problems)


def digest_of(manifests: Iterable[Manifest]) -> str:
    """That of a whole content, in whichever order it is found."""
    return digest(sorted([*one.identity, one.digest] for one in manifests))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``: mappings are joined key by key, anything else gives way, as Helm joins files of values."""
    result = dict(base)
    for name, value in over.items():
        before = result.get(name)
        result[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def _twice(before: str, first: Manifest, called: str, second: Manifest) -> Problem:
    where = f"{first.file}:{first.line}" if first.line else first.file
    return Problem(
        f"{escaped(str(second.ref))} is declared twice: in {where} of the source {before}, and here, in the source {called}",
        second.file,
        second.line,
        "metadata.name",
        "Rename or remove one of the two",
    )
