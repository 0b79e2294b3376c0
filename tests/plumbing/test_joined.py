"""Several streams read as one: nothing is lost, nothing is doubled, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.plumbing.joined import joined


class Stream:
    """Gives ``items``, each after its turn of the loop, then fails, ends, or waits for ever; knows how far it was read and whether it was closed."""

    def __init__(self, items: list[int], end: str = "ends") -> None:
        self.items = items
        self.end = end
        self.given = 0
        self.closed = False

    async def read(self) -> AsyncIterator[int]:
        try:
            for item in self.items:
                await asyncio.sleep(0)
                self.given += 1
                yield item
            if self.end == "fails":
                raise OSError("the stream broke")
            if self.end == "hangs":
                await asyncio.Event().wait()
        finally:
            self.closed = True


def never(error: Exception) -> None:
    raise AssertionError(error)


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=6), st.booleans()), max_size=5), st.integers(1, 4))
def test_everything_comes_once_and_each_stream_in_its_order(made: list[tuple[list[int], bool]], waiting_max: int) -> None:
    """Also of those that fail later; each failure is told once, and all streams are closed at the end."""
    streams = [
        Stream([100 * at + item for item in items], "fails" if fails else "ends") for at, (items, fails) in enumerate(made)
    ]
    failures: list[Exception] = []

    async def read() -> list[int]:
        return [item async for item in joined([one.read() for one in streams], failures.append, waiting_max=waiting_max)]

    found = asyncio.run(read())
    for at, stream in enumerate(streams):
        assert [item for item in found if item // 100 == at] == stream.items
        assert stream.closed
    assert len(found) == sum(len(stream.items) for stream in streams)
    assert len(failures) == sum(fails for _, fails in made)


async def test_an_item_comes_while_another_stream_has_none() -> None:
    """Nobody is waited for."""
    async with aclosing(joined([Stream([], "hangs").read(), Stream([1, 2], "hangs").read()], never)) as items:  # type: ignore[type-var]
        assert [await anext(items), await anext(items)] == [1, 2]


@pytest.mark.parametrize("end", ["ends", "hangs"])
async def test_a_reader_that_leaves_closes_every_stream(end: str) -> None:
    """Also those that wait for room in a queue that nobody reads any more, and those that wait for ever."""
    streams = [Stream(list(range(50)), end) for _ in range(3)] + [Stream([], "hangs")]
    async with asyncio.timeout(5):
        async with aclosing(joined([one.read() for one in streams], never, waiting_max=2)) as items:  # type: ignore[type-var]
            await anext(items)
            await asyncio.sleep(0.01)
        assert all(stream.closed for stream in streams)


async def test_a_reader_that_is_cancelled_closes_every_stream() -> None:
    """As a request is whose client has gone."""
    streams = [Stream([1], "hangs"), Stream([], "hangs")]
    read: list[int] = []

    async def reader() -> None:
        async with aclosing(joined([one.read() for one in streams], never)) as items:  # type: ignore[type-var]
            read.extend([await anext(items)])
            await anext(items)

    task = asyncio.create_task(reader())
    async with asyncio.timeout(5):
        while not read:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert all(stream.closed for stream in streams)


async def test_a_slow_reader_holds_the_streams_back() -> None:
    """What was read and is not taken yet is bounded: the queue, and one item in the hand of each stream."""
    streams = [Stream(list(range(1_000))) for _ in range(3)]
    async with aclosing(joined([one.read() for one in streams], never, waiting_max=10)) as items:  # type: ignore[type-var]
        await anext(items)
        for _ in range(200):
            await asyncio.sleep(0)
        assert sum(stream.given for stream in streams) <= 1 + 10 + len(streams)


async def test_what_the_reader_makes_of_a_failure_ends_everything() -> None:
    """What the failed stream gave before is handed out first; the others are closed."""
    broken, other = Stream([1], "fails"), Stream([], "hangs")

    def failed(error: Exception) -> None:
        raise LookupError("no more") from error

    items = joined([broken.read(), other.read()], failed)
    assert await anext(items) == 1
    with pytest.raises(LookupError):
        await anext(items)
    assert broken.closed
    assert other.closed
