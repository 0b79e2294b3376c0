"""Real Kubernetes control planes for tests: etcd, API server, controllers, scheduler, and a node that pretends to run pods.

A cluster is a directory and a process. The process (`controlplane up`, see tests/controlplane/up.go) has the parts as children, starts
and kills them on request, and takes them with it however it ends; so a test can kill an API server without owning a process. Clusters
that a session shares are in the pool, each started when it is first asked for.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.kubernetes.api import Api
from tests.kubernetes.program import program

PARTS = ("etcd", "apiserver", "controllers", "scheduler", "node")
ANSWER_SECONDS = 90.0
LOG_LINES = 15
TOKENS = {"admin": "admin-token", "nobody": "nobody-token"}


class ClusterError(AssertionError):
    """A cluster did not start or did not do what it was told; the text has the end of its logs."""


class Cluster:
    """One cluster. What a test needs of it:

    kubeconfig      path of a kubeconfig for an administrator; kubeconfig_for("nobody" or "certificate") for others
    server, token   the address, and the bearer token of the administrator
    authority       path of the certificate that signs the server's
    api             a plain client as the administrator; api_as(token) as somebody else
    """

    def __init__(self, name: str = "test", *, parts: tuple[str, ...] = PARTS, nodes: int = 1) -> None:
        self.name = name
        self.parts = parts
        self.nodes = nodes
        self.directory = Path(tempfile.mkdtemp(prefix=f"cluster-{name}-"))
        self.server = ""
        self.token = TOKENS["admin"]
        self.pids: dict[str, int] = {}
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    # Life

    def up(self) -> Cluster:
        """Starts everything and waits until it works; again on the same directory, the same cluster with the same objects."""
        command = [str(program()), "up", "--temporary", f"--directory={self.directory}"]
        command += [f"--parts={','.join(self.parts)}", f"--nodes={self.nodes}"]
        # A session of its own: an interrupt from the keyboard is for the test run, which then ends its clusters.
        pipe = subprocess.PIPE
        with (self.directory / "up.log").open("a") as log:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True, start_new_session=True)
        try:
            self._hear()
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """Ends every part; the data stays."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write("quit\n")
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def close(self) -> None:
        """Ends every part and removes the data."""
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Faults. These block; in a test with a loop of its own, call them with asyncio.to_thread.

    def start(self, part: str, *, wait: bool = True) -> None:
        """Starts a part that is down, and waits until the cluster works, unless told not to."""
        self._tell("start", part)
        if wait:
            self.ready()

    def stop(self, part: str) -> None:
        """Ends a part politely."""
        self._tell("stop", part)

    def kill(self, part: str) -> None:
        """kill -9."""
        self._tell("kill", part)

    def restart(self, part: str) -> None:
        """kill -9 and start."""
        self.kill(part)
        self.start(part)

    def pause(self, part: str) -> None:
        """The part keeps its connections and says nothing any more."""
        self._tell("pause", part)

    def resume(self, part: str) -> None:
        self._tell("resume", part)

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """A stretch of time in which a part has been killed; afterwards the cluster works again."""
        self.kill(part)
        try:
            yield
        finally:
            self.start(part)

    def ready(self) -> None:
        """Waits until what runs also works."""
        self._tell("ready")

    # Ways in

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def kubeconfig_for(self, user: str) -> Path:
        """`nobody` may do nothing but look at its own rights; `certificate` is the administrator by a client certificate."""
        return self.directory / f"kubeconfig.{user}"

    @property
    def authority(self) -> Path:
        return self.directory / "keys" / "ca.crt"

    @cached_property
    def api(self) -> Api:
        return self.api_as(self.token)

    def api_as(self, token: str | None) -> Api:
        return Api(self.server, token, ssl.create_default_context(cafile=str(self.authority)))

    def token_for(self, namespace: str, account: str = "default", *, seconds: int) -> str:
        """A ServiceAccount's token that is accepted for so many seconds, and for up to ten more by a server that has just seen it."""
        uid = self.api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}")["metadata"]["uid"]
        command = [str(program()), "token", f"--directory={self.directory}", f"--namespace={namespace}", f"--account={account}"]
        command += [f"--uid={uid}", f"--seconds={seconds}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def namespace(self, prefix: str = "test") -> str:
        """The name of a new namespace in which pods can be made."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.api.good("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        if "controllers" in self.parts:
            self.api.until(f"/api/v1/namespaces/{name}/serviceaccounts/default", bool)
        return name

    def log(self, part: str) -> str:
        path = self.directory / "log" / f"{part}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def resident_bytes(self) -> dict[str, int]:
        """The resident memory of each part that runs."""
        page = os.sysconf("SC_PAGE_SIZE")
        return {part: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for part, pid in self.pids.items()}

    # The process

    def _tell(self, *words: str) -> None:
        with self._lock:
            if self._process is None:
                raise ClusterError(f"the cluster {self.name} is down")
            assert self._process.stdin is not None
            self._process.stdin.write(" ".join(words) + "\n")
            self._process.stdin.flush()
            self._hear()

    def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        line = self._process.stdout.readline() if readable else ""
        if not line:
            raise ClusterError(f"the cluster {self.name} gives no answer\n{self._ends_of_logs()}")
        answer: dict[str, Any] = json.loads(line)
        self.server, self.pids = answer["server"], answer["parts"]
        if "error" in answer:
            raise ClusterError(f"the cluster {self.name}: {answer['error']}\n{self._ends_of_logs()}")

    def _ends_of_logs(self) -> str:
        logs = [self.directory / "up.log", *sorted((self.directory / "log").glob("*.log"))]
        ends = {path.name: path.read_text(errors="replace").splitlines()[-LOG_LINES:] for path in logs if path.exists()}
        return "\n".join(f"{name}:\n  " + "\n  ".join(lines) for name, lines in ends.items() if lines)


class Pool:
    """The clusters that a session shares, by name."""

    def __init__(self) -> None:
        self._clusters: dict[str, Cluster] = {}

    def get(self, name: str) -> Cluster:
        if name not in self._clusters:
            made = Cluster(name)
            try:
                self._clusters[name] = made.up()
            except BaseException:
                made.close()
                raise
        return self._clusters[name]

    def close(self) -> None:
        while self._clusters:
            self._clusters.popitem()[1].close()


pool = Pool()


def until(holds: Any, seconds: float = 10.0) -> None:
    """Waits for something that no single path of the API shows."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.03)
