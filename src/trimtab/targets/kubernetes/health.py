"""From a live object to Health: pure. In comes the object as the API server tells it, out go a status and, unless all is well, why.

Three things are true of every kind and asked first: an object that is being deleted is on its way, and what holds it is named; an
object whose controller has not seen its newest generation is on its way, whatever the rest of its status says of the one before.
Then the table of its group and kind, then of its group's family (`*.cnrm.cloud.google.com`), then the conditions convention.

Degraded is said only of what does not come right by itself, or not without being noticed: image names, crash loops, refusals. All
else that is not well is progressing, and the deadline of the deployment makes a failure of what never arrives.
"""

from __future__ import annotations

from typing import Any

from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import Body

from .healths import autoscaling, batch, cluster, custom, network, pods, policy, storage, workloads
from .healths.conditions import convention
from .healths.reading import Rule, conditions, listing, mapping, merged, progressing, said

_TABLE = merged(
    workloads.TABLE,
    pods.TABLE,
    batch.TABLE,
    network.TABLE,
    storage.TABLE,
    autoscaling.TABLE,
    policy.TABLE,
    cluster.TABLE,
    custom.TABLE,
)
_FAMILIES = custom.FAMILIES
FINALIZERS_SHOWN = 5


def assess(obj: Body) -> Health:
    """The health of a live object (apiVersion, kind, metadata, spec, status). Never raises, whatever its shape."""
    metadata, status = obj.get("metadata"), obj.get("status")
    if isinstance(metadata, dict):
        if metadata.get("deletionTimestamp"):
            return _going(obj, metadata)
        generation = metadata.get("generation")
        if isinstance(generation, int) and isinstance(status, dict) and status:
            seen = _seen(status)
            if seen is not None and seen < generation:
                return progressing(f"its controller has seen generation {seen}, not yet {generation}")
    return rule_of(obj)(obj)


def rule_of(obj: Body) -> Rule:
    """The rule that reads objects of this group and kind."""
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return convention
    group = version.rpartition("/")[0]
    kinds = _TABLE.get(group)
    if kinds is not None:
        rule = kinds.get(kind) or kinds.get("*")
        if rule is not None:
            return rule
    return _of_family(group)


def deletion(obj: Body) -> Health | None:
    """What is said of an object that is being deleted; None when it is not."""
    metadata = obj.get("metadata")
    return _going(obj, metadata) if isinstance(metadata, dict) and metadata.get("deletionTimestamp") else None


def known(api_version: str, kind: str) -> bool:
    """True when a table names this kind (or all kinds of its group), so that the convention is not asked."""
    return rule_of({"apiVersion": api_version, "kind": kind}) is not convention


def missing(kind: str, name: str) -> Health:
    """What is said of an object that is wanted and not there."""
    return Health(HealthStatus.MISSING, f"{kind} {name} is not there")


def _of_family(group: str) -> Rule:
    rest = group
    while rest:
        _, _, rest = rest.partition(".")
        rule = _FAMILIES.get(rest)
        if rule is not None:
            return rule
    return convention


def _seen(status: dict[str, Any]) -> int | None:
    """The generation that the status speaks of; None where it does not say.

    Where only conditions say it, the newest counts: not every controller renews each of them when nothing about it changed.
    """
    found = status.get("observedGeneration")
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    if isinstance(found, str):  # Argo Rollouts and protobuf's JSON write it as text
        return int(found) if found.isascii() and found.isdigit() and len(found) <= 10 else None
    newest: int | None = None
    for each in listing(status, "conditions"):
        seen = each.get("observedGeneration") if isinstance(each, dict) else None
        if isinstance(seen, int) and (newest is None or seen > newest):
            newest = seen
    return newest


def _going(obj: Body, metadata: dict[str, Any]) -> Health:
    """Deleted, and still there: what it waits for."""
    waiting = [each for each in listing(metadata, "finalizers") if isinstance(each, str)]
    if obj.get("kind") == "Namespace" and (remains := _remains(obj)):
        return progressing(f"is being deleted: {remains}")
    shown = ", ".join(waiting[:FINALIZERS_SHOWN]) + (
        f" and {len(waiting) - FINALIZERS_SHOWN} more" * (len(waiting) > FINALIZERS_SHOWN)
    )
    return progressing(f"is being deleted, held by its finalizers: {shown}" if waiting else "is being deleted")


_REMAINS = (
    *("NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure", "NamespaceDeletionContentFailure"),
    *("NamespaceContentRemaining", "NamespaceFinalizersRemaining"),
)


def _remains(obj: Body) -> str:
    found = conditions(mapping(obj, "status"))
    return "; ".join(said(found[name]) for name in _REMAINS if name in found and found[name].get("status") == "True")


__all__ = ["HEALTHY", "assess", "deletion", "known", "missing", "rule_of"]
