"""When a process of an instance ends: whose doing it was, and whether another is started, now, later or never.

    by our order            ▶ gone                      (what it leaves behind in its group gets the rest of the grace)
    had worked, or killed   ▶ supervisord starts it again; we only make it look now
    crashed                 ▶ kept down by supervisord, waiting until the back-off is over
    policy says so          ▶ ended

In: the end, told by a pidfd. Out: the instance's new state, and a word to its controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from functools import partial

from trimtab.core.model.errors import TransientError

from .backoff import delay_seconds
from .host import Host
from .kinds import Restart
from .live import Live
from .pids import end_group, ending_signal

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LOOKS = 40
LOOK_SECONDS = 0.001
KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
WELL = "exit status 0"


class Endings:
    """The ends of one Process's instances. ``restart`` gives the policy of now; ``moved`` is called after each."""

    def __init__(self, host: Host, restart: Callable[[], Restart], moved: Callable[[], None]) -> None:
        self._host = host
        self._restart = restart
        self._moved = moved

    def attach(self, live: Live, pid: int) -> None:
        """A process runs now: watch it."""
        live.attach(pid)
        self._host.pids.add(pid, partial(self.ended, live, pid))

    def final(self, how: str) -> bool:
        """True when what ended so is not to be started again."""
        policy = self._restart().policy
        return policy == "never" or (policy == "onFailure" and how == WELL)

    def ended(self, live: Live, pid: int) -> None:
        """``pid`` was running for it, and runs no more (0: it had ended before it was seen)."""
        if live.pid == pid:
            self._host.spawn(self._after_end(live, pid))

    async def _after_end(self, live: Live, pid: int) -> None:
        if live.pid != pid:  # told twice
            return
        try:
            await self._account(live, pid)
        except TransientError as error:
            log.warning("%s ended while supervisord does not answer: %s", live.id, error)
            if not live.pid and not live.stopping:
                live.state, live.wait_until = "waiting", self._host.clock.monotonic() + RETRY_SECONDS
        self._moved()

    async def _account(self, live: Live, pid: int) -> None:
        """A process ended: by our order, for good, or to be started again, now or later."""
        host = self._host
        if live.stopping or not live.supervised:
            live.quiet()
            grace = live.record.grace_seconds if live.state == "stopping" else 0
            await end_group(pid, self._host.mark(live.id), within_seconds=grace)
            live.pid, live.state = 0, "gone"
            if live.supervised:
                await host.supervisor.poke()
            return
        ended = live.exited(killed=ending_signal(pid) in KILLED)
        wait = delay_seconds(live.exits, self._restart())
        if wait > 0 and self._restart().policy != "never":
            await host.supervisor.hold(live.id)  # or it would be started again at once
        else:
            await host.supervisor.poke()
        await end_group(pid, self._host.mark(live.id), within_seconds=0)  # or they would keep the port from what comes next
        after = await self._settled(live, pid)
        host.journal.read()
        live.last_exit = live.unwell or host.journal.how.get(live.id, "ended")
        live.unwell = ""
        if after:
            live.restarts += 1
            self.attach(live, after)
        elif self.final(live.last_exit):
            live.state = "ended"
        else:
            live.state, live.wait_until = "waiting", ended.at + wait

    async def _settled(self, live: Live, before: int) -> int:
        """The pid of what supervisord has started in its place; 0 when it has not and will not."""
        again = self._restart().policy
        for _ in range(LOOKS):
            info = await self._host.supervisor.info(live.id)
            if info is None or info.state in ("STOPPED", "FATAL", "UNKNOWN"):
                return 0
            if info.pid and info.pid != before and info.state != "STOPPING":
                return info.pid
            if info.state == "EXITED" and again != "always":
                self._host.journal.read()
                if again == "never" or self._host.journal.how.get(live.id) == WELL:
                    return 0
            await asyncio.sleep(LOOK_SECONDS)
        return 0

    def unwell(self, live: Live, message: str) -> None:
        """Liveness has failed: end it; its end is then accounted for like any other."""
        live.unwell = message
        self._host.spawn(self._end_unwell(live))

    async def _end_unwell(self, live: Live) -> None:
        with contextlib.suppress(TransientError):
            await self._host.supervisor.stop(live.id)
