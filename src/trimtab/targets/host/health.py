"""From what is observed to Health, with the cause in words: pure. Reads only the status that `observe` has put together."""

from __future__ import annotations

from typing import Any

from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.observed import Observed

from .kinds import ProcessSpec

CRASHES_MIN = 3
STARTUP_SECONDS = ProcessSpec(command=["true"]).startup_seconds


def assess(observed: Observed, manifest: Manifest) -> Health:
    """The health of one object, given what Git wants of it."""
    match observed.status.get("kind"):
        case "Process":
            return _process(observed)
        case "Task":
            return _task(observed)
        case "File":
            return HEALTHY
        case _:
            return Health(HealthStatus.UNKNOWN, "nothing is known of it", observed.ref)


def _process(observed: Observed) -> Health:
    status, spec = observed.status, observed.body.get("spec", {})
    wanted, instances = status.get("replicas", 1), status.get("instances", [])
    current = [each for each in instances if each["digest"] == status.get("digest") and each["state"] not in ("stopping", "gone")]
    for each in current:
        if message := _ill(each, float(spec.get("startupSeconds", STARTUP_SECONDS))):
            return Health(HealthStatus.DEGRADED, message, observed.ref, each["lastLogLine"])
    if status.get("trouble"):
        return Health(HealthStatus.DEGRADED, status["trouble"], observed.ref)
    ready = status.get("ready", 0) + sum(each["state"] == "ended" for each in current)  # a failed one was told above
    if ready < wanted:
        return Health(HealthStatus.PROGRESSING, _waiting(current, ready, wanted), observed.ref, _line(current))
    left = [each for each in instances if each["digest"] != status.get("digest") and each["published"]]
    if left:
        return Health(HealthStatus.PROGRESSING, f"{len(left)} of the release before still serve", observed.ref)
    return HEALTHY


def _ill(each: dict[str, Any], startup_seconds: float) -> str:
    """Why an instance counts as degraded; "" when it does not."""
    if each["state"] == "ended":
        return "" if each["lastExit"] == "exit status 0" else f"it has ended: {each['lastExit']}"
    if each["state"] == "waiting" or (each["exitsRecent"] >= CRASHES_MIN and not each["ready"]):
        again = f", started again in {each['waitSeconds']:g} s" if each["waitSeconds"] else ""
        number = each["exitsRecent"]
        loop = "crash loop: " if number > 1 else ""
        exits = f"{number} exit{'s' if number != 1 else ''} in 60 s" if number else "it has ended"
        return f"{loop}{exits}, last: {each['lastExit'] or 'unknown'}{again}"
    if not each["ready"] and each["unreadySeconds"] > startup_seconds:
        return f"not ready after {each['unreadySeconds']:.0f} s: {each['probe'] or 'no answer yet'}"
    return ""


def _waiting(current: list[dict[str, Any]], ready: int, wanted: int) -> str:
    probe = next((each["probe"] for each in current if each["probe"] and not each["ready"]), "")
    return f"{ready} of {wanted} ready" + (f": {probe}" if probe else "")


def _line(current: list[dict[str, Any]]) -> str:
    return next((str(each["lastLogLine"]) for each in current if not each["ready"]), "")


def _task(observed: Observed) -> Health:
    status = observed.status
    match status.get("state"):
        case "succeeded":
            return HEALTHY
        case "failed":
            return Health(HealthStatus.DEGRADED, status.get("message", "it failed"), observed.ref, status.get("lastLogLine", ""))
        case _:
            message = f"runs, attempt {status.get('attempt', 1)}"
            return Health(HealthStatus.PROGRESSING, message, observed.ref, status.get("lastLogLine", ""))
