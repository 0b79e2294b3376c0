"""The engine room that all Environments of one DATA/host share: supervisord, the front, records, ports, content.

In: the directory and the collaborators. It starts what is missing, finds what runs already, notices at once when supervisord or
the front dies, and hands out what controllers need. It decides nothing about a single object.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from trimtab.core.model.errors import TransientError
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.git import Contents

from . import pids
from .addresses import Addresses
from .fronts import Fronts
from .instances import discard, place
from .journal import Journal
from .records import InstanceRecord, Records, read_instance
from .supervisor import FRONT, Info, Supervisor
from .trees import Trees

log = logging.getLogger(__name__)

REFRESH_SECONDS = 10.0
SHUTDOWN_SECONDS = 30.0
KILL_SECONDS = 5.0


class Found:
    """An instance that was there when we came: its record, and the pid of its process (0: none) with who holds it."""

    def __init__(self, record: InstanceRecord, pid: int, *, supervised: bool, known: bool) -> None:
        self.record, self.pid, self.supervised, self.known = record, pid, supervised, known


class Host:
    """One DATA/host. `open` before use; `close` leaves everything running."""

    def __init__(
        self, root: Path, *, installation: str, contents: Contents, clock: Clock, chance: Chance, python: str = sys.executable
    ) -> None:
        self.root = root
        self.installation = installation
        self.clock = clock
        self.chance = chance
        self.records = Records(root / "objects")
        self.addresses = Addresses(root / "ports.json", chance)
        self.trees = Trees(root / "trees", contents)
        self.supervisor = Supervisor(root, python=python)
        self.fronts = Fronts(root)
        self.journal = Journal(root / "supervisord.log")
        self.on_supervisor_lost: Callable[[], None] = lambda: None
        self.on_refresh: Callable[[dict[str, Info]], None] = lambda infos: None
        self._pids: pids.PidWatch | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reviving = asyncio.Lock()
        self._closed = False

    @property
    def pids(self) -> pids.PidWatch:
        assert self._pids is not None, "the host target was not started"
        return self._pids

    async def open(self) -> None:
        """Read the records; nothing is started yet. Raises TransientError when the directory cannot be used."""
        try:
            for name in ("", "instances", "objects", "conf.d", "files", "trees"):
                (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise TransientError(
                f"open {self.root}: {error.strerror or error}", remedy="Give this user that directory, or choose another --data."
            ) from error
        self._pids = pids.PidWatch()
        self.records.load()
        self.addresses.load()
        for each in self.records.unreadable:
            log.error("the record %s cannot be read: what it describes is left as it is", each)

    async def up(self) -> None:
        """Make sure that supervisord and the front run and are watched. Raises TransientError."""
        async with self._reviving:
            if self._closed:
                raise TransientError("start supervisord: the target is closing")
            fresh = await self.supervisor.ensure()
            if fresh:
                log.info("started supervisord, pid %d", self.supervisor.pid)
            self.pids.add(self.supervisor.pid, self._supervisor_ended)
            await self._watch_front()

    async def find(self) -> dict[str, Found]:
        """The instances that are there, by id, whoever holds them. Rubbish of a creation that was not finished is removed."""
        infos = await self.supervisor.infos()
        found: dict[str, Found] = {}
        for directory in sorted((self.root / "instances").iterdir()):
            if directory.name == FRONT:
                continue
            record = read_instance(directory)
            if record is None:
                await self._discard(directory.name, known=directory.name in infos)
                continue
            info = infos.get(record.id)
            held = info.pid if info else 0
            orphan = 0 if held else self.orphan(record.id)
            found[record.id] = Found(record, held or orphan, supervised=not orphan, known=info is not None)
        for name in infos.keys() - found.keys() - {FRONT}:
            await self._discard(name, known=True)
        self.journal.read()
        return found

    def mark(self, instance: str) -> str:
        """What stands in the environment of its processes."""
        return f"{self.installation}/{instance}"

    def orphan(self, instance: str) -> int:
        """The pid of a process of ours that no supervisord holds; 0 when there is none."""
        noted = pids.noted(self.root / place(instance) / "pid")
        if noted is None:
            return 0
        pid, started = noted
        alive = pids.start_time(pid) == started and pids.marked(pid, self.mark(instance))
        return pid if alive else 0

    async def end(self, found: Found) -> None:
        """End an instance that nobody wants and remove what is left of it."""
        name = found.record.id
        if found.supervised:
            await self.supervisor.stop(name)
        else:
            await self.signal(name, found.pid, signal.SIGTERM)
        if found.pid:
            await self._gone(found.pid, name)
        for _ in range(100):
            await self.supervisor.poke()
            if await self.supervisor.remove(name):
                break
            await asyncio.sleep(0.01)
        await asyncio.to_thread(discard, self.root, name)

    async def signal(self, instance: str, pid: int, number: signal.Signals) -> None:
        """For a process that no supervisord holds."""
        if self.orphan(instance) == pid:
            pids.signal_group(pid, number)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside, and do not forget it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def sweep(self) -> None:
        """Throw away content that no record names."""
        ids = {content.id for record in self.records.all() for content in record.content}
        for directory in (self.root / "instances").iterdir():
            record = read_instance(directory)
            if record is not None and record.tree:
                ids.add(record.tree)
        await self.trees.keep_only(ids)

    async def refresh_for_ever(self) -> None:
        """A slow full look, in case that something was missed."""
        while True:
            await self.clock.sleep(REFRESH_SECONDS)
            if self.supervisor.pid:
                try:
                    self.on_refresh(await self.supervisor.infos())
                except TransientError:
                    await self._replace_stuck()

    async def close(self) -> None:
        """Let go; what runs goes on."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.fronts.close()
        await asyncio.sleep(0)  # a closed stream ends in the next turn of the loop
        if self._pids is not None:
            self._pids.close()

    async def down(self) -> None:
        """End every process that is ours, and supervisord."""
        if not (self.root / "instances").is_dir():
            return
        if await self.supervisor.running():
            await self.supervisor.shutdown(timeout_seconds=SHUTDOWN_SECONDS)
        await self.fronts.end()  # one that no supervisord held
        for directory in (self.root / "instances").iterdir():
            pid = self.orphan(directory.name)
            if pid:
                pids.signal_group(pid, signal.SIGTERM)
                await self._gone(pid, directory.name)

    async def _gone(self, pid: int, instance: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                while pids.start_time(pid) is not None:
                    await asyncio.sleep(0.01)
                return
        if pids.marked(pid, self.mark(instance)):
            pids.signal_group(pid, signal.SIGKILL)

    async def _discard(self, name: str, *, known: bool) -> None:
        if known:
            await self.supervisor.stop(name)
            await self.supervisor.remove(name)
        await asyncio.to_thread(discard, self.root, name)

    async def _watch_front(self) -> None:
        info = await self.supervisor.info(FRONT)
        if info is not None and info.pid:
            self.pids.add(info.pid, self._front_ended)

    def _front_ended(self) -> None:
        if not self._closed:
            self.spawn(self._revive_front())

    async def _revive_front(self) -> None:
        """supervisord restarts it by itself; it only has to look."""
        with contextlib.suppress(TransientError):
            await self.supervisor.poke()
            await asyncio.sleep(0.01)
            await self._watch_front()

    async def _replace_stuck(self) -> None:
        """It does not answer. One that is merely slow is left alone; a stuck one is killed, and its end is then noticed."""
        with contextlib.suppress(TransientError):
            await self.up()

    def _supervisor_ended(self) -> None:
        if not self._closed:
            self.on_supervisor_lost()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("host: %s", error, exc_info=error)
