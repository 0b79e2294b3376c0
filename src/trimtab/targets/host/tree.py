"""The instances behind a Process and the run behind a Task, from the status that `observe` has put together: pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Observed
from trimtab.core.model.tree import CHILDREN_MAX, NO_TREE, Child, Tree

_HEALTH = {
    "ready": HealthStatus.HEALTHY,
    "succeeded": HealthStatus.HEALTHY,
    "waiting": HealthStatus.DEGRADED,
    "failed": HealthStatus.DEGRADED,
}


def tree(observed: Observed, now: datetime) -> Tree:
    match observed.status.get("kind"):
        case "Process":
            instances = observed.status.get("instances", [])
            return Tree(
                tuple(_instance(observed.ref, one, now) for one in instances[:CHILDREN_MAX]),
                max(0, len(instances) - CHILDREN_MAX),
            )
        case "Task":
            return Tree((_run(observed.ref, observed.status),))
        case _:
            return NO_TREE


def _instance(ref: ObjectRef, one: dict[str, Any], now: datetime) -> Child:
    state = str(one["state"])
    return Child(
        object=ObjectRef(ref.api_version, "Instance", "", str(one["id"])),
        health=HealthStatus.HEALTHY if _ended_well(one) else _HEALTH.get(state, HealthStatus.PROGRESSING),
        message=_said(state, one),
        ready=f"{int(bool(one['ready']))}/1",
        restarts=int(one["restarts"]),
        since=now - timedelta(seconds=float(one["runningSeconds"])) if one["pid"] else None,
    )


def _ended_well(one: dict[str, Any]) -> bool:
    return bool(one["state"] == "ended" and one["lastExit"] == "exit status 0")


def _said(state: str, one: dict[str, Any]) -> str:
    ports = ", ".join(f"{name} on {port}" for name, port in one["ports"].items())
    parts = [state, f"pid {one['pid']}" if one["pid"] else "", ports]
    if not one["ready"]:
        parts += [one["probe"], f"last: {one['lastExit']}" if one["lastExit"] else ""]
    return ", ".join(part for part in parts if part)


def _run(ref: ObjectRef, status: dict[str, Any]) -> Child:
    state = str(status.get("state", ""))
    message = str(status.get("message", "")) or state
    name = f"{ref.name}-{status.get('attempt', 0)}"
    return Child(ObjectRef(ref.api_version, "Run", "", name), _HEALTH.get(state, HealthStatus.PROGRESSING), message)
