"""One desired object after rendering, with the place that it came from.

A Manifest of a ``trimtab.dev`` kind may name content of the repository: ``spec.tree`` (a directory) or ``spec.file``
(a file). The renderer resolves each to its Git object id (:class:`Content`), so a change of the content is a change of the
Manifest, and a target can fetch exactly those bytes later. Nothing here knows a target's kinds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from .names import Identity, ObjectRef

Body = dict[str, Any]
"""A JSON object: str, int, float, bool, None, list and dict only."""

WAVE_ANNOTATIONS = ("trimtab.dev/wave", "argocd.argoproj.io/sync-wave")
WAVES = {"before": -1, "after": 1}
DEFAULT_WHEN = {"Task": "before"}
ADOPT_ANNOTATION = "trimtab.dev/adopt"
KEEP_ANNOTATIONS = {"trimtab.dev/prune": "disabled", "kustomize.toolkit.fluxcd.io/prune": "disabled"}
CONTENT_FIELDS = ("tree", "file")


class Content(msgspec.Struct, frozen=True):
    """A directory or file of a repository by its object id: ``Content("apps/web", "tree", "3f2a…", "/srv/git/shop.git")``."""

    path: str
    type: str  # "tree" or "blob"
    id: str
    repository: str


class Manifest(msgspec.Struct, frozen=True, dict=True):
    """A desired object. ``file`` is relative to the repository's root, ``line`` counts from 1 (0: made by a tool)."""

    ref: ObjectRef
    body: Body
    file: str = ""
    line: int = 0
    content: tuple[Content, ...] = ()

    @property
    def identity(self) -> Identity:
        return self.ref.identity

    @property
    def annotations(self) -> Mapping[str, str]:
        metadata = self.body.get("metadata")
        found = metadata.get("annotations") if isinstance(metadata, dict) else None
        return found if isinstance(found, dict) else {}

    @cached_property
    def wave(self) -> int:
        """Stages are taken in ascending order; 0 where nothing is said. The renderer has checked that it is a number.

        An object of ours may say `spec.when` instead: `before` the rest or `after` it.
        """
        for name in WAVE_ANNOTATIONS:
            if name in self.annotations:
                return int(self.annotations[name])
        spec = self.body.get("spec") if self.ref.group.endswith("trimtab.dev") else None
        when = spec.get("when", DEFAULT_WHEN.get(self.ref.kind)) if isinstance(spec, dict) else None
        return WAVES.get(when, 0) if isinstance(when, str) else 0

    @property
    def adopts(self) -> bool:
        """True when Git says that an object which is there already, and is nobody's, may be taken over."""
        return self.annotations.get(ADOPT_ANNOTATION) == "true"

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` over the canonical form: body and content ids, not the place it was written at."""
        return digest([self.body, sorted((c.path, c.id) for c in self.content)])


def canonical(value: object) -> bytes:
    """The one byte sequence for a JSON value: keys sorted, no white space."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
