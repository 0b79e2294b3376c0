"""Drift without asking: does our entry of ``managedFields`` still hold every field that we applied? Pure.

Every write of a field by another manager takes the field out of our entry (Kubernetes, "Server-Side Apply", field management). So as long
as our entry covers what we applied, nobody has touched it, and neither a dry-run nor the object's values are needed to know.

``fieldsV1`` is a tree: ``f:NAME`` is a field, ``k:{…}`` an element of a list by its keys, ``v:VALUE`` an element of a set, ``.`` the thing
itself, and ``{}`` a leaf: a value, or something that is owned as a whole (structured-merge-diff, fieldpath). Where a custom kind has no
schema, ``{}`` can also be a map of which others have taken every field; only what the entry was right after an apply tells these apart.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

Tree = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def fingerprint(fields: bytes) -> str:
    """A short name for one state of our entry."""
    return hashlib.blake2b(fields, digest_size=12).hexdigest()


def tree(fields: bytes) -> Tree:
    """The tree of an entry; empty for what is none."""
    try:
        return _decode(fields)
    except msgspec.DecodeError:
        return {}


def covers(fields: bytes, body: dict[str, Any], *, whole: bool = True) -> bool:
    """True when the entry holds every field of ``body``, which is what we applied (apiVersion, kind and name are not fields).

    ``whole``: a map that is a leaf is owned as a whole. Without it, one that has fields in ``body`` is not covered.
    """
    rest = {name: value for name, value in body.items() if name not in ("apiVersion", "kind")}
    metadata = rest.get("metadata")
    if isinstance(metadata, dict):
        rest["metadata"] = {name: value for name, value in metadata.items() if name not in ("name", "namespace")}
    entry = tree(fields)
    return bool(entry) and _covers(entry, rest, whole)


def _covers(tree: Any, value: Any, whole: bool) -> bool:
    if not isinstance(tree, dict):
        return False
    if not tree:
        return whole or not (isinstance(value, dict) and value)
    if isinstance(value, dict):
        return all(_covers(tree.get(f"f:{name}"), inner, whole) for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return _covers_elements(tree, value, whole)
    return True


def _covers_elements(tree: Tree, elements: list[Any], whole: bool) -> bool:
    """Each element has an entry of its own. A key that the server has filled in (`protocol: TCP`) is not in what we applied; then any
    entry that fits will do, after those that name all of their keys have taken theirs.
    """
    free = {name: keys for name in tree if name.startswith("k:") and (keys := _keys(name[2:])) is not None}
    named = [element for element in elements if isinstance(element, dict)]
    if any(f"v:{msgspec.json.encode(element).decode()}" not in tree for element in elements if not isinstance(element, dict)):
        return False
    for element in sorted(named, key=lambda element: -_keys_of(free, element)):
        found = next((name for name, keys in free.items() if names(keys, element) and _covers(tree[name], element, whole)), None)
        if found is None:
            return False
        del free[found]
    return True


def _keys_of(free: dict[str, Tree], element: dict[str, Any]) -> int:
    return max((sum(name in element for name in keys) for keys in free.values()), default=0)


def names(keys: Tree, element: dict[str, Any]) -> bool:
    """True when ``element`` is the one with these keys, as far as it says."""
    return all(name not in element or element[name] == value for name, value in keys.items())


def _keys(text: str) -> Tree | None:
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None
