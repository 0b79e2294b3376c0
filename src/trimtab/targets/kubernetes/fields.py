"""Drift without asking: does our entry of ``managedFields`` still hold every field that we applied? Pure.

Every write of a field by another manager takes the field out of our entry (Kubernetes, "Server-Side Apply", field management). So as long
as our entry covers what we applied, nobody has touched it, and neither a dry-run nor the object's values are needed to know.

``fieldsV1`` is a tree: ``f:NAME`` is a field, ``k:{…}`` an element of a list by its keys, ``v:VALUE`` an element of a set, ``.`` the thing
itself, and ``{}`` a leaf, or something that is owned as a whole (structured-merge-diff, fieldpath).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def fingerprint(fields: bytes) -> str:
    """A short name for one state of our entry."""
    return hashlib.blake2b(fields, digest_size=12).hexdigest()


def covers(fields: bytes, body: dict[str, Any]) -> bool:
    """True when the entry holds every field of ``body``, which is what we applied (apiVersion, kind and name are not fields)."""
    try:
        tree = _decode(fields)
    except msgspec.DecodeError:
        return False
    rest = {name: value for name, value in body.items() if name not in ("apiVersion", "kind")}
    metadata = rest.get("metadata")
    if isinstance(metadata, dict):
        rest["metadata"] = {name: value for name, value in metadata.items() if name not in ("name", "namespace")}
    return _covers(tree, rest)


def _covers(tree: Any, value: Any) -> bool:
    if not isinstance(tree, dict):
        return False
    if isinstance(value, dict):
        return not any(name != "." for name in tree) or all(
            _covers(tree.get(f"f:{name}"), inner) for name, inner in value.items() if inner is not None
        )
    if isinstance(value, list):
        return all(_covers_element(tree, element) for element in value) if any(name != "." for name in tree) else True
    return True


def _covers_element(tree: dict[str, Any], element: Any) -> bool:
    if not isinstance(element, dict):
        return f"v:{msgspec.json.encode(element).decode()}" in tree
    # A key that the server has filled in (`protocol: TCP`) is not in what we applied; then any element that fits will do.
    return any(name.startswith("k:") and _named(name[2:], element) and _covers(inner, element) for name, inner in tree.items())


def _named(keys: str, element: dict[str, Any]) -> bool:
    try:
        wanted = _decode(keys)
    except msgspec.DecodeError:
        return False
    return all(name not in element or element[name] == value for name, value in wanted.items())
