"""Why workloads are not well, read from their Pods on demand and in the background: a look never waits for it.

Only what has been unwell for a while is asked about, and only so often; so a rollout that goes well costs nothing. What has been found is
part of the workload's health from then on, and its application is told to look again. Forgotten as soon as the workload is well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.names import Key, ObjectRef
from trimtab.core.model.text import printable
from trimtab.ports.clock import Clock

from .cause import EVENTS_MAX, PODS_MAX, Cause, blame, explain
from .cluster import Cluster
from .known import Known
from .objects import Object
from .requests import Selector
from .resources import Resource

AFTER_SECONDS = 2.0
AGAIN_SECONDS = 5.0
READS_AT_ONCE_MAX = 4
WORKLOADS_MAX = 1_000
LOG_BYTES_MAX = 16_384
WORKLOADS = frozenset(
    {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet"), ("batch", "Job")}
)
_UNWELL = frozenset({HealthStatus.PROGRESSING, HealthStatus.DEGRADED})

log = logging.getLogger(__name__)


@dataclass
class _Case:
    since: float
    read: float = float("-inf")
    cause: Cause | None = None


class Causes:
    """``tell`` is called when there is something new about an application's object."""

    def __init__(self, cluster: Cluster, clock: Clock, tell: Callable[[Key], None]) -> None:
        self._cluster, self._clock, self._tell = cluster, clock, tell
        self._cases: dict[str, _Case] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(READS_AT_ONCE_MAX)

    async def close(self) -> None:
        for task in self._reading.values():
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    def health(self, known: Known) -> Health:
        """The health of ``known`` with its cause, as far as that is known; sets about finding it."""
        if known.health.status not in _UNWELL or known.deleting or (known.ref.group, known.ref.kind) not in WORKLOADS:
            self._cases.pop(known.uid, None)
            return known.health
        now = self._clock.monotonic()
        case = self._cases.get(known.uid)
        if case is None:
            if len(self._cases) < WORKLOADS_MAX:
                self._cases[known.uid] = _Case(now)
            return known.health
        if now - case.since >= AFTER_SECONDS and now - case.read >= AGAIN_SECONDS and known.uid not in self._reading:
            case.read = now
            self._reading[known.uid] = asyncio.create_task(self._read(known, case), name=f"cause of {known.ref}")
        return blame(known.health, case.cause)

    async def _read(self, known: Known, case: _Case) -> None:
        try:
            async with self._places:
                found = await self._find(known)
            if found != case.cause:
                case.cause = found
                if known.owner is not None:
                    self._tell(Key(self._cluster.environment, known.owner.application))
        except TrimtabError as error:
            log.info("look for the cause of %s: %s", known.ref, error)
        finally:
            del self._reading[known.uid]

    async def _find(self, known: Known) -> Cause | None:
        resource = await self._cluster.served(known.ref)
        pods, events = await self._resource("Pod"), await self._resource("Event")
        if resource is None or pods is None:
            return None
        workload = (await self._cluster.client.get(resource, known.namespace, known.ref.name)).body()
        labels = selector_of(workload)
        if not labels:
            return None
        theirs = Selector(known.namespace, labels)
        bodies = [pod.body() for pod in await self._some(pods, theirs, PODS_MAX)]
        told: list[dict[str, Any]] = []
        if events is not None:
            warnings = Selector(known.namespace, fields="type=Warning")
            told = [event.body() for event in await self._some(events, warnings, EVENTS_MAX)]
        found = explain(workload, bodies, told)
        if found is None or not found.logs:
            return found
        return replace(found, last_log_line=await self._last_line(known.namespace, found))

    async def _some(self, resource: Resource, select: Selector, most: int) -> list[Object]:
        return (await self._cluster.client.page(resource, select, limit=most)).items

    async def _resource(self, kind: str) -> Resource | None:
        return await self._cluster.resource(ObjectRef("v1", kind, "", ""))

    async def _last_line(self, namespace: str, found: Cause) -> str:
        last = b""
        lines = self._cluster.client.logs(
            namespace, found.object.name, container=found.container, tail=1, previous=found.previous, bytes_max=LOG_BYTES_MAX
        )
        try:
            async with aclosing(lines) as heard:  # type: ignore[type-var]
                async for line in heard:
                    last = line or last
        except TrimtabError as error:
            log.info("read the log of %s: %s", found.object, error)
        return printable(last.decode(errors="replace"))


def selector_of(workload: dict[str, Any]) -> str:
    """The label selector of a workload as text; "" when it has none, or one that cannot be said so."""
    spec = workload.get("spec")
    selector = spec.get("selector") if isinstance(spec, dict) else None
    if not isinstance(selector, dict) or selector.get("matchExpressions"):
        return ""
    labels = selector.get("matchLabels")
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) if isinstance(labels, dict) else ""
