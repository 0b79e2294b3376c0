"""The kind Task: runs to its end, once for each change of its inputs, whether or not we are there to see it.

    (record: running, attempt n) ──▶ directory ──▶ program ──▶ started ──▶ exit written by the run itself ──▶ (record: ended)

Each arrow may be where we crash. The record comes first, so the run is not forgotten; the run script marks its start by an
exclusive creation and refuses a second one, so it is not repeated; it writes its exit status itself, so the end is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError, TrimtabError
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.plan import Applied, Outcome
from trimtab.core.model.text import printable

from . import script
from .host import Found, Host
from .instances import discard, instance_id, last_line, make, place
from .kinds import Logs, TaskSpec
from .pids import end_group
from .records import InstanceRecord, ObjectRecord, TaskRun, read_instance
from .supervisor import Program

log = logging.getLogger(__name__)

GRACE_SECONDS = 10
LOOK_SECONDS = 5.0
RETRY_SECONDS = 1.0
WAIT_SECONDS_MAX = 60.0

Name = tuple[str, Identity]
Variables = Callable[[str, str, ObjectRef], dict[str, str]]


class Tasks:
    """Every Task of every Environment. ``variables`` gives the addresses of an application's ports."""

    def __init__(self, host: Host, variables: Variables, tell: Callable[[str, str], None]) -> None:
        self._host = host
        self._variables = variables
        self._tell = tell
        self._running: dict[Name, asyncio.Task[None]] = {}

    # Its life.

    async def begin(self, found: Iterable[Found]) -> None:
        """Go on with what was running, and clear away runs that no record names."""
        current = {record.task.instance for record in self._records() if record.task is not None}
        for each in found:
            if each.record.id not in current and not self._host.records.unreadable:
                await self._end(each.record.id)
                await asyncio.to_thread(discard, self._host.root, each.record.id)
        for record in self._records():
            self._go_on(record)

    async def close(self) -> None:
        """What runs goes on."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    # What the port asks.

    async def apply(self, record: ObjectRecord) -> Outcome:
        """Raises TransientError. Equal inputs are not run again, however often they are applied."""
        spec, name = spec_of(record), _name(record)
        await self._host.up()
        for content in record.content:
            await self._host.trees.place(content)
        before = self._host.records.get(*name)
        run = before.task if before is not None else None
        if run is None or run.inputs != inputs(record):
            if run is not None:
                await self._cancel(name)
                await self._end(run.instance)
            run = self._attempt(record, 1)
        elif run.state == "failed" and run.attempt <= spec.retries:
            run = self._attempt(record, run.attempt + 1)
        record = msgspec.structs.replace(record, task=run)
        await asyncio.to_thread(self._host.records.put, record)
        if before is not None and before.task is not None and before.task.instance != run.instance:
            await asyncio.to_thread(discard, self._host.root, before.task.instance)
        self._go_on(record)
        return Applied(record.ref, record.uid)

    async def remove(self, record: ObjectRecord) -> Outcome:
        """Ends it if it runs. Raises TransientError."""
        await asyncio.to_thread(self._host.records.put, msgspec.structs.replace(record, removing=True))
        await self._host.up()
        await self._cancel(_name(record))
        if record.task is not None:
            await self._end(record.task.instance)
            await asyncio.to_thread(discard, self._host.root, record.task.instance)
        await asyncio.to_thread(self._host.records.drop, record.owner.environment, record.ref)
        await self._host.sweep()
        return Applied(record.ref)

    def status(self, record: ObjectRecord) -> dict[str, Any]:
        run = record.task
        if run is None:
            return {"kind": "Task", "state": "running", "attempt": 0}
        line = printable(last_line(self._host.root / place(run.instance) / "log"))[:500]
        return {"kind": "Task", "state": run.state, "attempt": run.attempt, "message": run.message, "lastLogLine": line}

    def instances(self, environment: str, ref: ObjectRef) -> list[str]:
        record = self._host.records.get(environment, ref.identity)
        return [record.task.instance] if record is not None and record.task is not None else []

    # Below: one run.

    def _records(self) -> list[ObjectRecord]:
        return [record for record in self._host.records.all() if record.ref.kind == "Task"]

    def _attempt(self, record: ObjectRecord, number: int) -> TaskRun:
        instance = instance_id(record.owner.environment, record.ref, self._host.chance.token())
        return TaskRun(inputs(record), number, "running", instance, self._host.clock.now())

    def _go_on(self, record: ObjectRecord) -> None:
        name, run = _name(record), record.task
        if run is not None and run.state == "running" and not record.removing and name not in self._running:
            task = asyncio.create_task(self._run(name), name=f"task {record.ref}")
            self._running[name] = task
            task.add_done_callback(lambda done: self._forget(name, done))

    def _forget(self, name: Name, task: asyncio.Task[None]) -> None:
        if self._running.get(name) is task:
            del self._running[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s: %s", name[1][3], error, exc_info=error)

    async def _cancel(self, name: Name) -> None:
        """Watch it no longer."""
        task = self._running.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, name: Name) -> None:
        """Until the record says that it ended. Trouble of the machine is tried again for ever, trouble of the task as it wishes."""
        while (
            (record := self._host.records.get(*name)) is not None and record.task is not None and record.task.state == "running"
        ):
            try:
                await self._once(record, record.task)
            except TrimtabError as error:
                log.warning("task %s: %s", record.ref, error)
                await self._host.clock.sleep(RETRY_SECONDS)

    async def _once(self, record: ObjectRecord, run: TaskRun) -> None:
        await self._make(record, run)
        pid = await self._start(run)
        message = await self._wait(record, run, pid) or self._outcome(run)
        await self._put_away(run.instance)
        ended = self._host.clock.now()
        if not message:
            done = msgspec.structs.replace(run, state="succeeded", ended=ended)
        elif run.attempt <= spec_of(record).retries:
            await self._host.clock.sleep(min(WAIT_SECONDS_MAX, RETRY_SECONDS * 2 ** (run.attempt - 1)))
            done = self._attempt(record, run.attempt + 1)
        else:
            tried = f" (attempt {run.attempt})" if run.attempt > 1 else ""
            done = msgspec.structs.replace(run, state="failed", ended=ended, message=message + tried)
        await asyncio.to_thread(self._host.records.put, msgspec.structs.replace(record, task=done))
        if done.instance != run.instance:
            await asyncio.to_thread(discard, self._host.root, run.instance)
        self._tell(record.owner.environment, record.owner.application)

    async def _make(self, record: ObjectRecord, run: TaskRun) -> None:
        """The directory of the run, unless it is there."""
        if read_instance(self._host.root / place(run.instance)) is not None:
            return
        spec = spec_of(record)
        trees = [content for content in record.content if content.type == "tree"]
        tree = await self._host.trees.place(trees[0]) if trees else None
        made = InstanceRecord(
            id=run.instance,
            environment=record.owner.environment,
            ref=record.ref,
            digest=run.inputs,
            created=self._host.clock.now(),
            tree=trees[0].id if trees else "",
            grace_seconds=GRACE_SECONDS,
            log_bytes_max=spec.logs.bytes_max,
            log_files=spec.logs.files,
        )
        values = script.environment(
            spec,
            instance=self._host.mark(run.instance),
            ports={},
            addresses=self._variables(record.owner.environment, record.owner.application, record.ref),
            tree=str(tree) if tree else "",
        )
        directory = str((tree or self._host.root / place(run.instance) / "work") / spec.working_directory)
        text = script.task_script(spec, values, place=place(run.instance))
        before = script.preamble(spec, values, directory=directory)
        await asyncio.to_thread(discard, self._host.root, run.instance)  # half of one, from before a crash
        await asyncio.to_thread(make, self._host.root, made, run=text, environment=before)

    async def _start(self, run: TaskRun) -> int:
        """Start it if it never was. Returns the pid that runs, 0 when it has ended."""
        host = self._host
        if not (host.root / place(run.instance) / "started").exists():
            await host.up()
            if await host.supervisor.info(run.instance) is None:
                await host.supervisor.add(Program(run.instance, autorestart="false", grace_seconds=GRACE_SECONDS))
            await host.supervisor.start(run.instance)
        info = await host.supervisor.info(run.instance)
        return (info.pid if info is not None else 0) or host.orphan(run.instance)

    async def _wait(self, record: ObjectRecord, run: TaskRun, pid: int) -> str:
        """Until the process ends. Returns why it was ended by us, "" when it was not."""
        seconds = spec_of(record).timeout_seconds
        # The wall clock may jump: it tells only how long the run went on before us, and never more than it may take.
        before = min(seconds, max(0.0, (self._host.clock.now() - run.started).total_seconds()))
        deadline = self._host.clock.monotonic() + (seconds - before)
        ended = asyncio.Event()
        message = ""
        if pid:
            self._host.pids.add(pid, ended.set, watcher="run")
        while pid and not ended.is_set():
            left = deadline - self._host.clock.monotonic()
            if left <= 0 and not message:
                message = f"killed after {seconds:g} s (timeoutSeconds)"
                await self._end(run.instance)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_SECONDS, left) if left > 0 else LOOK_SECONDS):
                    await ended.wait()
        return message

    def _outcome(self, run: TaskRun) -> str:
        """What the run wrote about its end; "" is success."""
        try:
            code = (self._host.root / place(run.instance) / "exit").read_text().strip()
        except OSError:
            return "it was interrupted and did not end by itself"
        meaning = {"126": ": the command cannot be executed", "127": ": the command was not found"}.get(code, "")
        return "" if code == "0" else f"exit status {code}{meaning}"

    async def _put_away(self, instance: str) -> None:
        """supervisord need not know it any more; directory and log stay."""
        with contextlib.suppress(TransientError):
            for _ in range(100):
                await self._host.supervisor.poke()
                if await self._host.supervisor.remove(instance):
                    return
                await asyncio.sleep(0.01)

    async def _end(self, instance: str) -> None:
        """End it, whoever holds it, and wait for that."""
        host = self._host
        info = await host.supervisor.info(instance)
        pid = (info.pid if info is not None else 0) or host.orphan(instance)
        if pid:
            gone = asyncio.Event()
            host.pids.add(pid, gone.set, watcher="end")
            if info is not None and info.pid:
                await host.supervisor.stop(instance)
            else:
                await host.signal(instance, pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS + 5):
                    await gone.wait()
            if not gone.is_set():
                await host.signal(instance, pid, signal.SIGKILL)
            await end_group(pid, host.mark(instance), within_seconds=GRACE_SECONDS)
        await self._put_away(instance)


def spec_of(record: ObjectRecord) -> TaskSpec:
    return msgspec.convert(record.body["spec"], TaskSpec)


def inputs(record: ObjectRecord) -> str:
    """A digest of what a run is made from; how often and how long it may run is not part of that."""
    spec = msgspec.structs.replace(spec_of(record), when="before", retries=0, timeout_seconds=600.0, logs=Logs())
    return digest([msgspec.to_builtins(spec), sorted((content.path, content.id) for content in record.content)])


def _name(record: ObjectRecord) -> Name:
    return (record.owner.environment, record.ref.identity)
