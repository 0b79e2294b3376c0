"""The engine: while it holds the Lease, one Session runs; without it, it stands by. A Session is all the moving parts, joined.

A Session knows nothing that the store, Git and the targets could not tell again, so it can be dropped at any line: by a crash, by
a lost Lease, by the end of the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from trimtab.core.decide.configuration import Adapters
from trimtab.core.decide.positions import pinned
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.config import Configuration, Environment
from trimtab.core.model.deployment import Deployment
from trimtab.core.model.errors import Problem, Refused, TransientError, TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.hook import Ending
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.names import Key, Revision
from trimtab.core.model.text import without_credentials
from trimtab.core.model.token import Token
from trimtab.core.model.views import Finding
from trimtab.ports.checker import Checkers
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.git import Repositories
from trimtab.ports.hosting import Hosting
from trimtab.ports.judge import Judge
from trimtab.ports.renderer import Renderer
from trimtab.ports.store import Lease, Loaded, Store, Writes
from trimtab.ports.target import Targets

from .changes.checking import NoCheckers
from .changes.office import Office
from .changes.policing import Policing
from .declaring import Declarer
from .following import Follower, Moved
from .journal import Journal
from .letting import Letting
from .looking import Hands
from .notes import Notes
from .people import Directories
from .supposing import Supposing
from .vouching import Voucher
from .vouching import decode as decode_trust
from .workers import Workers
from .world import World

LEASE_SECONDS = 15.0
STANDBY_SECONDS = 2.0
WATCH_RETRY_SECONDS = 1.0
PRUNE_SECONDS = 3_600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an engine is made of. ``installation`` names this Trimtab on everything that it owns; ``holder`` this process."""

    installation: str
    holder: str
    repository: str
    repositories: Repositories
    renderer: Renderer
    targets: Targets
    store: Store
    clock: Clock
    chance: Chance
    newborn: bool = False
    """This Trimtab has only just been given its name, at random: nothing anywhere can be its own yet."""
    adapters: Adapters | None = None
    """The type of each target's settings, by its kind."""
    poll_seconds: float = 60.0
    lease_seconds: float = LEASE_SECONDS
    keep_events_days: int = 90
    keep_deployments: int = 100
    checks: Callable[[], Awaitable[list[Finding]]] | None = None
    """What `doctor` says about the machine: tools, versions, disk."""
    judge: Judge | None = None
    """Runs the expressions and rules of the configuration."""
    hosting: Hosting | None = None
    """The repositories that live here, and with them Changes; None where the server keeps none."""
    checkers: Checkers | None = None
    """External checkers of what a Change would do."""
    link: str = "change "
    """What stands before the number of a Change where people are told of it."""


