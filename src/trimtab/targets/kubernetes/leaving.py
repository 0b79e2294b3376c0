"""Which fields of a Manifest others have written on the cluster, and which of those are left to them: pure.

By a rule that names a field manager, and by itself: what an autoscaler has set through the `scale` subresource, or would set because it
stands in Git beside its target. What is left and owned by others goes out of what we apply, so that it stays theirs whatever they do next;
what only we own stays in, for the server would remove it.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from trimtab.core.decide.pointers import Item, Place, drop, places, shown
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import ObjectRef

from . import fields

AUTOSCALERS, OTHER_AUTOSCALERS = ("kube-controller-manager", "keda*"), "*autoscaler*"
"""Managers that write through `scale` because a program decided so. `kubectl scale` writes there too, and is somebody's hand. The autoscaler
of Kubernetes itself goes by the name of the program that it is part of, whatever that is called; by the same name the status is written.
Whether one of the first is there can be found; of others it is not known by what objects they work.
"""
AUTOSCALING = {("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject")}
SCALE, STATUS, REPLICAS = "scale", "status", "/spec/replicas"
Beside = frozenset[tuple[str, str, str]]
"""(kind, namespace, name) of what an autoscaler in Git scales."""


class Other(msgspec.Struct, frozen=True):
    """Another manager's entry of ``managedFields``; ``fields`` are its bytes, of which those of a status are left out."""

    manager: str
    subresource: str
    fields: bytes


def autoscaled(manifests: Iterable[Manifest]) -> Beside:
    """What the autoscalers among ``manifests`` scale."""
    found = set()
    for one in manifests:
        if (one.ref.group, one.ref.kind) in AUTOSCALING and (place := scaled_by(one.body)) is not None:
            found.add((place[0], one.ref.namespace, place[1]))
    return frozenset(found)


def scaled_by(autoscaler: Body) -> tuple[str, str] | None:
    """Kind and name of what an autoscaler scales in its namespace."""
    spec = autoscaler.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
    if not isinstance(target, dict) or not isinstance(target.get("name"), str):
        return None
    return str(target.get("kind", "Deployment")), target["name"]


def is_to_be_found(ref: ObjectRef, others: Sequence[Other], beside: Beside) -> bool:
    """True when an autoscaler has scaled it that can be found on the cluster, and Git does not say that there is one."""
    known = _that_can_be_found(others)
    return any(other.subresource == SCALE and _is(other, known) for other in others) and not _scaled(ref, beside)


def left(manifest: Manifest, others: Sequence[Other], leave: Leave, beside: Beside, *, gone: bool = False) -> tuple[Left, ...]:
    """Fields of ``manifest`` that are left to ``others``, each with its writer in words; those of the rules' own pointers are not told.
    ``gone``: there is no autoscaler for it any more, of those that can be found.
    """
    found: dict[str, str] = {}
    findable = _that_can_be_found(others)
    autoscalers = (*findable, OTHER_AUTOSCALERS)
    for other in others:
        if any(fnmatchcase(other.manager, writer) for writer in leave.writers):
            to = f"{other.manager}, by an ignore rule"
        elif other.subresource == SCALE and _is(other, autoscalers) and not (gone and _is(other, findable)):
            to = f"its autoscaler, which scales it as {other.manager}"
        else:
            continue
        found |= {shown(place): to for place in theirs(other.fields, manifest.body)}
    if _scaled(manifest.ref, beside) and places((REPLICAS,), manifest.body):
        found.setdefault(REPLICAS, "its autoscaler, which stands in Git beside it")
    return tuple(Left(pointer, to) for pointer, to in found.items())


def cut(manifest: Manifest, patterns: Sequence[str], others: Sequence[Other]) -> tuple[Manifest, tuple[str, ...]]:
    """``manifest`` without the fields that ``patterns`` leave to others and others own, and which these are."""
    if not patterns or not others:
        return manifest, ()
    ignored = places(patterns, manifest.body)
    owned = dict.fromkeys(place for other in others for place in theirs(other.fields, manifest.body))
    gone = [place for place in owned if any(_below(place, whole) for whole in ignored)]
    if not gone:
        return manifest, ()
    body: Any = manifest.body
    for place in gone:
        body = drop(body, place)
    return msgspec.structs.replace(manifest, body=body, declared=manifest.digest), tuple(shown(place) for place in gone)


def theirs(entry: bytes, body: Any) -> Iterator[Place]:
    """The fields of ``body`` that an entry of ``managedFields`` holds, down to its leaves. Elements of sets, and keys, are nobody's."""
    if tree := fields.tree(entry):
        yield from _theirs(tree, {name: one for name, one in body.items() if name != "status"}, ())


def _theirs(tree: Any, value: Any, before: Place) -> Iterator[Place]:
    if not isinstance(tree, dict):
        return
    if not tree:
        yield before
    elif isinstance(value, dict):
        for name, inner in value.items():
            if f"f:{name}" in tree:
                yield from _theirs(tree[f"f:{name}"], inner, (*before, name))
    elif isinstance(value, list):
        yield from _theirs_of_items(tree, value, before)


def _theirs_of_items(tree: Any, items: list[Any], before: Place) -> Iterator[Place]:
    for name, inner in tree.items():
        keys = fields.tree(name[2:].encode()) if name.startswith("k:") else {}
        found = [at for at, item in enumerate(items) if isinstance(item, dict) and keys and fields.names(keys, item)]
        if len(found) == 1:
            item = {field: value for field, value in items[found[0]].items() if field not in keys}
            yield from _theirs(inner, item, (*before, _item(items, found[0], keys)))


def _item(items: list[Any], at: int, keys: dict[str, Any]) -> Item | int:
    """By one of its keys where that tells it from the others."""
    for key in keys:
        value = items[at].get(key)
        if value is not None and sum(isinstance(one, dict) and one.get(key) == value for one in items) == 1:
            return Item(key, value)
    return at


def _that_can_be_found(others: Sequence[Other]) -> tuple[str, ...]:
    return (*AUTOSCALERS, *(other.manager for other in others if other.subresource == STATUS))


def _is(other: Other, names: Iterable[str]) -> bool:
    return any(fnmatchcase(other.manager, name) for name in names)


def _scaled(ref: ObjectRef, beside: Beside) -> bool:
    return (ref.kind, ref.namespace, ref.name) in beside


def _below(place: Place, whole: Place) -> bool:
    return place[: len(whole)] == whole
