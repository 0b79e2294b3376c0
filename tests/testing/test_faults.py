"""Faults by seed."""

from __future__ import annotations

import asyncio
import random

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.testing.faults import CALM, Crash, Fault, Faults, Profile
from trimtab.testing.time import GROUP, VirtualClock, run

WILD = Profile(failed=0.2, lost=0.2, crash=0.0, dropped=0.5)


def faults(profile: Profile = CALM, seed: str = "seed") -> Faults:
    return Faults(random.Random(seed), profile)


async def _calls(chosen: Faults, times: int) -> list[str]:
    heard = []
    for _ in range(times):
        try:
            await chosen.point("target.apply:before")
            await chosen.point("target.apply:after")
        except TransientError as error:
            heard.append(str(error))
        else:
            heard.append("ok")
    return heard


def test_equal_seeds_do_equal_harm() -> None:
    """The trace, the counts and the answers follow from the seed; another seed does other things."""

    async def main(clock: VirtualClock, seed: str) -> tuple[list[str], list[str]]:
        chosen = faults(WILD, seed)
        return await _calls(chosen, 200), list(chosen.trace)

    first, again, other = (run(lambda clock, seed=seed: main(clock, seed)) for seed in ("a", "a", "b"))
    assert first == again
    assert first != other
    assert len(set(first[0])) == 3


def test_calls_take_time() -> None:
    """A point before an effect waits for a virtual delay within the profile; one after it does not."""

    async def main(clock: VirtualClock) -> list[float]:
        chosen = faults(Profile(failed=0, lost=0, crash=0, slow=0, delay_seconds=2))
        times = []
        for name in ("git.fetch", "git.fetch:after"):
            began = clock.monotonic()
            await chosen.point(name)
            times.append(clock.monotonic() - began)
        return times

    before, after = run(main)
    assert 0 < before <= 2
    assert after == 0


def test_nothing_fails_once_they_are_stopped() -> None:
    """After `stop` calls still take time, but every one is answered and every wake arrives."""

    async def main(clock: VirtualClock) -> tuple[list[str], bool, float]:
        chosen = faults(WILD)
        chosen.plan("target.apply:after", Fault.LOST)
        chosen.stop()
        return await _calls(chosen, 50), any(chosen.drops("wake") for _ in range(50)), clock.monotonic()

    heard, dropped, passed = run(main)
    assert heard == ["ok"] * 50
    assert not dropped
    assert passed > 0


def test_a_fault_can_be_set_by_hand() -> None:
    """`plan` fails one chosen call, and only that."""

    async def main(clock: VirtualClock) -> tuple[list[str], int]:
        chosen = faults()
        chosen.plan("target.apply:before", Fault.FAILED, skip=1)
        return await _calls(chosen, 4), chosen.counts["target.apply:before failed"]

    heard, count = run(main)
    assert heard == ["ok", "target.apply: no connection", "ok", "ok"]
    assert count == 1


def test_a_dead_process_has_no_effect_any_more() -> None:
    """After a crash each further point of that process raises Crash, in clean-up code too; other processes go on."""

    async def main(clock: VirtualClock) -> list[str]:
        chosen = faults()
        heard: list[str] = []

        async def process(name: str) -> None:
            GROUP.set(name)
            try:
                await chosen.point("store.write:after")
                heard.append(f"{name} wrote")
            except Exception:
                heard.append("a handler of errors must not see a crash")
            finally:
                try:
                    await chosen.point("target.remove:before")
                    heard.append(f"{name} cleaned up")
                except Crash:
                    heard.append(f"{name} is dead")

        chosen.plan("store.write:after", Fault.CRASH)
        one = asyncio.create_task(process("one"))
        two = asyncio.create_task(process("two"))
        await asyncio.wait([one, two])
        assert isinstance(one.exception(), Crash)
        assert chosen.crashed == {"one"}
        assert chosen.crashes.is_set()
        return heard

    assert run(main) == ["one is dead", "two wrote", "two cleaned up"]


def test_only_writes_crash() -> None:
    """By chance a process dies after a write, never elsewhere: in between it would be the same as before the next write."""

    async def main(clock: VirtualClock) -> None:
        chosen = faults(Profile(failed=0, lost=0, crash=1))
        await chosen.point("git.fetch:after")
        await chosen.point("target.observe:after")
        with pytest.raises(Crash):
            await chosen.point("target.remove:after")

    run(main)
