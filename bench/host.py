"""How soon a host is as Git says: from a commit to the new process that answers, from a killed process to its successor, from an
edited file to the right one. What the process itself needs to start is measured bare in the same run and taken off.

    python bench/host.py [--times 20] [--seed 1]

Goals (medians): a new process answers within 150 ms of the commit, a killed one is back within 50 ms, both beyond the process's own
start; an edited file is put back within 50 ms. A killed process also comes back while Trimtab is down. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from trimtab.testing.served import Repository, Served, until

LOOK_SECONDS = 0.001
SETTLE_SECONDS = 0.7
"""Between two measurements, so that one does not run into the next."""
DOWN_SECONDS_MAX = 5.0

WEB = """\
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline(65536) not in (b"\\r\\n", b"\\n", b""):
            pass
        body = ("%s %d" % (os.environ["VERSION"], os.getpid())).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
MANIFESTS = """\
apiVersion: host.trimtab.dev/v1
kind: File
metadata: {{name: motd}}
spec: {{path: motd, content: hello}}
---
apiVersion: host.trimtab.dev/v1
kind: Process
metadata: {{name: web}}
spec:
  command: ["{python}", -I, -S, web.py]
  tree: program
  environment: {{VERSION: "{version}"}}
  ports: [{{name: http, listen: {port}}}]
  readiness: {{tcp: {{}}}}
  stop: {{graceSeconds: 2, drainSeconds: 0}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int) -> list[str]:
    """What the process answers: its version and its pid; nothing while it does not."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().split()
    except (OSError, HTTPException):
        return []
    finally:
        connection.close()


def milliseconds(act: Callable[[], object], done: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    until(done, every=LOOK_SECONDS)
    return (time.perf_counter() - began) * 1e3


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.repository = Repository(root / "repository")
        self.served = Served(self.repository.path, root / "data", arguments=("--poll-seconds", "3600"))
        self.version = 0

    def files(self) -> dict[str, str | bytes | None]:
        self.version += 1
        text = MANIFESTS.format(python=sys.executable, version=f"v{self.version}", port=self.port)
        return {"shop/all.yaml": text, "shop/program/web.py": WEB}

    def bare(self) -> float:
        """What the process needs by itself, from its start until it answers."""
        port = free_port()
        environment = {**os.environ, "VERSION": "bare", "PORT": str(port)}
        program = self.repository.path / "shop" / "program"
        started: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            started.append(subprocess.Popen([sys.executable, "-I", "-S", "web.py"], cwd=program, env=environment))

        try:
            return milliseconds(start, lambda: ask(port))
        finally:
            started[0].kill()
            started[0].wait()

    def release(self) -> float:
        """From the moment at which the branch moves until the new version answers at the stable port."""
        self.repository.write(self.files())
        self.repository.git("add", "--all")
        commit = self.repository.git("commit-tree", self.repository.git("write-tree"), "-p", "HEAD", "-m", "a release")
        new = self.repository.path / ".git" / "refs" / "heads" / "main.new"
        new.with_name("main.lock").write_text(commit + "\n")  # as git does it: written aside, then renamed
        version = f"v{self.version}"
        taken = milliseconds(
            lambda: new.with_name("main.lock").rename(new.with_name("main")), lambda: ask(self.port)[:1] == [version]
        )
        self.served.healthy(commit)
        return taken

    def kill(self) -> float:
        """From the signal until another pid answers at the instance's own port."""
        one = self.instance()
        return self.kill_it(one["ports"]["http"], one["pid"])

    def instance(self) -> dict[str, Any]:
        """The one instance, once it is alone and ready."""

        def alone() -> dict[str, Any] | None:
            found = self.served.instances("shop", "web")
            return found[0] if len(found) == 1 and found[0]["ready"] else None

        return dict(until(alone))

    def kill_it(self, port: int, pid: int) -> float:
        return milliseconds(lambda: os.kill(pid, signal.SIGKILL), lambda: (said := ask(port)) and said[1] != str(pid))

    def edit(self) -> float:
        """From the edit until the content is right again."""
        path = next((self.root / "data" / "host" / "files").glob("*/motd"))
        return milliseconds(lambda: path.write_text("edited by hand"), lambda: path.exists() and path.read_text() == "hello")

    def kill_while_down(self) -> float:
        one = self.instance()
        self.served.stop()
        try:
            return self.kill_it(one["ports"]["http"], one["pid"])
        finally:
            self.served.start()


def measure(host: Host, times: int, chance: random.Random) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    acts = {"bare": host.bare, "release": host.release, "kill": host.kill, "edit": host.edit}
    for _ in range(times):
        for name in chance.sample(sorted(acts), len(acts)):
            time.sleep(SETTLE_SECONDS)
            found.setdefault(name, []).append(acts[name]())
    found["down"] = [host.kill_while_down() for _ in range(3)]
    return found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def tell(found: dict[str, list[float]]) -> bool:
    own = statistics.median(found["bare"])
    print(f"the process's own start: p50 {own:.0f} ms, p95 {percentile(found['bare'], 0.95):.0f} ms")
    rows = [
        ("commit -> new process answers, less its own start", "release", own, 150),
        ("killed -> its successor answers, less its own start", "kill", own, 50),
        ("edited file -> put back", "edit", 0, 50),
        ("killed while Trimtab is down -> its successor answers", "down", own, DOWN_SECONDS_MAX * 1e3),
    ]
    well = True
    for what, name, off, goal in rows:
        middle, late = statistics.median(found[name]) - off, percentile(found[name], 0.95) - off
        well &= middle <= goal
        print(
            f"{'ok  ' if middle <= goal else 'MISS'} {what:55} p50 {middle:6.0f} ms  p95 {late:6.0f} ms  goal p50 <= {goal:.0f} ms"
        )
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        host = Host(Path(name))
        first = host.repository.commit(host.files())
        try:
            host.served.start().healthy(first)
            found = measure(host, options.times, random.Random(options.seed))
        finally:
            host.served.down()
    return 0 if tell(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
