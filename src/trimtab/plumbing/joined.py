"""Several streams as one. Items come as soon as any stream has one; those of one stream stay in its order.

    async with aclosing(joined(streams, failed)) as items:
        async for item in items: …

No more than ``waiting_max`` items wait for a slow reader; then the streams wait too. A stream that fails is told to ``failed``, after
all that it gave before: the others go on, unless ``failed`` raises, which ends everything with that. However it ends, every stream is
closed by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

WAITING_MAX = 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


@dataclass(frozen=True)
class _End:
    error: Exception | None


async def joined(
    streams: Sequence[AsyncIterator[T]], failed: Callable[[Exception], None], *, waiting_max: int = WAITING_MAX
) -> AsyncIterator[T]:
    queue: asyncio.Queue[_Item[T] | _End] = asyncio.Queue(waiting_max)
    pumps = [asyncio.create_task(_pump(stream, queue)) for stream in streams]
    left = len(pumps)
    try:
        while left:
            match await queue.get():
                case _Item(value):
                    yield value
                case _End(error):
                    left -= 1
                    if error is not None:
                        failed(error)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(stream: AsyncIterator[T], queue: asyncio.Queue[_Item[T] | _End]) -> None:
    """One that is cancelled says nothing more: nobody reads, and the queue may be full."""
    error: Exception | None = None
    try:
        await _read(stream, queue)
    except Exception as raised:  # whatever it is, the reader decides; a pump that died without a word would be waited for
        error = raised
    await queue.put(_End(error))


async def _read(stream: Any, queue: asyncio.Queue[_Item[T] | _End]) -> None:
    if not hasattr(stream, "aclose"):
        async for item in stream:
            await queue.put(_Item(item))
        return
    async with aclosing(stream):
        async for item in stream:
            await queue.put(_Item(item))
