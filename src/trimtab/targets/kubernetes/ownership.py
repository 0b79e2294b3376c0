"""What we write on every object that we own, so that the cluster alone can tell whose it is. Pure.

Labels name installation, environment and application (label values: 63 characters, which names of ours keep to); the watch asks the
server for exactly ours. The digest of the Manifest is an annotation. A Manifest that claims to be somebody's by these very labels is
overruled: they are written last.

Labels alone do not make an object ours: controllers copy them (a Service's onto its EndpointSlices), and so do people. So an annotation
names the object that it stands on; on anything else it is a copy, and a copy belongs to nobody.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from trimtab.core.model.manifest import (
    CONFIRM,
    END_ANNOTATION,
    KEEP_ANNOTATIONS,
    PRUNE_ANNOTATION,
    REPLACE_ANNOTATION,
    Body,
    Manifest,
)
from trimtab.core.model.observed import Owner

INSTALLATION = "trimtab.dev/installation"
ENVIRONMENT = "trimtab.dev/environment"
APPLICATION = "trimtab.dev/application"
OBJECT = "trimtab.dev/object"
DIGEST = "trimtab.dev/digest"
PLACED = "trimtab.dev/placed"
"""Annotated as "default" when Git names no namespace, so that the object keeps the name that it has in Git."""
OURS = frozenset({INSTALLATION, ENVIRONMENT, APPLICATION, OBJECT, DIGEST, PLACED})
CONFLICTS = "trimtab.dev/conflicts"
"""Annotated as "force" or "fail": what happens to this object's fields that somebody else has set."""
WAYS = ("force", "fail")
NEVER = "1"
"""A version that no object has: the first write of a cluster has a later one. An apply that names it makes an object or fails."""
_NOT_APPLIED = ("status",)
_NOT_APPLIED_METADATA = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
OPTIONS = "argocd.argoproj.io/sync-options"
_KEEPING_OPTIONS = {OPTIONS: "prune=false", "helm.sh/resource-policy": "keep"}
_ABOUT_REMOVAL = frozenset({OPTIONS, END_ANNOTATION, PRUNE_ANNOTATION, *KEEP_ANNOTATIONS, *_KEEPING_OPTIONS})
_DISABLED = KEEP_ANNOTATIONS[PRUNE_ANNOTATION]


def stamped(manifest: Manifest, owner: Owner, *, namespace: str, placed: bool, uid: str = "", new: bool = False) -> Body:
    """The body to apply: the Manifest's, without what only a server writes, with whose it is.

    ``namespace`` is where it goes, ``placed``: we chose that. With ``uid`` it is only applied to that very object, and as ``new`` only
    where there is none.
    """
    body = {name: value for name, value in manifest.body.items() if name not in _NOT_APPLIED}
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name not in _NOT_APPLIED_METADATA}
    labels = {INSTALLATION: owner.installation, ENVIRONMENT: owner.environment, APPLICATION: owner.application}
    annotations = {DIGEST: manifest.digest, OBJECT: itself(manifest.ref.group, manifest.ref.kind, namespace, manifest.ref.name)}
    if placed:
        annotations[PLACED] = "default"
    metadata["labels"] = {**_without_ours(metadata.get("labels")), **labels}
    metadata["annotations"] = {**_without_ours(metadata.get("annotations")), **annotations}
    if uid:
        metadata["uid"] = uid
    if new:
        metadata["resourceVersion"] = NEVER
    body["metadata"] = metadata
    return _plain_secret(body) if (manifest.ref.group, manifest.ref.kind) == ("", "Secret") else body


def itself(group: str, kind: str, namespace: str, name: str) -> str:
    """The value of `OBJECT` on the object that it is about."""
    return f"{kind}.{group}/{namespace}/{name}"


def owner_of(where: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Owner | None:
    """Who applied the object that `itself` calls ``where``; None for one that is nobody's of ours, or a copy of one."""
    installation = labels.get(INSTALLATION, "")
    if not installation or annotations.get(OBJECT) != where:
        return None
    return Owner(installation, labels.get(ENVIRONMENT, ""), labels.get(APPLICATION, ""))


def keeps(annotations: Mapping[str, str]) -> bool:
    """True when an annotation, ours or one that people know from elsewhere, says that the object is not to be removed."""
    if any(annotations.get(name) == value for name, value in KEEP_ANNOTATIONS.items()):
        return True
    return any(option in _words(annotations.get(name, "")) for name, option in _KEEPING_OPTIONS.items())


def removal(annotations: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What annotations, ours or known from elsewhere, say about the removal of an object, in our own words."""
    if _ABOUT_REMOVAL.isdisjoint(annotations):
        return ()
    said = _words(annotations.get(OPTIONS, ""))
    found = {
        PRUNE_ANNOTATION: _DISABLED if keeps(annotations) else CONFIRM if "prune=confirm" in said else "",
        END_ANNOTATION: _DISABLED if "delete=false" in said else CONFIRM if "delete=confirm" in said else "",
    }
    chosen = {name: value or annotations.get(name, "") for name, value in found.items()}
    return tuple((name, value) for name, value in chosen.items() if value in (_DISABLED, CONFIRM))


def replaces(annotations: Mapping[str, str]) -> bool:
    """True when Git says that the object may be removed and made anew where a field cannot be changed in place."""
    return annotations.get(REPLACE_ANNOTATION) == "true" or not {"replace=true", "force=true"}.isdisjoint(
        _words(annotations.get(OPTIONS, ""))
    )


def may_be_unknown(annotations: Mapping[str, str]) -> bool:
    """True when Git says that the object's kind is made by somebody else, and may not be there yet."""
    return "skipdryrunonmissingresource=true" in _words(annotations.get(OPTIONS, ""))


def _words(text: str) -> list[str]:
    return [part.strip().lower() for part in text.split(",")]


def selector(installation: str, environment: str) -> str:
    """The label selector for everything that is ours in one Environment."""
    return f"{INSTALLATION}={installation},{ENVIRONMENT}={environment}"


def strange(installation: str, environment: str) -> tuple[str, str]:
    """The label selectors for everything else: what is not this installation's, and what is of another Environment."""
    return f"{INSTALLATION}!={installation}", f"{INSTALLATION}={installation},{ENVIRONMENT}!={environment}"


def _without_ours(marks: Any) -> dict[str, Any]:
    return {name: value for name, value in (marks or {}).items() if name not in OURS}


def _plain_secret(body: Body) -> Body:
    """``stringData`` as ``data``: the server turns it into that, and what we own has to be what is there."""
    texts = body.get("stringData")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        return body
    rest = {name: value for name, value in body.items() if name != "stringData"}
    coded = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return {**rest, "data": {**(body.get("data") or {}), **coded}}
