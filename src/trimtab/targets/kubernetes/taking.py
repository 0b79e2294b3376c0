"""Makes fields of others ours on the server, by rewriting ``managedFields`` of one very object at one very version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .client import Client
from .errors import Conflict
from .objects import Object
from .resources import Resource

ATTEMPTS_MAX = 3
"""How often the object may be written to by others meanwhile."""

Managers = list[dict[str, Any]]


async def take(
    client: Client,
    resource: Resource,
    place: tuple[str, str],
    uid: str,
    managers: Callable[[Object], Managers | None],
    places: asyncio.Semaphore,
) -> bool:
    """True when something was taken. ``place`` is namespace and name; ``managers`` says who should own what, None: leave it as it is.

    Raises ApiError, Conflict among them when others don't stop writing to it.
    """
    for attempt in range(ATTEMPTS_MAX):
        async with places:
            found = await client.get(resource, *place)
            wanted = managers(found)
            if wanted is None:
                return False
            change: list[dict[str, object]] = [
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "replace", "path": "/metadata/managedFields", "value": wanted},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": found.resource_version},
            ]
            try:
                await client.patch(resource, *place, change)
                return True
            except Conflict:
                if attempt == ATTEMPTS_MAX - 1:
                    raise
    raise AssertionError("unreachable")
