"""What Environments can do: asked at the same time, waited for once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.engine.abilities import WAIT_SECONDS, Abilities
from trimtab.testing.targets import FakeTarget, FakeTargets
from trimtab.testing.time import VirtualClock, run

NAMES = ("a", "b", "c")


class Hands:
    def __init__(self) -> None:
        self.targets = FakeTargets()

    def target(self, environment: str) -> FakeTarget:
        return self.targets.get(environment)


def on_a_clock(story: Callable[[Hands, Abilities, VirtualClock], Coroutine[Any, Any, None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        hands = Hands()
        abilities = Abilities(hands)  # type: ignore[arg-type]
        await story(hands, abilities, clock)
        await abilities.stop()

    run(main)


def test_those_that_answer_are_known_and_those_that_do_not_cost_one_wait_together() -> None:
    async def story(hands: Hands, abilities: Abilities, clock: VirtualClock) -> None:
        for name in NAMES:
            hands.target(name).abilities = (name,)
        hands.target("b").mute.add("capabilities")
        hands.target("c").mute.add("capabilities")
        began = clock.monotonic()
        assert await abilities.of_all(NAMES) == {"a": ("a",)}
        assert clock.monotonic() - began == pytest.approx(WAIT_SECONDS)
        assert await abilities.of_all(NAMES) == {"a": ("a",)}
        assert clock.monotonic() - began == pytest.approx(WAIT_SECONDS)

    on_a_clock(story)


def test_one_that_comes_to_nothing_again_and_again_is_not_waited_for_again() -> None:
    """Until it has answered once; then it is like any other."""

    async def story(hands: Hands, abilities: Abilities, clock: VirtualClock) -> None:
        far = hands.target("a")
        far.mute.add("capabilities")
        with pytest.raises(TransientError, match="has not answered"):
            await abilities.of("a")
        far.down = True
        far.mute.clear()
        await asyncio.sleep(2)
        with pytest.raises(TransientError, match="the target does not answer"):
            await abilities.of("a")
        far.down = False
        far.mute.add("capabilities")
        began = clock.monotonic()
        for _ in range(3):
            with pytest.raises(TransientError, match="has not answered"):
                await abilities.of("a")
        assert clock.monotonic() == began
        far.mute.clear()
        await asyncio.sleep(2)
        assert await abilities.of("a") == ()
        far.mute.add("capabilities")
        with pytest.raises(TransientError):
            await abilities.of("a")
        assert clock.monotonic() - began > WAIT_SECONDS

    on_a_clock(story)


def test_another_target_of_the_same_name_is_asked_anew() -> None:
    """Who waits for the answer of the one before is told, and not cancelled with it."""

    async def story(hands: Hands, abilities: Abilities, _: VirtualClock) -> None:
        hands.target("a").mute.add("capabilities")
        waiting = asyncio.create_task(abilities.of("a"))
        await asyncio.sleep(1)
        del hands.targets.made["a"]
        hands.target("a").abilities = ("new",)
        assert await abilities.of("a") == ("new",)
        with pytest.raises(TransientError, match="another one meanwhile"):
            await waiting

    on_a_clock(story)
