"""One instance while it lives: who it is, whether it is ready, and how it ended before. Asks its probes; tells its keeper.

starting ──(first success of readiness)──▶ ready ◀──▶ not ready
   │ exit                                    │ exit
   └────▶ waiting (back-off) ──▶ starting    └──▶ starting at once, while that is free
any ──▶ stopping ──▶ gone          any ──▶ ended (policy never, or onFailure after success)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.core.model.text import printable
from trimtab.ports.clock import Clock

from . import rollout
from .backoff import KEPT_MAX, STEADY_SECONDS, Exit
from .instances import last_line, place
from .kinds import Probe, ProcessSpec
from .probes import Asked, ask
from .records import InstanceRecord

FIRST_LOOKS_SECONDS = 0.01
SLOWER = 1.3
UNSURE_SECONDS = 0.2
SETTLE_SECONDS = 0.05
"""Without a readiness probe: long enough to see that the command exists at all."""


class Live:
    """``moved`` is called whenever its state changed; ``unwell`` when liveness has failed for good."""

    def __init__(
        self,
        record: InstanceRecord,
        spec: ProcessSpec,
        asked: Asked,
        clock: Clock,
        moved: Callable[[], None],
        unwell: Callable[[Live, str], None],
    ) -> None:
        self.record = record
        self.asked = asked
        self.state = "starting"
        self.pid = 0
        self.supervised = True
        self.ready = False
        self.unsure = False
        self.worked = False
        self.published = False
        self.withdrawn: float | None = None
        self.connections = 0
        self.started = clock.monotonic()
        self.created = clock.monotonic()
        self.unready_since = self.created
        self.exits: deque[Exit] = deque(maxlen=KEPT_MAX)
        self.restarts = 0
        self.last_exit = ""
        self.wait_until: float | None = None
        self.killed_at: float | None = None
        self.probe_message = ""
        self.unwell = ""
        self._spec = spec
        self._clock = clock
        self._moved = moved
        self._fallen_ill = unwell
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def stopping(self) -> bool:
        return self.state in ("stopping", "gone")

    @property
    def lives(self) -> bool:
        return self.state not in ("gone", "ended")

    def seen(self) -> rollout.Instance:
        """What the decider of the roll-out needs to know."""
        return rollout.Instance(
            id=self.id,
            digest=self.record.digest,
            since=self.record.created.timestamp(),
            lives=self.lives,
            ready=self.ready,
            unsure=self.unsure,
            supervised=self.supervised,
            published=self.published,
            withdrawn=self.withdrawn,
            connections=self.connections,
            stopping=self.stopping,
        )

    def use(self, spec: ProcessSpec) -> None:
        """Probes may change without a new incarnation."""
        changed = (spec.readiness, spec.liveness) != (self._spec.readiness, self._spec.liveness)
        self._spec = spec
        if changed and self.pid and not self.stopping:
            self._ask_again()

    def attach(self, pid: int, *, unsure: bool = False) -> None:
        """A process runs now."""
        self.pid, self.started = pid, self._clock.monotonic()
        self.worked = False
        self.wait_until = None
        if self.state != "stopping":
            self.state = "starting"
            self.unsure = unsure
            self._ask_again()
        self._moved()

    def exited(self, *, killed: bool) -> Exit:
        """It runs no more. ``killed`` tells that somebody else did that. Returns the account of this end."""
        now = self._clock.monotonic()
        lived = now - self.started
        # Without a probe, being ready says little about a process that ended by itself; being killed says nothing against it.
        worked = killed or (self.worked and (self._spec.readiness is not None or lived >= STEADY_SECONDS))
        ended = Exit(now, lived, worked)
        self.exits.append(ended)
        self._no_longer_ready()
        self.pid, self.ready, self.unsure = 0, False, False
        self.asked.log_offset = self._log_size()
        self.quiet()
        return ended

    def quiet(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def status(self, root: Path) -> dict[str, Any]:
        return {
            "id": self.id,
            "digest": self.record.digest,
            "state": "ready" if self.ready and self.state == "starting" else self.state,
            "pid": self.pid,
            "ports": dict(self.record.ports),
            "ready": self.ready,
            "supervised": self.supervised,
            "published": self.published,
            "restarts": self.restarts,
            "exitsRecent": sum(each.at > self._clock.monotonic() - 60 for each in self.exits),
            "lastExit": self.last_exit,
            "runningSeconds": round(self._clock.monotonic() - self.started, 1) if self.pid else 0,
            "unreadySeconds": 0 if self.ready else round(self._clock.monotonic() - self.unready_since, 1),
            "waitSeconds": round(max(0.0, self.wait_until - self._clock.monotonic()), 1) if self.wait_until else 0,
            "probe": self.probe_message,
            "lastLogLine": printable(last_line(root / place(self.id) / "log"))[:500],
        }

    def _ask_again(self) -> None:
        self.quiet()
        self._tasks = [asyncio.create_task(self._ask_readiness(self._spec.readiness))]
        if self._spec.liveness is not None:
            self._tasks.append(asyncio.create_task(self._ask_liveness(self._spec.liveness)))

    async def _ask_readiness(self, probe: Probe | None) -> None:
        if probe is None:
            if not self.unsure:
                crashed = bool(self.exits) and not self.exits[-1].worked
                await asyncio.sleep(STEADY_SECONDS if crashed else SETTLE_SECONDS)
            self._set_ready(True, "")
            return
        await asyncio.sleep(0 if self.unsure else probe.initial_delay_seconds)
        failures, pause = 0, FIRST_LOOKS_SECONDS
        while True:
            message = await ask(probe, self.asked)
            failures = failures + 1 if message else 0
            if not message:
                self._set_ready(True, "")
                if probe.log_line is not None:  # said once, said for this run
                    return
            elif failures >= probe.failure_threshold or not (self.ready or self.unsure):
                self._set_ready(False, message)
            if self.ready:
                pause = FIRST_LOOKS_SECONDS
                await asyncio.sleep(probe.period_seconds)
            else:
                await asyncio.sleep(max(pause, UNSURE_SECONDS) if self.unsure else pause)
                pause = min(pause * SLOWER, probe.period_seconds)

    async def _ask_liveness(self, probe: Probe) -> None:
        await asyncio.sleep(probe.initial_delay_seconds)
        failures = 0
        while True:
            # Before it is ready for the first time, startupSeconds is what bounds it: a slow start is not killed.
            if self.worked:
                message = await ask(probe, self.asked)
                failures = failures + 1 if message else 0
                if failures >= probe.failure_threshold:
                    self._fallen_ill(self, f"liveness: {message}")
                    return
            await asyncio.sleep(probe.period_seconds)

    def _set_ready(self, ready: bool, message: str) -> None:
        self.worked = self.worked or ready
        if not ready:
            self._no_longer_ready()
        changed = (self.ready, self.unsure) != (ready, False)
        self.ready, self.unsure, self.probe_message = ready, False, message
        if changed:
            self._moved()

    def _no_longer_ready(self) -> None:
        """A start is given its time anew after each time that it was ready, and not after each crash on the way there."""
        if self.ready:
            self.unready_since = self._clock.monotonic()

    def _log_size(self) -> int:
        try:
            return (self.asked.root / place(self.id) / "log").stat().st_size
        except OSError:
            return 0
