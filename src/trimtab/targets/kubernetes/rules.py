"""Users' own rules of health: for a kind, CEL expressions or a Lua script as Argo CD takes them.

Rules come from Git, so they are somebody else's programs: they run in one child process (`sandbox.py`) that is started with the
first object that a rule is for, and killed and replaced when a rule takes longer than it may. A rule that has been killed
several times is not run again until the rules change. Neither language is imported here; without its package a rule is an
error that says what to install, and everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from trimtab.core.model.errors import Problem
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import Body
from trimtab.core.model.text import one_line

from .health import deletion

SANDBOX = Path(__file__).with_name("sandbox.py")
ISOLATED = ("-I",)
"""Options of the interpreter: no variables of the environment, no directory of ours on its path."""
RULE_SECONDS = 1.0
START_SECONDS = 20.0
WALL_FACTOR = 5
"""The process ends itself by its processor time; so many times that on the clock, and it is ended from here."""
STRIKES_MAX = 3
FRAME_BYTES_MAX = 64 * 1024 * 1024
SOURCE_CHARACTERS_MAX = 64 * 1024
PACKAGES = {"lua": "lupa", "cel": "common-expression-language"}
STATUSES = {status.value: status for status in HealthStatus}


class CelRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Expressions over `metadata`, `spec`, `status`, `data`, `kind`, `apiVersion` and `object`, each true or false.

    Asked in the order degraded, suspended, progressing, healthy; the first that is true decides, and none means progressing.
    ``message`` gives the text for people.
    """

    healthy: str
    degraded: str = ""
    suspended: str = ""
    progressing: str = ""
    message: str = ""


class UserRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``group`` and ``kind`` may hold `*`; ``group`` is "" for the core group. Exactly one of ``cel`` and ``lua`` is there.

    ``lua`` is a script that reads the global `obj` and returns a table with `status` (Healthy, Progressing, Degraded, Suspended,
    Missing, Unknown) and `message`: https://argo-cd.readthedocs.io/en/stable/operator-manual/health/#custom-health-checks
    """

    group: str
    kind: str
    cel: CelRule | None = None
    lua: str = ""

    @property
    def language(self) -> Literal["cel", "lua"]:
        return "lua" if self.cel is None else "cel"

    @property
    def name(self) -> str:
        return f"{self.group}/{self.kind}" if self.group else self.kind

    def problem(self) -> str:
        """What is wrong with its form; "" when nothing is."""
        if (self.cel is None) == (not self.lua):
            return "says neither or both of `cel` and `lua`"
        size = len(self.lua) if self.cel is None else sum(len(each) for each in msgspec.structs.astuple(self.cel))
        return f"is longer than {SOURCE_CHARACTERS_MAX} characters" if size > SOURCE_CHARACTERS_MAX else ""


class Rules:
    """All rules of one Environment; the first that matches an object's group and kind decides.

    ``rule_seconds`` is the processor time that one evaluation may take. Nothing is started before it is needed; `close` ends what was.
    """

    def __init__(self, rules: Sequence[UserRule] = (), *, rule_seconds: float = RULE_SECONDS) -> None:
        self._rules = tuple(rule for rule in rules if not rule.problem())
        self._wrong = tuple(rule for rule in rules if rule.problem())
        self._strikes = dict.fromkeys(self._rules, 0)
        self._seconds = rule_seconds
        self._child = _Child(sorted({rule.language for rule in self._rules}), rule_seconds)

    def match(self, obj: Body) -> UserRule | None:
        """The rule that an object is judged by; None where it is the tables' to judge."""
        if not self._rules:
            return None
        version, kind = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(version, str) or not isinstance(kind, str):
            return None
        group = version.rpartition("/")[0]
        return next((rule for rule in self._rules if fnmatchcase(group, rule.group) and fnmatchcase(kind, rule.kind)), None)

    async def assess(self, obj: Body) -> Health | None:
        """Health by the user's rule; None when there is none, or when its script returns no status. Never raises for a bad rule:
        that is unknown health, with the reason. An object that is being deleted is on its way, whatever a rule says.
        """
        rule = self.match(obj)
        if rule is None:
            return None
        if (going := deletion(obj)) is not None:
            return going
        if self._strikes[rule] >= STRIKES_MAX:
            return _unknown(
                rule, f"was stopped {STRIKES_MAX} times because it took too long, and is not run again until it changes"
            )
        try:
            found = await self._child.ask(_request(rule, obj))
        except _Unasked as unasked:
            self._strikes[rule] += isinstance(unasked, _Stopped)
            return _unknown(rule, str(unasked))
        return _health(rule, found)

    async def check(self) -> tuple[Problem, ...]:
        """What is wrong with the rules themselves, found by running each on an empty object."""
        problems = [_problem(rule, rule.problem()) for rule in self._wrong]
        for rule in self._rules:
            try:
                found = await self._child.ask(_request(rule, {}))
            except _Unasked as unasked:
                problems.append(_problem(rule, str(unasked)))
                continue
            # A script may well stumble over an object without anything in it; what counts is that it is a script.
            wrong = found.get("wrong", "")
            if wrong and (rule.language == "cel" or "attempt to" not in wrong):
                problems.append(_problem(rule, wrong))
        return tuple(problems)

    async def close(self) -> None:
        await self._child.end()


