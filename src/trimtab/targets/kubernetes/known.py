"""What we own of one kind on one cluster, kept up to date by a watch: not the objects, but what deciding needs of them.

For each object its uid, whose it is, the digest that was applied, our entry of managedFields and its health: some hundred bytes. While
the watch is interrupted for longer than a moment nothing is known, and nobody is told that something is absent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
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
from .judging import Judging
from .lasting import Went
from .leaving import STATUS, Other
from .objects import Manager, Object
from .ownership import DIGEST, PLACED, itself, owner_of, removal
from .requests import Selector
from .resources import Resource
from .watching import Change, Event

SYNC_SECONDS_MAX = 30.0
DEAF_SECONDS_MAX = 10.0
"""How long an interrupted watch still counts as knowing what is there."""

log = logging.getLogger(__name__)


class Known(msgspec.Struct, frozen=True):
    """One object of ours. ``ref`` has the namespace that Git gave it. ``managed`` are the bytes of our entry (b"": there is none).

    ``edition`` changes with every write that is not one of its status. ``kept`` is what annotations say about its removal.
    ``others`` is who else has written fields of it.
    """

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
    edition: str = ""
    kept: tuple[tuple[str, str], ...] = ()
    others: tuple[Other, ...] = ()

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
        *,
        home: str,
        judging: Judging | None = None,
        since: str = "",
    ) -> None:
        """``home`` is the namespace of objects that name none; ``judging`` knows the users' rules of health; ``since`` is when there was
        nothing of ours, surely.
        """
        self.resource = resource
        self._home = home
        self._judging = judging
        self._reflector = client.watch(resource, select, since=since)
        self._clock = clock
        self._moved = moved
        self._objects: dict[tuple[str, str], Known] = {}
        self._went = Went()
        self._synced = asyncio.Event()
        self._deaf_since: float | None = None
        self._ended: ApiError | None = None
        self._trouble: ApiError | None = None
        self._heard_version = 0
        self._unseen = True
        self._task = asyncio.create_task(self._run(), name=f"watch {resource}")

    @property
    def ended(self) -> ApiError | None:
        """Why the server does not serve this kind any more; None while it does."""
        return self._ended

    @property
    def sure(self) -> bool:
        """True while what is there is known, so that `ready` need not be waited for."""
        return self._synced.is_set() and not self._unseen and self._deaf_since is None and self._ended is None

    async def ready(self) -> None:
        """Raises TransientError or Refused when what is there is not known."""
        if not self._synced.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._synced.wait(), SYNC_SECONDS_MAX)
        if self._ended is not None:
            return
        deaf = self._deaf_since is not None and self._clock.monotonic() - self._deaf_since > DEAF_SECONDS_MAX
        if self._trouble is not None and (deaf or self._unseen):
            raise self._trouble.with_traceback(None)
        if deaf or self._unseen:
            raise TransientError(f"look at {self.resource}: the server does not answer", remedy="It is asked again by itself")

    def get(self, namespace: str, name: str) -> Known | None:
        return self._objects.get((namespace, name))

    def went(self, namespace: str, name: str, digest: str) -> Health | None:
        """How an object of this content was before it went, where that is remembered."""
        return self._went.get(namespace, name, digest)

    def all(self) -> list[Known]:
        return list(self._objects.values())

    def put(self, found: Object) -> Known:
        """What an answer to a request of ours has told, before the watch does."""
        before = self._objects.get((found.namespace, found.name))
        if before is not None and before.uid == found.uid and before.version == version_of(found) > 0:
            return before  # the watch was faster, as it is with most of what we write
        known = self._described(found)
        # What the watch has been past already and does not show has been deleted since.
        if known.version > (self._heard_version if before is None else before.version):
            self._objects[found.namespace, found.name] = known
            self._moved(before, known)
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

    def _restored(self) -> None:
        """After a stretch of time in which nothing was known: whoever waits for that looks again."""
        for known in self._objects.values():
            self._moved(None, known)

    def _heard(self, event: Event) -> None:
        match event.change:
            case Change.SYNCED:
                self._deaf_since, self._trouble, self._unseen = None, None, False
                self._synced.set()
                self._restored()
            case Change.INTERRUPTED:
                self._trouble = event.error
                self._synced.set()  # whoever waits is told why
                if self._deaf_since is None:
                    self._deaf_since = self._clock.monotonic()
            case Change.DELETED:
                if event.object is not None:
                    self._heard_version = max(self._heard_version, version_of(event.object))
                gone = self._objects.get((event.namespace, event.name))
                if gone is not None and gone.uid == event.uid:
                    del self._objects[event.namespace, event.name]
                    if self._deaf_since is None:  # else it may have come to its end unseen
                        self._went.gone(gone)
                    if self._judging is not None:
                        self._judging.forget(gone.uid)
                    self._moved(gone, None)
            case _:
                assert event.object is not None
                before = self._objects.get((event.namespace, event.name))
                version = version_of(event.object)
                self._heard_version = max(self._heard_version, version)
                if before is not None and (version < before.version or version == before.version > 0):
                    return  # of before the answer that we have had already, or the very same: most of what we write comes back so
                after = self._described(event.object)
                self._went.going(before, after)
                self._objects[event.namespace, event.name] = after
                if before != after:
                    self._moved(before, after)

    def _described(self, found: Object) -> Known:
        known = describe(found, self._home)
        return known if self._judging is None else self._judging.judged(found, known, self._judged)

    def _judged(self, known: Known, judged: Health) -> None:
        """What a rule says of ``known``, if that is still what is there."""
        place = (known.namespace, known.ref.name)
        now = self._objects.get(place)
        if (
            now is None
            or (now.uid, now.version, now.edition) != (known.uid, known.version, known.edition)
            or now.health == judged
        ):
            return
        self._objects[place] = msgspec.structs.replace(now, health=judged)
        self._moved(now, self._objects[place])


def describe(found: Object, home: str) -> Known:
    """What is kept of an object."""
    annotations, resource, managers = found.annotations, found.resource, found.managers()
    placed = annotations.get(PLACED) == "default" and found.namespace == home
    ref = ObjectRef(resource.api_version, resource.kind, "" if placed else found.namespace, found.name)
    return Known(
        ref=ref,
        namespace=found.namespace,
        uid=found.uid,
        owner=owner_of(itself(resource.group, resource.kind, found.namespace, found.name), found.labels, annotations),
        digest=annotations.get(DIGEST, ""),
        managed=_of_ours(managers),
        health=health.assess(found.body()),
        deleting=found.deleting,
        finalizers=tuple(found.metadata.finalizers or ()),
        version=version_of(found),
        edition=_edition(found),
        kept=removal(annotations),
        others=_of_others(managers),
    )


def version_of(found: Object) -> int:
    """Comparable as a number since Kubernetes 1.35 (KEP-5504), and with etcd behind the server always."""
    return int(found.resource_version) if found.resource_version.isdecimal() else 0


def _edition(found: Object) -> str:
    """The generation counts writes of the spec; the rest that we could own is in the metadata. Kinds without it have no status."""
    if not found.metadata.generation:
        return found.resource_version
    marks = [found.metadata.labels, found.metadata.annotations, found.metadata.finalizers]
    return f"{found.metadata.generation}-{fields.fingerprint(msgspec.json.encode(marks, order='sorted'))}"


def managed(found: Object) -> bytes:
    """Our entry of ``managedFields``."""
    return _of_ours(found.managers())


def _of_ours(managers: Sequence[Manager]) -> bytes:
    return next((bytes(one.fields) for one in managers if _ours(one)), b"")


def _of_others(managers: Sequence[Manager]) -> tuple[Other, ...]:
    return tuple(
        Other(one.manager, one.subresource, b"" if one.subresource == STATUS else bytes(one.fields))
        for one in managers
        if not _ours(one)
    )


def _ours(entry: Manager) -> bool:
    return entry.manager == MANAGER and entry.operation == "Apply" and not entry.subresource
