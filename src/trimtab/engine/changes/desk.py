"""Runs the lifecycle of every open Change: for each at most one task, which ends when there is nothing to do.

A turn is: happening → `step` → the write of state and record → the act (look, merge) → its result is the next happening. What people
ask for is answered once it is stored, or with why it was not taken. Looks are bounded in number: those that somebody waits for, or that
somebody wants merged, come first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from trimtab.core.lifecycle.change import step
from trimtab.core.lifecycle.review import Act, Decision, Happening, Look, Merge, Merged, Moved, Rest, Review, Stumbled
from trimtab.core.model.change import Stage
from trimtab.core.model.errors import Refused, TransientError, TrimtabError
from trimtab.core.model.names import Key
from trimtab.engine.journal import Journal
from trimtab.ports.clock import Clock
from trimtab.ports.store import Writes

from .places import Places

LOOKS_AT_ONCE_MAX = 4
STORE_RETRY_SECONDS = 1.0
TIMER_SECONDS_MAX = 3_600.0

log = logging.getLogger(__name__)

Lookers = Callable[[Review], Awaitable[Happening]]
Mergers = Callable[[Review, Merge], Awaitable[Happening]]
Clears = Callable[[Review], Writes]
"""What a merge means for the Environments: written together with the state that says merged."""


@dataclass
class _Case:
    """What waits for one Change. ``answers`` are told once their happening is stored."""

    inbox: deque[tuple[Happening, asyncio.Future[Decision] | None]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    due: asyncio.Task[None] | None = None


class Desk:
    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        look: Lookers,
        merge: Mergers,
        cleared: Clears,
        merged: Callable[[Review], None],
        reviews: dict[int, Review],
    ) -> None:
        self.reviews = reviews
        """The open ones, and those that have ended since the start."""
        self._journal = journal
        self._clock = clock
        self._look, self._merge, self._cleared, self._merged = look, merge, cleared, merged
        self._cases: dict[int, _Case] = defaultdict(_Case)
        self._places = Places(LOOKS_AT_ONCE_MAX)
        self._watched: Counter[int] = Counter()
        self._changed = asyncio.Condition()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Raises Refused once another holds the Lease."""

    # --- what others may ask ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Look at all that is open: nobody knows what moved while nobody looked."""
        self.moved(self._numbers())

    async def begin(self, decision: Decision) -> Review:
        """A Change that did not exist before: store it, then look. Raises TransientError or Refused."""
        await self._journal.write(Writes(events=decision.events, reviews=(decision.review,)))
        return self.take_up(decision.review)

    def take_up(self, review: Review) -> Review:
        """One that is stored, and that we did not know of: the answer to its first write may have been lost."""
        self.reviews[review.change.number] = review
        self._post(review.change.number, Moved(), None)
        return review

    async def ask(self, number: int, happening: Happening) -> Review:
        """Something that a person does. Returns the review once it is stored; raises Refused when it was not taken."""
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._post(number, happening, answer)
        decision = await answer
        if decision.refused:
            raise Refused(f"change {number}: {decision.refused}", remedy=f"See: trimtab change show {number}")
        return decision.review

    def moved(self, numbers: Iterable[int]) -> None:
        """Look again at these: something that they depend on may have moved."""
        for number in numbers:
            case = self._cases[number]
            if not any(isinstance(happening, Moved) for happening, _ in case.inbox):
                self._post(number, Moved(), None)

    def target_moved(self, repository: str) -> None:
        self.moved(number for number in self._numbers() if self.reviews[number].change.repository == repository)

    def world_moved(self, key: Key) -> None:
        """What runs of ``key`` has changed: plans that speak of it may be others now."""
        self.moved(number for number in self._numbers() if _concerns(self.reviews[number], key))

    async def settled(self, number: int, *, since: datetime, seconds: float) -> Review:
        """The review once it has been looked at after ``since``, or as it is when the time is over or looking fails."""

        def done() -> bool:
            review = self.reviews[number]
            looked = review.looked is not None and review.looked >= since and review.looked_at_head
            return looked or bool(review.attempt) or review.change.stage != Stage.OPEN

        async with self._changed:
            waiting = asyncio.ensure_future(self._changed.wait_for(done))
            timer = asyncio.ensure_future(self._clock.sleep(seconds))
            self._watched[number] += 1
            self._places.hurry(number)
            try:
                await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._watched[number] -= 1
                timer.cancel()
                waiting.cancel()
                await asyncio.gather(waiting, timer, return_exceptions=True)
        return self.reviews[number]

    def lose(self, refused: Refused) -> None:
        """Another holds the Lease: the end of this desk."""
        if not self.lost.done():
            self.lost.set_exception(refused)

    @property
    def busy(self) -> bool:
        return any(case.task is not None for case in self._cases.values())

    async def stop(self) -> None:
        tasks = [task for case in self._cases.values() for task in (case.task, case.due) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for case in self._cases.values():
            for _, answer in case.inbox:
                _unanswered(answer)
        if self.lost.done() and not self.lost.cancelled():
            self.lost.exception()

    # --- one change ---------------------------------------------------------------------------------------------------------

    def _post(self, number: int, happening: Happening, answer: asyncio.Future[Decision] | None) -> None:
        case = self._cases[number]
        case.inbox.append((happening, answer))
        if not isinstance(happening, Moved):
            self._places.hurry(number)
        if case.task is None:
            case.task = asyncio.create_task(self._run(number, case), name=f"change {number}")

    async def _run(self, number: int, case: _Case) -> None:
        try:
            while case.inbox:
                happening, answer = case.inbox.popleft()
                try:
                    await self._turn(number, happening, answer)
                finally:
                    _unanswered(answer)
        except Refused as refused:
            self.lose(refused)
        finally:
            case.task = None

    async def _turn(self, number: int, happening: Happening | None, answer: asyncio.Future[Decision] | None) -> None:
        """Until there is nothing to do, or somebody says something new: that goes first."""
        case = self._cases[number]
        while happening is not None:
            decision = step(self.reviews[number], happening, self._clock.now())
            await self._store(number, decision, merged=isinstance(happening, Merged))
            if answer is not None and not answer.done():
                answer.set_result(decision)
            answer = None
            if case.inbox and isinstance(decision.act, Look):
                self.moved((number,))  # what was said meanwhile goes first; the look is owed all the same
                return
            happening = await self._perform(number, decision.act)

    async def _store(self, number: int, decision: Decision, *, merged: bool) -> None:
        """Until it is stored: what was decided is not decided again, as it may have been a person's."""
        before = self.reviews[number]
        # That it was looked at once more, and all is as it was, is nothing to be kept.
        if msgspec.structs.replace(decision.review, looked=before.looked) != before or decision.events:
            writes = self._cleared(decision.review) if merged and decision.review.change.stage == Stage.MERGED else Writes()
            events = (*decision.events, *writes.events)
            while True:
                try:
                    await self._journal.write(Writes(events=events, reviews=(decision.review,), documents=writes.documents))
                    break
                except TransientError as error:
                    log.warning("record change %s: %s", number, error)
                    await self._clock.sleep(STORE_RETRY_SECONDS)
                    if decision.review != before and await self._is_stored(decision.review):
                        break
        async with self._changed:
            self.reviews[number] = decision.review
            self._changed.notify_all()
        if merged:
            self._merged(decision.review)

    async def _is_stored(self, review: Review) -> bool:
        """The answer may have been lost alone: then nothing is told twice."""
        try:
            return await self._journal.store.review(review.change.number) == review
        except TransientError:
            return False

    async def _perform(self, number: int, act: Act) -> Happening | None:
        review = self.reviews[number]
        match act:
            case Look():
                async with self._places.place(number, urgent=self._is_urgent(review)):
                    return await self._guarded(number, self._look(review))
            case Merge():
                return await self._guarded(number, self._merge(review, act))
            case Rest():
                self._rest(number, act.due)
                return None

    def _is_urgent(self, review: Review) -> bool:
        """Somebody waits for what is found, or will not get what they want before."""
        number = review.change.number
        asked = any(not isinstance(happening, Moved) for happening, _ in self._cases[number].inbox)
        return review.wish is not None or review.looked is None or self._watched[number] > 0 or asked

    async def _guarded(self, number: int, doing: Awaitable[Happening]) -> Happening:
        """Expected trouble is tried again; an error of ours stops nobody else."""
        try:
            return await doing
        except Refused:
            raise
        except TrimtabError as error:
            return Stumbled(str(error))
        except Exception as error:
            log.exception("change %s", number)
            return Stumbled(f"an error in Trimtab itself: {type(error).__name__}: {error}")

    def _rest(self, number: int, due: datetime | None) -> None:
        if due is None:
            return
        seconds = min(max((due - self._clock.now()).total_seconds(), 0.0), TIMER_SECONDS_MAX)
        case = self._cases[number]
        if case.due is not None:
            case.due.cancel()
        case.due = asyncio.create_task(self._later(number, seconds), name=f"change {number} due")

    async def _later(self, number: int, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self.moved((number,))

    def _numbers(self) -> list[int]:
        """The open ones: first those that somebody wants merged, in the order in which they asked, then by number."""
        still = [review for review in self.reviews.values() if review.change.stage == Stage.OPEN]
        wanted = sorted((one for one in still if one.wish is not None), key=lambda one: (_asked(one), one.change.number))
        others = sorted((one for one in still if one.wish is None), key=lambda one: one.change.number)
        return [one.change.number for one in (*wanted, *others)]


def _asked(review: Review) -> datetime:
    assert review.wish is not None, "only those that are wanted are ordered by it"
    return review.wish.time


def _concerns(review: Review, key: Key) -> bool:
    return any(
        plan.environment == key.environment and any(one.application == key.application for one in plan.planned)
        for plan in review.plans
    )


def _unanswered(answer: asyncio.Future[Decision] | None) -> None:
    """Nobody waits for ever: who has no answer when the desk ends is told so."""
    if answer is not None and not answer.done():
        answer.set_exception(TransientError("the server is ending", remedy="Ask again when it has started"))
        answer.exception()  # whoever asked may have gone
