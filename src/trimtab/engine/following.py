"""Follows repositories: fetches when woken or when it is time, moves heads forward, and says which ones moved.

A head moves only forward in its history. A force-push, a deleted branch, a repository that is gone or broken is put on the record
once, and the head stays where it is, so nothing that runs changes; a rewritten history is taken when somebody accepts it
(`accept`), or by itself when the new head has the same files or contains the Revision that we follow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from trimtab.core.model.errors import Refused, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Revision
from trimtab.core.model.text import without_credentials
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.git import Head as Found
from trimtab.ports.git import Repositories
from trimtab.ports.store import Seen, Writes

from .journal import Journal
from .world import Head, World

JITTER = 0.2
"""Polls are spread by up to this share of their interval."""
WATCH_RETRY_SECONDS = 5.0
RETRY_SECONDS_FIRST = 1.0

log = logging.getLogger(__name__)


class Saved(msgspec.Struct, frozen=True):
    """What the store keeps of a Head."""

    repository: str
    expression: str
    revision: str
    sequence: int
    ref: str = ""


class Moved(msgspec.Struct, frozen=True):
    """A head moved from ``old`` (None: it is new to this process) to its Revision."""

    repository: str
    expression: str
    old: Revision | None
    new: Revision
    sequence: int


class Follower:
    def __init__(
        self,
        world: World,
        repositories: Repositories,
        journal: Journal,
        clock: Clock,
        chance: Chance,
        *,
        poll_seconds: float,
        moved: Callable[[list[Moved]], Awaitable[bool]],
    ) -> None:
        """``moved`` hears of heads that moved (an empty list: just look again) and tells whether it wants to be called again soon."""
        self._world = world
        self._repositories = repositories
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._poll_seconds = poll_seconds
        self._moved = moved
        self._wakes: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, tuple[asyncio.Task[None], asyncio.Task[None]]] = {}
        self._refs: dict[tuple[str, str], str] = {}
        self._told: dict[str, str] = {}
        self._accepted: dict[tuple[str, str], str] = {}
        self._unheard: list[Moved] = []
        self._advancing = asyncio.Lock()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def restore(self, documents: dict[str, bytes]) -> None:
        for name, body in documents.items():
            if name.startswith("head/"):
                saved = msgspec.json.decode(body, type=Saved)
                place = (saved.repository, saved.expression)
                self._world.heads[place] = Head(*place, Revision(saved.revision), saved.sequence)
                self._refs[place] = saved.ref

    def follow(self, places: Iterable[tuple[str, str]]) -> None:
        """Follow exactly these (repository, expression) pairs from now on."""
        wanted = set(places)
        for place in sorted(wanted):
            self._world.heads.setdefault(place, Head(*place))
        for place in [place for place in self._world.heads if place not in wanted]:
            del self._world.heads[place]
        repositories = {repository for repository, _ in wanted}
        for repository in sorted(repositories - self._tasks.keys()):
            self._wakes[repository] = asyncio.Event()
            self._tasks[repository] = (
                asyncio.create_task(self._poll(repository), name=f"follow {repository}"),
                asyncio.create_task(self._watch(repository), name=f"watch {repository}"),
            )
        for repository in self._tasks.keys() - repositories:
            for task in self._tasks.pop(repository):
                task.cancel()

    def wake(self, repository: str = "") -> None:
        """Fetch ``repository`` ("" = every one) now."""
        for name, wake in self._wakes.items():
            if repository in ("", name, without_credentials(name)):
                wake.set()

    def accept(self, repository: str, revision: str) -> None:
        """Take ``revision``, although it does not contain the Revision that is followed now. Raises UserError when it is not what waits."""
        waiting = [
            head
            for head in self._world.heads.values()
            if repository in (head.repository, without_credentials(head.repository)) and head.rewritten is not None
        ]
        matching = [head for head in waiting if head.rewritten and head.rewritten.startswith(revision) and len(revision) >= 7]
        if not matching:
            known = ", ".join(str(head.rewritten) for head in waiting) or "none"
            raise UserError(
                f"accept {revision} of {without_credentials(repository)}: no such rewritten history waits",
                remedy=f"Waiting: {known}",
            )
        for head in matching:
            self._accepted[head.repository, head.expression] = str(head.rewritten)
        self.wake(repository)

    async def run(self) -> None:
        """Passes on what ends a follower for good (the Lease is lost), until cancelled."""
        await self._lost

    async def stop(self) -> None:
        tasks = [task for pair in self._tasks.values() for task in pair]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lost.done() and not self._lost.cancelled():
            self._lost.exception()  # heard, or of no interest any more: others may have lost the Lease first

    # --- one repository -----------------------------------------------------------------------------------------------------

    async def _watch(self, repository: str) -> None:
        while True:
            try:
                async for _ in self._repositories.watch(repository):
                    self._wakes[repository].set()
                return
            except TrimtabError as error:
                log.info("watch %s: %s", without_credentials(repository), error)
            await self._clock.sleep(WATCH_RETRY_SECONDS)

    async def _poll(self, repository: str) -> None:
        retry = RETRY_SECONDS_FIRST
        while True:
            self._wakes[repository].clear()
            try:
                again = await self._look(repository)
            except Refused as refused:
                if not self._lost.done():
                    self._lost.set_exception(refused)
                return
            except TransientError as error:
                log.warning("follow %s: %s", without_credentials(repository), error)
                again = True
            except TrimtabError as error:
                log.error("follow %s: %s", without_credentials(repository), error)
                again = True
            except Exception:
                log.exception("follow %s", without_credentials(repository))
                again = True
            retry = min(retry * 2, self._poll_seconds) if again else RETRY_SECONDS_FIRST
            seconds = retry if again else self._poll_seconds * self._chance.uniform(1 - JITTER, 1 + JITTER)
            await self._wait(repository, seconds)

    async def _wait(self, repository: str, seconds: float) -> None:
        sleep = asyncio.create_task(self._clock.sleep(seconds))
        woken = asyncio.create_task(self._wakes[repository].wait())
        try:
            await asyncio.wait({sleep, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()

    async def _look(self, repository: str) -> bool:
        """Fetch and advance; True when it is worth another look soon."""
        failed = ""
        try:
            await self._repositories.fetch(repository)
        except TrimtabError as error:
            failed = str(error)
        async with self._advancing:
            for place in self._places(repository):
                if (move := await self._advance(place, failed)) is not None:
                    self._unheard.append(move)  # at once: when the next one fails, this one has moved all the same
            await self._tell(repository, failed)
            again = await self._moved(list(self._unheard))
            # Only now: had it failed, the same moves would be told again.
            self._unheard.clear()
        return again or bool(failed)

    def _places(self, repository: str) -> list[tuple[str, str]]:
        return sorted(place for place in self._world.heads if place[0] == repository)

    async def _advance(self, place: tuple[str, str], failed: str) -> Moved | None:
        """Move one head; what it was is still in the mirror, so a failed fetch only means that there is nothing newer."""
        head = self._world.heads[place]
        try:
            found = await self._repositories.resolve(*place)
        except TrimtabError as error:
            head.problem, head.remedy = failed or error.message, "" if failed else error.remedy
            return self._first(head)
        head.problem, head.remedy = failed, ""
        if found.revision == head.revision:
            head.rewritten = None
            self._refs[place] = found.ref
            return self._first(head)
        if head.revision is not None and not await self._follows(head, found):
            head.problem = f"the history was rewritten: {found.revision[:12]} does not contain {head.revision[:12]}, which stays"
            head.remedy = f"Accept it with: trimtab repository accept {without_credentials(head.repository)} {found.revision}"
            head.rewritten = found.revision
            return self._first(head)
        return await self._move(head, found)

    def _first(self, head: Head) -> Moved | None:
        """After a restart the head is where it was, and yet everything at it has to be looked at once."""
        if head.revision is None or head.seen is not None:
            return None
        head.seen = self._clock.now()
        return Moved(head.repository, head.expression, None, head.revision, head.sequence)

    async def _follows(self, head: Head, found: Found) -> bool:
        place, old = (head.repository, head.expression), head.revision
        assert old is not None
        if self._accepted.get(place) == found.revision or await self._repositories.contains(head.repository, old, found.revision):
            return True
        if found.ref.startswith("refs/tags/") and found.ref != self._refs.get(place):
            return True  # another tag of the range
        try:
            before, after = (self._repositories.tree(head.repository, revision).entry("") for revision in (old, found.revision))
        except UserError:
            return False
        return before is not None and after is not None and before.id == after.id

    async def _move(self, head: Head, found: Found) -> Moved:
        old, now = head.revision, self._clock.now()
        place = (head.repository, head.expression)
        sequence = self._world.sequence + 1
        accepted = self._accepted.get(place) == found.revision
        kind = "repository.accepted" if accepted else "repository.fetched"
        message = (
            f"{head.expression or 'the default branch'} of {without_credentials(head.repository)} is at {found.revision[:12]}"
        )
        saved = Saved(*place, found.revision, sequence, found.ref)
        await self._record(
            Writes(
                events=(Event(kind, now, message, revision=found.revision),),
                seen=(Seen(sequence, head.repository, found.revision, now),),
                documents=((f"head/{head.repository}\n{head.expression}", msgspec.json.encode(saved)),),
            )
        )
        self._world.sequence = max(self._world.sequence, sequence)
        first = head.seen is None
        head.revision, head.sequence, head.seen, head.rewritten = found.revision, sequence, now, None
        self._refs[place] = found.ref
        self._accepted.pop(place, None)
        return Moved(*place, None if first else old, found.revision, sequence)

    async def _record(self, writes: Writes) -> None:
        """Until it is known to be stored: after a lost answer the record may say that the head is there, and we would not know."""
        while True:
            try:
                return await self._journal.write(writes)
            except TransientError as error:
                log.warning("record a move: %s", error)
                await self._clock.sleep(RETRY_SECONDS_FIRST)

    async def _tell(self, repository: str, failed: str) -> None:
        """Put trouble on the record when it begins, changes or ends, not each time it is met."""
        heads = [self._world.heads[place] for place in self._places(repository)]
        trouble = failed or next((head.problem for head in heads if head.problem), "")
        if trouble == self._told.get(repository, ""):
            return
        rewritten = any(head.rewritten for head in heads) and not failed
        kind = "repository.rewritten" if rewritten else "repository.failed" if trouble else "repository.recovered"
        remedy = next((head.remedy for head in heads if head.remedy), "")
        called = without_credentials(repository)
        message = f"{called}: {trouble or 'all is well again'}" + (f". {remedy}" if trouble and remedy else "")
        await self._journal.write(Writes(events=(Event(kind, self._clock.now(), message, data={"repository": called}),)))
        self._told[repository] = trouble
