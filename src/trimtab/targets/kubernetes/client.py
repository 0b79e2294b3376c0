"""What we do with an API server, one method for each act. Resources and names in, `Object`s out; every failure is an `ApiError`.

    connection = kubeconfig.load(os.environ)
    client = Client.connect(connection, environment=os.environ, clock=clock, chance=chance)
    deployments = await client.discovery.resource("apps/v1", "Deployment")
    web = await client.apply(deployments, "shop", "web", body, force=True)
    await client.close()

`acting_as` gives a client with somebody else's rights on the same connections.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import quote

import msgspec
from multidict import CIMultiDict

from trimtab.core.model.text import one_line
from trimtab.ports.clock import Chance, Clock

from . import requests
from .connection import Connection, Impersonation
from .discovery import Discovery
from .errors import Gone, ServerError, TooLarge
from .lines import Pieces
from .objects import Object, Page, named, page
from .requests import EVERYTHING, PAGE_ITEMS, Propagation, Request, Selector
from .resources import Resource
from .transport import CONNECTIONS_MAX, Answer, Carrier, transport
from .watching import Reflector

MANAGER = "trimtab"
RESTARTS_MAX = 3
LOG_LINE_BYTES_MAX = 64 * 1024
WARNINGS_MAX = 20
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """``git_version`` is such as "v1.36.3"; ``minor`` may have a "+" behind it."""

    git_version: str = ""
    major: str = ""
    minor: str = ""


class Client:
    """One API server as one user. ``namespace`` is the connection's default one."""

    def __init__(
        self,
        transport: Carrier,
        *,
        clock: Clock,
        chance: Chance,
        discovery: Discovery | None = None,
        namespace: str = "default",
        manager: str = MANAGER,
        impersonation: Impersonation | None = None,
    ) -> None:
        self.transport = transport
        self.namespace = namespace
        self.manager = manager
        self._clock, self._chance = clock, chance
        self._headers = impersonating(impersonation) if impersonation else None
        self.discovery = discovery or Discovery(self.send, clock)

    @classmethod
    def connect(
        cls,
        connection: Connection,
        *,
        environment: Mapping[str, str],
        clock: Clock,
        chance: Chance,
        connections_max: int = CONNECTIONS_MAX,
        manager: str = MANAGER,
    ) -> Client:
        """Call it inside a running loop; nothing is sent before the first request. End it with `close`."""
        carrier = transport(connection, environment=environment, clock=clock, chance=chance, connections_max=connections_max)
        return cls(
            carrier,
            clock=clock,
            chance=chance,
            namespace=connection.namespace,
            manager=manager,
            impersonation=connection.user.impersonation,
        )

    def acting_as(self, impersonation: Impersonation | None) -> Client:
        """The same server, connections and discovery with the rights of somebody else. Not to be closed."""
        return Client(
            self.transport,
            clock=self._clock,
            chance=self._chance,
            discovery=self.discovery,
            namespace=self.namespace,
            manager=self.manager,
            impersonation=impersonation,
        )

    async def close(self) -> None:
        await self.transport.close()

    async def send(self, request: Request) -> Answer:
        """For requests that have no method here."""
        return await self.transport.send(request, self._headers)

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The body of an answer as it comes: a watch, a log."""
        return self.transport.stream(request, self._headers)

    async def version(self) -> Version:
        request = requests.path("/version", "read the server's version")
        try:
            return msgspec.json.decode((await self.send(request)).body, type=Version)
        except msgspec.DecodeError as error:
            raise _nonsense(request, error) from error

    async def get(self, resource: Resource, namespace: str, name: str, *, subresource: str = "") -> Object:
        """Raises NotFound, whose ``names_object`` tells a missing object from a missing kind."""
        return await self._object(resource, requests.get(resource, namespace, name, subresource=subresource))

    async def pages(self, resource: Resource, select: Selector = EVERYTHING, *, limit: int = PAGE_ITEMS) -> AsyncIterator[Page]:
        """A consistent list, page by page. Raises Gone when it takes so long that the server has forgotten how to go on."""
        more = ""
        while True:
            one = await self.page(resource, select, limit=limit, more=more)
            yield one
            more = one.more
            if not more:
                return

    async def page(self, resource: Resource, select: Selector = EVERYTHING, *, limit: int = PAGE_ITEMS, more: str = "") -> Page:
        return await self._page(resource, requests.page(resource, select, limit=limit, more=more))

    async def heads(self, resource: Resource, select: Selector, *, more: str = "") -> Page:
        """As `page`, of the metadata alone."""
        return await self._page(resource, requests.names(resource, select, more=more))

    async def list(self, resource: Resource, select: Selector = EVERYTHING, *, limit: int = PAGE_ITEMS) -> list[Object]:
        """All of it or an error; begun anew when the server has forgotten how to go on or a page is too large to take in."""
        for restart in range(RESTARTS_MAX + 1):
            try:
                return [item async for one in self.pages(resource, select, limit=limit) for item in one.items]
            except (Gone, TooLarge) as error:
                if restart == RESTARTS_MAX:
                    raise
                # Too slow from page to page: all at once. Too large: less at once.
                limit = (
                    0 if isinstance(error, Gone) and restart else max(1, limit // 10) if isinstance(error, TooLarge) else limit
                )
        raise AssertionError("unreachable")

    async def names(self, resource: Resource, select: Selector, *, most: int) -> frozenset[str] | None:
        """Of what is there; None when there are more than ``most``."""
        found: set[str] = set()
        more = ""
        while True:
            request = requests.names(resource, select, more=more)
            answer = await self.send(request)
            try:
                some, more = named(answer.body)
            except msgspec.DecodeError as error:
                raise _nonsense(request, error) from error
            found.update(some)
            if len(found) > most:
                return None
            if not more:
                return frozenset(found)

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | bytes,
        *,
        force: bool,
        dry_run: bool = False,
        manager: str = "",
        subresource: str = "",
    ) -> Object:
        """Server-side apply, strictly validated. Without ``force`` raises Conflict, whose ``fields`` name the other managers."""
        request = requests.apply(
            resource,
            namespace,
            name,
            body,
            manager=manager or self.manager,
            force=force,
            dry_run=dry_run,
            subresource=subresource,
        )
        return await self._object(resource, request)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        *,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Object:
        """A merge patch (mapping) or JSON patch (sequence)."""
        request = requests.patch(resource, namespace, name, body, manager=self.manager, dry_run=dry_run, subresource=subresource)
        return await self._object(resource, request)

    async def create(
        self,
        resource: Resource,
        namespace: str,
        body: Mapping[str, Any],
        *,
        dry_run: bool = False,
        name: str = "",
        subresource: str = "",
    ) -> Object:
        """Raises AlreadyExists. After Unreachable with ``sent`` it may have been created."""
        request = requests.create(
            resource, namespace, body, manager=self.manager, dry_run=dry_run, name=name, subresource=subresource
        )
        return await self._object(resource, request)

    async def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        resource_version: str,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Object:
        """Raises Conflict when the object is not at ``resource_version`` any more."""
        request = requests.replace(
            resource,
            namespace,
            name,
            body,
            manager=self.manager,
            resource_version=resource_version,
            dry_run=dry_run,
            subresource=subresource,
        )
        return await self._object(resource, request)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str = "",
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> None:
        """Ask for the removal of the object that has ``uid``; it may stay for its finalizers.

        Raises NotFound when there is none of that name, and Conflict, having changed nothing, when it is another object.
        """
        request = requests.delete(
            resource,
            namespace,
            name,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            dry_run=dry_run,
        )
        await self.send(request)

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
        since_seconds: int | None = None,
        timestamps: bool = False,
        bytes_max: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Lines as the container wrote them, hostile bytes without their newline; very long ones in pieces."""
        request = requests.logs(
            namespace,
            pod,
            container=container,
            follow=follow,
            tail=tail,
            previous=previous,
            since_seconds=since_seconds,
            timestamps=timestamps,
            bytes_max=bytes_max,
        )
        cut = Pieces(LOG_LINE_BYTES_MAX)
        async with self.stream(request) as chunks:
            async for data in chunks:
                for line in cut.feed(data):
                    yield line
        for line in cut.end():
            yield line

    def watch(self, resource: Resource, select: Selector = EVERYTHING, *, limit: int = PAGE_ITEMS, since: str = "") -> Reflector:
        """What is there and then what changes; see `Reflector`."""
        return Reflector(
            self.page, self.stream, resource, select, clock=self._clock, chance=self._chance, limit=limit, since=since
        )

    async def _page(self, resource: Resource, request: Request) -> Page:
        answer = await self.send(request)
        try:
            return page(resource, answer.body)
        except msgspec.DecodeError as error:
            raise _nonsense(request, error) from error

    async def _object(self, resource: Resource, request: Request) -> Object:
        answer = await self.send(request)
        try:
            return Object(resource, answer.body, _warnings(answer))
        except msgspec.DecodeError as error:
            raise _nonsense(request, error) from error


def _nonsense(request: Request, error: msgspec.DecodeError) -> ServerError:
    return ServerError(request.doing, f"the answer makes no sense: {one_line(str(error))}")


def _warnings(answer: Answer) -> tuple[str, ...]:
    if "Warning" not in answer.headers:
        return ()
    found = getattr(answer.headers, "getall", lambda name: [answer.headers[name]])("Warning")
    texts = [match[1] for header in found[:WARNINGS_MAX] for match in _WARNING.finditer(header)]
    return tuple(one_line(re.sub(r"\\(.)", r"\1", text)) for text in texts)


def impersonating(who: Impersonation) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict({"Impersonate-User": who.user})
    for group in who.groups:
        headers.add("Impersonate-Group", group)
    if who.uid:
        headers["Impersonate-Uid"] = who.uid
    for name, values in who.extra.items():
        for value in values:
            headers.add(f"Impersonate-Extra-{quote(name, safe='')}", value)
    return headers
