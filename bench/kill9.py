"""`kill -9` of the server at random moments of rolling releases, while clients send requests without a pause.

    python bench/kill9.py [--times 50] [--seed 1]

Each round commits a new version of a small shop (two replicas behind one port, a file, a task), kills the server a moment later,
and starts it again. In the end nothing may be lost or repeated: every request was answered, each task ran once for each version,
exactly the wanted replicas run, each revision has one deployment with one beginning and one happy end on the record, and what runs
is what the last commit says. Prints a summary; the exit code is 1 when one of these is untrue.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from trimtab.testing.served import Repository, Served, until

REPLICAS = 2
CLIENTS = 3
REQUEST_SECONDS = 10.0
ROUND_SECONDS = 60.0

WEB = """\
import os, socketserver, threading, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline(65536) not in (b"\\r\\n", b"\\n", b""):
            pass
        time.sleep(0.005)
        body = os.environ["VERSION"].encode()
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

MANIFESTS = """\
apiVersion: host.trimtab.dev/v1
kind: Task
metadata: {{name: migrate}}
spec:
  command: [sh, -c, "echo {version} >>{log}"]
---
apiVersion: host.trimtab.dev/v1
kind: File
metadata: {{name: version}}
spec: {{path: version, content: "{version}"}}
---
apiVersion: host.trimtab.dev/v1
kind: Process
metadata: {{name: web}}
spec:
  command: ["{python}", -I, -S, web.py]
  tree: program
  replicas: {replicas}
  environment: {{VERSION: "{version}"}}
  ports: [{{name: http, listen: {port}}}]
  readiness: {{tcp: {{}}}}
  stop: {{graceSeconds: 5, drainSeconds: 5}}
"""


@dataclass
class Clients:
    """Threads that ask the shop without a pause, each with a new connection for each request."""

    port: int
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._ask_for_ever) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask_for_ever(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self.answered[self.ask()] += 1
            except (OSError, HTTPException, ValueError) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(0.005)

    def ask(self) -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != 200 or not body:
            raise ValueError(f"answered {response.status} {body!r}")
        return body


@dataclass
class Shop:
    """The repository, its releases and the server on it. ``usual_seconds`` is what a release takes when nobody is killed."""

    root: Path
    port: int
    wrong: list[str] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    usual_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.repository = Repository(self.root / "repository")
        self.served = Served(self.repository.path, self.root / "data")
        self.log = self.root / "migrated"

    def release(self) -> str:
        """A commit with the next version."""
        version = f"v{len(self.revisions) + 1}"
        manifests = MANIFESTS.format(version=version, log=self.log, python=sys.executable, replicas=REPLICAS, port=self.port)
        files = {"shop/all.yaml": manifests, "shop/program/web.py": WEB}
        self.revisions.append(self.repository.commit(files, version))
        return self.revisions[-1]

    def check(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong.append(f"{what}: {found}, wanted {wanted}")

    def check_round(self) -> None:
        """What must be true whenever a release has settled."""
        version = f"v{len(self.revisions)}"
        self.check(f"{version}: migrations", Counter(self.log.read_text().split()), Counter(self.versions()))
        until(lambda: len(self.web_pids()) == REPLICAS, what=f"{version}: exactly {REPLICAS} processes run")
        until(lambda: self.shown_pids() == self.web_pids(), what=f"{version}: the server knows what runs")
        file = next((self.root / "data" / "host" / "files").glob("*/version"))
        self.check(f"{version}: the file", file.read_text(), version)

    def check_record(self) -> None:
        """Nothing is lost and nothing is there twice: each revision began once and ended once."""
        events = self.served.events()
        ids = [event["id"] for event in events]
        self.check("ids of events ascend", ids, sorted(set(ids)))
        for kind in ("repository.fetched", "deployment.started", "deployment.healthy"):
            told = Counter(event["revision"] for event in events if event["kind"] == kind)
            self.check(kind, told, Counter(self.revisions))
        self.check("deployment.failed", [event["message"] for event in events if event["kind"] == "deployment.failed"], [])
        self.check("errors of ours", [event["message"] for event in events if event["kind"] == "reconcile.broken"], [])
        rows = self.served.get("/applications/shop/history", limit=1000)["deployments"]
        phases = [(row["revision"], row["phase"]) for row in reversed(rows)]
        wanted = [(revision, "superseded") for revision in self.revisions[:-1]] + [(self.revisions[-1], "healthy")]
        self.check("deployments", phases, wanted)
        self.check("restarts", sum(one["restarts"] for one in self.served.instances("shop", "web")), 0)

    def versions(self) -> list[str]:
        return [f"v{number + 1}" for number in range(len(self.revisions))]

    def shown_pids(self) -> list[int]:
        return sorted(one["pid"] for one in self.served.instances("shop", "web"))

    def web_pids(self) -> list[int]:
        return sorted(pid for pid, command in self.served.processes().items() if command.endswith("web.py"))


def shoot(shop: Shop, clients: Clients, times: int, chance: random.Random) -> None:
    """The rounds. Each kill comes at a random moment from before the server has seen the commit until after it is live."""
    for _ in range(times):
        revision = shop.release()
        time.sleep(chance.uniform(0, shop.usual_seconds))
        shop.served.kill()
        time.sleep(chance.choice((0, 0, 0.2)))
        shop.served.start()
        if chance.random() < 0.25:  # and once more while it gets going again
            time.sleep(chance.uniform(0, 0.3))
            shop.served.kill()
            shop.served.start()
        shop.served.healthy(revision, ROUND_SECONDS)
        shop.check_round()
        shop.check(f"{revision[:12]}: what answers", clients.ask(), f"v{len(shop.revisions)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimtab-kill9-") as name:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return run(Shop(Path(name), port), Clients(port), options.times, options.seed)


def run(shop: Shop, clients: Clients, times: int, seed: int) -> int:
    began = time.monotonic()
    try:
        first = shop.release()
        shop.served.start().healthy(first, ROUND_SECONDS)
        clients.start()
        release = time.monotonic()
        shop.served.healthy(shop.release(), ROUND_SECONDS)
        shop.usual_seconds = time.monotonic() - release
        shoot(shop, clients, times, random.Random(seed))
        shop.check_record()
    except (AssertionError, RuntimeError) as error:
        shop.wrong.append(str(error))
    finally:
        clients.stop()
        shop.served.down()
    shop.check("left running", shop.served.processes(), {})
    shop.check("requests that failed", clients.failures[:10], [])
    print(f"killed {times} times in {time.monotonic() - began:.0f} s, seed {seed}: {len(shop.revisions)} releases, "
          f"{sum(clients.answered.values())} requests answered, {len(clients.failures)} failed, "
          f"the slowest took {clients.slowest * 1e3:.0f} ms; a release usually takes {shop.usual_seconds:.2f} s")  # fmt: skip
    for line in shop.wrong:
        print(f"WRONG {line}")
    print("ok    nothing was lost, repeated or dropped" if not shop.wrong else f"{len(shop.wrong)} things are wrong")
    return 1 if shop.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
