"""Pods, and what is wrong with one: the same reading serves the health of a Pod and the cause behind an unhealthy workload.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.core.model.health import HEALTHY, Health
from trimtab.core.model.manifest import Body

from .reading import Table, conditions, degraded, is_false, is_true, listing, mapping, number, progressing, suspended, text

PULLING = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError",
     "SignatureValidationFailed")
)  # fmt: skip
STARTING = frozenset(
    ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "ContainerCannotRun", "PreStartHookError",
     "PostStartHookError", "CreatePodSandboxError", "ConfigPodSandboxError")
)  # fmt: skip
SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}
CONTAINERS_MAX = 100


@dataclass(frozen=True)
class Trouble:
    """What keeps a Pod from working. ``container`` is "" where it is the Pod's own; ``logs`` says that its log may tell more.

    ``previous``: the log of the run before is the one to read. ``waits``: it may come right without anybody's help.
    """

    message: str
    container: str = ""
    logs: bool = False
    previous: bool = False
    waits: bool = False


def trouble(pod: Body) -> Trouble | None:
    """The first thing that is wrong with a Pod, in the order in which a Pod comes to life; None when nothing is."""
    status = mapping(pod, "status")
    if status.get("reason") in (
        "Evicted",
        "Preempted",
        "NodeLost",
        "NodeAffinity",
        "UnexpectedAdmissionError",
        "DeadlineExceeded",
    ):
        return Trouble(f"{text(status, 'reason').lower()}: {text(status, 'message') or 'no reason given'}")
    scheduled = conditions(status).get("PodScheduled")
    if is_false(scheduled) and scheduled is not None:
        gated = scheduled.get("reason") == "SchedulingGated"
        why = text(scheduled, "message") or text(scheduled, "reason") or "no reason given"
        return Trouble(f"{'held back by a scheduling gate' if gated else 'cannot be scheduled'}: {why}", waits=True)
    over = status.get("phase") == "Failed" or text(mapping(pod, "spec"), "restartPolicy") == "Never"
    for container, label in _containers(status):
        found = _container(container, label, over)
        if found is not None:
            return found
    if status.get("phase") == "Failed":
        return Trouble(f"failed: {text(status, 'message') or text(status, 'reason') or 'no reason given'}")
    return None


def _containers(status: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    for field, label in (("initContainerStatuses", "init container"), ("containerStatuses", "container")):
        for each in listing(status, field)[:CONTAINERS_MAX]:
            if isinstance(each, dict):
                yield each, label


def _container(container: Mapping[str, Any], label: str, over: bool) -> Trouble | None:
    """``over``: what has ended is not started again."""
    name, state = text(container, "name"), mapping(container, "state")
    waiting, ended = mapping(state, "waiting"), mapping(state, "terminated")
    reason, message = text(waiting, "reason"), text(waiting, "message")
    here = f"{label} {name}"
    if reason in PULLING:
        return Trouble(f"{here}: image {text(container, 'image')} cannot be pulled: {message or reason}", name)
    if reason in STARTING:
        return Trouble(f"{here} cannot be started: {reason}: {message or 'no reason given'}", name)
    if reason == "CrashLoopBackOff":
        last = ending(mapping(mapping(container, "lastState"), "terminated"))
        times = number(container, "restartCount")
        return Trouble(f"{here} crashes again and again ({times} restarts): {last or message}", name, logs=True, previous=True)
    if ended and number(ended, "exitCode") != 0:
        return Trouble(f"{here} has ended: {ending(ended)}", name, logs=True, waits=not over)
    return None


def ending(ended: Mapping[str, Any]) -> str:
    """How a container came to its end, for people: "out of memory (OOMKilled, exit code 137)"."""
    if not ended:
        return ""
    code, reason, message = number(ended, "exitCode"), text(ended, "reason"), text(ended, "message")
    signal = number(ended, "signal") or (code - 128 if code > 128 else 0)
    by = f", {SIGNALS[signal]}" if signal in SIGNALS else ""
    if reason == "OOMKilled":
        return f"out of memory (OOMKilled, exit code {code})"
    known = f"{reason}, " if reason not in ("", "Error") else ""
    return f"{known}exit code {code}{by}" + (f": {message}" if message else "")


def pod(obj: Body) -> Health:
    """Running and ready, or ended well."""
    status = mapping(obj, "status")
    found = trouble(obj)
    if found is not None:
        gated = found.waits and found.message.startswith("held back")
        return suspended(found.message) if gated else progressing(found.message) if found.waits else degraded(found.message)
    match status.get("phase"):
        case "Succeeded":
            return HEALTHY
        case "Running":
            return _running(obj, status)
        case "Unknown":
            return progressing("its node does not answer")
        case _:
            return progressing(_starting(status) or "its containers have not been started yet")


def _running(obj: Body, status: Mapping[str, Any]) -> Health:
    if text(mapping(obj, "spec"), "restartPolicy") in ("OnFailure", "Never"):
        return progressing("runs; it is there to come to an end")
    found = conditions(status)
    if is_true(found.get("Ready")):
        return HEALTHY
    return progressing(_starting(status) or text(found.get("Ready"), "message") or "is not ready")


def _starting(status: Mapping[str, Any]) -> str:
    """The containers that are not ready, with what they wait for."""
    parts = []
    for container, label in _containers(status):
        ended = mapping(mapping(container, "state"), "terminated")
        if container.get("ready") is True or ended:
            continue
        reason = text(mapping(mapping(container, "state"), "waiting"), "reason")
        parts.append(f"{label} {text(container, 'name')} {f'waits ({reason})' if reason else 'is not ready'}")
    return "; ".join(parts[:3])


TABLE: Table = {"": {"Pod": pod}}
