"""Everything about Changes under one epoch of the Lease, joined: desk, looker, merger, gate; and what wakes them.

A look waits until the engine has read what the target branch holds: a Change is never judged by rules, or planned against contents, of
before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from trimtab.core.lifecycle.review import Happening, Review
from trimtab.core.model.change import Stage
from trimtab.core.model.clearance import Clearance
from trimtab.core.model.errors import Refused, TransientError, TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key, Revision
from trimtab.engine.following import Moved
from trimtab.engine.journal import Journal
from trimtab.engine.looking import Hands
from trimtab.engine.people import Directories
from trimtab.engine.sources import Place
from trimtab.engine.supposing import Supposing
from trimtab.engine.vouching import Voucher
from trimtab.engine.world import World
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Hosting
from trimtab.ports.store import Loaded, Writes

from .approved import ApprovedPlans
from .desk import Desk
from .looking import Looker
from .merging import Merger
from .policing import Policing
from .previewing import Previewer
from .queue import Queue
from .receiving import Gate
from .signing import Attestor
from .surroundings import Surroundings
from .talking import Talk

CATCH_UP_SECONDS_MAX = 10.0
CLEARANCES_MAX = 20
"""Of one Key; an older one is of content that nobody will deploy as it was planned then."""
CLEARANCE, EMERGENCY = "clearance/", "emergency/"
WATCH_RETRY_SECONDS = 1.0
SETTLE_SECONDS = 5.0

log = logging.getLogger(__name__)


class Office:
    """``link`` is followed by the number of a Change; ``directories`` may be shared with whoever else asks for rights."""

    def __init__(
        self,
        world: World,
        supposing: Supposing,
        hands: Hands,
        hosting: Hosting,
        policing: Policing,
        journal: Journal,
        clock: Clock,
        loaded: Loaded,
        *,
        voucher: Voucher,
        directories: Directories,
        link: str,
        wake: Callable[[Key], None],
    ) -> None:
        self._wake = wake
        self.world, self.hosting, self._clock = world, hosting, clock
        self._documents = {name: body for name, body in loaded.documents.items() if name.startswith("intent/")}
        _restore(world, loaded.documents)
        self.surroundings = Surroundings(world, lambda: directories.of(world.configuration), {})
        previewer = Previewer(world, supposing, hands)
        reviews: dict[int, Review] = {review.change.number: review for review in loaded.reviews}
        attestor = Attestor(hosting, voucher)
        self.looker = Looker(hosting, previewer, self.surroundings, policing, attestor, journal.store, clock, reviews)
        merger = Merger(hosting, self.surroundings, attestor, clock, world.installation)
        self.queue = Queue(hosting, merger, self.looker)
        self.desk = Desk(
            journal, clock, look=self._look, merge=self.queue.merge, cleared=self._cleared, merged=self._merged, reviews=reviews
        )
        self.gate = Gate(
            hosting, self.desk, self.surroundings, journal, clock, number=loaded.change, link=link, emergency=self._emergency
        )
        self.talk = Talk(journal, clock, lambda number: self.desk.moved((number,)) if number in reviews else None)
        self.approved = ApprovedPlans(journal, loaded.documents, self._is_open)
        self._read: dict[Place, Revision] = {}
        self._moved = asyncio.Condition()
        self._opened = False

    async def run(self) -> None:
        """Until cancelled. Raises Refused when another holds the Lease."""
        watching = asyncio.create_task(self._watch(), name="hosted repositories")
        settling = asyncio.create_task(self._settle(), name="pushes that are owed")
        try:
            await self.desk.lost
        finally:
            watching.cancel()
            settling.cancel()
            await asyncio.gather(watching, settling, return_exceptions=True)

    async def stop(self) -> None:
        await self.queue.stop()
        await self.desk.stop()

    async def moved(self, moves: Iterable[Moved], *, rules: bool) -> None:
        """The engine has read what ``moves`` brought; ``rules``: what Changes are judged by may be other than before."""
        for repository in await self.hosting.list():
            self.surroundings.branches[repository.name] = repository.default_branch
        async with self._moved:
            # Not the heads: they may have gone on while these moves were read.
            self._read.update({(move.repository, move.expression): move.new for move in moves})
            self._moved.notify_all()
        if not self._opened:
            self._opened = True
            await self.gate.intents.restore(self._documents)
            rules = True
        if rules:
            self.desk.open()

    def world_moved(self, key: Key) -> None:
        self.desk.world_moved(key)

    async def _look(self, review: Review) -> Happening:
        return await self.looker.look(review, await self._caught_up(review))

    async def _caught_up(self, review: Review) -> str:
        """Where the target branch is, once the engine has read what it holds there. It may have gone on since: then a merge of what is
        looked at now fails, and it is looked at again. Raises TransientError when the engine does not get there.
        """
        change = review.change
        base = (await self.hosting.refs(change.repository)).get(f"refs/heads/{change.target}", "")

        def read() -> bool:
            return self._opened and all(self._read.get(place) == base for place in self.surroundings.places_of(change))

        async with self._moved:
            waiting = asyncio.ensure_future(self._moved.wait_for(read))
            timer = asyncio.ensure_future(self._clock.sleep(CATCH_UP_SECONDS_MAX))
            try:
                await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    raise TransientError(f"look at change {change.number}: {change.target} at {base[:12]} has not been read yet")
            finally:
                waiting.cancel()
                timer.cancel()
                await asyncio.gather(waiting, timer, return_exceptions=True)
        return base

    async def _watch(self) -> None:
        """A ref that moved by whatever way: what is open for that repository is looked at."""
        while True:
            try:
                async for name in self.hosting.wakes():
                    self.desk.target_moved(name)
            except TrimtabError as error:
                log.warning("watch the hosted repositories: %s", error)
            await self._clock.sleep(WATCH_RETRY_SECONDS)

    async def _settle(self) -> None:
        """What a push meant whose server did not come to it: it failed on the way, or the client left."""
        while True:
            await self._clock.sleep(SETTLE_SECONDS)
            if not (self._opened and self.gate.intents.owes):
                continue
            try:
                await self.gate.intents.settle()
            except TransientError as error:
                log.warning("carry out what was pushed: %s", error)
            except Refused as refused:
                self.desk.lose(refused)

    def _cleared(self, review: Review) -> Writes:
        """What the merge of ``review`` lets into Environments: written with the state that says merged, and in force from then on."""
        change = review.change
        documents: list[tuple[str, bytes | None]] = []
        events: list[Event] = []
        for key, digest, clearance in _clearances(review):
            known = self.world.clearances[key]
            known.pop(digest, None)
            known[digest] = clearance
            documents.append((_document(key, digest), msgspec.json.encode(clearance)))
            while len(known) > CLEARANCES_MAX:
                oldest = next(iter(known))
                del known[oldest]
                documents.append((_document(key, oldest), None))
            message = f"cleared by the merge of change {change.number}: {clearance.hash}"
            data = {"change": change.number, "hash": clearance.hash, "approvers": list(clearance.approvers)}
            events.append(
                Event("plan.cleared", self._clock.now(), message, key.application, key.environment, change.merged or "", data)
            )
        return Writes(events=tuple(events), documents=tuple(documents))

    def _merged(self, review: Review) -> None:
        """The engine may have got to the merge before its clearance did."""
        for key, _, _ in _clearances(review):
            self._wake(key)

    def _is_open(self, number: int) -> bool:
        review = self.desk.reviews.get(number)
        return review is not None and review.change.stage == Stage.OPEN

    def _emergency(self, revision: Revision) -> tuple[str, bytes]:
        """From now on what comes with ``revision`` asks for no approval; the document says so after a restart."""
        self.world.emergencies.add(revision)
        return f"{EMERGENCY}{revision}", b"{}"


def _clearances(review: Review) -> Iterator[tuple[Key, str, Clearance]]:
    for plan in review.plans:
        who = tuple(
            sorted({one.who for one in review.approvals if one.environment == plan.environment and one.hash == plan.hash})
        )
        for one in plan.planned:
            if one.application:
                yield Key(plan.environment, one.application), one.digest, Clearance(review.change.number, one.hash, who)


def _document(key: Key, digest: str) -> str:
    return f"{CLEARANCE}{key.environment}/{key.application}/{digest}"


def _restore(world: World, documents: Mapping[str, bytes]) -> None:
    found: list[tuple[int, Key, str, Clearance]] = []
    for name, body in documents.items():
        if name.startswith(EMERGENCY):
            world.emergencies.add(Revision(name.removeprefix(EMERGENCY)))
        if name.startswith(CLEARANCE):
            environment, application, digest = name.removeprefix(CLEARANCE).split("/", 2)
            clearance = msgspec.json.decode(body, type=Clearance)
            found.append((clearance.change, Key(environment, application), digest, clearance))
    for _, key, digest, clearance in sorted(found, key=lambda one: one[:3]):
        world.clearances[key][digest] = clearance
