"""Argo CD's sync options on an object: which of them count here, and a note on each that does not. Pure.

https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/. An option that does not count is no error: the object is applied as
Git says, and people are told what the option does not do. What is so by itself, or is Argo CD's default, needs no word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.text import one_line

from .ownership import OPTIONS
from .refusals import problem

SUPPORTED = (
    "Prune=false",
    "Prune=confirm",
    "Delete=false",
    "Delete=confirm",
    "Replace=true",
    "Force=true",
    "SkipDryRunOnMissingResource=true",
    "PruneLast=true",
    "ServerSideApply=true",
)
NOTES_MAX = 20
OPTION_CHARACTERS_MAX = 60
_ALWAYS_SO = (
    "Prune=true",
    "Delete=true",
    "Replace=false",
    "Force=false",
    "SkipDryRunOnMissingResource=false",
    "PruneLast=false",
    "Validate=true",
)
_SILENT = frozenset(option.lower() for option in (*SUPPORTED, *_ALWAYS_SO))
_FIELD = f"metadata.annotations.{OPTIONS}"
_REMEDY = f"Those that have one: {', '.join(SUPPORTED)}"


def notes(manifests: Iterable[Manifest]) -> tuple[Problem, ...]:
    """On every option without an effect, at most so many: as many as anybody reads."""
    return tuple(islice((note for manifest in manifests for note in _of(manifest)), NOTES_MAX))


def _of(manifest: Manifest) -> Iterator[Problem]:
    said = manifest.annotations.get(OPTIONS, "")
    for option in dict.fromkeys(part.strip() for part in said.split(",")) if said else ():
        if option and option.lower() not in _SILENT:
            shown = one_line(option, characters_max=OPTION_CHARACTERS_MAX)
            yield problem(manifest, _FIELD, f'the sync option "{shown}" has no effect here', _REMEDY)
