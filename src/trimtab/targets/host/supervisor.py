"""supervisord, the daemon that holds what we start, so that it survives us. One program for each instance.

In: programs to add, start, stop, remove. Out: what supervisord knows (`infos`), and calls back when it dies itself. It is
started by us when nobody answers, in a session and with an environment of its own; its working directory is DATA/host and
every path that it is told is relative to that, so that no character of DATA can be misread by its configuration parser.

supervisord looks at its children once in a second only, but after each call too: `poke` makes it look now.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from trimtab.core.model.errors import TransientError
from trimtab.plumbing.processes import ProcessError, run

from . import pids
from .xmlrpc import Client, Fault, Unreachable

SOCKET = "supervisor.sock"
START_SECONDS = 30.0
LOG_BYTES_MAX = 5_000_000
FILES_MAX = 1024
FRONT = "front"
HOLD_TRIES = 20
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
"""Variables that managed processes are given from the environment of the server."""

BAD_NAME, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED, STILL_RUNNING, SPAWN_ERROR = 10, 60, 70, 90, 91, 50


class Program(msgspec.Struct, frozen=True):
    """What supervisord needs to know of an instance. ``autorestart`` is one of its three words."""

    name: str
    autorestart: str = "true"
    stop_signal: str = "TERM"
    grace_seconds: int = 10
    autostart: bool = False


class Info(msgspec.Struct, frozen=True):
    """``state`` is supervisord's word: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN."""

    name: str
    state: str
    pid: int

    @property
    def alive(self) -> bool:
        return self.pid > 0


