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
ADOPT_ANNOTATION = "trimtab.dev/adopt"
REPLACE_ANNOTATION = "trimtab.dev/replace"
"""As "true": when a field changes that cannot be changed in place, the object may be removed and made anew."""
HOOK_ANNOTATION = "trimtab.dev/hook"
HOOK_DELETE_ANNOTATION = "trimtab.dev/hook-delete"
HOOK_ANNOTATIONS = (HOOK_ANNOTATION, "argocd.argoproj.io/hook", "helm.sh/hook")
"""One of them is what an object without a fixed name needs; what they make of it, `Target.hook` says."""
RUN_ANNOTATION = "trimtab.dev/run"
"""Which run of a hook an object belongs to; written by us."""
PRUNE_ANNOTATION = "trimtab.dev/prune"
END_ANNOTATION = "trimtab.dev/end"
"""As the one above, but only for when the whole Application goes."""
CONFIRM = "confirm"
KEEP_ANNOTATIONS = {PRUNE_ANNOTATION: "disabled", "kustomize.toolkit.fluxcd.io/prune": "disabled"}
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
    declared: str = ""
    """The digest of what Git says, where ``body`` has been amended by what is left to others."""

    @property
    def identity(self) -> Identity:
        return self.ref.identity

    @cached_property
    def annotations(self) -> Mapping[str, str]:
        metadata = self.body.get("metadata")
        found = metadata.get("annotations") if isinstance(metadata, dict) else None
        return found if isinstance(found, dict) else {}

    @cached_property
    def annotated_wave(self) -> int | None:
        """The wave that an annotation names, None where none does. The renderer has checked that it is a number."""
        return next((int(self.annotations[name]) for name in WAVE_ANNOTATIONS if name in self.annotations), None)

    @property
    def wave(self) -> int:
        """The annotated wave, or 0. What a target makes of a kind without an annotation, `Target.wave` says."""
        return self.annotated_wave or 0

    @property
    def adopts(self) -> bool:
        """True when Git says that an object which is there already, and is nobody's, may be taken over."""
        return self.annotations.get(ADOPT_ANNOTATION) == "true"

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` over the canonical form: body and content ids, not the place it was written at."""
        return self.declared or digest([self.body, sorted((c.path, c.id) for c in self.content)])


def canonical(value: object) -> bytes:
    """The one byte sequence for a JSON value: keys sorted, no white space."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
