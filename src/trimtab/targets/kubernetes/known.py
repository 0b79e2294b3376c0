"""What we own of one kind on one cluster, kept up to date by a watch: not the objects, but what deciding needs of them.

For each object its uid, whose it is, the digest that was applied, our entry of managedFields and its health: some hundred bytes. While
the watch is interrupted for longer than a moment nothing is known, and nobody is told that something is absent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import aclosing

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.core.model.health import Health
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Owner
from trimtab.ports.clock import Clock

from . import fields, health
from .client import MANAGER, Client
from .errors import ApiError
from .objects import Object
from .ownership import DIGEST, PLACED, owner_of
from .requests import Selector
from .resources import Resource
from .watching import Change, Event

SYNC_SECONDS_MAX = 30.0
DEAF_SECONDS_MAX = 10.0
"""How long an interrupted watch still counts as knowing what is there."""

log = logging.getLogger(__name__)


class Known(msgspec.Struct, frozen=True):
    """One object of ours. ``ref`` has the namespace that Git gave it. ``managed`` are the bytes of our entry (b"": there is none)."""

    ref: ObjectRef
    namespace: str
    uid: str
    owner: Owner | None
    digest: str
    managed: bytes
    health: Health
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    version: int = 0

    @property
    def fingerprint(self) -> str:
        return fields.fingerprint(self.managed)


class Kind:
    """The objects of one Resource that carry our labels. ``moved`` is called with what changed, before and after."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        select: Selector,
        clock: Clock,
        moved: Callable[[Known | None, Known | None], None],
    ) -> None:
        self.resource = resource
        self._reflector = client.watch(resource, select)
        self._clock = clock
        self._moved = moved
        self._objects: dict[tuple[str, str], Known] = {}
        self._synced = asyncio.Event()
        self._deaf_since: float | None = None
        self._ended: ApiError | None = None
        self._task = asyncio.create_task(self._run(), name=f"watch {resource}")

    @property
    def ended(self) -> ApiError | None:
        """Why the server does not serve this kind any more; None while it does."""
        return self._ended

    async def ready(self) -> None:
        """Raises TransientError when what is there is not known."""
        if not self._synced.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._synced.wait(), SYNC_SECONDS_MAX)
        deaf = self._deaf_since
        if self._ended is None and (
            not self._synced.is_set() or (deaf is not None and self._clock.monotonic() - deaf > DEAF_SECONDS_MAX)
        ):
            raise TransientError(f"look at {self.resource}: the server does not answer", remedy="It is asked again by itself")

    def get(self, namespace: str, name: str) -> Known | None:
        return self._objects.get((namespace, name))

    def all(self) -> list[Known]:
        return list(self._objects.values())

    def put(self, found: Object) -> Known:
        """What an answer to a request of ours has told, before the watch does."""
        known = describe(found)
        before = self._objects.get((found.namespace, found.name))
        if before is None or before.uid != known.uid or before.version < known.version:
            self._objects[found.namespace, found.name] = known
        return known

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async with aclosing(self._reflector.events()) as events:
                async for event in events:
                    self._heard(event)
        except ApiError as error:
            log.info("watch %s: %s", self.resource, error)
            self._ended = error
            self._objects.clear()
            self._synced.set()

    def _heard(self, event: Event) -> None:
        match event.change:
            case Change.SYNCED:
                self._deaf_since = None
                self._synced.set()
            case Change.INTERRUPTED:
                if self._deaf_since is None:
                    self._deaf_since = self._clock.monotonic()
            case Change.DELETED:
                gone = self._objects.get((event.namespace, event.name))
                if gone is not None and gone.uid == event.uid:
                    del self._objects[event.namespace, event.name]
                    self._moved(gone, None)
            case _:
                assert event.object is not None
                before = self._objects.get((event.namespace, event.name))
                after = describe(event.object)
                if before is not None and before.uid == after.uid and after.version < before.version:
                    return  # of before the answer that we have had already
                self._objects[event.namespace, event.name] = after
                if before != after:
                    self._moved(before, after)


def describe(found: Object) -> Known:
    """What is kept of an object."""
    annotations = found.annotations
    placed = annotations.get(PLACED) == "default"
    ref = ObjectRef(found.resource.api_version, found.resource.kind, "" if placed else found.namespace, found.name)
    return Known(
        ref=ref,
        namespace=found.namespace,
        uid=found.uid,
        owner=owner_of(found.labels),
        digest=annotations.get(DIGEST, ""),
        managed=_managed(found),
        health=health.assess(found.body()),
        deleting=found.deleting,
        finalizers=tuple(found.metadata.finalizers or ()),
        # Comparable as numbers since Kubernetes 1.35 (KEP-5504), and with etcd behind the server always.
        version=int(found.resource_version) if found.resource_version.isdecimal() else 0,
    )


def _managed(found: Object) -> bytes:
    for manager in found.managers():
        if manager.manager == MANAGER and manager.operation == "Apply" and not manager.subresource:
            return bytes(manager.fields)
    return b""
