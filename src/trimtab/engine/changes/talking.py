"""Comments on Changes: said, answered, resolved. Each is on the record, and on the trail of its Change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from trimtab.core.model.change import Change, Comment
from trimtab.core.model.errors import NotFound, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.text import one_line, printable
from trimtab.engine.journal import Journal
from trimtab.ports.clock import Clock
from trimtab.ports.store import Writes

COMMENTS_MAX = 1_000
TEXT_CHARACTERS_MAX = 20_000
SHOWN_IN_EVENT_CHARACTERS = 120


class Talk:
    """``moved`` is told of a Change whose threads are others now: an open one may stand in the way of a merge."""

    def __init__(self, journal: Journal, clock: Clock, moved: Callable[[int], None]) -> None:
        self._journal, self._clock, self._moved = journal, clock, moved
        self._turn = asyncio.Lock()  # numbers are given one after the other

    async def of(self, change: int) -> list[Comment]:
        return await self._journal.store.comments(change)

    async def say(self, change: Change, said: Comment, *, answers: int = 0) -> list[Comment]:
        """All comments, with what was ``said`` as the last. ``answers`` is the number of a comment; its thread is open again."""
        text = printable(said.text, characters_max=TEXT_CHARACTERS_MAX).strip()
        if not text:
            raise UserError(f"comment on change {change.number}: there is no text", remedy="Say something")
        async with self._turn:
            known = await self.of(change.number)
            if len(known) >= COMMENTS_MAX:
                raise UserError(f"comment on change {change.number}: it has {COMMENTS_MAX}", remedy="Go on in another Change")
            number = len(known) + 1
            thread = _find(known, change, answers).thread if answers else number
            said = msgspec.structs.replace(
                said, change=change.number, number=number, thread=thread, time=self._clock.now(), text=text
            )
            written = [said]
            first = known[thread - 1] if answers else said
            if first.resolved:
                written.append(msgspec.structs.replace(first, resolved=False))
            await self._write(change, "change.commented", f"{said.who} commented: {_shown(text)}", said, written)
        return await self.of(change.number)

    async def resolve(self, change: Change, number: int, who: str, *, resolved: bool) -> list[Comment]:
        """The thread that comment ``number`` is in is settled, or open again."""
        async with self._turn:
            known = await self.of(change.number)
            first = known[_find(known, change, number).thread - 1]
            if first.resolved != resolved:
                said = "resolved" if resolved else "reopened"
                first = msgspec.structs.replace(first, resolved=resolved)
                await self._write(
                    change,
                    "change.resolved",
                    f"{who} {said} thread {first.number}",
                    msgspec.structs.replace(first, who=who),
                    [first],
                )
        return await self.of(change.number)

    async def _write(self, change: Change, kind: str, message: str, about: Comment, written: list[Comment]) -> None:
        data = {
            "change": change.number,
            "repository": change.repository,
            "who": about.who,
            "comment": about.number,
            "thread": about.thread,
        }
        event = Event(kind, self._clock.now(), message, revision=change.head, data=data)
        await self._journal.write(Writes(events=(event,), comments=tuple(written)))
        self._moved(change.number)


def _find(known: list[Comment], change: Change, number: int) -> Comment:
    found = next((one for one in known if one.number == number), None)
    if found is None:
        raise NotFound(f"change {change.number} has no comment {number}", remedy=f"See: trimtab change show {change.number}")
    return found


def _shown(text: str) -> str:
    return one_line(text, characters_max=SHOWN_IN_EVENT_CHARACTERS)
