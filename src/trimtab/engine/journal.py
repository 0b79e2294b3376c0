"""The one door to the store: every write of the engine goes through it, under the epoch of our Lease, and is then told on.

What was written is what listeners hear, in the order of the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from trimtab.core.model.event import Event
from trimtab.ports.store import Store, Writes

FEED_EVENTS_MAX = 10_000
"""A listener that falls further behind than this loses its oldest events; it can read them from the store."""


class Journal:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.epoch = 0
        self.problem = ""
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._hooks: list[Callable[[Event], None]] = []

    def on_event(self, hook: Callable[[Event], None]) -> None:
        """Call ``hook`` with every event once it is stored. It must not block or raise."""
        self._hooks.append(hook)

    async def write(self, writes: Writes) -> None:
        """Store it all or raise; raises Refused when another holds the Lease now, TransientError when the store fails."""
        try:
            stored = await self.store.write(writes, epoch=self.epoch)
        except Exception as error:
            self.problem = str(error)
            raise
        self.problem = ""
        for event in stored:
            for hook in self._hooks:
                hook(event)
            for queue in self._listeners:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(event)

    async def follow(self) -> AsyncIterator[Event]:
        """Events from now on, until the caller stops listening."""
        queue: asyncio.Queue[Event] = asyncio.Queue(FEED_EVENTS_MAX)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)