class Engine:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.journal = Journal(parts.store)
        self.session: Session | None = None
        self._started = False

    @property
    def ready(self) -> bool:
        """True while we hold the Lease and have loaded the record."""
        return self.session is not None

    def current(self) -> Session:
        """Raises TransientError while another process holds the Lease."""
        if self.session is None:
            raise TransientError("answer: this server stands by or is still starting", remedy="Ask again in a moment")
        return self.session

    async def run(self) -> None:
        """Work until cancelled. Raises UserError when the store cannot be used at all."""
        try:
            while True:
                await self._acquire()
                try:
                    await self._lead()
                except* Refused as lost:
                    log.warning("the lease was lost: %s", lost.exceptions[0])
                except* TransientError as failed:
                    log.warning("start over: %s", failed.exceptions[0])
                    await self.parts.clock.sleep(STANDBY_SECONDS)
        finally:
            await self._end()

    async def _acquire(self) -> None:
        """Take the Lease when it is free or over. Whether another's is over is told by its renewals, as we see them, as well as by the
        wall clock: that may have been set back, or differ from the other's, and then a dead holder would lead for as long.
        """
        parts = self.parts
        watched, since = Lease("", 0, parts.clock.now()), parts.clock.monotonic()
        while True:
            try:
                over = watched.holder and parts.clock.monotonic() - since > parts.lease_seconds
                now = max(parts.clock.now(), watched.until) if over else parts.clock.now()
                lease = await parts.store.lease(parts.holder, now=now, seconds=parts.lease_seconds)
                if lease.holder == parts.holder:
                    self.journal.epoch = lease.epoch
                    return
                if lease != watched:
                    watched, since = lease, parts.clock.monotonic()
            except TransientError as error:
                log.warning("take the lease: %s", error)
            await parts.clock.sleep(STANDBY_SECONDS)

    async def _lead(self) -> None:
        loaded = await self.parts.store.load()
        newborn = self.parts.newborn and not self._started and not loaded.entries
        if not self._started:
            event = Event("server.started", self.parts.clock.now(), f"follows {without_credentials(self.parts.repository)}")
            await self.journal.write(Writes(events=(event,)))
            self._started = True
        session = Session(self.parts, self.journal, loaded, owns_nothing=newborn)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew(), name="lease")
                self.session = session
                session.start(group)
        finally:
            self.session = None
            await session.stop()

    async def _renew(self) -> None:
        parts = self.parts
        renewed = parts.clock.monotonic()
        while True:
            await parts.clock.sleep(parts.lease_seconds / 3)
            try:
                lease = await parts.store.lease(parts.holder, now=parts.clock.now(), seconds=parts.lease_seconds)
            except TransientError as error:
                if parts.clock.monotonic() - renewed > parts.lease_seconds * 0.8:
                    raise Refused("keep the lease: the store did not answer in time") from error
                continue
            if lease.holder != parts.holder or lease.epoch != self.journal.epoch:
                raise Refused(f"keep the lease: {lease.holder} holds it now")
            renewed = parts.clock.monotonic()

    async def _end(self) -> None:
        try:
            if self._started:
                await self.journal.write(Writes(events=(Event("server.stopped", self.parts.clock.now(), "ended cleanly"),)))
            await self.parts.store.release(self.parts.holder)
        except TrimtabError as error:
            log.warning("end: %s", error)


