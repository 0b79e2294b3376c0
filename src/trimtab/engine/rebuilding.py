"""Asks each Environment once what there is ours, in case the record has lost it; all of them at the same time.

An Environment that does not answer is asked again with the next commit, and holds up no other: it is waited for once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from trimtab.core.model.errors import TrimtabError

from .looking import Hands

WAIT_SECONDS = 10.0
"""How long the first commits of a process wait for an Environment that does not answer."""

log = logging.getLogger(__name__)


class Rebuilding:
    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waited: set[str] = set()

    def begin(self, environments: Iterable[str]) -> list[str]:
        """Ask those that have not answered yet, and return them; what else is to be done can be done meanwhile."""
        wanted = [name for name in sorted(environments) if not self._hands.rebuilt(name)]
        for name in wanted:
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._one(name), name=f"rebuild {name}")
        return wanted

    async def ask(self, environments: Iterable[str]) -> bool:
        """True while one that was not waited for is still to answer: what it owns is not known yet."""
        wanted = self.begin(environments)
        new = [self._tasks[name] for name in wanted if name not in self._waited]
        self._waited.update(wanted)
        if new:
            await asyncio.wait(new, timeout=WAIT_SECONDS)
        for name in [name for name, task in self._tasks.items() if task.done()]:
            self._tasks.pop(name).result()
        return bool(self._tasks)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, environment: str) -> None:
        try:
            await self._hands.rebuild(environment)
        except TrimtabError as error:
            log.warning("look at environment %s: %s", environment, error)
