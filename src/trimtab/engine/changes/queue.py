"""Merges of one branch go one after the other, and those that wait meanwhile go together, when they hold together.

Each Change has been looked at by itself. A *train* of several is put on one another, and what comes of all is tried as a whole: it must
merge, be readable and renderable, come to the very plans that were looked at one by one, and satisfy the Policies. Then the branch moves
once, over all of them. Of a train that does not hold, the part before the culprit goes (`core/decide/train.py`); the rest is looked at
again, on the branch as it is then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from trimtab.core.decide.train import Train
from trimtab.core.lifecycle.review import Happening, Merge, Merged, NotMerged, Review
from trimtab.core.model.names import Revision
from trimtab.ports.hosting import Hosting, RefUpdate

from .looking import Looker
from .merging import Made, Merger

Branch = tuple[str, str]
AGAIN = NotMerged("others go first", moved=True)


@dataclass
class Waiting:
    """One Change that may be merged as it was looked at."""

    review: Review
    act: Merge
    answer: asyncio.Future[Happening]


@dataclass
class _Line:
    waiting: list[Waiting] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Queue:
    def __init__(self, hosting: Hosting, merger: Merger, looker: Looker) -> None:
        self._hosting, self._merger, self._looker = hosting, merger, looker
        self._lines: dict[Branch, _Line] = defaultdict(_Line)

    async def merge(self, review: Review, act: Merge) -> Happening:
        """What became of it. Raises TrimtabError when the repository cannot be read or written."""
        change = review.change
        line = self._lines[change.repository, change.target]
        one = Waiting(review, act, asyncio.get_running_loop().create_future())
        line.waiting.append(one)
        if line.task is None or line.task.done():
            line.task = asyncio.create_task(self._work(line), name=f"merge into {change.target} of {change.repository}")
        return await one.answer

    async def stop(self) -> None:
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, line: _Line) -> None:
        while line.waiting:
            batch, line.waiting = line.waiting, []
            try:
                answers = await self._batch(batch)
            except asyncio.CancelledError:
                for one in batch:
                    one.answer.cancel()
                raise
            except Exception as error:
                for one in batch:
                    _fail(one, error)
                continue
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    async def _batch(self, batch: Sequence[Waiting]) -> list[Happening]:
        """Those that were looked at on the first one's base go as far as they hold together."""
        base = batch[0].act.candidate.base
        same = [one for one in batch if one.act.candidate.base == base]
        if len(same) == 1:
            answers = {id(same[0]): await self._merger.merge(same[0].review, same[0].act)}
        else:
            answers = await self._train(base, same)
        return [answers.get(id(one), AGAIN) for one in batch]

    async def _train(self, base: Revision, waiting: Sequence[Waiting]) -> dict[int, Happening]:
        stack = await self._stack(base, waiting)
        train = Train.of(max(len(stack), 1))
        while length := train.trial:
            last = stack[length - 1]
            wrong = await self._looker.combination([one.review for one in waiting[:length]], base, last.tree)
            train = train.tried(length, held=not wrong)
        if train.holds == 1 or not stack:
            return {id(waiting[0]): await self._merger.merge(waiting[0].review, waiting[0].act)}
        change = waiting[0].review.change
        update = RefUpdate(f"refs/heads/{change.target}", base, stack[train.holds - 1].revision)
        if not await self._hosting.update_refs(change.repository, [update]):
            return {}
        return {id(one): Merged(made.revision) for one, made in zip(waiting, stack[: train.holds], strict=False)}

    async def _stack(self, base: Revision, waiting: Sequence[Waiting]) -> list[Made]:
        """Each on top of the one before, as far as they merge."""
        stack: list[Made] = []
        onto = base
        for one in waiting:
            made = await self._merger.make(one.review, one.act, onto=onto)
            if not isinstance(made, Made):
                break
            stack.append(made)
            onto = made.revision
        return stack


def _fail(one: Waiting, error: Exception) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)
