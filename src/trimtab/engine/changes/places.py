"""Who may look now. So many looks at once; those that somebody waits for come first, and the rest one at a time, when nobody is in a hurry.

When a branch moves, every Change that is open for it has to be looked at again, be they a thousand. The one that somebody wants merged, or
has asked something about, must not stand behind all of them: `hurry` takes it to the front.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """``leisurely`` of ``count`` places may be taken by those that nobody waits for."""

    def __init__(self, count: int, *, leisurely: int = 1) -> None:
        self._free, self._leisure = count, leisurely
        self._urgent: deque[asyncio.Future[bool]] = deque()
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        """Those that nobody waits for, by the number of their Change, in the order in which they came."""

    @asynccontextmanager
    async def place(self, number: int, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a place, and give it back in the end."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if urgent:
            self._urgent.append(turn)
        else:
            self._waiting[number] = turn
        self._next()
        try:
            await turn
            yield
        finally:
            self._leave(number, turn)

    def hurry(self, number: int) -> None:
        """Somebody waits for that one now."""
        turn = self._waiting.pop(number, None)
        if turn is not None:
            self._urgent.append(turn)
            self._next()

    def _next(self) -> None:
        while self._free and self._urgent:
            self._give(self._urgent.popleft(), leisurely=False)
        while self._free and self._leisure and self._waiting:
            self._give(self._waiting.pop(next(iter(self._waiting))), leisurely=True)

    def _give(self, turn: asyncio.Future[bool], *, leisurely: bool) -> None:
        if not turn.done():
            self._free -= 1
            self._leisure -= leisurely
            turn.set_result(leisurely)

    def _leave(self, number: int, turn: asyncio.Future[bool]) -> None:
        if self._waiting.get(number) is turn:
            del self._waiting[number]
        if turn.done() and not turn.cancelled():  # also when it was given at the very moment when its waiter was cancelled
            self._free += 1
            self._leisure += turn.result()
        turn.cancel()
        self._next()
