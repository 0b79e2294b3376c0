"""Virtual time: an asyncio event loop whose clock jumps to the next timer when nothing else is left to do.

A day passes in milliseconds, and what runs when depends on nothing but the program: tasks hash by their number, so even code
that iterates a set of tasks (as `asyncio.TaskGroup` does when it aborts) does the same in every process; the garbage collector
rests meanwhile, so it finalises nothing in between. There is one thread and no I/O: whatever would leave the process raises.

In: a function that makes the coroutine to run. Out: its result, or `Deadlock`, `OutOfTime`, `Livelock`, which name the tasks that
wait. Built on the hooks of `asyncio.BaseEventLoop` (its selector decides how long to wait, so that is where time passes).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import random
import threading
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from trimtab.core.model.errors import Bug

T = TypeVar("T")

START = datetime(2030, 1, 1, tzinfo=UTC)
TURNS_MAX = 1_000_000  # turns of the loop while time stands still; beyond it something spins
KILL_ROUNDS_MAX = 100  # how often a task may refuse to be cancelled

GROUP: contextvars.ContextVar[str] = contextvars.ContextVar("trimtab_testing_group", default="")
"""The simulated process that a task belongs to; inherited by the tasks that it starts ("" is the test itself)."""


class Deadlock(Bug):
    """Nothing is ready and nothing is due, but the main task waits."""


class OutOfTime(Bug):
    """The main task was not done at the end of its virtual time."""


class Livelock(Bug):
    """Tasks run for ever without letting time pass."""


class RealIO(Bug):
    """Code under virtual time tried to leave the process or the thread."""


def run(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], *, start: datetime = START, seconds_max: float = 86_400.0) -> T:
    """Run ``main(clock)`` under virtual time to its end and return its result.

    ``start`` is what the wall clock shows at first; ``seconds_max`` is virtual. What still runs at the end is cancelled in the
    order of its start. Raises what ``main`` raises, and `Deadlock`, `OutOfTime`, `Livelock`.
    """
    loop = VirtualLoop(seconds_max=seconds_max)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return loop.run_until_complete(main(VirtualClock(loop, start=start)))
    finally:
        try:
            loop.unlimited()
            loop.run_until_complete(loop.kill())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
            if collecting:
                gc.enable()


class VirtualClock:
    """The Clock port on a `VirtualLoop`. Give each simulated machine its own, and their wall clocks may differ."""

    def __init__(self, loop: VirtualLoop | None = None, *, start: datetime = START) -> None:
        self._loop = loop or running()
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward (or, below zero, back); monotonic time goes on as if nothing had happened."""
        self._start += timedelta(seconds=seconds)


class SeededChance:
    """The Chance port on a seeded generator."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


def running() -> VirtualLoop:
    """The loop that runs now. Raises Bug when that is not a virtual one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise Bug("virtual time was asked for outside trimtab.testing.time.run")
    return loop


class _Task(asyncio.Task[Any]):
    """A task with a number; ``group`` is the simulated process it belongs to."""

    def __init__(self, coroutine: Any, *, number: int, **options: Any) -> None:
        self.number = number
        self.group = GROUP.get() if options.get("context") is None else options["context"].get(GROUP, "")
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        # By default an object hashes by its address, which makes the order of a set of tasks an accident.
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """Time stands still while anything is ready, then jumps to the next timer."""

    def __init__(self, *, seconds_max: float = math.inf) -> None:
        super().__init__()
        self._now = 0.0
        self._limit = seconds_max
        self._turns = 0
        self._numbers = 0
        self._tasks: dict[int, _Task] = {}
        self._selector = _Selector(self)

    def time(self) -> float:
        return self._now

    def unlimited(self) -> None:
        """Let time pass without a bound from here on, so that what is left can clean up."""
        self._limit = math.inf
        self._turns = 0

    def create_task(self, coro: Any, *, name: object = None, context: contextvars.Context | None = None, **options: Any) -> Any:
        self._check_closed()  # type: ignore[attr-defined]
        self._numbers += 1
        number = self._numbers
        task = _Task(coro, number=number, loop=self, name=str(name or f"task-{number}"), context=context, **options)
        if not task.done():  # an eager task may be done already
            self._tasks[number] = task
            task.add_done_callback(self._forget)
        return task

    def pending(self, group: str | None = None) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, of one simulated process or of all, in the order of their start."""
        return [task for task in self._tasks.values() if group is None or task.group == group]

    async def kill(self, group: str | None = None) -> None:
        """Cancel every other task (of a group) until none is left. Raises Bug when one refuses to go."""
        for _ in range(KILL_ROUNDS_MAX):
            victims = [task for task in self.pending(group) if task is not asyncio.current_task()]
            if not victims:
                return
            for task in victims:
                task.cancel()
            done, _ = await asyncio.wait(victims, timeout=1.0)
            for task in done:
                task.cancelled() or task.exception()  # looked at, so that nobody reports it as forgotten
        raise Bug(f"these tasks refuse to be cancelled: {self.waiting(group)}")

    def waiting(self, group: str | None = None) -> str:
        """The pending tasks by name and place, for an error message."""
        return ", ".join(f"{task.get_name()} in {_place(task)}" for task in self.pending(group)) or "none"

    def pass_time(self, timeout: float | None) -> None:
        """Called once in each turn with the time until the next timer: 0 while something is ready, None when nothing is due."""
        if timeout is None:
            raise Deadlock(f"nothing is due at {self._now:.3f} s, but these tasks wait: {self.waiting()}")
        if timeout <= 0:
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise Livelock(f"time stands still at {self._now:.3f} s. Tasks: {self.waiting()}")
            return
        self._turns = 0
        self._now = max(self._now + timeout, math.nextafter(self._now, math.inf))
        if self._now > self._limit:
            raise OutOfTime(f"not done after {self._limit:g} virtual seconds. Tasks: {self.waiting()}")

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:  # type: ignore[override]
        if self._thread_id not in (None, threading.get_ident()):  # type: ignore[attr-defined]
            raise RealIO("another thread called into virtual time: its moment would be an accident")
        return self.call_soon(callback, *args, context=context)

    def _forget(self, task: Any) -> None:
        self._tasks.pop(task.number, None)

    def _process_events(self, events: list[Any]) -> None:
        """There are none: nothing outside the process is listened to."""


class _Selector:
    """What BaseEventLoop waits in. Nothing ever arrives from outside; waiting lets virtual time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task is suspended: the innermost frame of its coroutine."""
    coroutine: Any = task.get_coro()
    place = getattr(coroutine, "__qualname__", "?")
    while isinstance(coroutine, (Coroutine, Generator)):
        frame: Any = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return str(place)


def _refuse(name: str) -> Callable[..., Any]:
    def refused(*_: Any, **__: Any) -> Any:
        raise RealIO(f"{name} is real I/O, which virtual time does not have. Use a fake from trimtab.testing")

    return refused


for _name in [
    "run_in_executor",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "create_unix_connection",
    "create_unix_server",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
    "sock_sendfile",
    "sendfile",
    "start_tls",
    "add_signal_handler",
    "remove_signal_handler",
]:
    setattr(VirtualLoop, _name, _refuse(_name))
