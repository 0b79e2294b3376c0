"""What we write on every object that we own, so that the cluster alone can tell whose it is. Pure.

Labels name installation, environment and application (label values: 63 characters, which names of ours keep to); the watch asks the
server for exactly ours. The digest of the Manifest is an annotation. A Manifest that claims to be somebody's by these very labels is
overruled: they are written last.
"""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.observed import Owner

INSTALLATION = "trimtab.dev/installation"
ENVIRONMENT = "trimtab.dev/environment"
APPLICATION = "trimtab.dev/application"
DIGEST = "trimtab.dev/digest"
PLACED = "trimtab.dev/placed"
"""Annotated as "default" when Git names no namespace, so that the object keeps the name that it has in Git."""
_NOT_APPLIED = ("status",)
_NOT_APPLIED_METADATA = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")


def stamped(manifest: Manifest, owner: Owner, *, placed: bool) -> Body:
    """The body to apply: the Manifest's, without what only a server writes, with whose it is. ``placed``: we chose the namespace."""
    body = {name: value for name, value in manifest.body.items() if name not in _NOT_APPLIED}
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name not in _NOT_APPLIED_METADATA}
    labels = {INSTALLATION: owner.installation, ENVIRONMENT: owner.environment, APPLICATION: owner.application}
    annotations = {DIGEST: manifest.digest} | ({PLACED: "default"} if placed else {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    body["metadata"] = metadata
    return body


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """Who applied an object, by its labels; None for an object that is nobody's of ours."""
    installation = labels.get(INSTALLATION, "")
    if not installation:
        return None
    return Owner(installation, labels.get(ENVIRONMENT, ""), labels.get(APPLICATION, ""))


def selector(installation: str, environment: str) -> str:
    """The label selector for everything that is ours in one Environment."""
    return f"{INSTALLATION}={installation},{ENVIRONMENT}={environment}"
