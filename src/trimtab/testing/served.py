"""A real server on a repository of its own: started, asked, killed and taken down as a person would do it from a shell.

In: a directory. Out: `Repository` to commit to, and `Served`, a `trimtab serve` in a process of its own with helpers to ask it over
HTTP or the command line. For tests from end to end, benchmarks and plugin authors. It uses processes and HTTP only, nothing from
inside the server, so it sees what scripts see.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

READY_SECONDS = 20.0
END_SECONDS = 10.0
PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 0.01
GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgSign=false", "-c", "gc.auto=0")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Repository:
    """A Git repository with a work tree, in which tests write and commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / ".git").exists():
            path.mkdir(parents=True, exist_ok=True)
            self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        """The output of a git command. Raises CalledProcessError."""
        done = subprocess.run([*GIT, "-C", str(self.path), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write these files; None removes one."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None] | None = None, message: str = "a change") -> str:
        """Write ``files`` and commit all that differs. Returns the commit's id."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def remove(self, path: str, message: str = "remove") -> str:
        """Remove a file or directory and commit that."""
        self.git("rm", "-r", "--quiet", path)
        return self.commit(message=message)

    def notes(self, revision: str) -> list[dict[str, Any]]:
        """The lines of the note on ``revision``; none when there is no note."""
        try:
            text = self.git("notes", "--ref=trimtab", "show", revision)
        except subprocess.CalledProcessError:
            return []
        return [json.loads(line) for line in text.splitlines() if line]


class Served:
    """``trimtab serve`` on ``repository`` with ``data``. ``environment`` is added to ours; ``prepare`` runs in the child before it."""

    def __init__(
        self,
        repository: Path | str,
        data: Path,
        *,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.repository = repository
        self.data = data
        self.arguments = arguments
        self.environment = dict(environment or {})
        self.prepare = prepare
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.log = data.with_name(data.name + ".log")

    # --- its life -----------------------------------------------------------------------------------------------------------

    def start(self) -> Served:
        """Start it and wait for the ready line. Raises RuntimeError with the end of its log when that does not come."""
        line = self.launch()._first_line()
        if not line.startswith("trimtab ready "):
            raise RuntimeError(f"the server did not get ready: {line!r}\n{self.logged()[-3000:]}")
        self.url = line.removeprefix("trimtab ready ").strip()
        return self

    def launch(self) -> Served:
        """Start it without waiting."""
        command = [*program(), "serve", "--repository", str(self.repository), "--data", str(self.data), *self.arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self.environment},
                preexec_fn=self.prepare,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, "it was not started"
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> float:
        """SIGTERM; returns the seconds until it had ended. Raises AssertionError when it does not end, or not cleanly."""
        began = time.monotonic()
        code = self.end(signal.SIGTERM)
        assert code == 0, f"it ended with {code}\n{self.logged()[-3000:]}"
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL: as a crash."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send it a signal; returns the exit code."""
        assert self.process is not None, "it was not started"
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, once it has ended. Raises TimeoutExpired."""
        assert self.process is not None, "it was not started"
        code = self.process.wait(END_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
        return code

    def down(self) -> Done:
        """End it and all that it manages."""
        done = run("down", "--data", str(self.data))
        if self.process is not None and done.code == 0:
            self.ended()
        return done

    def logged(self) -> str:
        """What it has written to its standard error."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _first_line(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_SECONDS)
        return self.process.stdout.readline() if readable else ""

    # --- asking it ----------------------------------------------------------------------------------------------------------

    def cli(self, *arguments: str, directory: Path | None = None) -> Done:
        """A command line that finds the server by --data."""
        return run(*arguments, "--data", str(self.data), directory=directory)

    def json(self, *arguments: str) -> Any:
        """The document that ``--output json`` prints."""
        done = self.cli(*arguments, "--output", "json")
        assert done.out, f"{arguments}: {done.err}"
        return done.json

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer of GET /api/v1`path`."""
        status, body = self.request("GET", path + ("?" + urlencode(parameters) if parameters else ""))
        assert status == 200, f"{path}: {status} {body!r}"
        return json.loads(body)

    def post(self, path: str, **parameters: Any) -> tuple[int, Any]:
        status, body = self.request("POST", path, json.dumps(parameters))
        return status, json.loads(body)

    def request(self, method: str, path: str, body: str | None = None, *, token: str | None = None) -> tuple[int, bytes]:
        """One request; ``token`` None is the right one, "" is none at all."""
        parts = urlsplit(self.url)
        assert parts.hostname, "its address is that of a unix socket"
        connection = HTTPConnection(parts.hostname, parts.port, timeout=30)
        given = (self.data / "token").read_text().strip() if token is None else token
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {given}"} if given else {})
        try:
            connection.request(method, "/api/v1" + path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def deployments(self, commit: str = "") -> dict[tuple[str, str], dict[str, Any]]:
        """What `status` tells, by Application and Environment."""
        view = self.get("/status", commit=commit)
        return {(one["application"], one["environment"]): one for one in view["deployments"]}

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        """The record, oldest first."""
        found: list[dict[str, Any]] = []
        while page := self.get("/events", after=found[-1]["id"] if found else 0, limit=1000, **wanted)["events"]:
            found += page
        return found

    def settled(self, commit: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The status once what ``commit`` changed moves no more. Raises AssertionError when that takes too long."""
        view = self.get("/status", commit=commit, wait="healthy", timeout=seconds)
        assert view["seen"], f"{commit} was not seen in {seconds} s\n{self.logged()[-3000:]}"
        assert view["settled"], f"{commit} did not settle in {seconds} s: {view}\n{self.logged()[-3000:]}"
        assert isinstance(view, dict)
        return view

    def healthy(self, commit: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """`settled`, and all of it is healthy, or gone where Git no longer declares it."""
        view = self.settled(commit, seconds)
        unwell = [one for one in view["deployments"] if not _well(one)]
        assert (unwell, view["errors"]) == ([], []), (
            f"{commit} is not healthy: {unwell} {view['errors']}\n{self.logged()[-3000:]}"
        )
        return view

    def instances(self, application: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """The instances of a Process or the runs of a Task, as the target tells."""
        shown = self.get(f"/applications/{application}", environment=environment)["applications"]
        found = [one for view in shown for one in view["objects"] if one["object"]["name"] == name]
        return [instance for one in found for instance in one["status"].get("instances", [])]

    def pids(self, application: str, name: str, environment: str = "") -> list[int]:
        """The pids of a Process, in ascending order; none while a new one is being started."""
        return sorted(one["pid"] for one in self.instances(application, name, environment) if one["pid"])

    # --- what is left -------------------------------------------------------------------------------------------------------

    def processes(self) -> dict[int, str]:
        """All processes that belong to the data directory, with their command lines: by working directory or by our mark."""
        return {pid: _command(pid) for pid in _pids() if pid != os.getpid() and self._ours(pid)}

    def _ours(self, pid: int) -> bool:
        entry = Path("/proc", str(pid))
        try:
            installation = (self.data / "installation").read_text().strip()
        except OSError:
            installation = ""
        with suppress(OSError):
            inside = (entry / "cwd").readlink().is_relative_to(self.data.resolve())
            marked = bool(installation) and f"TRIMTAB_INSTANCE={installation}/".encode() in (entry / "environ").read_bytes()
            return inside or marked
        return False


def _well(deployment: Mapping[str, Any]) -> bool:
    gone = deployment["phase"] == "superseded" and not deployment["supersededBy"]
    return gone or (deployment["phase"] == "healthy" and deployment["health"] in ("healthy", "suspended"))


def program() -> list[str]:
    """The command line program of this very installation."""
    return [sys.executable, "-P", "-c", "from trimtab.cli.main import main; main()"]


def run(
    *arguments: str, directory: Path | None = None, environment: Mapping[str, str] | None = None, seconds: float = 60.0
) -> Done:
    """A command line of `trimtab`."""
    done = subprocess.run(
        [*program(), *arguments],
        check=False,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        cwd=directory,
        timeout=seconds,
        env={**os.environ, **(environment or {})},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS, *, every: float = LOOK_SECONDS, what: str = "") -> Any:
    """What ``condition`` gives as soon as that is true; that something is not there is a "not yet". Raises AssertionError
    when the time is over.
    """
    end = time.monotonic() + seconds
    while True:
        said = ""
        try:
            if found := condition():
                return found
        except (AssertionError, LookupError, OSError, StopIteration) as error:
            said = f": {error!r}"
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds} s: {what or condition}{said}")
        time.sleep(every)


def lives(pid: int) -> bool:
    """True while the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and lives(int(entry.name)))


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""
