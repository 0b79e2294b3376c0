"""So many requests at once, and of one User only a part of them: who opens a hundred slow connections waits for themselves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    def __init__(self, most: int, *, each: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._each = each
        self._own: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, user: str) -> AsyncIterator[None]:
        """Waits for a place."""
        own, waiting = self._own.get(user, (asyncio.Semaphore(self._each), 0))
        self._own[user] = (own, waiting + 1)
        try:
            async with own, self._all:
                yield
        finally:
            own, waiting = self._own[user]
            if waiting > 1:
                self._own[user] = (own, waiting - 1)
            else:
                del self._own[user]
