"""Kinds looked up on a server: from memory where they are known, from the server where they are not.

The whole catalog is read once, in two requests. A kind that is not in it is asked for at its own group version, `/apis/GROUP/VERSION`, which
costs one small request, sees a CustomResourceDefinition as soon as it is served, and is the only answer that counts as "there is no such
kind": while a server starts, or an aggregated one is down, that path fails instead of being empty, and so do we. Each group version is asked
so at most once in `AGAIN_SECONDS`; in between the last answer holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

import msgspec

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.text import escaped, one_line
from trimtab.ports.clock import Clock

from . import catalog, requests
from .catalog import Catalog, Served
from .errors import ApiError, Forbidden, NotFound, ServerError
from .requests import Request
from .resources import Resource, root, split
from .transport import Answer

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
AGAIN_SECONDS = 0.1
LEGACY_AT_ONCE = 8

Sender = Callable[[Request], Awaitable[Answer]]
_T = TypeVar("_T")


class UnknownKind(UserError):  # noqa: N818
    """The server does not serve this kind, and has said so itself just now."""


class Unavailable(TransientError):  # noqa: N818
    """Whether the server serves this kind cannot be told at the moment: the part of it that would know does not answer."""


class Discovery:
    """One for each server. ``send`` sends a request and raises ApiError."""

    def __init__(self, send: Sender, clock: Clock) -> None:
        self._send, self._clock = send, clock
        self._catalog: Catalog | None = None
        self._asked: dict[catalog.GroupVersion, float] = {}
        self._failed: dict[catalog.GroupVersion, ApiError] = {}
        self._lock = asyncio.Lock()

    @property
    def known(self) -> Catalog | None:
        """The catalog as last seen; None before it could be read."""
        return self._catalog

    async def resource(self, api_version: str, kind: str) -> Resource:
        """The resource of exactly this version. Raises UnknownKind or TransientError (Unavailable, or an ApiError of the catalog)."""
        group, version = split(api_version)
        known = _kind(await self.catalog(), group, version, kind)
        if known is not None:
            return known
        async with self._lock:
            await self._ask(group, version)
        return self._answer(group, version, kind)

    def at_hand(self, api_version: str, kind: str) -> Resource | None:
        """The resource of exactly this version, where nobody has to be asked about it."""
        return None if self._catalog is None else _kind(self._catalog, *split(api_version), kind)

    async def find(self, group: str, kind: str, *, version: str = "") -> Resource:
        """The resource of ``version`` where it is still served, else in another version of the group: for objects that are there
        already. Raises UnknownKind only when no version of the group serves it, and otherwise as `resource`.
        """
        known = await self.catalog()
        found = (_kind(known, group, version, kind) if version else None) or known.find(group, kind)
        if found is not None:
            return found
        async with self._lock:
            versions = await self._versions(group)
            for each in dict.fromkeys([*([version] if version else []), *versions]):
                await self._ask(group, each)
        assert self._catalog is not None
        again = self._catalog.find(group, kind)
        if again is not None:
            return again
        silent = [each for each in self._catalog.group(group) if each.resources is None]
        if silent:
            raise self._unavailable(group, silent[0].version, kind)
        raise _unknown(self._catalog, f"{group}/{version}" if group and version else group or version or "v1", kind)

    async def served(self, resource: Resource) -> bool:
        """Asks the server, whatever is in memory: for a 404 of a path. Raises Unavailable when it cannot be told."""
        await self.catalog()
        async with self._lock:
            self._asked.pop((resource.group, resource.version), None)
            await self._ask(resource.group, resource.version)
        try:
            self._answer(resource.group, resource.version, resource.kind)
        except UnknownKind:
            return False
        return True

    async def catalog(self) -> Catalog:
        """All that is served, as last seen. Raises TransientError before it could ever be read."""
        if self._catalog is None:
            async with self._lock:
                if self._catalog is None:
                    self._catalog = await self._read()
        return self._catalog

    async def refresh(self) -> Catalog:
        """Read all of it again."""
        async with self._lock:
            self._catalog = await self._read()
            self._asked.clear()
            self._failed.clear()
        return self._catalog

    def _answer(self, group: str, version: str, kind: str) -> Resource:
        assert self._catalog is not None
        found = _kind(self._catalog, group, version, kind)
        if found is not None:
            return found
        served = self._catalog.get(group, version)
        if served is not None and served.resources is None:
            raise self._unavailable(group, version, kind)
        raise _unknown(self._catalog, f"{group}/{version}" if group else version, kind)

    def _unavailable(self, group: str, version: str, kind: str) -> Unavailable:
        why = self._failed.get((group, version))
        words = why.words if why is not None else "its server does not answer"
        return Unavailable(
            f"look up {escaped(kind)}: {escaped(f'{group}/{version}')} is not available: {words}",
            remedy=f"Look at the APIService {escaped(f'{version}.{group}')}",
        )

    async def _ask(self, group: str, version: str) -> None:
        """Bring the catalog up to date about one group version, by its own path."""
        assert self._catalog is not None
        key = (group, version)
        asked = self._asked.get(key)
        if asked is not None and self._clock.monotonic() - asked < AGAIN_SECONDS:
            return
        self._failed.pop(key, None)
        try:
            self._catalog = self._catalog.with_served(await self._surely(partial(self._group_version, group, version)))
        except NotFound:
            self._catalog = self._catalog.without(group, version)
        except ApiError as error:
            self._failed[key] = error
            self._catalog = self._catalog.with_served(Served(group, version, None))
        self._asked[key] = self._clock.monotonic()

    async def _versions(self, group: str) -> list[str]:
        """The versions of a group, asked at its own path. Raises TransientError when the answer is none."""
        assert self._catalog is not None
        if not group:
            return ["v1"]
        request = requests.path(root(group, "").rstrip("/"), f"read the versions of {escaped(group)}")
        try:
            answer = await self._surely(partial(self._send, request))
            found = msgspec.json.decode(answer.body, type=_Versions)
        except NotFound:
            for each in self._catalog.group(group):
                self._catalog = self._catalog.without(group, each.version)
            return []
        except msgspec.DecodeError as error:
            raise ServerError(request.doing, f"the answer makes no sense: {one_line(str(error))}") from error
        return [each.version for each in found.versions]

    async def _surely(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """A 404 of a server that starts says nothing: what serves custom kinds comes up after its port does. So a 404 is believed
        when it is given again by a server that says it is ready. Raises NotFound, or ApiError when it cannot be told.
        """
        try:
            return await ask()
        except NotFound:
            with contextlib.suppress(NotFound, Forbidden):  # nothing there to ask, or not for us: then the 404 has to do
                await self._send(requests.path("/readyz", "ask whether the server is ready"))
            return await ask()

    async def _group_version(self, group: str, version: str) -> Served:
        request = requests.path(root(group, version), f"read what {escaped(group or 'core')} {escaped(version)} serves")
        try:
            return catalog.resources(group, version, (await self._send(request)).body)
        except msgspec.DecodeError as error:
            raise ServerError(request.doing, f"the answer makes no sense: {one_line(str(error))}") from error

    async def _read(self) -> Catalog:
        core, others = await asyncio.gather(self._tree("/api"), self._tree("/apis"))
        return Catalog([*core, *others])

    async def _tree(self, path: str) -> list[Served]:
        request = requests.path(path, f"read what the server serves at {path}", accept=AGGREGATED, compress=True)
        body = (await self._send(request)).body
        try:
            found = catalog.aggregated(body)
            if found is not None:
                return found
            pairs = catalog.legacy(body)
        except msgspec.DecodeError as error:
            raise ServerError(request.doing, f"the answer makes no sense: {one_line(str(error))}") from error
        slots = asyncio.Semaphore(LEGACY_AT_ONCE)
        return list(await asyncio.gather(*(self._one_by_one(slots, *pair) for pair in pairs)))

    async def _one_by_one(self, slots: asyncio.Semaphore, group: str, version: str) -> Served:
        async with slots:
            try:
                return await self._group_version(group, version)
            except ApiError as error:
                # NotFound too: it was listed a moment ago, so what it serves is unknown rather than nothing.
                self._failed[group, version] = error
                return Served(group, version, None)


class _Version(msgspec.Struct):
    version: str


class _Versions(msgspec.Struct):
    versions: list[_Version] = []


def _kind(known: Catalog, group: str, version: str, kind: str) -> Resource | None:
    served = known.get(group, version)
    return served.resources.get(kind) if served is not None and served.resources is not None else None


def _unknown(known: Catalog, api_version: str, kind: str) -> UnknownKind:
    kinds = sorted({resource.kind for resource in known.resources()})
    same = [resource.api_version for resource in known.resources() if resource.kind == kind]
    near = get_close_matches(kind, kinds, n=1)
    if same:
        remedy = f"It serves {kind} in {', '.join(same)}"
    elif near:
        remedy = f"Did you mean {near[0]}?"
    else:
        remedy = "Install its CustomResourceDefinition, or correct apiVersion and kind"
    return UnknownKind(f"look up {escaped(kind)} of {escaped(api_version)}: the server does not serve it", remedy=remedy)
