"""Faults by seed: the fakes call `Faults.point` around every effect, and here it is decided what goes wrong there.

A point is named after the call, `target.apply:before` and `target.apply:after`. Before the effect a call may take its time or
fail; after it the answer may get lost (the caller sees an error, yet the thing was done), and after a write the calling process
may crash. A process here is a group of tasks (`trimtab.testing.time.GROUP`). Once it has crashed, every point it still reaches
raises `Crash` at once, so no clean-up code of a dead process touches the world.

In: a random generator and a `Profile`. Out: delays and exceptions, a count of each, and a trace whose lines are equal for equal
seeds. `stop` ends the faults, and delays go on: from there on the system has to converge. `plan` sets one fault by hand.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum

from trimtab.core.model.errors import TransientError

from .time import GROUP

TRACE_LINES_MAX = 100_000
WRITES = frozenset({"store.write", "target.apply", "target.remove", "git.note", "hosting.update_refs", "hosting.push"})
AFTER = ("after", "moved")
"""What a point is called behind an effect that has taken place."""


class Fault(StrEnum):
    FAILED = "failed"
    LOST = "lost"
    CRASH = "crash"
    DROPPED = "dropped"


class Crash(BaseException):
    """The process ends here, between two effects. No `except Exception` sees it, as none sees `kill -9`."""


@dataclass(frozen=True)
class Profile:
    """Chances between 0 and 1, at each point. A delay is up to ``delay_seconds``, and by ``slow`` up to ``slow_seconds``."""

    failed: float = 0.04
    lost: float = 0.03
    crash: float = 0.005
    dropped: float = 0.2
    slow: float = 0.01
    delay_seconds: float = 0.05
    slow_seconds: float = 5.0


CALM = Profile(failed=0.0, lost=0.0, crash=0.0, dropped=0.0, slow=0.0, delay_seconds=0.0)
"""Nothing goes wrong and nothing takes time, but for what a test sets by `plan`."""


@dataclass
class Faults:
    """One for a whole world. ``crashed`` names the dead processes; ``counts`` says what was done, by ``point fault``."""

    random: random.Random
    profile: Profile = CALM
    stopped: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=TRACE_LINES_MAX))
    crashed: set[str] = field(default_factory=set)
    crashes: asyncio.Event = field(default_factory=asyncio.Event)
    _planned: dict[str, list[Fault | None]] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Faults:
        return cls(random.Random(0))  # noqa: S311 - chance that can be repeated is the point

    def stop(self) -> None:
        """No more faults. Those that were set by hand are forgotten too."""
        self.stopped = True
        self._planned.clear()

    def plan(self, point: str, fault: Fault, *, skip: int = 0) -> None:
        """Have ``fault`` at ``point``, once, after ``skip`` calls of it that go well."""
        self._planned.setdefault(point, []).extend([*[None] * skip, fault])

    async def point(self, name: str, detail: str = "") -> None:
        """Come here before (``…:before``, or no suffix) and after (``…:after``) an effect.

        ``detail`` is for the trace only. Raises TransientError or Crash.
        """
        self._check_alive()
        call, _, phase = name.partition(":")
        after = phase in AFTER
        if not after:
            await self._delay()
            self._check_alive()
        fault = self._choose(name, call, after=after)
        if fault is None:
            return
        self.note(name, f"{fault} {detail}".rstrip())
        self.counts[f"{name} {fault}"] += 1
        if fault is Fault.CRASH:
            self.crash(GROUP.get())
            raise Crash(name)
        what = "no connection" if fault is Fault.FAILED else "the connection broke before the answer came"
        raise TransientError(f"{call} {detail}".rstrip() + f": {what}")

    def drops(self, name: str) -> bool:
        """True when the wake that is about to be sent gets lost."""
        fault = self._planned_at(name)
        chosen = fault if fault is not None else Fault.DROPPED if self._happens(self.profile.dropped) else None
        if chosen is None:
            return False
        self.note(name, chosen)
        self.counts[f"{name} {chosen}"] += 1
        return True

    def crash(self, process: str) -> None:
        """The process is dead from now on; who runs the simulation has to cancel its tasks. The test itself ("") never is."""
        if process:
            self.crashed.add(process)
        self.crashes.set()

    def note(self, name: str, what: str) -> None:
        """A line for the trace: when, who, where, what."""
        self.trace.append(f"{moment():.6f} {GROUP.get() or '-'} {name} {what}")

    def _check_alive(self) -> None:
        if GROUP.get() in self.crashed:
            raise Crash("this process is dead")

    async def _delay(self) -> None:
        slow = self._happens(self.profile.slow)
        longest = self.profile.slow_seconds if slow else self.profile.delay_seconds
        if longest > 0:
            await asyncio.sleep(self.random.uniform(0, longest))

    def _choose(self, name: str, call: str, *, after: bool) -> Fault | None:
        if name in self._planned:
            return self._planned_at(name)
        if not after:
            return Fault.FAILED if self._happens(self.profile.failed) else None
        if call in WRITES and self._happens(self.profile.crash):
            return Fault.CRASH
        return Fault.LOST if self._happens(self.profile.lost) else None

    def _planned_at(self, name: str) -> Fault | None:
        planned = self._planned.get(name)
        if planned is None:
            return None
        fault = planned.pop(0)
        if not planned:
            del self._planned[name]
        return fault

    def _happens(self, chance: float) -> bool:
        return chance > 0 and not self.stopped and self.random.random() < chance


def moment() -> float:
    """The loop's time; 0 where a test stands outside of any loop."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0
