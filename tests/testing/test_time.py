"""Virtual time."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.testing.time import (
    GROUP,
    START,
    Deadlock,
    Livelock,
    OutOfTime,
    RealIO,
    SeededChance,
    VirtualClock,
    run,
    running,
)


def test_a_day_passes_at_once() -> None:
    """Sleeping costs virtual time only, and returns the result of the main task."""

    async def main(clock: VirtualClock) -> float:
        await clock.sleep(80_000)
        return clock.monotonic()

    began = time.perf_counter()
    assert run(main) == pytest.approx(80_000)
    assert time.perf_counter() - began < 1


def test_timers_fire_in_order_of_their_due_time() -> None:
    """Whatever the order in which tasks start, they continue in the order in which they are due."""
    order: list[float] = []

    async def one(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(seconds)

    async def main(clock: VirtualClock) -> None:
        await asyncio.gather(*(one(seconds) for seconds in (3, 1, 2, 0.5)))

    run(main)
    assert order == [0.5, 1, 2, 3]


def test_time_stands_still_while_something_is_ready() -> None:
    """Work that does not wait takes no virtual time."""

    async def main(clock: VirtualClock) -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return clock.monotonic()

    assert run(main) == 0


def test_the_wall_clock_jumps_and_monotonic_time_does_not() -> None:
    """`jump` moves `now`, forward or back, and neither due times nor `monotonic`."""

    async def main(clock: VirtualClock) -> tuple[datetime, datetime, float]:
        await clock.sleep(10)
        before = clock.now()
        clock.jump(-3600)
        sleeper = asyncio.create_task(clock.sleep(5))
        clock.jump(7200)
        await sleeper
        return before, clock.now(), clock.monotonic()

    before, after, monotonic = run(main, start=datetime(2031, 5, 1, tzinfo=UTC))
    assert before == datetime(2031, 5, 1, 0, 0, 10, tzinfo=UTC)
    assert after == before + timedelta(seconds=3600 + 5)
    assert monotonic == pytest.approx(15)


def test_two_machines_have_clocks_of_their_own() -> None:
    """A jump of one clock leaves another one alone."""

    async def main(clock: VirtualClock) -> tuple[datetime, datetime]:
        other = VirtualClock(start=START)
        other.jump(60)
        return clock.now(), other.now()

    assert run(main) == (START, START + timedelta(seconds=60))


def test_a_deadlock_names_the_tasks_that_wait() -> None:
    """Nothing due and nothing ready is an error at once, with the name and place of each task."""

    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async def main(clock: VirtualClock) -> None:
        other = asyncio.create_task(waits_for_ever(), name="the watcher")
        await asyncio.Event().wait()
        await other

    with pytest.raises(Deadlock, match=r"task-1 in Event.wait.*the watcher in Event.wait"):
        run(main)


def test_a_run_that_takes_too_long_ends() -> None:
    """`seconds_max` bounds virtual time."""

    async def main(clock: VirtualClock) -> None:
        while True:
            await clock.sleep(7)

    with pytest.raises(OutOfTime, match="100 virtual seconds"):
        run(main, seconds_max=100)


def test_a_spinning_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that never lets time pass is found out."""
    monkeypatch.setattr("trimtab.testing.time.TURNS_MAX", 1_000)

    async def main(clock: VirtualClock) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="time stands still"):
        run(main)


async def _in_a_thread() -> None:
    await asyncio.to_thread(print)


async def _over_a_socket() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def _by_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


@pytest.mark.parametrize("leave", [_in_a_thread, _over_a_socket, _by_a_process])
def test_real_io_is_refused(leave: object) -> None:
    """Threads, sockets and processes raise, with what to do."""

    async def main(clock: VirtualClock) -> None:
        await leave()  # type: ignore[operator]

    with pytest.raises(RealIO, match="Use a fake"):
        run(main)


def test_what_is_left_is_cancelled_in_the_order_of_its_start() -> None:
    """At the end the tasks that still run clean up, in virtual time, one after the other as they were started."""
    ended: list[int] = []

    async def stays(number: int) -> None:
        try:
            await asyncio.sleep(10_000)
        finally:
            await asyncio.sleep(number / 10)
            ended.append(number)

    async def main(clock: VirtualClock) -> None:
        for number in range(5):
            asyncio.create_task(stays(number))  # noqa: RUF006 - the loop keeps it
        await clock.sleep(1)

    run(main)
    assert ended == [0, 1, 2, 3, 4]


def test_a_group_is_killed_and_the_others_live() -> None:
    """A simulated process is a group: its tasks and theirs go, nobody else's."""
    alive: list[str] = []

    async def child(name: str) -> None:
        await asyncio.sleep(5)
        alive.append(name)

    async def process(name: str) -> None:
        GROUP.set(name)
        await asyncio.gather(asyncio.create_task(child(f"{name}-child")), asyncio.sleep(5))

    async def main(clock: VirtualClock) -> list[str]:
        asyncio.create_task(process("a"))  # noqa: RUF006
        asyncio.create_task(process("b"))  # noqa: RUF006
        await clock.sleep(1)
        await running().kill("a")
        await clock.sleep(10)
        return [task.get_name() for task in running().pending("a")]

    assert run(main) == []
    assert alive == ["b-child"]


def test_a_failure_of_the_main_task_gets_out() -> None:
    """What the main coroutine raises, `run` raises."""

    async def main(clock: VirtualClock) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(main)


def test_chance_repeats_itself() -> None:
    """Equal seeds give equal numbers and tokens; tokens have 32 hexadecimal characters."""
    one, other = (SeededChance(random.Random("seed")) for _ in range(2))
    assert [one.uniform(1, 2) for _ in range(5)] == [other.uniform(1, 2) for _ in range(5)]
    token = one.token()
    assert token == other.token()
    assert len(token) == 32
    assert int(token, 16) >= 0


STORY = """
import asyncio, random, sys
from trimtab.testing.faults import Crash, Faults, Profile
from trimtab.testing.time import GROUP, run
from trimtab.core.model.errors import TransientError

async def main(clock):
    faults = Faults(random.Random("story"), Profile(crash=0.02))
    async def worker(number):
        GROUP.set(f"engine-{number % 3}")
        for turn in range(20):
            try:
                await faults.point("target.apply:before", f"{number}")
                await faults.point("target.apply:after", f"{number}")
            except TransientError:
                pass
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(worker(number))
    except BaseExceptionGroup as errors:
        faults.note("end", repr(errors.exceptions))
    done, _ = await asyncio.wait({asyncio.ensure_future(asyncio.sleep(number % 2)) for number in range(9)})
    faults.note("order", str([task.get_name() for task in done]))
    for name in {"a", "b", "c"}:
        pass
    return list(faults.trace)

print("\\n".join(run(main)))
"""


def test_the_hash_seed_changes_nothing() -> None:
    """A run with faults, task groups and sets of tasks leaves the same trace in processes with different hash seeds."""
    traces = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, env=environment, cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        traces.add(done.stdout)
    assert len(traces) == 1
    assert "crash" in traces.pop()
