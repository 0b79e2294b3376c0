"""Keeps one Process as its record says. One task, level-triggered: look at the instances, decide (`rollout`), do, wait.

In: the record (given anew by each apply), ends of processes, readiness. Out: instances started and stopped, the front told, and a
word to whoever watches. Everything that it knows can be found again from the records, supervisord, the front and /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from trimtab.core.model.errors import TransientError, TrimtabError

from . import rollout
from .endings import Endings
from .host import Found, Host
from .incarnation import Incarnation, spec_of
from .instances import discard
from .live import Live
from .pids import start_time
from .probes import Asked
from .records import InstanceRecord, ObjectRecord
from .stable import StablePorts, backends
from .supervisor import Program

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
DRAIN_LOOK_SECONDS = 0.05
AUTORESTART = {"always": "true", "onFailure": "unexpected", "never": "false"}


class Controller:
    """One Process. ``told`` is called when something that a person could see has changed."""

    def __init__(
        self, host: Host, record: ObjectRecord, siblings: Callable[[], dict[str, str]], told: Callable[[], None]
    ) -> None:
        self._host = host
        self._siblings = siblings
        self._told = told
        self.record = record
        self.spec = spec_of(record)
        self.instances: dict[str, Live] = {}
        self.trouble = ""
        self.removed = asyncio.Event()
        self._wish = Incarnation(host, record, siblings)
        self._stable = StablePorts(host, record)
        self._endings = Endings(host, lambda: self.spec.restart, self._moved)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What the target calls.

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"process {self.record.ref}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for live in self.instances.values():
            live.quiet()

    def use(self, record: ObjectRecord) -> None:
        """The record has changed."""
        self.record, self.spec = record, spec_of(record)
        self._wish = Incarnation(self._host, record, self._siblings)
        self._stable.use(record)
        for live in self.instances.values():
            live.use(self.spec)
        self._moved()

    def adopt(self, found: Found, *, published: frozenset[str]) -> None:
        """An instance that was there before us."""
        live = self._live(found.record, self._wish.asked(found.record))
        live.supervised = found.supervised
        live.restarts = max(0, self._host.journal.spawned[found.record.id] - 1)
        live.last_exit = self._host.journal.how.get(found.record.id, "")
        live.published = any(f"127.0.0.1:{port}" in published for port in found.record.ports.values())
        self.instances[found.record.id] = live
        if found.pid:
            # What the front gives work to was ready a moment ago; until a probe says otherwise it still is.
            live.attach(found.pid, unsure=True)
            self._host.pids.add(found.pid, partial(self._endings.ended, live, found.pid))
        elif not found.supervised or self.record.removing or not self._program_known(found):
            live.state = "gone"
        elif live.last_exit and self._endings.final(live.last_exit):
            live.state = "ended"
        else:
            live.wait_until = self._host.clock.monotonic()
            # Without an end on record it was never started: whoever made it was stopped in between.
            live.state = "waiting" if live.last_exit else "new"

    def orphaned(self) -> None:
        """supervisord died: what lives is nobody's now, and what did not is started anew."""
        for live in self.instances.values():
            if live.pid and self._host.orphan(live.id) == live.pid:
                live.supervised = False
                if live.state == "stopping":
                    live.killed_at = self._host.clock.monotonic() + live.record.grace_seconds
            elif live.state not in ("gone", "ended"):
                live.pid, live.ready = 0, False
                live.quiet()
                live.state = "gone" if live.state == "stopping" else "waiting"
                live.wait_until = self._host.clock.monotonic()
        self._moved()

    def wake(self) -> None:
        self._wake.set()

    def refresh(self, pids: dict[str, int]) -> None:
        """What supervisord holds now, by instance: for what we have missed."""
        for live in self.instances.values():
            pid = pids.get(live.id, 0)
            if live.supervised and pid and pid != live.pid and live.state in ("new", "starting", "ended", "waiting"):
                self._endings.attach(live, pid)
            elif (live.supervised and live.pid and not pid and live.state == "starting") or (
                live.state == "stopping" and not pid and start_time(live.pid) is None
            ):
                self._endings.ended(live, live.pid)

    def status(self) -> dict[str, Any]:
        current = [live for live in self.instances.values() if self._is_current(live)]
        return {
            "kind": "Process",
            "replicas": self.spec.replicas,
            "digest": self.digest,
            "current": len(current),
            "ready": sum(live.ready and not live.stopping for live in current),
            "serving": sum(live.ready and not live.stopping for live in self.instances.values()),
            "trouble": self.trouble,
            "addresses": {
                port.name: self._host.addresses.stable(self.record.owner.environment, self.record.ref, port)
                for port in self.spec.ports
            },
            "instances": [live.status(self._host.root) for live in self.instances.values()],
        }

    @property
    def digest(self) -> str:
        """Over everything that an incarnation is made from; one of another digest is replaced."""
        return self._wish.digest

    # The loop.

    async def _run(self) -> None:
        while not self.removed.is_set():
            self._wake.clear()
            try:
                due = await self._step()
                self.trouble = ""
            except TrimtabError as error:
                due = self._in_trouble(str(error))
            except Exception as error:  # a defect of ours in one object must not stop its keeping for ever, nor others
                log.exception("%s", self.record.ref)
                due = self._in_trouble(f"{self.record.ref}: an error in Trimtab itself: {error}")
            await self._wait(due)

    def _in_trouble(self, message: str) -> float:
        """Say it once; try again soon. Returns when."""
        if self.trouble != message:
            log.warning("%s: %s", self.record.ref, message)
            self.trouble = message
            self._told()
        return self._host.clock.monotonic() + RETRY_SECONDS

    async def _wait(self, due: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._host.clock.monotonic())):
                await self._wake.wait()

    async def _step(self) -> float | None:
        """Look, decide, do. Returns when to look again although nothing happens."""
        now = self._host.clock.monotonic()
        await self._count_connections()
        acts = rollout.decide(self._wanted(), [live.seen() for live in self.instances.values()], now)
        trouble = await self._keep_front(acts.publish)
        for name in acts.stop:
            await self._stop(self.instances[name])
        for name in acts.forget:
            await self._forget(self.instances[name])
        for _ in range(acts.start):
            await self._make()
        await self._start_due()
        await self._kill_due(now)
        if acts.stop or acts.forget or acts.start:
            self._told()
            self._wake.set()
        if trouble is not None:
            raise trouble
        if self.record.removing and not self.instances:
            await self._finish_removal()
        return self._due(acts.due)

    async def _keep_front(self, publish: tuple[str, ...] | None) -> TransientError | None:
        """Tell the front what is new. Its trouble must not keep processes from being started; it is returned."""
        if publish is None and self._front_agrees():
            return None
        try:
            await self._publish(publish if publish is not None else self._published())
        except TransientError as error:
            return error
        self._wake.set()
        return None

    def _wanted(self) -> rollout.Wanted:
        spec = self.spec
        return rollout.Wanted(
            digest=self.digest,
            replicas=0 if self.record.removing else spec.replicas,
            recreate=spec.strategy == "recreate",
            fronted=self._stable.any,
            drain_seconds=spec.stop.drain_seconds,
        )

    def _due(self, decided: float | None) -> float | None:
        times = [decided] if decided is not None else []
        times += [live.wait_until for live in self.instances.values() if live.wait_until is not None]
        times += [live.killed_at for live in self.instances.values() if live.killed_at is not None]
        if self._draining():
            times.append(self._host.clock.monotonic() + DRAIN_LOOK_SECONDS)
        return min(times, default=None)

    def _draining(self) -> list[Live]:
        return [live for live in self.instances.values() if live.withdrawn is not None and not live.stopping]

    # The acts.

    async def _make(self) -> None:
        """One new instance, to be started by `_start_due`. Its record is written before anything runs."""
        record, asked = await self._wish.make()
        live = self._live(record, asked)
        live.state, live.wait_until = "new", self._host.clock.monotonic()
        self.instances[record.id] = live

    async def _start_program(self, live: Live) -> None:
        """Until this succeeds, ``wait_until`` stays: whatever fails in between is done again."""
        if await self._host.supervisor.info(live.id) is None:
            await self._host.supervisor.add(self._program(live.record))
        await self._host.supervisor.start(live.id)
        live.wait_until = None
        live.restarts += bool(live.exits)
        info = await self._host.supervisor.info(live.id)
        if info is not None and info.pid:
            self._endings.attach(live, info.pid)
        else:  # it has ended already
            self._endings.ended(live, live.pid)

    async def _stop(self, live: Live) -> None:
        """Send the signal. Connections that are still open are cut at a quiet moment first."""
        if live.withdrawn is not None and live.connections:
            await self._host.fronts.cut(backends(live.record))
            await asyncio.sleep(DRAIN_LOOK_SECONDS * 2)
        live.quiet()
        before, live.state = live.state, "stopping" if live.pid else "gone"
        live.wait_until = None
        if live.supervised:
            try:
                await self._host.supervisor.stop(live.id)
            except TransientError:
                live.state = before  # nothing was told to end: decided anew
                raise
        elif live.pid:
            await self._host.signal(live.id, live.pid, signal.Signals[f"SIG{live.record.stop_signal}"])
            live.killed_at = self._host.clock.monotonic() + live.record.grace_seconds

    async def _kill_due(self, now: float) -> None:
        """supervisord kills what it holds after its grace; an orphan is ours to kill."""
        for live in self.instances.values():
            if live.killed_at is not None and now >= live.killed_at:
                live.killed_at = None
                await self._host.signal(live.id, live.pid, signal.SIGKILL)

    async def _forget(self, live: Live) -> None:
        """Remove what is left of an instance that has ended."""
        if not await self._host.supervisor.remove(live.id):
            await self._host.supervisor.stop(live.id)
            await self._host.supervisor.poke()
            return
        keep = f"{self.record.owner.environment}~{self.record.ref.namespace}~{self.record.ref.name}.log"
        await asyncio.to_thread(discard, self._host.root, live.id, keep_log=keep)
        self._host.addresses.vacate(live.record.ports.values())
        self._host.journal.forget(live.id)
        live.quiet()
        self.instances.pop(live.id, None)
        await self._host.sweep()

    async def _publish(self, ids: tuple[str, ...]) -> None:
        """Tell the front; acknowledged when this returns."""
        await self._stable.tell([self.instances[name].record for name in ids])
        now = self._host.clock.monotonic()
        for live in self.instances.values():
            if live.published and live.id not in ids:
                live.withdrawn = now
            elif live.id in ids:
                live.withdrawn = None
            live.published = live.id in ids
        await self._count_connections()
        self._told()

    def _published(self) -> tuple[str, ...]:
        return tuple(live.id for live in self.instances.values() if live.published)

    def _front_agrees(self) -> bool:
        return self._stable.agrees([live.record for live in self.instances.values() if live.published])

    async def _start_due(self) -> None:
        now = self._host.clock.monotonic()
        for live in list(self.instances.values()):
            if live.wait_until is not None and now >= live.wait_until and not live.stopping:
                await self._start_program(live)

    async def _finish_removal(self) -> None:
        await self._stable.close()
        self._host.records.drop(self.record.owner.environment, self.record.ref)
        await self._host.sweep()
        self.removed.set()
        self._told()

    # Small things.

    def _moved(self) -> None:
        self._wake.set()
        self._told()

    def _is_current(self, live: Live) -> bool:
        return live.record.digest == self.digest and live.supervised

    async def _count_connections(self) -> None:
        draining = self._draining()
        if draining:
            counts = await self._host.fronts.connections()
            for live in draining:
                live.connections = sum(counts.get(backend, 0) for backend in backends(live.record))

    def _program(self, record: InstanceRecord) -> Program:
        return Program(record.id, AUTORESTART[self.spec.restart.policy], record.stop_signal, record.grace_seconds)

    def _program_known(self, found: Found) -> bool:
        return found.known or not self.record.removing

    def _live(self, record: InstanceRecord, asked: Asked) -> Live:
        return Live(record, self.spec, asked, self._host.clock, self._moved, self._endings.unwell)
