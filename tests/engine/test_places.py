"""Who may look now: those that somebody waits for come first, the rest one at a time."""

from __future__ import annotations

import asyncio

from trimtab.engine.changes.places import Places


async def turns(places: Places, order: list[int], number: int, *, urgent: bool, ends: asyncio.Event) -> None:
    async with places.place(number, urgent=urgent):
        order.append(number)
        await ends.wait()


async def begun() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_that_nobody_waits_for_take_one_place_and_the_others_all_that_are_left() -> None:
    places, order, ends = Places(3), [], asyncio.Event()
    tasks = [asyncio.create_task(turns(places, order, n, urgent=n >= 10, ends=ends)) for n in (1, 2, 3, 10, 11, 12)]
    await begun()
    assert order == [1, 10, 11]
    ends.set()
    await asyncio.gather(*tasks)
    assert order == [1, 10, 11, 12, 2, 3]


async def test_one_that_somebody_asks_about_goes_before_all_that_came_earlier() -> None:
    places, order, ends = Places(2), [], asyncio.Event()
    tasks = [asyncio.create_task(turns(places, order, n, urgent=False, ends=ends)) for n in range(1000)]
    await begun()
    places.hurry(999)
    places.hurry(999)
    await begun()
    assert order == [0, 999]
    ends.set()
    await asyncio.gather(*tasks)
    assert len(order) == 1000


async def test_who_gives_up_waiting_leaves_the_place_to_others() -> None:
    """Also when its turn comes at the very moment when it gives up."""
    places, order, ends = Places(1), [], asyncio.Event()
    first = asyncio.create_task(turns(places, order, 1, urgent=True, ends=ends))
    second = asyncio.create_task(turns(places, order, 2, urgent=False, ends=ends))
    third = asyncio.create_task(turns(places, order, 3, urgent=False, ends=ends))
    await begun()
    ends.set()
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert order in ([1, 3], [1, 2, 3])
    async with asyncio.timeout(1):
        await turns(places, order, 4, urgent=False, ends=ends)
