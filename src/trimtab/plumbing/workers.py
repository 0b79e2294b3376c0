"""Children that stay: a program that answers one request after the other, so that its start is paid for once.

A request goes in as bytes with their length before them, the answer comes out alike. One request at a time for each child; one that
crashes, hangs or says too much takes itself along and nobody else, and the next request gets a new one. Children that have had
nothing to do for a while are ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from typing import Final, cast

IDLE_SECONDS: Final = 30.0
END_SECONDS: Final = 2.0
ERROR_BYTES_MAX: Final = 4096
LENGTH: Final = struct.Struct(">I")


class WorkerFailed(Exception):  # noqa: N818
    """The child did not answer; it is gone. ``stderr`` is the beginning of what it had to say."""

    def __init__(self, message: str, stderr: bytes = b"") -> None:
        self.stderr = stderr
        super().__init__(message)


class TookTooLong(WorkerFailed):
    """It was killed."""


class SaidTooMuch(WorkerFailed):
    """It was killed."""


class Workers:
    """At most ``most`` children of one kind."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], *, most: int, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._arguments, self._environment = list(arguments), dict(environment)
        self._places = asyncio.Semaphore(most)
        self._idle_seconds = idle_seconds
        self._idle: list[_Worker] = []
        self._retiring: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.started = 0

    async def ask(self, request: bytes, *, timeout_seconds: float, answer_bytes_max: int) -> bytes:
        """The answer. Raises WorkerFailed, or OSError when the program cannot be started."""
        async with self._places:
            worker = self._idle.pop() if self._idle else await self._start()
            well = False
            try:
                async with asyncio.timeout(timeout_seconds):
                    answer = await worker.ask(request, answer_bytes_max)
                well = True
            except TimeoutError:
                raise TookTooLong(f"killed after {timeout_seconds:g} s", worker.stderr) from None
            except EOFError as error:
                await worker.end()  # what it says of its end comes with it
                raise WorkerFailed("it ended without an answer", worker.stderr) from error
            finally:
                if well:
                    self._rest(worker)
                else:
                    await asyncio.shield(worker.end())
        return answer

    async def close(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(worker.end() for worker in idle), *self._ending)

    async def _start(self) -> _Worker:
        self.started += 1
        _, worker = await asyncio.get_running_loop().subprocess_exec(
            _Worker, *self._arguments, env=self._environment, start_new_session=True
        )
        return worker

    def _rest(self, worker: _Worker) -> None:
        self._idle.append(worker)
        if self._retiring is not None:
            self._retiring.cancel()
        self._retiring = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire)

    def _retire(self) -> None:
        idle, self._idle = self._idle, []
        for worker in idle:
            task = asyncio.ensure_future(worker.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class _Worker(asyncio.SubprocessProtocol):
    """One child. Its pipes are read whether somebody waits or not, so that it never waits for us, and its end is always noticed."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.said = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._answer_bytes_max = 0
        self._read = bytearray()
        self._open = {1, 2}
        self._exited: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def stderr(self) -> bytes:
        return bytes(self.said)

    async def ask(self, request: bytes, answer_bytes_max: int) -> bytes:
        """Raises SaidTooMuch, or EOFError when the child ends."""
        assert self._transport is not None, "it was started"
        self.said.clear()
        self._read.clear()
        self._answer_bytes_max = answer_bytes_max
        self._answer = asyncio.get_running_loop().create_future()
        if 1 not in self._open:
            raise EOFError
        stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        stdin.write(LENGTH.pack(len(request)) + request)
        return await self._answer

    async def end(self) -> None:
        """Kill it with all that it started, and wait until it is gone."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        try:
            if not self._exited.done():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(transport.get_pid(), signal.SIGKILL)
            await asyncio.wait([self._exited], timeout=END_SECONDS)
            await asyncio.wait([self._closed], timeout=END_SECONDS)  # what it said of its end is still in the pipe
        finally:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.said += data[: ERROR_BYTES_MAX - len(self.said)]
        elif self._answer is not None and not self._answer.done():
            self._read += data
            self._look(self._answer)

    def _look(self, answer: asyncio.Future[bytes]) -> None:
        if len(self._read) < LENGTH.size:
            return
        (length,) = LENGTH.unpack_from(self._read)
        if length > self._answer_bytes_max:
            text = f"an answer of {length} bytes; at most {self._answer_bytes_max} are taken"
            answer.set_exception(SaidTooMuch(text, self.stderr))
        elif len(self._read) >= LENGTH.size + length:
            answer.set_result(bytes(self._read[LENGTH.size : LENGTH.size + length]))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if fd == 1 and self._answer is not None and not self._answer.done():
            self._answer.set_exception(EOFError())
        if not self._open and not self._closed.done():
            self._closed.set_result(None)

    def process_exited(self) -> None:
        if not self._exited.done():
            self._exited.set_result(None)