class Session:
    """Everything that runs under one epoch of the Lease."""

    def __init__(self, parts: Parts, journal: Journal, loaded: Loaded, *, owns_nothing: bool = False) -> None:
        self.parts = parts
        self.journal = journal
        self.world = _world(parts.installation, loaded)
        self.tokens = _tokens(loaded)
        self.hands = Hands(self.world, parts.targets, journal, parts.clock, self._pinned, parts.judge)
        self.hands.owns_nothing = owns_nothing
        self.voucher = Voucher(self.world, parts.repositories, decode_trust(loaded.documents.get("trust")), parts.hosting)
        self.workers = Workers(
            self.world,
            self.hands,
            journal,
            parts.clock,
            parts.chance,
            told=self._told,
            unsigned=self.voucher.missing,
        )
        self.notes = Notes(parts.repositories, parts.clock, parts.store)
        self.declarer = Declarer(
            self.world,
            parts.repositories,
            parts.renderer,
            self.hands,
            journal,
            parts.clock,
            repository=parts.repository,
            adapters=parts.adapters,
            judge=parts.judge,
            voucher=self.voucher,
            post=self.workers.post,
            wake=self.workers.wake,
        )
        self.follower = Follower(
            self.world,
            parts.repositories,
            journal,
            parts.clock,
            parts.chance,
            poll_seconds=parts.poll_seconds,
            moved=self._moved,
        )
        self.declarer.follower = self.follower
        self.follower.restore(loaded.documents)
        self.declarer.companions.restore(loaded.documents)
        self.letting = Letting(self.world, Directories(), parts.repository)
        self.office = self._office(loaded)
        self._watching: dict[str, asyncio.Task[None]] = {}

    def _office(self, loaded: Loaded) -> Office | None:
        parts = self.parts
        if parts.hosting is None:
            return None
        return Office(
            self.world,
            Supposing(self.world, parts.repositories, self.declarer),
            self.hands,
            parts.hosting,
            Policing(parts.judge, parts.checkers or NoCheckers()),
            self.journal,
            parts.clock,
            loaded,
            voucher=self.voucher,
            directories=Directories(),
            link=parts.link,
            wake=self.workers.wake,
        )

    def _pinned(self, key: Key, revision: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        if self.declarer.has_several_sources(key):
            return problems  # the file may be that of any of them
        try:
            tree = self.parts.repositories.tree(self.declarer.repository_of(key), Revision(revision))
            return tuple(pinned(one, tree.read(one.file, bytes_max=DEFAULT.file_bytes)) for one in problems)
        except TrimtabError:
            return problems

    def start(self, group: asyncio.TaskGroup) -> None:
        group.create_task(self.workers.run(), name="workers")
        group.create_task(self.notes.run(), name="notes")
        group.create_task(self._prune(), name="retention")
        group.create_task(self.follower.run(), name="follower")
        if self.office is not None:
            group.create_task(self.office.run(), name="changes")
        # What was followed before goes on, where it was: the configuration that names it has yet to be read again.
        self.follower.follow({self.declarer.home, *self.world.heads})
        for state in self.world.states.values():
            if state.current is not None:
                self.notes.add(self.parts.repository, state.current, fresh=False)

    async def stop(self) -> None:
        await self.follower.stop()
        if self.office is not None:
            await self.office.stop()
        await self.declarer.stop()
        await self.workers.stop()
        tasks = list(self._watching.values())
        self._watching.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _moved(self, moves: list[Moved]) -> bool:
        again = await self.declarer.moved(moves)
        self.workers.open()
        if self.office is not None:
            rules = any((move.repository, move.expression) == self.declarer.home for move in moves)
            await self.office.moved(moves, rules=rules)
        for environment in sorted(
            {key.environment for key in self.world.states} | {key.environment for key, _, _ in self.world.declared()}
        ):
            if environment not in self._watching:
                self._watching[environment] = asyncio.create_task(self._watch(environment), name=f"watch {environment}")
        return again

    async def _watch(self, environment: str) -> None:
        """Wakes from the target. A watch that breaks is begun again, and what it may have missed is looked at."""
        while True:
            try:
                async for key in self.hands.target(environment).watch():
                    self.workers.wake(key)
            except TrimtabError as error:
                log.info("watch environment %s: %s", environment, error)
            await self.parts.clock.sleep(WATCH_RETRY_SECONDS)
            for key in [key for key in self.world.states if key.environment == environment]:
                self.workers.wake(key)

    async def _prune(self) -> None:
        while True:
            before = self.parts.clock.now() - timedelta(days=self.parts.keep_events_days)
            try:
                await self.parts.store.prune(events_before=before, deployments_keep=self.parts.keep_deployments)
            except TransientError as error:
                log.warning("drop what is too old: %s", error)
            await self.parts.clock.sleep(PRUNE_SECONDS)

    def _told(self, key: Key, deployments: tuple[Deployment, ...], finished: bool) -> None:
        """Something is on the record: wake whom it concerns, and tell Git."""
        for deployment in deployments:
            self.notes.add(self.declarer.repository_of(key), deployment)
        if deployments or finished:
            if self.office is not None:
                self.office.world_moved(key)
            for other in self.world.dependants(key):
                self.workers.wake(other)
            released = self.world.settle_contents(key)
            for application in sorted(self.world.claimants(key.environment, released)):
                self.workers.wake(Key(key.environment, application))
            for other in self.world.waiting_for(released):
                self.workers.wake(other)


def _tokens(loaded: Loaded) -> dict[str, Token]:
    """By id."""
    bodies = (body for name, body in loaded.documents.items() if name.startswith("token/"))
    return {token.id: token for token in (msgspec.json.decode(body, type=Token) for body in bodies)}


def _world(installation: str, loaded: Loaded) -> World:
    world = World(installation, sequence=loaded.sequence)
    for name, body in loaded.documents.items():
        kind, _, rest = name.partition("/")
        if kind == "configuration":
            world.configure(msgspec.json.decode(body, type=Configuration))
        elif kind == "environment":
            world.kept_environments[rest] = msgspec.json.decode(body, type=Environment)
        elif kind == "accounts":
            world.kept_accounts = msgspec.json.decode(body, type=dict[str, str])
        elif kind == "state":
            environment, _, application = rest.partition("/")
            world.states[Key(environment, application)] = msgspec.json.decode(body, type=Reconciliation)
        elif kind == "ending":
            environment, _, application = rest.partition("/")
            world.endings[Key(environment, application)] = msgspec.json.decode(body, type=Ending)
    for entry in loaded.entries:
        world.inventories[entry.environment].put(entry)
    return world
