"""The convention that most controllers keep, for every kind without a rule of its own.

The words are those of the API conventions ("typical status properties") and of kstatus:
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
Looked at in this order: what says that it failed, what says that it is on its way, what should be true and is not. A false
condition means "not yet" unless its reason speaks of failure. Without conditions a `phase` or `state` of a well-known
word decides, and an object that says nothing of itself is healthy, because nothing more will ever be known of it.
"""

from __future__ import annotations

import re

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Condition, Rule, conditions, degraded, is_false, is_true, mapping, progressing, said, suspended, text

FAILED = ("Stalled", "Failed", "Failure", "Degraded", "Error", "Errored", "ErrorOccurred", "ReplicaFailure", "Invalid")
"""True means: it does not go on by itself."""

BUSY = ("Reconciling", "Progressing", "Deploying", "Updating", "Upgrading", "Initializing", "Creating", "Provisioning")
"""True means: it is on its way."""

PAUSED = ("Suspended", "Paused")

GOOD = (
    *("Ready", "Available", "Healthy", "Synced", "Established", "Accepted", "Programmed", "Reconciled", "Valid"),
    *("Succeeded", "Complete", "Completed"),
)
"""True means: well. Each that is there has to be."""

FAILURES = re.compile(
    r"fail|error|invalid|denied|forbidden|unauthori[sz]ed|conflict|exceeded|crash|stalled|unsupported|reject|unhealthy",
    re.IGNORECASE,
)
"""Reasons that speak of failure. What may come right by itself (NotFound, Timeout, Pending) is not among them."""

DONE = re.compile(r"(available|complete|completed|succeeded|successful|ready|deployed|expected|idle)$", re.IGNORECASE)
"""Reasons of a `Progressing` that is true because the last step of it was taken (Deployments say NewReplicaSetAvailable)."""

WELL_WORDS = frozenset(
    [
        "ready",
        "running",
        "active",
        "available",
        "bound",
        "healthy",
        "ok",
        "online",
        "operational",
        "succeeded",
        "success",
        "successful",
        "complete",
        "completed",
        "deployed",
        "installed",
        "enabled",
        "established",
        "synced",
        "created",
        "valid",
        "green",
        "up",
    ]
)
BUSY_WORDS = frozenset(
    [
        "pending",
        "creating",
        "initializing",
        "provisioning",
        "progressing",
        "inprogress",
        "in-progress",
        "updating",
        "upgrading",
        "deploying",
        "installing",
        "starting",
        "bootstrapping",
        "configuring",
        "scaling",
        "restarting",
        "reconciling",
        "waiting",
        "new",
        "notready",
        "processing",
        "stopping",
        "yellow",
    ]
)
ILL_WORDS = frozenset(
    [
        "failed",
        "failure",
        "error",
        "errored",
        "degraded",
        "invalid",
        "unhealthy",
        "unavailable",
        "crashed",
        "lost",
        "rejected",
        "red",
        "fault",
    ]
)
PAUSED_WORDS = frozenset(("paused", "suspended", "stopped", "hibernated"))
WORDS = ("phase", "state", "health", "status")


def convention(obj: Body) -> Health:
    """The health of an object of any kind."""
    status = mapping(obj, "status")
    found = conditions(status)
    health = _of_conditions(found) if found else None
    if health is not None:
        return health
    return by_word(obj)


def _of_conditions(found: dict[str, Condition]) -> Health | None:
    """None when no condition is one that we know."""
    for name in FAILED:
        if name in found and is_true(found[name]):
            return degraded(_told(name, found[name]))
    for name in PAUSED:
        if name in found and is_true(found[name]):
            return suspended(said(found[name]) or name.lower())
    for name in BUSY:
        if name in found and is_true(found[name]) and not DONE.search(_reason(found[name])):
            return progressing(_told(name, found[name]))
    known = [name for name in GOOD if name in found]
    worst: Health | None = None
    for name in known:
        if not is_true(found[name]):
            health = unmet(name, found[name])
            worst = health if worst is None or health.status == "degraded" else worst
    if worst is not None:
        return worst
    return HEALTHY if known else None


def unmet(name: str, condition: Condition) -> Health:
    """What it means that a condition that should be true is not."""
    told = _told(name, condition)
    return degraded(told) if is_false(condition) and FAILURES.search(_reason(condition)) else progressing(told)


def by_word(obj: Body) -> Health:
    """From one word of the status that people of many projects use alike; healthy when there is none."""
    status = obj.get("status")
    for name in WORDS:
        word = text(status, name).lower()
        if not word:
            continue
        message = text(status, "message") or text(status, "reason")
        told = f"{name} is {text(status, name)}" + (f": {message}" if message else "")
        if word in ILL_WORDS:
            return degraded(told)
        if word in BUSY_WORDS:
            return progressing(told)
        if word in PAUSED_WORDS:
            return suspended(told)
        if word in WELL_WORDS:
            return HEALTHY
    return HEALTHY


def needs(*names: str, failed: str = "", busy: str = "", absent: str = "progressing", final: str = "") -> Rule:
    """A rule for kinds whose conditions have names of their own.

    ``names`` must all be true. Those of ``failed`` (words) mean degraded and of ``busy`` progressing when true; a false one of
    ``final`` is degraded whatever its reason. ``absent`` says what it means that there is none yet: "progressing" or "healthy".
    """
    ill, underway, deciding = failed.split(), busy.split(), frozenset(final.split())

    def rule(obj: Body) -> Health:
        found = conditions(obj.get("status"))
        for name in ill:
            if name in found and is_true(found[name]):
                return degraded(_told(name, found[name]))
        for name in deciding:
            if name in found and is_false(found[name]):
                return degraded(_told(name, found[name]))
        for name in underway:
            if name in found and is_true(found[name]):
                return progressing(_told(name, found[name]))
        return _all(found, names, absent)

    return rule


def _all(found: dict[str, Condition], names: tuple[str, ...], absent: str) -> Health:
    for name in names:
        if name in found and not is_true(found[name]):
            return unmet(name, found[name])
    missing = [name for name in names if name not in found]
    if missing and absent == "progressing":
        return progressing(f"its controller has not said yet whether it is {' and '.join(missing)}")
    return HEALTHY


def _told(name: str, condition: Condition) -> str:
    status = condition.get("status")
    return f"{name} is {status if isinstance(status, str) else 'unknown'}: {said(condition) or 'no reason given'}"


def _reason(condition: Condition) -> str:
    reason = condition.get("reason")
    return reason if isinstance(reason, str) else ""