def _request(rule: UserRule, obj: Body) -> dict[str, Any]:
    body = msgspec.to_builtins(rule.cel) if rule.cel is not None else rule.lua
    return {"language": rule.language, "rule": body, "object": obj}


def _health(rule: UserRule, found: dict[str, Any]) -> Health | None:
    if wrong := found.get("wrong"):
        return _unknown(rule, f"failed: {wrong}")
    word, message = str(found.get("status", "")), one_line(str(found.get("message", "")))
    if not word:
        return None
    status = STATUSES.get(word.lower())
    if status is None:
        return _unknown(
            rule, f"returned the status {one_line(word, characters_max=50)!r}, which is none of {', '.join(STATUSES)}"
        )
    return HEALTHY if status == HealthStatus.HEALTHY else Health(status, message or f"its rule says {status.value}")


def _unknown(rule: UserRule, message: str) -> Health:
    return Health(HealthStatus.UNKNOWN, one_line(f"the health rule of {rule.name} {message}"))


def _problem(rule: UserRule, message: str) -> Problem:
    return Problem(
        one_line(f"the health rule of {rule.name} {message}"), field="health", remedy="Correct the rule or take it out"
    )


class _Unasked(Exception):  # noqa: N818 - turned into unknown health at once
    """No answer, through no fault of the rule: a language is not installed, an object cannot be passed on."""


class _Stopped(_Unasked):
    """No answer: it took too long, or too much memory, and its process has been replaced."""


class _Child:
    """The process that rules run in. One request at a time; a process that does not answer is killed and replaced."""

    def __init__(self, languages: Sequence[str], seconds: float) -> None:
        self._languages = languages
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._missing: frozenset[str] = frozenset()
        self._lock = asyncio.Lock()

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises _Unasked."""
        data = _encoded(request)
        async with self._lock:
            try:
                process = await self._running()
                if request["language"] not in self._missing:
                    return await self._exchange(process, data)
            except BaseException:  # cancelled in between, its answer would be taken for that to the next request
                await self._kill()
                raise
        raise _Unasked(f"needs a package that is not installed: install {PACKAGES[request['language']]}")

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *ISOLATED, str(SANDBOX), str(self._seconds), *self._languages),
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
            raise _Unasked("could not be run: its process did not start") from error
        self._missing = frozenset(hello.get("missing", ()))
        return self._process

    async def _exchange(self, process: asyncio.subprocess.Process, data: bytes) -> dict[str, Any]:
        assert process.stdin is not None
        try:
            async with asyncio.timeout(self._seconds * WALL_FACTOR):
                process.stdin.write(len(data).to_bytes(4, "big") + data)
                await process.stdin.drain()
                return await _receive(process)
        except TimeoutError:
            raise _Stopped(f"took longer than {self._seconds:g} s and was stopped") from None
        except (EOFError, ConnectionError, msgspec.DecodeError) as error:
            raise _Stopped(f"took longer than {self._seconds:g} s or too much memory, and was stopped") from error

    async def end(self) -> None:
        async with self._lock:
            await self._kill()

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


def _encoded(request: dict[str, Any]) -> bytes:
    try:
        data = msgspec.json.encode(request)
    except (msgspec.MsgspecError, UnicodeError, TypeError, ValueError, RecursionError) as error:
        raise _Unasked(f"cannot be asked about this object: {error}") from error
    if len(data) > FRAME_BYTES_MAX:
        raise _Unasked(f"cannot be asked about an object of {len(data)} bytes")
    return data


async def _receive(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    if length > FRAME_BYTES_MAX:
        raise EOFError
    return msgspec.json.decode(await process.stdout.readexactly(length), type=dict[str, Any])
