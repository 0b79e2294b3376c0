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
from pathlib import Path
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError, TrimtabError
from trimtab.core.model.manifest import digest

from . import rollout, script
from .backoff import delay_seconds
from .host import Found, Host
from .instances import discard, instance_id, make, place
from .kinds import Port, ProcessSpec
from .live import Live
from .pids import end_group, ending_signal, start_time
from .probes import Asked
from .records import InstanceRecord, ObjectRecord
from .supervisor import Program

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
DRAIN_LOOK_SECONDS = 0.05
RESTART_LOOKS = 40
KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
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
        self._opened: set[str] = {self._listening(port) for port in self._fronted()}
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
        for live in self.instances.values():
            live.use(self.spec)
        self._moved()

    def adopt(self, found: Found, *, published: frozenset[str]) -> None:
        """An instance that was there before us."""
        live = self._live(found.record, resources=None)
        live.supervised = found.supervised
        live.restarts = max(0, self._host.journal.spawned[found.record.id] - 1)
        live.last_exit = self._host.journal.how.get(found.record.id, "")
        live.published = any(f"127.0.0.1:{port}" in published for port in found.record.ports.values())
        self.instances[found.record.id] = live
        if found.pid:
            # What the front gives work to was ready a moment ago; until a probe says otherwise it still is.
            live.attach(found.pid, unsure=True)
            self._host.pids.add(found.pid, partial(self._ended, live, found.pid))
        elif not found.supervised or self.record.removing or not self._program_known(found):
            live.state = "gone"
        else:
            live.wait_until = self._host.clock.monotonic()
            live.state = "waiting"

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
                self._attach(live, pid)
            elif (live.supervised and live.pid and not pid and live.state == "starting") or (
                live.state == "stopping" and not pid and start_time(live.pid) is None
            ):
                self._ended(live, live.pid)

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
        spec = self.spec
        told = {name for name in script.references(spec) if name.startswith("TRIMTAB_")}
        addresses = {name: value for name, value in self._siblings().items() if name in told} if told else {}
        run = msgspec.structs.replace(
            spec,
            replicas=1,
            readiness=None,
            liveness=None,
            startup_seconds=60.0,
            strategy="rolling",
            ports=[Port(port.name, fixed=port.fixed) for port in spec.ports],
            stop=msgspec.structs.replace(spec.stop, drain_seconds=10.0),
            restart=msgspec.structs.replace(spec.restart, backoff_seconds=1.0, backoff_seconds_max=60.0),
        )
        return digest([msgspec.to_builtins(run), self._tree_id(), sorted(addresses.items())])

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
        acts = rollout.decide(self._wanted(), [self._seen(live) for live in self.instances.values()], now)
        if acts.publish is not None or not self._front_agrees():
            await self._publish(acts.publish if acts.publish is not None else self._published())
            self._wake.set()
        for name in acts.stop:
            await self._stop(self.instances[name])
        for name in acts.forget:
            await self._forget(self.instances[name])
        for _ in range(acts.start):
            await self._start()
        await self._start_due()
        await self._kill_due(now)
        if acts.stop or acts.forget or acts.start:
            self._told()
            self._wake.set()
        if self.record.removing and not self.instances:
            await self._finish_removal()
        return self._due(acts.due)

    def _wanted(self) -> rollout.Wanted:
        spec = self.spec
        return rollout.Wanted(
            digest=self.digest,
            replicas=0 if self.record.removing else spec.replicas,
            recreate=spec.strategy == "recreate",
            fronted=bool(self._fronted()),
            drain_seconds=spec.stop.drain_seconds,
        )

    def _seen(self, live: Live) -> rollout.Instance:
        return rollout.Instance(
            id=live.id,
            digest=live.record.digest,
            since=live.record.created.timestamp(),
            lives=live.lives,
            ready=live.ready,
            unsure=live.unsure,
            supervised=live.supervised,
            published=live.published,
            withdrawn=live.withdrawn,
            connections=live.connections,
            stopping=live.stopping,
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

    async def _start(self) -> None:
        """Make one new instance and start it. Its record is written before anything runs."""
        spec, host = self.spec, self._host
        tree = await self._tree()
        ports = {port.name: port.fixed or host.addresses.passing() for port in spec.ports}
        record = InstanceRecord(
            id=instance_id(self.record.owner.environment, self.record.ref, host.chance.token()),
            environment=self.record.owner.environment,
            ref=self.record.ref,
            digest=self.digest,
            created=host.clock.now(),
            ports=ports,
            tree=self._tree_id(),
            stop_signal=spec.stop.signal,
            grace_seconds=spec.stop.grace_seconds,
            log_bytes_max=spec.logs.bytes_max,
            log_files=spec.logs.files,
        )
        values = self._values(record, str(tree) if tree else "")
        directory = self._directory(record.id, tree)
        run = script.process_script(spec, values, place=place(record.id))
        before = script.preamble(spec, values, directory=directory)
        try:
            await asyncio.to_thread(make, host.root, record, run=run, environment=before)
        except TransientError:
            host.addresses.vacate(ports.values())
            raise
        live = self._live(record, resources=values)
        live.state, live.wait_until = "new", host.clock.monotonic()
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
            self._attach(live, info.pid)
        else:  # it has ended already
            self._host.spawn(self._after_end(live))

    def _attach(self, live: Live, pid: int) -> None:
        live.attach(pid)
        self._host.pids.add(pid, partial(self._ended, live, pid))

    async def _stop(self, live: Live) -> None:
        """Send the signal. Connections that are still open are cut at a quiet moment first."""
        if live.withdrawn is not None and live.connections:
            await self._host.fronts.cut(self._backends(live))
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
        routes = self._routes(ids)
        stale = self._opened - routes.keys()
        self._opened |= routes.keys()
        errors = await self._host.fronts.set({**dict.fromkeys(stale), **routes})
        self._opened -= stale
        if errors:
            raise TransientError(_taken(errors))
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

    def _routes(self, ids: tuple[str, ...]) -> dict[str, tuple[str, ...] | None]:
        """What the front should hold for us. Where nothing is wanted any more the port is closed."""
        routes: dict[str, tuple[str, ...] | None] = {}
        closing = self.record.removing or self.spec.replicas == 0
        for port in self._fronted():
            numbers = [self.instances[name].record.ports.get(port.name) for name in ids]
            chosen = tuple(f"127.0.0.1:{number}" for number in numbers if number is not None)
            routes[self._listening(port)] = None if closing and not chosen else chosen
        return routes

    def _front_agrees(self) -> bool:
        """False when the front was told something else last: a port was added, changed or taken away."""
        routes, table = self._routes(self._published()), self._host.fronts.table
        return not (self._opened - routes.keys()) and all(table.get(address) == backends for address, backends in routes.items())

    async def _start_due(self) -> None:
        now = self._host.clock.monotonic()
        for live in list(self.instances.values()):
            if live.wait_until is not None and now >= live.wait_until and not live.stopping:
                await self._start_program(live)

    async def _finish_removal(self) -> None:
        await self._host.fronts.set({self._listening(port): None for port in self._fronted()})
        self._host.addresses.release(self.record.owner.environment, self.record.ref)
        self._host.records.drop(self.record.owner.environment, self.record.ref)
        await self._host.sweep()
        self.removed.set()
        self._told()

    # Ends of processes.

    def _ended(self, live: Live, pid: int) -> None:
        if live.pid == pid:
            self._host.spawn(self._after_end(live))

    async def _after_end(self, live: Live) -> None:
        try:
            await self._account(live)
        except TransientError as error:
            log.warning("%s ended while supervisord does not answer: %s", live.id, error)
            if not live.pid and not live.stopping:
                live.state, live.wait_until = "waiting", self._host.clock.monotonic() + RETRY_SECONDS
        self._moved()
        self._told()

    async def _account(self, live: Live) -> None:
        """A process ended: by our order, for good, or to be started again, now or later."""
        host, pid = self._host, live.pid
        if live.stopping or not live.supervised:
            live.quiet()
            grace = live.record.grace_seconds if live.state == "stopping" else 0
            await end_group(pid, self._mark(live.record), within_seconds=grace)
            live.pid, live.state = 0, "gone"
            if live.supervised:
                await host.supervisor.poke()
            return
        ended = live.exited(killed=ending_signal(pid) in KILLED)
        wait = delay_seconds(live.exits, self.spec.restart)
        if wait > 0 and self.spec.restart.policy != "never":
            await host.supervisor.hold(live.id)  # or it would be started again at once
        else:
            await host.supervisor.poke()
        await end_group(pid, self._mark(live.record), within_seconds=0)  # or they would keep the port from what comes next
        after = await self._settled(live, pid)
        host.journal.read()
        live.last_exit = live.unwell or host.journal.how.get(live.id, "ended")
        live.unwell = ""
        if after:
            live.restarts += 1
            self._attach(live, after)
        elif self.spec.restart.policy == "never" or (
            self.spec.restart.policy == "onFailure" and live.last_exit == "exit status 0"
        ):
            live.state = "ended"
        else:
            live.state, live.wait_until = "waiting", ended.at + wait

    async def _settled(self, live: Live, before: int) -> int:
        """The pid of what supervisord has started in its place; 0 when it has not and will not."""
        again = self.spec.restart.policy
        for _ in range(RESTART_LOOKS):
            info = await self._host.supervisor.info(live.id)
            if info is None or info.state in ("STOPPED", "FATAL", "UNKNOWN"):
                return 0
            if info.pid and info.pid != before and info.state != "STOPPING":
                return info.pid
            if info.state == "EXITED" and again != "always":
                self._host.journal.read()
                if again == "never" or self._host.journal.how.get(live.id) == "exit status 0":
                    return 0
            await asyncio.sleep(0.001)
        return 0

    def _unwell(self, live: Live, message: str) -> None:
        """Liveness has failed: end it; its end is then accounted for like any other."""
        live.unwell = message
        self._host.spawn(self._end_unwell(live))

    async def _end_unwell(self, live: Live) -> None:
        with contextlib.suppress(TransientError):
            await self._host.supervisor.stop(live.id)

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
                live.connections = sum(counts.get(backend, 0) for backend in self._backends(live))

    def _backends(self, live: Live) -> list[str]:
        return [f"127.0.0.1:{port}" for port in live.record.ports.values()]

    def _fronted(self) -> list[Port]:
        return [port for port in self.spec.ports if port.fixed is None]

    def _listening(self, port: Port) -> str:
        return self._host.addresses.listening(self.record.owner.environment, self.record.ref, port)

    def _program(self, record: InstanceRecord) -> Program:
        return Program(record.id, AUTORESTART[self.spec.restart.policy], record.stop_signal, record.grace_seconds)

    def _program_known(self, found: Found) -> bool:
        return found.known or not self.record.removing

    def _tree_id(self) -> str:
        return next((content.id for content in self.record.content if content.type == "tree"), "")

    async def _tree(self) -> Path | None:
        content = next((content for content in self.record.content if content.type == "tree"), None)
        return None if content is None else await self._host.trees.place(content)

    def _directory(self, instance: str, tree: Path | None) -> str:
        base = tree or self._host.root / place(instance) / "work"
        return str(base / self.spec.working_directory)

    def _values(self, record: InstanceRecord, tree: str) -> dict[str, str]:
        return script.environment(
            self.spec, instance=self._mark(record), ports=record.ports, addresses=self._siblings(), tree=tree
        )

    def _mark(self, record: InstanceRecord) -> str:
        return f"{self._host.installation}/{record.id}"

    def _live(self, record: InstanceRecord, *, resources: dict[str, str] | None) -> Live:
        tree = str(self._host.root / "trees" / record.tree) if record.tree else ""
        values = resources if resources is not None else self._values(record, tree)
        asked = Asked(self._host.root, place(record.id), record.ports, values)
        return Live(record, self.spec, asked, self._host.clock, self._moved, self._unwell)


def spec_of(record: ObjectRecord) -> ProcessSpec:
    return msgspec.convert(record.body["spec"], ProcessSpec)


def _taken(errors: dict[str, str]) -> str:
    return "; ".join(f"the port {address} cannot be had: {message}" for address, message in errors.items())
