"""Health by users' rules, found in the background: a look never waits for a rule, and each version of an object is asked about once.

In comes an object that the watch has told of, as the tables judge it; out goes the same with what the rule said of this very version.
Where that is not known yet, what was said of it before holds while nobody has written more than its status; else it is on its way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from trimtab.core.model.health import Health, HealthStatus

from .objects import Object
from .rules import Rules

if TYPE_CHECKING:
    from .known import Known

AT_ONCE_MAX = 64
VERDICTS_MAX = 50_000
WAITING = Health(HealthStatus.PROGRESSING, "its health rule is being asked")

log = logging.getLogger(__name__)

Tell = Callable[["Known", Health], None]


@dataclass(frozen=True)
class _Verdict:
    version: str
    edition: str
    health: Health


@dataclass(frozen=True)
class _Question:
    found: Object
    known: Known
    tell: Tell


class Judging:
    """``evaluations`` counts the objects that rules were asked about."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._verdicts: OrderedDict[str, _Verdict] = OrderedDict()
        self._waiting: dict[str, _Question] = {}
        self._task: asyncio.Task[None] | None = None
        self._checked = False
        self.evaluations = 0

    def concerns(self, group: str, kind: str) -> bool:
        return self._rules.of(group, kind) is not None

    def judged(self, found: Object, known: Known, tell: Tell) -> Known:
        """``known`` of ``found`` with the health that its rule gives it; ``tell`` is called with it once that is known."""
        if not self.concerns(known.ref.group, known.ref.kind) or known.deleting:
            return known
        verdict = self._verdicts.get(known.uid)
        if verdict is not None and verdict.version == found.resource_version:
            return msgspec.structs.replace(known, health=verdict.health)
        self._waiting[known.uid] = _Question(found.keep(), known, tell)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="health rules")
        same = verdict is not None and verdict.edition == known.edition
        return msgspec.structs.replace(known, health=verdict.health if verdict is not None and same else WAITING)

    def forget(self, uid: str) -> None:
        self._verdicts.pop(uid, None)
        self._waiting.pop(uid, None)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._rules.close()

    async def _work(self) -> None:
        """Ends when nothing waits; the process stays, for the next ones."""
        try:
            if not self._checked:
                await self._rules.check()
                self._checked = True
            while self._waiting:
                some = list(self._waiting.items())[:AT_ONCE_MAX]
                for uid, _ in some:
                    del self._waiting[uid]
                await self._ask([question for _, question in some])
        except Exception:
            log.exception("ask the health rules")

    async def _ask(self, questions: list[_Question]) -> None:
        self.evaluations += len(questions)
        answers = await self._rules.assess_all([question.found.body() for question in questions])
        for question, answer in zip(questions, answers, strict=True):
            known = question.known
            health = known.health if answer is None else answer
            self._verdicts[known.uid] = _Verdict(question.found.resource_version, known.edition, health)
            self._verdicts.move_to_end(known.uid)
            question.tell(known, health)
        while len(self._verdicts) > VERDICTS_MAX:
            self._verdicts.popitem(last=False)