class Supervisor:
    """One supervisord in ``root`` (DATA/host)."""

    def __init__(self, root: Path, *, python: str = sys.executable) -> None:
        self._root = root
        self._python = python
        self._client = Client(root, SOCKET)
        self._reload: asyncio.Task[None] | None = None
        self.pid = 0

    async def ensure(self) -> bool:
        """Make sure that a supervisord answers; True when a new one had to be started. Raises TransientError."""
        try:
            self.pid = await self._client.call("supervisor.getPID", timeout_seconds=5.0)
        except Unreachable:
            await self._start()
            return True
        return False

    async def running(self) -> bool:
        """True when one answers."""
        try:
            self.pid = await self._client.call("supervisor.getPID", timeout_seconds=5.0)
        except Unreachable:
            return False
        return True

    async def add(self, program: Program) -> None:
        """Make a program known; it is not started. Raises TransientError."""
        path = self._root / "conf.d" / f"{program.name}.conf"
        await asyncio.to_thread(path.write_text, _section(program))
        await self._reread()
        with _faults(ALREADY_ADDED):
            await self._call("supervisor.addProcessGroup", program.name)

    async def start(self, name: str) -> None:
        with _faults(ALREADY_STARTED, SPAWN_ERROR):
            await self._call("supervisor.startProcess", name, False)

    async def stop(self, name: str) -> None:
        """Ask it to end (its group; it is killed after its grace). Also keeps one that has just died from being restarted."""
        with _faults(NOT_RUNNING, BAD_NAME):
            await self._call("supervisor.stopProcess", name, False)

    async def hold(self, name: str) -> None:
        """It has just died; keep it from being started again. Where it was reaped already it can only be forgotten in time."""
        for _ in range(HOLD_TRIES):
            try:
                await self._call("supervisor.stopProcess", name, False)
                return
            except _Refusal as refusal:
                if refusal.code == BAD_NAME:
                    return
                if refusal.code != NOT_RUNNING:
                    raise
            if await self.remove(name):
                return

    async def remove(self, name: str) -> bool:
        """Forget a program; False while it still runs."""
        try:
            with _faults(BAD_NAME):
                await self._call("supervisor.removeProcessGroup", name)
        except _Refusal as refusal:
            if refusal.code == STILL_RUNNING:
                return False
            raise
        (self._root / "conf.d" / f"{name}.conf").unlink(missing_ok=True)
        return True

    async def info(self, name: str) -> Info | None:
        """None when supervisord does not know it."""
        try:
            return _info(await self._call("supervisor.getProcessInfo", f"{name}:{name}"))
        except _Refusal as refusal:
            if refusal.code == BAD_NAME:
                return None
            raise

    async def infos(self) -> dict[str, Info]:
        return {info.name: info for info in map(_info, await self._call("supervisor.getAllProcessInfo"))}

    async def poke(self) -> None:
        """Have it look at its children now."""
        await self._call("supervisor.getState")

    async def shutdown(self, *, timeout_seconds: float) -> None:
        """Stop every program and end. Waits for the end; what does not go is killed."""
        watched = self.pid
        with contextlib.suppress(TransientError):
            await self._call("supervisor.shutdown")
        gone = asyncio.Event()
        watch = pids.PidWatch()
        watch.add(watched, gone.set)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not gone.is_set():
                    with contextlib.suppress(TransientError):
                        await self.poke()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            os.kill(watched, signal.SIGKILL)
        finally:
            watch.close()

    async def _reread(self) -> None:
        """Have it read its files. One read serves everybody who asked before it began: each costs the parsing of all files."""
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._read_soon())
        await asyncio.shield(self._reload)

    async def _read_soon(self) -> None:
        await asyncio.sleep(0)
        self._reload = None
        await self._call("supervisor.reloadConfig")

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await self._client.call(method, *arguments)
        except Fault as fault:
            raise _Refusal(method, arguments, fault) from fault
        except Unreachable as error:
            raise TransientError(
                f"{method}: supervisord does not answer: {error}", remedy="It is started again; nothing to do."
            ) from error

    async def _start(self) -> None:
        await self._end_stuck()
        (self._root / "conf.d").mkdir(exist_ok=True, mode=0o700)
        try:
            (self._root / SOCKET).unlink(missing_ok=True)
            (self._root / "supervisord.conf").write_text(_configuration())
            (self._root / "conf.d" / f"{FRONT}.conf").write_text(_front(self._root, self._python))
        except OSError as error:
            raise TransientError(f"start supervisord: {error}", remedy="Correct the permissions below --data.") from error
        # It makes itself a daemon: the command returns once the socket is open.
        arguments = [self._python, "-P", "-m", "supervisor.supervisord", "-c", "/proc/self/cwd/supervisord.conf"]
        try:
            done = await run(
                arguments,
                environment=_environment(),
                timeout_seconds=START_SECONDS,
                output_bytes_max=65_536,
                directory=self._root,
            )
        except ProcessError as error:
            raise TransientError(f"start supervisord: {error}") from error
        if done.code != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-500:]
            raise TransientError(f"start supervisord: exit status {done.code}: {said}")
        self.pid = await self._first_answer()

    async def _first_answer(self) -> int:
        """The daemon opens its socket before it leaves us, but answers only once it has become one."""
        for _ in range(200):
            with contextlib.suppress(Unreachable):
                return int(await self._client.call("supervisor.getPID", timeout_seconds=5.0))
            await asyncio.sleep(0.02)
        raise TransientError("start supervisord: it started but does not answer. See supervisord.log below --data")

    async def _end_stuck(self) -> None:
        """One that lives but does not answer is killed: two would both restart what they hold. Its children live on as orphans."""
        try:
            pid = int((self._root / "supervisord.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            here = Path(f"/proc/{pid}/cwd").samefile(self._root)
        except (OSError, ValueError):
            return
        if here and b"supervisor.supervisord" in command:
            os.kill(pid, signal.SIGKILL)
            while pids.start_time(pid) is not None:
                await asyncio.sleep(0.005)


class _Refusal(TransientError):  # noqa: N818
    """supervisord answered with a fault."""

    def __init__(self, method: str, arguments: tuple[Any, ...], fault: Fault) -> None:
        super().__init__(f"{method}{arguments}: {fault.faultString}")
        self.code = fault.faultCode


@contextlib.contextmanager
def _faults(*expected: int) -> Iterator[None]:
    """Let these faults pass: the state that was asked for is there already."""
    try:
        yield
    except _Refusal as refusal:
        if refusal.code not in expected:
            raise


def _info(raw: dict[str, Any]) -> Info:
    return Info(name=raw["name"], state=raw["statename"], pid=int(raw["pid"]))


_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


def _section(program: Program) -> str:
    """Only words of our own making stand here: nothing that a person wrote is ever read by supervisord's parser."""
    assert _PLAIN.fullmatch(program.name), "an instance's name is made of checked names"
    return f"""[program:{program.name}]
command=/bin/sh instances/{program.name}/run
autostart={str(program.autostart).lower()}
autorestart={program.autorestart}
startsecs=0
startretries=1000000
stopsignal={program.stop_signal}
stopwaitsecs={program.grace_seconds}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=NONE
"""


def _front(root: Path, python: str) -> str:
    """The front is run by a script too, so that the path of the interpreter need not be understood by supervisord."""
    directory = root / "instances" / FRONT
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    quoted = "'" + python.replace("'", "'\\''") + "'"
    (directory / "run").write_text(
        f"exec </dev/null >>instances/{FRONT}/log 2>&1\nexec {quoted} -P -m trimtab.targets.host.front\n"
    )
    return _section(Program(FRONT, autostart=True))


def _configuration() -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
    return f"""[unix_http_server]
file={SOCKET}
chmod=0700

[supervisord]
logfile=supervisord.log
logfile_maxbytes={LOG_BYTES_MAX}
logfile_backups=1
loglevel=info
pidfile=supervisord.pid
nodaemon=false
minfds={files}
minprocs=1
umask=022
nocleanup=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=conf.d/*.conf
"""


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {"PATH": os.defpath, **kept}
