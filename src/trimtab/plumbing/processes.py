"""Run one external program to its end, within bounds: seconds, bytes of output, and nothing left behind.

In goes a list of arguments (never a shell line) and a whole environment; out comes the exit code with what was printed. The
program gets a session, and so a process group, of its own: it has no terminal to ask on, and at a time-out or a cancellation
the group is killed, with every helper that the program started. Nothing is inherited from our environment unless it is named
in `clean_environment`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

ERROR_BYTES_MAX = 64 * 1024
DRAIN_SECONDS = 1.0
KILL_SECONDS = 5.0
KEPT = (
    *("PATH", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)


class ProcessError(Exception):
    """The program did not run to its end. ``program`` is the first argument."""

    def __init__(self, program: str, message: str) -> None:
        self.program = program
        super().__init__(f"{program}: {message}")


class NotStarted(ProcessError):  # noqa: N818
    """There is no such program, or it may not be executed."""


class TimedOut(ProcessError):  # noqa: N818
    """It took longer than it may and was killed, with its process group. ``stderr`` is the end of what it had printed there."""

    def __init__(self, program: str, seconds: float, stderr: bytes) -> None:
        self.stderr = stderr
        super().__init__(program, f"killed after {seconds:g} s")


class TooMuchOutput(ProcessError):  # noqa: N818
    """It printed more than it may and was killed, with its process group."""


@dataclass(frozen=True)
class Finished:
    """``code`` is the exit code, or minus the signal's number. ``stderr`` holds the last bytes only, up to the bound."""

    code: int
    stdout: bytes
    stderr: bytes


def clean_environment(home: Path | str, *, keep: Iterable[str] = (), **extra: str) -> dict[str, str]:
    """A whole environment: ours reduced to `KEPT` and ``keep``, a HOME, messages in English, and what ``extra`` says."""
    kept = {name: os.environ[name] for name in (*KEPT, *keep) if name in os.environ}
    return {"PATH": os.defpath, **kept, "HOME": str(home), "LC_ALL": "C", **extra}


async def run(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    timeout_seconds: float,
    output_bytes_max: int,
    directory: Path | None = None,
    stdin: bytes = b"",
    error_bytes_max: int = ERROR_BYTES_MAX,
) -> Finished:
    """Run a program to its end. A non-zero exit is a result, not an error.

    Raises NotStarted, TimedOut or TooMuchOutput (standard output only; of standard error the end is kept). When the call
    raises or is cancelled, the whole process group is dead.
    """
    program = str(arguments[0])
    output = _Output(output_bytes_max, error_bytes_max)
    transport = await _start(arguments, output, environment, directory)
    try:
        _feed(transport, stdin)
        async with asyncio.timeout(timeout_seconds):
            await asyncio.shield(output.exited)
            await _drain(output)
    except TimeoutError:
        raise TimedOut(program, timeout_seconds, bytes(output.stderr)) from None
    finally:
        await _end(transport, output)
    if output.too_much:
        raise TooMuchOutput(program, f"printed more than {output_bytes_max} bytes and was killed")
    return Finished(transport.get_returncode() or 0, bytes(output.stdout), bytes(output.stderr))


class _Output(asyncio.SubprocessProtocol):
    """Collects what is printed and says when the program has exited and when both pipes are closed."""

    def __init__(self, output_bytes_max: int, error_bytes_max: int) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.too_much = False
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bounds = (output_bytes_max, error_bytes_max)
        self._open = {1, 2}
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pid = cast("asyncio.SubprocessTransport", transport).get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        output_max, error_max = self._bounds
        if fd == 2:
            self.stderr += data
            del self.stderr[:-error_max]
        elif len(self.stdout) + len(data) <= output_max:
            self.stdout += data
        elif not self.too_much:
            self.too_much = True
            self.kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open and not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)


async def _start(
    arguments: Sequence[str | Path], output: _Output, environment: Mapping[str, str], directory: Path | None
) -> asyncio.SubprocessTransport:
    try:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: output, *map(str, arguments), env=dict(environment), cwd=directory, start_new_session=True
        )
    except OSError as error:
        raise NotStarted(str(arguments[0]), error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in an argument
        raise NotStarted(str(arguments[0]), str(error)) from error
    return transport


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes) -> None:
    pipe = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
    if stdin:
        pipe.write(stdin)
    pipe.close()  # asyncio flushes before it closes


async def _drain(output: _Output) -> None:
    """The rest of the output. A helper that outlives the program and keeps a pipe open gets a moment, then the signal."""
    await asyncio.wait([output.closed], timeout=DRAIN_SECONDS)
    if not output.closed.done():
        output.kill()


async def _end(transport: asyncio.SubprocessTransport, output: _Output) -> None:
    """Nothing survives: kill the group while its leader is unreaped (its number cannot belong to anybody else yet)."""
    try:
        if not output.exited.done():
            output.kill()
            await asyncio.wait([output.exited], timeout=KILL_SECONDS)
    finally:
        transport.close()
