"""Somebody else's small programs (Lua, CEL), asked in a process that can be killed: one `Sandbox` is one such process at a time.

It is started with the first question, and killed and replaced when an answer takes longer than it may; the question that it died of is
to blame, and those behind it can be asked again. Neither language is imported here: `rulechild.py` does that, in the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

CHILD = Path(__file__).with_name("rulechild.py")
ISOLATED = ("-I",)
"""Options of the interpreter: no variables of the environment, no directory of ours on its path."""
START_SECONDS = 20.0
WALL_FACTOR = 5
"""The process ends itself by its processor time; so many times that on the clock, and it is ended from here."""
FRAME_BYTES_MAX = 64 * 1024 * 1024
PACKAGES = {"lua": "lupa", "cel": "common-expression-language"}

Request = dict[str, Any]
Answer = dict[str, Any]


class Unanswered(Exception):  # noqa: N818 - a value among answers
    """No answer, through no fault of the rule: a language is not installed, an object cannot be passed on."""


class Stopped(Unanswered):
    """No answer: it took too long, or too much memory, and its process has been replaced."""


class Sandbox:
    """``languages`` are those that the child prepares; ``seconds`` is the processor time that one question may take."""

    def __init__(self, languages: Sequence[str], seconds: float) -> None:
        self._languages = languages
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._missing: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()

    async def ask(self, requests: Sequence[Request]) -> list[Answer | Unanswered]:
        """Answers to the first of ``requests``, in order: to all of them, or up to the one that the process died of.

        They are sent together, so that many cost little more than one.
        """
        frames = [_frame(request) for request in requests]
        async with self._lock:
            try:
                return await self._exchange(requests, frames)
            except BaseException:  # cancelled in between, its answer would be taken for that to the next question
                await self._kill()
                raise

    async def end(self) -> None:
        async with self._lock:
            await self._kill()

    async def _exchange(self, requests: Sequence[Request], frames: Sequence[bytes | Unanswered]) -> list[Answer | Unanswered]:
        try:
            process = await self._running()
        except Unanswered as unanswered:
            return [unanswered] * len(frames)
        asked = [self._refused(request, frame) or frame for request, frame in zip(requests, frames, strict=True)]
        writer = asyncio.create_task(_write(process, [frame for frame in asked if isinstance(frame, bytes)]))
        answers: list[Answer | Unanswered] = []
        try:
            for frame in asked:
                answer = frame if isinstance(frame, Unanswered) else await self._answer(process)
                answers.append(answer)
        except Stopped as stopped:
            await self._kill()
            answers.append(stopped)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return answers

    def _refused(self, request: Request, frame: bytes | Unanswered) -> Unanswered | None:
        if request["language"] in self._missing:
            return Unanswered(f"needs a package that is not installed: install {PACKAGES[request['language']]}")
        return frame if isinstance(frame, Unanswered) else None

    async def _answer(self, process: asyncio.subprocess.Process) -> Answer:
        try:
            async with asyncio.timeout(self._seconds * WALL_FACTOR):
                return await _receive(process)
        except TimeoutError:
            raise Stopped(f"took longer than {self._seconds:g} s and was stopped") from None
        except (EOFError, ConnectionError, msgspec.DecodeError) as error:
            raise Stopped(f"took longer than {self._seconds:g} s or too much memory, and was stopped") from error

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *ISOLATED, str(CHILD), str(self._seconds), *self._languages),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                hello = await _receive(self._process)
        except (TimeoutError, EOFError, msgspec.DecodeError) as error:
            await self._kill()
            raise Unanswered("could not be run: its process did not start") from error
        self._missing = frozenset(hello.get("missing", ()))
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.shield(process.wait())


def _frame(request: Request) -> bytes | Unanswered:
    try:
        data = msgspec.json.encode(request)
    except (msgspec.MsgspecError, UnicodeError, TypeError, ValueError, RecursionError) as error:
        return Unanswered(f"cannot be asked about this object: {error}")
    if len(data) > FRAME_BYTES_MAX:
        return Unanswered(f"cannot be asked about an object of {len(data)} bytes")
    return len(data).to_bytes(4, "big") + data


async def _write(process: asyncio.subprocess.Process, frames: Sequence[bytes]) -> None:
    assert process.stdin is not None
    for frame in frames:
        process.stdin.write(frame)
        await process.stdin.drain()


async def _receive(process: asyncio.subprocess.Process) -> Answer:
    assert process.stdout is not None
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    if length > FRAME_BYTES_MAX:
        raise EOFError
    return msgspec.json.decode(await process.stdout.readexactly(length), type=dict[str, Any])
