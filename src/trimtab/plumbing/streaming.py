"""A program whose input and output pass through us as they come, within bounds: what waits between two pipes is never more than a few
hundred kilobytes, whoever is slower. At the end of the block its whole process group is dead.

    async with Streamed(["git", "upload-pack", …], environment=environment) as program:
        await program.write(request); await program.end_input()
        while chunk := await program.read(65536): …
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Mapping, Sequence

from .processes import NotStarted, TimedOut

PIPE_BYTES = 1024 * 1024
BUFFER_BYTES = 128 * 1024
ERROR_BYTES_MAX = 16 * 1024
KILL_SECONDS = 5.0


class Streamed:
    """``limits`` are soft limits of the kernel by their number (``resource.RLIMIT_CPU``), set as soon as it runs. Of what it prints on
    its standard error the end is kept in ``stderr``."""

    def __init__(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], limits: Mapping[int, int] | None = None
    ) -> None:
        self._arguments, self._environment, self._limits = list(arguments), dict(environment), dict(limits or {})
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[None] | None = None
        self.stderr = b""

    async def __aenter__(self) -> Streamed:
        """Raises NotStarted."""
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=self._environment,
                start_new_session=True,
                limit=BUFFER_BYTES,
                pipesize=PIPE_BYTES,
            )
        except OSError as error:
            raise NotStarted(self._arguments[0], error.strerror or str(error)) from error
        self._errors = asyncio.create_task(self._read_errors())
        for number, value in self._limits.items():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                resource.prlimit(self._process.pid, number, (value, value + 5))
        return self

    async def __aexit__(self, *_: object) -> None:
        process, errors = self._running(), self._errors
        assert errors is not None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process._transport.close()  # type: ignore[attr-defined] # also the pipes, which wait() would leave to the collector
        errors.cancel()
        await asyncio.gather(errors, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), KILL_SECONDS)

    async def write(self, data: bytes) -> bool:
        """Waits until there is room. False when the program reads no more."""
        pipe = self._running().stdin
        assert pipe is not None
        try:
            pipe.write(data)
            await pipe.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return not pipe.is_closing()

    async def end_input(self) -> None:
        pipe = self._running().stdin
        assert pipe is not None
        pipe.close()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await pipe.wait_closed()

    async def read(self, bytes_max: int, timeout_seconds: float | None = None) -> bytes:
        """What has come, at least one byte; b"" at the end. Raises TimedOut."""
        pipe = self._running().stdout
        assert pipe is not None
        try:
            return await asyncio.wait_for(pipe.read(bytes_max), timeout_seconds)
        except TimeoutError:
            raise TimedOut(self._arguments[0], timeout_seconds or 0, self.stderr) from None

    async def wait(self, timeout_seconds: float) -> int:
        """The exit code, or minus the signal's number. Raises TimedOut."""
        assert self._errors is not None
        try:
            code = await asyncio.wait_for(self._running().wait(), timeout_seconds)
        except TimeoutError:
            raise TimedOut(self._arguments[0], timeout_seconds, self.stderr) from None
        await asyncio.wait([self._errors], timeout=1.0)
        return code

    async def _read_errors(self) -> None:
        pipe = self._running().stderr
        assert pipe is not None
        while chunk := await pipe.read(4096):
            self.stderr = (self.stderr + chunk)[-ERROR_BYTES_MAX:]

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process
