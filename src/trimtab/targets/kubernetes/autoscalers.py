"""Whether an autoscaler stands on the cluster that would scale an object, so that what one has set follows Git again when it is gone.

Asked only about what an autoscaler has scaled. One that was seen counts for a while, so that an object that is scaled up and down costs no
request each time; that there is none is never remembered, because taking the field back from one that has just come would be a fight.
What cannot be asked (a right that is missing, a server that is busy) is not gone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.names import ObjectRef
from trimtab.ports.clock import Clock

from .cluster import Cluster
from .leaving import scaled_by
from .requests import Selector

KINDS = (("autoscaling/v1", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"))
SEEN_SECONDS = 60.0
NAMESPACES_MAX = 1_000


class Seen(msgspec.Struct, frozen=True):
    """What the autoscalers of a namespace scale, as (kind, name), and when that was asked."""

    scaled: frozenset[tuple[str, str]] = frozenset()
    asked: float = float("-inf")


class Autoscalers:
    """Of one Environment, whoever looks."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._seen: OrderedDict[str, Seen] = OrderedDict()
        self._asking = asyncio.Lock()

    async def scales(self, namespace: str, kind: str, name: str) -> bool:
        """False when there surely is none for the object.."""
        now = self._clock.monotonic()
        seen = self._seen.get(namespace, Seen())
        if (kind, name) in seen.scaled and now - seen.asked < SEEN_SECONDS:
            return True
        async with self._asking:
            seen = self._seen.get(namespace, Seen())
            if seen.asked < now:  # else somebody has begun to ask since
                began = self._clock.monotonic()
                try:
                    seen = Seen(await self._ask(namespace), began)
                except TrimtabError:
                    return True
                self._keep(namespace, seen)
        return (kind, name) in seen.scaled

    def forget(self) -> None:
        """One has been removed."""
        self._seen.clear()

    async def _ask(self, namespace: str) -> frozenset[tuple[str, str]]:
        found = set[tuple[str, str]]()
        for version, kind in KINDS:
            resource = await self._cluster.resource(ObjectRef(version, kind, namespace, ""))
            listed = await self._cluster.client.list(resource, Selector(namespace)) if resource is not None else []
            found |= {place for one in listed if (place := scaled_by(one.body())) is not None}
        return frozenset(found)

    def _keep(self, namespace: str, seen: Seen) -> None:
        self._seen[namespace] = seen
        self._seen.move_to_end(namespace)
        while len(self._seen) > NAMESPACES_MAX:
            self._seen.popitem(last=False)
