"""New objects of which the server need not be asked one by one, because it has taken one that is alike.

A dry-run of each new object costs the server as much as applying it. So when many come at once, one of each likeness (`similar`) is asked
about, and the rest follows it: if it is taken, so are they; if not, each is asked about itself, so that each gets its own answer. That
holds only where nobody but the server has a say (`admission`) and where it is known that nothing of that name is there: the names of
what is not ours are listed once per kind and namespace. What appears after that is safe from us all the same, because what is made is only ever *made*: see
`ownership.stamped`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable

from trimtab.core.model.manifest import Manifest
from trimtab.ports.clock import Clock

from .admission import Admission
from .client import Client
from .errors import ApiError
from .requests import Selector
from .resources import Resource
from .similar import likeness

FEW = 3
"""So many of one kind and namespace are asked about one by one: for a few, looking at the names costs more than it spares."""
NAMES_MAX = 5_000
NAMES_SECONDS = 30.0
LIKENESSES_MAX = 10_000
TAKEN_SECONDS = 3_600.0

_Place = tuple[str, str, str]


class Newcomers:
    """Of one server, as one account."""

    def __init__(self, client: Client, clock: Clock, strange: tuple[str, ...]) -> None:
        """``strange`` are label selectors for everything that no watch of ours shows."""
        self._client, self._clock, self._strange = client, clock, strange
        self._admission = Admission(client, clock)
        self._names: dict[_Place, tuple[asyncio.Future[frozenset[str] | None], float]] = {}
        self._came: Counter[_Place] = Counter()
        self._taken: OrderedDict[bytes, tuple[asyncio.Future[bool], float]] = OrderedDict()

    async def follow(self, manifest: Manifest, resource: Resource, namespace: str, ask: Callable[[], Awaitable[bool]]) -> bool:
        """True when ``manifest`` may be taken for granted. Where it may not, ``ask`` is called, once, and says whether the server
        takes it.
        """
        like = likeness(resource.group, resource.kind, namespace, manifest.body)
        if like is None or not await self._free(resource, namespace, manifest.ref.name):
            await ask()
            return False
        first, due = self._taken.get(like, (None, 0.0))
        if first is not None and due > self._clock.monotonic():
            if first.result() if first.done() else await asyncio.shield(first):
                return True
            await ask()
            return False
        await self._lead(like, ask)
        return False

    def follows(self, manifest: Manifest, resource: Resource, namespace: str) -> bool:
        """True when ``manifest`` may be taken for granted by what is known already, so that `follow` would ask nobody."""
        now = self._clock.monotonic()
        names, due = self._names.get((resource.group, resource.plural, namespace), (None, 0.0))
        if names is None or due <= now or not names.done() or names.cancelled() or names.exception() is not None:
            return False
        there = names.result()
        if there is None or manifest.ref.name in there or not self._admission.spares(resource):
            return False
        like = likeness(resource.group, resource.kind, namespace, manifest.body)
        first, due = self._taken.get(like, (None, 0.0)) if like is not None else (None, 0.0)
        return first is not None and due > now and first.done() and first.result()

    def mistaken(self, resource: Resource, namespace: str) -> None:
        """Something was there although nothing was known of it."""
        self._names.pop((resource.group, resource.plural, namespace), None)

    async def _lead(self, like: bytes, ask: Callable[[], Awaitable[bool]]) -> None:
        answer = asyncio.get_running_loop().create_future()
        self._taken[like] = (answer, self._clock.monotonic() + TAKEN_SECONDS)
        self._taken.move_to_end(like)
        while len(self._taken) > LIKENESSES_MAX:
            self._taken.popitem(last=False)
        taken = False
        try:
            taken = await ask()
        finally:
            answer.set_result(taken)
            if not taken and self._taken.get(like, (None,))[0] is answer:
                del self._taken[like]

    async def _free(self, resource: Resource, namespace: str, name: str) -> bool:
        """True when the server alone decides, and surely nothing of that name is there."""
        place = (resource.group, resource.plural, namespace)
        self._came[place] += 1
        names, due = self._names.get(place, (None, 0.0))
        if names is None or due <= self._clock.monotonic():
            if self._came[place] <= FEW:
                return False
            names = asyncio.ensure_future(self._list(resource, namespace))
            self._names[place] = (names, self._clock.monotonic() + NAMES_SECONDS)
            self._came[place] = 0
        there = names.result() if names.done() else await asyncio.shield(names)
        return there is not None and name not in there and not await self._admission.decides(resource)

    async def _list(self, resource: Resource, namespace: str) -> frozenset[str] | None:
        """None when there are too many, or when they cannot be had."""
        found: frozenset[str] = frozenset()
        for labels in self._strange:
            try:
                some = await self._client.names(resource, Selector(namespace, labels), most=NAMES_MAX)
            except ApiError:
                return None
            if some is None:
                return None
            found |= some
        return found
