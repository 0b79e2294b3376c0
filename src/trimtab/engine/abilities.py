"""What the targets of Environments can do, where rendering or looking has to know; asked of many at the same time.

One that does not answer is waited for once. Until it has answered, however often the question comes to nothing, its Applications alone are
told so at once, and everybody else's commits go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from trimtab.core.model.errors import TransientError, TrimtabError
from trimtab.ports.target import Target

from .looking import Hands

WAIT_SECONDS = 10.0
"""How long commits wait for an Environment that does not answer: once, and not with each of them."""

log = logging.getLogger(__name__)


class _Asked(msgspec.Struct, frozen=True):
    """``target`` is who was asked: another one under the same name is asked anew."""

    target: Target
    task: asyncio.Task[tuple[str, ...]]


class Abilities:
    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._asked: dict[str, _Asked] = {}
        self._late: set[str] = set()

    async def of(self, environment: str) -> tuple[str, ...]:
        """Raises TransientError when there is no answer in time, and what the target raises."""
        asked = self._ask(environment)
        if environment not in self._late:
            await asyncio.wait([asked.task], timeout=WAIT_SECONDS)
        if not asked.task.done():
            self._late.add(environment)
            raise TransientError(
                f"ask environment {environment} what it can do: it has not answered for {WAIT_SECONDS:.0f} seconds or more",
                remedy="What depends on it is rendered when it answers; everything else goes on",
            )
        if self._asked.get(environment) is asked:
            del self._asked[environment]
        if asked.task.cancelled():
            raise TransientError(f"ask environment {environment} what it can do: its target has become another one meanwhile")
        answer = asked.task.result()
        self._late.discard(environment)
        return answer

    async def of_all(self, environments: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Of those that answer."""
        names = sorted(set(environments))
        answers = await asyncio.gather(*(self._told(name) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def stop(self) -> None:
        tasks = [asked.task for asked in self._asked.values()]
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _told(self, environment: str) -> tuple[str, ...] | None:
        try:
            return await self.of(environment)
        except TrimtabError as error:
            log.warning("%s", error)
            return None

    def _ask(self, environment: str) -> _Asked:
        target = self._hands.target(environment)
        known = self._asked.get(environment)
        if known is not None and known.target is target:
            return known
        if known is not None:
            known.task.cancel()
            self._late.discard(environment)
        task = asyncio.create_task(_answer(target), name=f"abilities of {environment}")
        made = self._asked[environment] = _Asked(target, task)
        return made


async def _answer(target: Target) -> tuple[str, ...]:
    return await target.capabilities()
