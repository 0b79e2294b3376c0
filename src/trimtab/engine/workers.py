"""Runs the reconcile lifecycle: for every Key at most one task, which ends when there is nothing to do.

A turn is: happening → `step` → the act (look, take) → its result is the next happening. State and record of several decisions are
stored in one atomic write, before the target is changed and at the end of the turn.
Happenings of a Key queue up in its inbox; a wake is only a flag, so a thousand wakes cost one look. What is due later stands in a
heap with one timer. The state in memory moves only after the write.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from trimtab.core.lifecycle.draft import BACKOFF_SECONDS_MAX
from trimtab.core.lifecycle.gates import gates
from trimtab.core.lifecycle.reconcile import step
from trimtab.core.lifecycle.rollout import WELL, turn
from trimtab.core.lifecycle.state import (
    Act,
    Decision,
    Finish,
    Happening,
    Look,
    Reconciliation,
    Rest,
    Take,
    Woken,
)
from trimtab.core.model.config import Application, Fleet, Placement
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.errors import Refused, TransientError
from trimtab.core.model.event import Event
from trimtab.core.model.hook import Ending
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.store import Writes

from .journal import Journal
from .looking import Hands
from .world import World

KEYS_AT_ONCE_MAX = 256
"""Many, because most of them wait for the same disk write or the same target; targets bound their own connections."""
JITTER = 0.1
"""Due times are spread by up to this share, so that what failed together is not tried together."""
STORE_RETRY_SECONDS = 1.0
BROKEN_RETRY_SECONDS = 60.0
TIMER_SECONDS_MAX = 3_600.0
SIGNATURE_SECONDS = 60.0
"""How soon a signature that is missing is looked at again: git or gpg may have been out of reach."""

_NOTHING = Reconciliation()

log = logging.getLogger(__name__)


@dataclass
class _Gathered:
    """Decisions of one Key that are written together."""

    state: Reconciliation
    finished: bool = False
    events: list[Event] = field(default_factory=list)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    entries: dict[Identity, Entry] = field(default_factory=dict)
    dropped: list[ObjectRef] = field(default_factory=list)
    ending: Ending | None = None

    def add(self, decision: Decision) -> None:
        self.state = decision.state
        self.finished = isinstance(decision.act, Finish)
        self.events += decision.events
        self.deployments |= {deployment.sequence: deployment for deployment in decision.deployments}
        self.entries |= {entry.ref.identity: entry for entry in decision.entries}
        self.dropped += decision.dropped
        self.ending = decision.ending or self.ending

    def clear(self) -> None:
        self.finished, self.ending = False, None
        for gathered in (self.events, self.deployments, self.entries, self.dropped):
            gathered.clear()


class Workers:
    def __init__(
        self,
        world: World,
        hands: Hands,
        journal: Journal,
        clock: Clock,
        chance: Chance,
        *,
        told: Callable[[Key, tuple[Deployment, ...], bool], None],
        unsigned: Callable[[Key, Deployment], Awaitable[tuple[str, ...]]] | None = None,
    ) -> None:
        """``told`` hears what became of a Key's Deployments once it is stored, and whether the Key is finished; ``unsigned`` says what
        signatures a pending one lacks.
        """
        self._world = world
        self._hands = hands
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._told = told
        self._unsigned = unsigned
        self._unvouched_for: set[Key] = set()
        self._inbox: dict[Key, deque[Happening]] = defaultdict(deque)
        self._woken: dict[Key, None] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._starting: set[Key] = set()
        self._turns: dict[Key, datetime] = {}
        self._open = False
        self._due: list[tuple[float, Key]] = []
        self._due_of: dict[Key, float] = {}
        self._due_changed = asyncio.Event()
        self._places = asyncio.Semaphore(KEYS_AT_ONCE_MAX)
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hands.placed = self.wake_all_waiting

    # --- what others may ask ------------------------------------------------------------------------------------------------

    def post(self, key: Key, happening: Happening) -> None:
        """Something happened to ``key``; it is taken in its turn, and then the key is looked at."""
        self._inbox[key].append(happening)
        self.wake(key)

    def wake(self, key: Key) -> None:
        """Look at ``key``. Says nothing about what happened."""
        self._woken[key] = None
        if self._open and key not in self._running:
            self._running[key] = asyncio.create_task(self._run(key), name=f"worker {key}")

    def wake_all_waiting(self) -> None:
        """Something moved that may let go of what Keys of other Environments wait for."""
        for key in list(self._world.waiting):
            self.wake(key)

    def _wake_waiting(self, key: Key, identities: Iterable[Identity]) -> None:
        for other in self._world.waiting_for(identities):
            if other != key:
                self.wake(other)

    def open(self) -> None:
        """Begin. Before this nobody knows yet which Application wants what, so wakes and happenings only wait."""
        self._open = True
        for key in list(self._woken):
            self.wake(key)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def unrecorded(self) -> bool:
        """True while a happening waits to be recorded."""
        return any(self._inbox.values())

    async def run(self) -> None:
        """Wake what is due, until cancelled. Raises Refused when another holds the Lease."""
        try:
            while True:
                self._due_changed.clear()
                timer = asyncio.create_task(self._next_due())
                try:
                    done, _ = await asyncio.wait({timer, self._lost}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    timer.cancel()
                if self._lost in done:
                    self._lost.result()
        finally:
            await self.stop()

    async def stop(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lost.done() and not self._lost.cancelled():
            self._lost.exception()  # heard, or of no interest any more: others may have lost the Lease first

    # --- one key ------------------------------------------------------------------------------------------------------------

    async def _run(self, key: Key) -> None:
        try:
            async with self._places:
                while self._inbox[key] or key in self._woken:
                    await self._turn(key)
        except Refused as refused:
            if not self._lost.done():
                self._lost.set_exception(refused)
        except Exception as error:
            await self._broken(key, error)
        finally:
            self._hands.end(key)
            self._starting.discard(key)
            if not self._inbox[key]:
                del self._inbox[key]
            del self._running[key]

    async def _turn(self, key: Key) -> None:
        """Everything that waits for ``key``, then looking and acting until there is nothing to do.

        Decisions are gathered and written together, at the latest before the target is changed: a look changes nothing, so a crash
        after it loses nothing that the next look would not find.
        """
        gathered = _Gathered(self._world.states.get(key, Reconciliation()))
        news = len(self._inbox[key])
        for one in list(self._inbox[key]):
            gathered.add(step(key, gathered.state, one, self._clock.now()))
        acted = False
        happening: Happening | None = self._awake(key, gathered.state, await self._unvouched(key, gathered.state))
        while happening is not None:
            now = self._clock.now()
            decision = step(key, gathered.state, happening, now)
            starts = self._world.fleet(key) is not None and gathered.state.pending is not None and decision.state.pending is None
            if starts:
                self._starting.add(key)  # others of its fleet must not start too before this is stored and can be seen
            gathered.add(decision)
            if isinstance(decision.act, Take):
                self._hands.begin(key, decision.act.steps)
            if (
                starts
                or not isinstance(decision.act, Look)
                or decision.dropped
                or decision.entries
                or len(self._inbox[key]) > news
            ):
                await self._commit(key, gathered, news)
                news = 0
            if acted:
                self._wake_waiting(key, self._hands.end(key))  # not before what became of it is in the inventory
            acted = isinstance(decision.act, Take)
            if len(self._inbox[key]) > news:
                self._hands.end(key)
                return  # new content or a command goes first: what was decided without it is decided again
            happening = await self._perform(key, decision.act, gathered.state, now)

    async def _unvouched(self, key: Key, state: Reconciliation) -> tuple[str, ...]:
        if self._unsigned is None or state.pending is None or not state.pending.digest:
            return ()
        lacks = await self._unsigned(key, state.pending)
        self._unvouched_for.discard(key)
        if lacks:
            self._unvouched_for.add(key)
        return lacks

    def _awake(self, key: Key, state: Reconciliation, lacks: tuple[str, ...]) -> Happening:
        self._woken.pop(key, None)
        self._turns.pop(key, None)
        found = self._world.application(key)
        if found is None or state.undeclared or state.pending is None:
            return Woken(lacks, progress_seconds=found[0].spec.progress_deadline_seconds if found else 600)
        return Woken((*lacks, *self._gates(key, state.pending.sequence, *found)), found[0].spec.progress_deadline_seconds)

    def _gates(self, key: Key, sequence: int, application: Application, placement: Placement) -> tuple[str, ...]:
        after, needs = placement.after, application.needs(placement)
        asked = [*(Key(environment, key.application) for environment in after), *needs]
        # The other one's news of the same commit may still be in its inbox; its state is of before that commit then.
        fleet = self._world.fleet(key)
        if fleet is not None:
            # Of those before it only: what is not known yet of those after it could only make it wait less.
            before = fleet.members[: fleet.members.index(key.environment)]
            asked += [Key(name, key.application) for name in before]
        news = tuple(f"waits for {other}, which is being looked at" for other in asked if self._inbox.get(other))
        if news:
            return news
        nowhere = [other for other in needs if self._world.application(other) is None]
        closed = gates(key, sequence, after=after, needs=needs, states=self._world.states, nowhere=nowhere)
        return closed if closed or fleet is None else self._turn_in(fleet, key)

    def _turn_in(self, fleet: Fleet, key: Key) -> tuple[str, ...]:
        found = turn(key, fleet, self._world.states, self._clock.now(), starting=self._starting)
        if found.due is not None:
            self._turns[key] = found.due
        return (found.waits,) if found.waits else ()

    async def _commit(self, key: Key, gathered: _Gathered, news: int) -> None:
        """Write what was decided, then let it hold in memory; ``news`` happenings of the inbox are done with then."""
        while True:
            try:
                await self._store(key, gathered)
                break
            except TransientError as error:
                log.warning("record %s: %s", key, error)
                await self._clock.sleep(STORE_RETRY_SECONDS)
        for _ in range(news):
            self._inbox[key].popleft()
        self._adopt(key, gathered)
        if news:
            for other in self._world.dependants(key):
                self.wake(other)
        if key in self._starting:
            self._starting.discard(key)
            for other in self._world.dependants(key):
                self.wake(other)
        gathered.clear()

    async def _store(self, key: Key, gathered: _Gathered) -> None:
        changed = gathered.state != self._world.states.get(key, Reconciliation()) or gathered.finished
        ending = self._ending(key, gathered)
        if not (changed or gathered.events or gathered.entries or gathered.dropped or ending):
            return
        state = None if gathered.finished else msgspec.json.encode(gathered.state)
        await self._journal.write(
            Writes(
                events=tuple(gathered.events),
                deployments=tuple(gathered.deployments.values()),
                entries=tuple(gathered.entries.values()),
                dropped=tuple((key.environment, ref) for ref in gathered.dropped),
                documents=(*(((state_document(key), state),) if changed else ()), *ending),
            )
        )

    def _ending(self, key: Key, gathered: _Gathered) -> tuple[tuple[str, bytes | None], ...]:
        """What changes of the hooks that the Key ends with."""
        kept = self._world.endings.get(key)
        found = _kept(gathered, kept)
        return ((ending_document(key), msgspec.json.encode(found) if found is not None else None),) if found != kept else ()

    def _adopt(self, key: Key, gathered: _Gathered) -> None:
        before, after = self._world.states.get(key, _NOTHING).health.status, gathered.state.health.status
        suspended = self._world.states.get(key, _NOTHING).suspension
        inventory = self._world.inventories[key.environment]
        for ref in gathered.dropped:
            inventory.drop(ref.identity)
            self._world.let_go.pop((key.environment, ref.identity), None)
        for entry in gathered.entries.values():
            owned = inventory.get(entry.ref.identity)
            inventory.put(entry)
            if owned is not None and owned.application != entry.application:
                for other in sorted({owned.application, entry.application} - {key.application}):
                    self.wake(Key(key.environment, other))  # it may be left with nothing, or have something to remove
        if key in self._world.states or gathered.state != Reconciliation():  # a wake makes nothing of a Key that has ended
            self._world.states[key] = gathered.state
        kept = _kept(gathered, self._world.endings.pop(key, None))
        if kept is not None:
            self._world.endings[key] = kept
        for dependant in self._world.dependants(key) if after in WELL and after != before else ():
            self.wake(dependant)  # the deployment may have been healthy all the time, and then nothing else is told of it
        if (self._world.states.get(key, _NOTHING).suspension is None) != (suspended is None):
            self.wake_all_waiting()
        self._told(key, tuple(gathered.deployments.values()), gathered.finished)
        if gathered.finished:
            self._world.forget(key)

    async def _perform(self, key: Key, act: Act, state: Reconciliation, now: datetime) -> Happening | None:
        """``now`` is when ``act`` was decided."""
        match act:
            case Look():
                self._woken.pop(key, None)
                return await self._hands.look(key, state)
            case Take():
                return await self._hands.take(key, act.steps, state)
            case Rest():
                self._schedule(key, act.due, now)
                return None
            case Finish():
                self._due_of.pop(key, None)
                return None

    async def _broken(self, key: Key, error: Exception) -> None:
        """An invariant of ours broke: this key rests for a while, the others go on."""
        log.error("reconcile %s", key, exc_info=error)
        self._inbox.pop(key, None)
        self._woken.pop(key, None)
        self._schedule_in(key, BROKEN_RETRY_SECONDS)
        message = f"an error in Trimtab itself: {type(error).__name__}: {error}"
        event = Event("reconcile.broken", self._clock.now(), message, key.application, key.environment)
        try:
            await self._journal.write(Writes(events=(event,)))
        except TransientError as failed:
            log.warning("record %s: %s", key, failed)
        except Refused as refused:
            if not self._lost.done():
                self._lost.set_exception(refused)

    # --- due times ----------------------------------------------------------------------------------------------------------

    def _schedule(self, key: Key, due: datetime | None, now: datetime) -> None:
        turn_comes = self._turns.get(key)
        due = turn_comes if due is None else min(due, turn_comes or due)
        if key in self._unvouched_for:
            soon = now + timedelta(seconds=SIGNATURE_SECONDS)
            due = min(due, soon) if due is not None else soon
        if due is None:
            self._due_of.pop(key, None)
            return
        # From when it was decided, not from now: the wall clock may have been set in between.
        seconds = (due - now).total_seconds()
        self._schedule_in(key, min(max(seconds, 0.0), max(BACKOFF_SECONDS_MAX, TIMER_SECONDS_MAX)))

    def _schedule_in(self, key: Key, seconds: float) -> None:
        at = self._clock.monotonic() + seconds * self._chance.uniform(1.0, 1.0 + JITTER)
        self._due_of[key] = at
        heapq.heappush(self._due, (at, key))
        self._due_changed.set()

    async def _next_due(self) -> None:
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            if self._due_of.get(key) == at:
                del self._due_of[key]
                self.wake(key)
        seconds = min(self._due[0][0] - now, TIMER_SECONDS_MAX) if self._due else TIMER_SECONDS_MAX
        sleep = asyncio.create_task(self._clock.sleep(seconds))
        changed = asyncio.create_task(self._due_changed.wait())
        try:
            await asyncio.wait({sleep, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            changed.cancel()

    def next_try(self, key: Key) -> float | None:
        """Seconds until ``key`` is looked at without a wake; None when nothing is scheduled."""
        at = self._due_of.get(key)
        return None if at is None else max(0.0, at - self._clock.monotonic())


def _kept(gathered: _Gathered, before: Ending | None) -> Ending | None:
    """The hooks of the ending once ``gathered`` holds."""
    if gathered.finished:
        return None
    found = gathered.ending
    if found is None:
        return before
    return None if found.empty else found


def state_document(key: Key) -> str:
    return f"state/{key.environment}/{key.application}"


def ending_document(key: Key) -> str:
    return f"ending/{key.environment}/{key.application}"
