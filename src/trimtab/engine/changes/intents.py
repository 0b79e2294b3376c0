"""What pushes will have meant, once their refs have moved: written down before, and owed until it is carried out.

It is carried out once, by whoever moved the refs, or, where that one crashed, failed or never came back, by the next who looks. The refs
tell whether they moved; what they will not move for any more is forgotten.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from trimtab.core.lifecycle.change import opened
from trimtab.core.lifecycle.review import Pushed, Review
from trimtab.core.model.change import Change, PatchSet, Stage
from trimtab.core.model.errors import Refused
from trimtab.core.model.event import Event
from trimtab.core.model.names import Revision
from trimtab.engine.journal import Journal
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Hosting
from trimtab.ports.store import Writes

from .desk import Desk

CHANGES = "refs/changes/"
INTENT = "intent/"
OWED_SECONDS_MAX = 3_600.0
"""A push whose refs have not moved for so long will not move them any more."""


class Intent(msgspec.Struct, frozen=True):
    """What a push will have meant once ``ref`` is at ``head``: patch set ``patch_set`` of ``change``, or, for an emergency, a new head."""

    change: int
    patch_set: int
    repository: str
    target: str
    source: str
    ref: str
    head: Revision
    who: str
    time: datetime
    title: str = ""
    description: str = ""
    draft: bool = False
    emergency: str = ""

    @property
    def kept(self) -> str:
        """The ref where the patch set stays, whatever becomes of its branch."""
        return f"{CHANGES}{self.change}/{self.patch_set}"

    @property
    def document(self) -> str:
        return f"{INTENT}{self.change}/{self.patch_set}"


class Intents:
    """What is owed. ``number`` is the highest number of a Change so far."""

    def __init__(
        self,
        hosting: Hosting,
        desk: Desk,
        journal: Journal,
        clock: Clock,
        *,
        number: int,
        emergency: Callable[[Revision], tuple[str, bytes]],
    ) -> None:
        """``emergency`` lets a Revision in past approvals, and returns the document that remembers it."""
        self._hosting, self._desk, self._journal, self._clock = hosting, desk, journal, clock
        self._number, self._emergency = number, emergency
        self._owed: dict[str, Intent] = {}
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    async def restore(self, documents: dict[str, bytes]) -> None:
        """At the start: what was owed then is owed still, and no number is given twice."""
        for repository in await self._hosting.list():
            for ref in await self._hosting.refs(repository.name, CHANGES):
                number = ref.removeprefix(CHANGES).partition("/")[0]
                self._number = max(self._number, int(number) if number.isdecimal() else 0)
        owed = {name: msgspec.json.decode(body, type=Intent) for name, body in documents.items() if name.startswith(INTENT)}
        self._number = max([self._number, *(intent.change for intent in owed.values())])
        self._owed.update(owed)
        await self.settle()

    @property
    def owes(self) -> bool:
        return bool(self._owed)

    async def remember(self, intents: list[Intent]) -> None:
        self._owed.update((one.document, one) for one in intents)
        documents = tuple((one.document, msgspec.json.encode(one)) for one in intents)
        await self._journal.write(Writes(documents=documents))

    async def settle(self) -> None:
        """Carry out what refs have moved for, and forget what they will not move for any more."""
        for _, intent in sorted(self._owed.items(), key=lambda item: (item[1].change, item[1].patch_set)):
            refs = await self._hosting.refs(intent.repository, CHANGES)
            if refs.get(intent.kept) == intent.head:
                await self.carry_out(intent)
                await self.forget(intent)
            elif self._clock.now() - intent.time > timedelta(seconds=OWED_SECONDS_MAX):
                await self.forget(intent)

    async def carry_out(self, intent: Intent) -> Review:
        """Once, whoever comes to it. Raises TransientError when it cannot be stored."""
        async with self._turns[intent.change]:
            known = self._desk.reviews.get(intent.change)
            if known is None:
                known = await self._journal.store.review(intent.change)
                if known is None:
                    return await self._begin(intent)
                if known.change.stage != Stage.OPEN:
                    return known
                known = self._desk.take_up(known)
            return await self._go_on(known, intent)

    async def _go_on(self, known: Review, intent: Intent) -> Review:
        if known.change.patch_sets[-1].number >= intent.patch_set:
            return known
        try:
            return await self._desk.ask(intent.change, Pushed(intent.head, intent.who))
        except Refused:
            return self._desk.reviews[intent.change]  # it has ended meanwhile

    async def _begin(self, intent: Intent) -> Review:
        patch_set = PatchSet(1, intent.head, intent.who, intent.time)
        change = Change(
            intent.change,
            intent.repository,
            intent.target,
            intent.source,
            intent.title or f"Change {intent.change}",
            intent.who,
            (patch_set,),
            intent.time,
            intent.description,
            intent.draft,
            emergency=intent.emergency,
        )
        decision = opened(change, self._clock.now())
        if intent.emergency:
            await self._journal.write(Writes(documents=(self._emergency(intent.head),)))
            decision = msgspec.structs.replace(decision, events=(*decision.events, _alarm(intent)))
        return await self._desk.begin(decision)

    async def forget(self, intent: Intent) -> None:
        self._owed.pop(intent.document, None)
        await self._journal.write(Writes(documents=((intent.document, None),)))


def _alarm(intent: Intent) -> Event:
    return Event(
        "change.emergency",
        intent.time,
        f"EMERGENCY: {intent.who} pushed {intent.head[:12]} to {intent.target} past review: {intent.emergency}",
        revision=intent.head,
        data={"change": intent.change, "repository": intent.repository, "who": intent.who, "reason": intent.emergency},
    )
