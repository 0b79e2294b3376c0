"""One run at a time, and those who ask meanwhile share the next one.

A fetch that has begun may have read the refs already, so whoever asks after that needs another; but ten who ask need one, not
ten. A run that nobody waits for any more is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Give it the work; `run` does it, after any that is under way.

    >>> async def example(fetch: Callable[[], Coroutine[Any, Any, bool]]) -> list[bool]:
    ...     turns = Turns(fetch)
    ...     return await asyncio.gather(turns.run(), turns.run())  # one fetch
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def run(self) -> T:
        """The result of a run that starts after this call; raises what the run raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._turn())
            self._waiting[self._next] = 0
        task = self._next
        self._waiting[task] += 1
        try:
            await asyncio.wait([task])
            return task.result()
        finally:
            await self._leave(task)

    async def _turn(self) -> T:
        async with self._lock:
            if self._next is asyncio.current_task():
                self._next = None
            return await self._work()

    async def _leave(self, task: asyncio.Task[T]) -> None:
        self._waiting[task] -= 1
        if self._waiting[task]:
            return
        del self._waiting[task]
        if not task.done():
            if self._next is task:
                self._next = None
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain when all who asked are gone
