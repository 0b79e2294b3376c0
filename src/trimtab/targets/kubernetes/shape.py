"""An object in the shape that is compared: what Git could have set, without what only the server writes. Pure.

Both sides of a comparison come from the server (what it stores, and what a dry-run says that it would store), so defaults and the
work of admission are on both sides and cancel out.
"""

from __future__ import annotations

from typing import Any

from trimtab.core.model.manifest import Body

from .ownership import OURS

_SERVER = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def shaped(body: Body) -> Body:
    """``body`` without status, the server's own metadata and our marks."""
    shape: dict[str, Any] = {name: value for name, value in body.items() if name != "status"}
    metadata = {name: value for name, value in (shape.get("metadata") or {}).items() if name not in _SERVER}
    for marks in ("labels", "annotations"):
        kept = {name: value for name, value in (metadata.pop(marks, None) or {}).items() if name not in OURS}
        if kept:
            metadata[marks] = kept
    shape["metadata"] = metadata
    return shape
