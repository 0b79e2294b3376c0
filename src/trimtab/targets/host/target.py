"""The Target port on this machine. One `HostTarget` for each Environment; all share one `Host` below DATA/host.

In: steps and scopes. Out: outcomes, observations (from memory and, for files, from the disk), health, logs, and keys to look at.
Each kind has its own module; here stands only what they share: owners, records, who is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem, TransientError, UserError
from trimtab.core.model.health import Health
from trimtab.core.model.hook import Hook, annotated
from trimtab.core.model.leaving import Leave
from trimtab.core.model.mandate import OWN, Location, Mandate
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Observed, Owner, Scope
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.core.model.tree import NO_TREE, Tree
from trimtab.core.model.views import Finding
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.git import Contents
from trimtab.ports.target import NOTHING_LEFT, LogLine, LogWish, Preview

from . import health, tree
from .fileobjects import FileObjects
from .host import Found, Host
from .kinds import Document, File, HostSettings, Task
from .logs import lines_of
from .order import wave
from .parse import body, parse
from .processes import Processes
from .records import ObjectRecord
from .supervisor import Info
from .tasks import Tasks

log = logging.getLogger(__name__)

REVIVE_SECONDS = 1.0


class HostTargets:
    """All Environments of this machine. `start` before use; `close` leaves processes running; `down` ends them."""

    def __init__(
        self, data: Path, *, installation: str, contents: Contents, clock: Clock, chance: Chance, python: str = sys.executable
    ) -> None:
        self.host = Host(
            data.absolute() / "host", installation=installation, contents=contents, clock=clock, chance=chance, python=python
        )
        self._targets: dict[str, HostTarget] = {}
        self.processes = Processes(self.host, self._tell)
        self.tasks = Tasks(self.host, self.processes.variables, self._tell)
        self.files = FileObjects(self.host, self._roots, self._tell)
        self._reviving: asyncio.Task[None] | None = None

    def get(self, name: str, environment: Environment, mandate: Mandate = OWN) -> HostTarget:
        """The same value for the same name; a changed Environment holds from now on. Nobody else's account can be used here, and what
        Git sets is nobody else's. Raises UserError.

        Also without `start`, for looking only: `observe` and `preview` answer from the records and the disk.
        """
        if mandate.account:
            raise UserError(
                f"act as {mandate.account} in environment {name}: on this machine everything is done as the user that Trimtab runs as",
                remedy="Keep the Project out of this Environment (spec.environments), or leave out its account",
            )
        self.host.records.load_once()
        if name not in self._targets:
            self._targets[name] = HostTarget(name, environment, self)
        self._targets[name].environment = environment
        return self._targets[name]

    async def open(self) -> None:
        """Read what is recorded, for `observe` and `preview` only; nothing is started. Raises TransientError."""
        await self.host.open()

    async def start(self) -> None:
        """Find what runs and keep it. Raises TransientError when the directory or supervisord cannot be had."""
        host = self.host
        await host.open()
        host.on_supervisor_lost = self._revive
        host.on_refresh = self._refresh
        await self.files.begin()
        if self._anything_runs():
            await host.up()
            found = await self._found()
            self.processes.begin(found["Process"], await self._published())
            await self.tasks.begin(found["Task"])
            await host.sweep()
        host.spawn(host.refresh_for_ever())

    async def close(self) -> None:
        """Let go. What runs goes on, held by supervisord, until the next start or `down`."""
        if self._reviving is not None:
            self._reviving.cancel()
        await self.processes.close()
        await self.tasks.close()
        await self.files.close()
        await self.host.close()

    async def down(self) -> None:
        """End every process of ours and supervisord itself, also without `start`. Records stay: the next start brings it all back."""
        await self.close()
        await self.host.down()

    def _anything_runs(self) -> bool:
        return (
            any(record.ref.kind != "File" for record in self.host.records.all()) or (self.host.root / "supervisord.pid").exists()
        )

    async def _found(self) -> dict[str, list[Found]]:
        """What is there, by kind. Instances of a Process that no record names any more are ended."""
        found: dict[str, list[Found]] = {"Process": [], "Task": []}
        for each in (await self.host.find()).values():
            record = self.host.records.get(each.record.environment, each.record.ref.identity)
            if record is None and each.record.ref.kind == "Process" and not self.host.records.unreadable:
                await self.host.end(each)
            else:
                found.setdefault(each.record.ref.kind, []).append(each)
        return found

    async def _published(self) -> frozenset[str]:
        """The backends that the front gives work to; what it should hold from now on is limited to what the records name."""
        held = await self.host.fronts.routes()
        known = self.processes.listening()
        self.host.fronts.load({address: tuple(held.get(address, ())) for address in known})
        return frozenset(backend for backends in held.values() for backend in backends)

    def _tell(self, environment: str, application: str) -> None:
        target = self._targets.get(environment)
        if target is not None:
            target.tell(application)

    def _roots(self, environment: str) -> list[Path]:
        target = self._targets.get(environment)
        settings = msgspec.convert(target.environment.target_settings if target is not None else {}, HostSettings)
        configured = settings.allowed_roots
        if configured:
            return [Path(root) for root in configured]
        return [self.host.root / "files" / environment]

    def _refresh(self, infos: dict[str, Info]) -> None:
        self.processes.refresh({info.name: info.pid for info in infos.values()})

    def _revive(self) -> None:
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.create_task(self._bring_back(), name="revive supervisord")

    async def _bring_back(self) -> None:
        """supervisord was killed. What it held serves on; a new one is started, and then takes over by ordinary rolling."""
        log.warning("supervisord is gone; starting a new one")
        self.processes.orphaned()
        while True:
            try:
                await self.host.up()
                break
            except TransientError as error:
                log.error("%s", error)
                await asyncio.sleep(REVIVE_SECONDS)
        self.processes.wake()


class HostTarget:
    """One Environment on this machine: the Target port."""

    def __init__(self, name: str, environment: Environment, targets: HostTargets) -> None:
        self.name = name
        self.environment = environment
        self._targets = targets
        self._host = targets.host
        self._watchers: set[_Watcher] = set()
        self._locks: dict[Identity, asyncio.Lock] = {}

    async def observe(self, scope: Scope) -> Mapping[Identity, Observed]:
        """From memory, but for files, which are read."""
        refs = scope.refs if scope.refs is not None else [record.ref for record in self._host.records.of(self.name)]
        found = [await self._look(ref) for ref in refs]
        return {each.ref.identity: each for each in found if each is not None}

    async def locate(self, manifests: Sequence[Manifest]) -> Mapping[Identity, Location]:
        """This machine has no namespaces."""
        return {one.identity: Location() for one in manifests}

    def place(self) -> str:
        """Each Environment for itself: its records, ports and logs are its own, and what another one has made it never sees, not even a
        file at the same path.
        """
        return f"host/{self.name}"

    def called(self, identity: Identity) -> str:
        return "/".join(identity)

    async def preview(
        self, manifests: Sequence[Manifest], leave: Mapping[Identity, Leave] = NOTHING_LEFT, *, shown: bool = True
    ) -> Preview:
        """The normal form of each, and what is wrong with the others."""
        bodies: dict[Identity, Body] = {}
        problems: list[Problem] = []
        observed: dict[Identity, Observed | None] = {}
        parsed = [(manifest, parse(manifest)) for manifest in manifests]
        self._targets.processes.preview(
            self.name, [(each.ref, found) for each, found in parsed if not isinstance(found, Problem)]
        )
        for manifest, found in parsed:
            if isinstance(found, Problem):
                problems.append(found)
                continue
            try:
                bodies[manifest.identity] = await self._body(found, manifest)
                if isinstance(found, File) and self._host.records.get(self.name, manifest.identity) is None:
                    # Only now is it known where to look for a file that may be there already, and nobody's.
                    observed[manifest.identity] = await self._look(manifest.ref)
            except UserError as error:
                problems.append(Problem(f"{manifest.ref}: {error.message}", manifest.file, manifest.line, "spec", error.remedy))
        return Preview(bodies, tuple(problems), observed)

    async def apply(self, step: Step, revision: str) -> Outcome:
        """What the disk or the machine refuses is Failed, with what to do; nothing that runs is touched by it."""
        assert step.manifest is not None, "a step to apply has a manifest"
        document = parse(step.manifest)
        if isinstance(document, Problem):
            return Failed(step.ref, f"apply {step.ref}: {document}", document.remedy, transient=False)
        async with self._lock(step.ref):
            try:
                return await self._apply(step, document, revision)
            except UserError as error:
                return Failed(step.ref, error.message, error.remedy, transient=False)
            except TransientError as error:
                return Failed(step.ref, error.message, error.remedy)

    async def remove(self, step: Step) -> Outcome:
        """Returns once it is gone: for a process, after its connections had their time and its grace is over at the latest."""
        async with self._lock(step.ref):
            record = self._host.records.get(self.name, step.ref.identity)
            if record is None:
                return Applied(step.ref)
            if record.uid != step.uid:
                message = f"remove {step.ref}: expected {step.uid or 'none'}, found another object, {record.uid}"
                return Failed(step.ref, message, "It is looked at again.")
            try:
                return await self._gone(record)
            except UserError as error:
                return Failed(step.ref, error.message, error.remedy, transient=False)
            except TransientError as error:
                return Failed(step.ref, error.message, error.remedy)

    async def watch(self) -> AsyncIterator[Key]:
        """Keys of Applications of which something moved, each once until it is taken."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            while True:
                yield Key(self.name, await watcher.next())
        finally:
            self._watchers.discard(watcher)

    async def capabilities(self) -> tuple[str, ...]:
        return ()

    async def check(self, refs: Sequence[ObjectRef]) -> list[Finding]:
        """The machine has been looked at as such, and there are no rights here but those of our own user."""
        return []

    def wave(self, manifest: Manifest) -> int:
        return wave(manifest)

    def hook(self, manifest: Manifest) -> Hook | None:
        return annotated(manifest)

    def went(self, manifest: Manifest) -> Health | None:
        """Tasks stay when they are done."""
        return None

    def assess(self, observed: Observed, manifest: Manifest) -> Health:
        return health.assess(observed, manifest)

    async def logs(self, ref: ObjectRef, wish: LogWish) -> AsyncIterator[LogLine]:
        """The output of all instances of a Process, or of the run of a Task, merged as it comes. Neither has containers, and what a run
        before has printed stands in the same log.
        """
        kind = self._targets.tasks if ref.kind == "Task" else self._targets.processes
        lines = lines_of(self._host.root, lambda: kind.instances(self.name, ref), lines=wish.lines, follow=wish.follow)
        oldest = self._host.clock.now() - timedelta(seconds=wish.since_seconds) if wish.since_seconds else None
        async for line in lines:
            if oldest is None or line.time is None or line.time >= oldest:
                yield line

    async def children(self, ref: ObjectRef) -> Tree:
        observed = await self._look(ref)
        return tree.tree(observed, self._host.clock.now()) if observed is not None else NO_TREE

    def tell(self, application: str) -> None:
        for watcher in self._watchers:
            watcher.put(application)

    # Below: how it is done.

    async def _look(self, ref: ObjectRef) -> Observed | None:
        record = self._host.records.get(self.name, ref.identity)
        if ref.kind == "File":
            return await self._targets.files.observe(self.name, ref.identity)
        if record is None:
            return None
        kind = self._targets.tasks if ref.kind == "Task" else self._targets.processes
        return Observed(record.ref, record.uid, record.body, record.owner, record.digest, kind.status(record))

    async def _body(self, document: Document, manifest: Manifest) -> Body:
        shaped = body(document, manifest)
        if isinstance(document, File):
            return await self._targets.files.preview(self.name, document, manifest, shaped)
        return shaped

    async def _gone(self, record: ObjectRecord) -> Outcome:
        if record.ref.kind == "File":
            return await self._targets.files.remove(record)
        if record.ref.kind == "Task":
            return await self._targets.tasks.remove(record)
        return await self._targets.processes.remove(record)

    async def _apply(self, step: Step, document: Document, revision: str) -> Outcome:
        manifest = step.manifest
        assert manifest is not None
        before = self._host.records.get(self.name, step.ref.identity)
        owner = Owner(self._host.installation, self.name, step.application)
        if before is not None and step.action is Action.RUN:
            if before.digest == manifest.digest and not before.removing:
                return Applied(before.ref, before.uid)  # this very run, whose answer was lost
            if before.uid != step.uid:
                return Failed(step.ref, f"run {step.ref}: another object has taken its place", "It is looked at again.")
            gone = await self._gone(before)
            if isinstance(gone, Failed):
                return gone
            before = None
        if before is not None and before.owner.installation != owner.installation:
            return Failed(step.ref, f"apply {step.ref}: it belongs to another installation, {before.owner.installation}")
        renewed = before is None or step.action is Action.REPLACE or before.removing
        record = ObjectRecord(
            ref=step.ref,
            uid=self._host.chance.token() if renewed or before is None else before.uid,
            owner=owner,
            digest=manifest.digest,
            body=await self._body(document, manifest),
            content=manifest.content,
            revision=revision,
            applied=self._host.clock.now(),
        )
        if isinstance(document, File):
            return await self._targets.files.apply(step, record, document)
        if isinstance(document, Task):
            return await self._targets.tasks.apply(record)
        return await self._targets.processes.apply(record)

    @contextlib.asynccontextmanager
    async def _lock(self, ref: ObjectRef) -> AsyncIterator[None]:
        """One act at a time on one object."""
        lock = self._locks.setdefault(ref.identity, asyncio.Lock())
        async with lock:
            yield


class _Watcher:
    """Applications that somebody has to be told about, each once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._some = asyncio.Event()

    def put(self, application: str) -> None:
        self._names[application] = None
        self._some.set()

    async def next(self) -> str:
        await self._some.wait()
        name = next(iter(self._names))
        del self._names[name]
        if not self._names:
            self._some.clear()
        return name
