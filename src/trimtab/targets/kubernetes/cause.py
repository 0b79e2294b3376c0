"""Why a workload is not well, in one sentence that names the Pod and the container: pure.

In come the workload, its Pods, the events about them (core or events.k8s.io, as decoded from JSON) and, once they have been
fetched, the last log lines; out goes a Cause. First what a Pod says of itself (image, configuration, crash loop, eviction,
scheduling), then what only events tell (volumes, sandboxes, probes), then why there is no Pod at all (quota, admission).
https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.manifest import Body
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.text import one_line

from .healths.pods import trouble
from .healths.reading import conditions, is_true, listing, mapping, said, text

PODS_MAX = 500
EVENTS_MAX = 2000
MESSAGE_CHARACTERS_MAX = 500
LogLines = Mapping[tuple[str, str], str]
"""The last line of (pod, container)."""

STARTING = frozenset(
    ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "FailedPostStartHook", "NetworkNotReady")
)
CREATING = frozenset(("FailedCreate", "FailedPlacement", "FailedDaemonPod", "ReplicaSetCreateError"))
_DEATHS_BY_PROBE = ("exit code 137", "exit code 143")


@dataclass(frozen=True)
class Cause:
    """``message`` is one sentence. ``container`` is "" where no container is to blame; ``logs`` says that its log may tell more.

    ``previous``: read the log of the run before. ``waits``: it may come right without anybody's help.
    """

    message: str
    object: ObjectRef
    container: str = ""
    logs: bool = False
    previous: bool = False
    waits: bool = False
    last_log_line: str = ""


def explain(
    workload: Body, pods: Sequence[Body], events: Iterable[Body] = (), *, log_lines: LogLines | None = None
) -> Cause | None:
    """The most telling cause; None when nothing is known to be wrong. Never raises, whatever the objects look like.

    Call it without ``log_lines`` first: where the answer has ``logs``, fetch the last line of that container and call again.
    """
    told = _Told(events)
    candidates = [cause for pod in pods[:PODS_MAX] if (cause := _of_pod(pod, told)) is not None]
    if not candidates:
        return _of_creation(workload, told)
    # What somebody has to act on before what may pass; of equals the newest Pod, which is of the newest release.
    newest = max(candidates, key=lambda found: (not found[0].waits, found[1]))[0]
    alike = sum(cause.container == newest.container and cause.waits == newest.waits for cause, _ in candidates) - 1
    message = newest.message + (f" ({alike} more Pod{'s' if alike > 1 else ''} alike)" if alike > 0 else "")
    line = (log_lines or {}).get((newest.object.name, newest.container), "")
    return replace(newest, message=message, last_log_line=one_line(line))


def blame(health: Health, cause: Cause | None) -> Health:
    """``health`` of a workload with its cause. Progressing becomes degraded when the cause does not pass by itself."""
    if cause is None or health.status not in (HealthStatus.PROGRESSING, HealthStatus.DEGRADED):
        return health
    status = health.status if cause.waits else HealthStatus.DEGRADED
    message = f"{health.message}: {cause.message}" if health.message else cause.message
    return Health(status, one_line(message, characters_max=2 * MESSAGE_CHARACTERS_MAX), cause.object, cause.last_log_line)


class _Told:
    """Warnings of the events, by the object that they are about, the newest of each reason only."""

    def __init__(self, events: Iterable[Body]) -> None:
        self._of: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        for event, _ in zip(events, range(EVENTS_MAX), strict=False):
            self._take(event)

    def _take(self, event: Body) -> None:
        if not isinstance(event, dict) or event.get("type") != "Warning":
            return
        about = mapping(event, "involvedObject") or mapping(event, "regarding")
        reason, message = text(event, "reason"), text(event, "message") or text(event, "note")
        found = self._of.setdefault((text(about, "kind"), text(about, "name")), {})
        when = _when(event)
        if reason not in found or found[reason][0] <= when:
            found[reason] = (when, message)

    def newest(self, kind: str, name: str, reasons: Iterable[str]) -> str:
        """What the newest event of one of these reasons says; "" when there is none."""
        found = self._of.get((kind, name), {})
        told = max((found[reason] for reason in reasons if reason in found), default=("", ""))
        return told[1]

    def children(self, kind: str, prefix: str) -> list[str]:
        return [name for of, name in self._of if of == kind and name.startswith(prefix)]


def _when(event: Body) -> str:
    """RFC 3339 in UTC sorts as text."""
    paths = ("series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "eventTime", "metadata.creationTimestamp")
    return next((found for path in paths if (found := text(event, path))), "")


def _of_pod(pod: Body, told: _Told) -> tuple[Cause, str] | None:
    metadata = mapping(pod, "metadata")
    if metadata.get("deletionTimestamp"):
        return None
    name, since = text(metadata, "name"), text(metadata, "creationTimestamp")
    ref = ObjectRef("v1", "Pod", text(metadata, "namespace"), name)
    found = trouble(pod)
    if found is not None and not (found.waits and found.container):
        message = found.message + _killed_by_probe(found.message, told, name)
        return Cause(_sentence(name, message), ref, found.container, found.logs, found.previous, found.waits), since
    if (event := _starting(pod, told, name)) or (event := _probe(pod, told, name)):
        return Cause(_sentence(name, event), ref, _unready(pod), logs="probe" in event, waits=True), since
    if found is not None:
        return Cause(_sentence(name, found.message), ref, found.container, found.logs, found.previous, found.waits), since
    return None


def _killed_by_probe(message: str, told: _Told, name: str) -> str:
    if not any(death in message for death in _DEATHS_BY_PROBE) or "OOMKilled" in message:
        return ""
    event = told.newest("Pod", name, ("Unhealthy",))
    return f"; {event}" if event.startswith(("Liveness", "Startup")) else ""


def _starting(pod: Body, told: _Told, name: str) -> str:
    """Why containers are not even created: a volume, a Secret or ConfigMap that is not there, a network that is not ready."""
    if not _waiting(pod):
        return ""
    event = told.newest("Pod", name, STARTING)
    return f"its containers cannot be created: {event}" if event else ""


def _waiting(pod: Body) -> bool:
    statuses = [*listing(mapping(pod, "status"), "initContainerStatuses"), *listing(mapping(pod, "status"), "containerStatuses")]
    return text(pod, "status.phase") == "Pending" and (
        not statuses
        or any(text(each, "state.waiting.reason") in ("ContainerCreating", "PodInitializing", "") for each in statuses)
    )


def _probe(pod: Body, told: _Told, name: str) -> str:
    """A probe that fails, of a Pod that is not ready."""
    if text(pod, "status.phase") != "Running" or is_true(conditions(mapping(pod, "status")).get("Ready")):
        return ""
    event = told.newest("Pod", name, ("Unhealthy", "ProbeError"))
    container = _unready(pod)
    return f"container {container} does not pass its probe: {event}" if event else ""


def _unready(pod: Body) -> str:
    for each in listing(mapping(pod, "status"), "containerStatuses"):
        if isinstance(each, dict) and each.get("ready") is not True:
            return text(each, "name")
    return ""


def _of_creation(workload: Body, told: _Told) -> Cause | None:
    """Why there are no Pods: what the workload's own condition says, then events about it and its ReplicaSets or Jobs."""
    name, kind = text(workload, "metadata.name"), text(workload, "kind")
    ref = ObjectRef(text(workload, "apiVersion"), kind, text(workload, "metadata.namespace"), name)
    failure = conditions(mapping(workload, "status")).get("ReplicaFailure")
    if is_true(failure):
        return Cause(_bounded(f"Pods of {name} cannot be created: {said(failure)}"), ref)
    names = [(kind, name), *((child, each) for child in ("ReplicaSet", "Job") for each in told.children(child, f"{name}-"))]
    for about, each in names:
        if name and (event := told.newest(about, each, CREATING)):
            return Cause(_bounded(f"Pods of {each} cannot be created: {event}"), ref)
    return None


def _sentence(pod: str, message: str) -> str:
    return _bounded(f"Pod {pod}: {message}")


def _bounded(message: str) -> str:
    return one_line(message, characters_max=MESSAGE_CHARACTERS_MAX)
