"""The Git server of `trimtab serve` beside `git http-backend` behind a plain threaded CGI server, with the same stock git in the same run.

    python bench/git.py [--times 5] [--push-mib 500] [--small]

Goals: clone, fetch and push take at most 1.3 times as long; 20 clones at once keep our process within 150 MiB; a push of 500 MiB adds
at most 32 MiB to it. Exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trimtab.testing.served import Served

ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Ann"), ("EMAIL", "a@x.org"))},
}
RATIO_MAX, CLONES_MIB_MAX, PUSH_MIB_MAX = 1.3, 150.0, 32.0


def git(directory: Path, *arguments: str, stdin: bytes = b"") -> None:
    done = subprocess.run(["git", *arguments], cwd=directory, env=ENVIRONMENT, input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")


class Backend(BaseHTTPRequestHandler):
    """As plain as CGI goes: one thread and one `git http-backend` for each request, and any user is let in."""

    root = ""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        if "authorization" not in self.headers:  # git asks twice then, as it does of us
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        given = {"CONTENT_TYPE": "content-type", "HTTP_CONTENT_ENCODING": "content-encoding", "GIT_PROTOCOL": "git-protocol"}
        environment = {
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "ann",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            **{name: self.headers[header] for name, header in given.items() if header in self.headers},
        }
        pipe = subprocess.PIPE
        with subprocess.Popen(["git", "http-backend"], env=environment, stdin=pipe, stdout=pipe) as backend:
            assert backend.stdin is not None
            assert backend.stdout is not None
            feeding = threading.Thread(target=self.feed, args=(backend.stdin,))
            feeding.start()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += backend.stdout.read(1)
            status = next((line[8:] for line in head.split(b"\r\n") if line.startswith(b"Status: ")), b"200 OK")
            self.wfile.write(b"HTTP/1.0 " + status + b"\r\n" + head)
            shutil.copyfileobj(backend.stdout, self.wfile, 1 << 16)
            feeding.join()

    def feed(self, into: Any) -> None:
        try:
            if "chunked" in self.headers.get("transfer-encoding", ""):
                while size := int(self.rfile.readline(), 16):
                    into.write(self.rfile.read(size))
                    self.rfile.readline()
            else:
                left = int(self.headers.get("content-length", 0))
                while left:
                    data = self.rfile.read(min(left, 1 << 16))
                    left -= len(data)
                    into.write(data)
        except BrokenPipeError:
            pass
        finally:
            into.close()

    def log_message(self, *_: object) -> None: ...


def history(commits: int, files: int, seed: int = 7) -> bytes:
    """A stream for `git fast-import`: files of a few kilobytes, some of them changed by each commit."""
    chance = random.Random(seed)
    out = []
    for number in range(commits):
        out.append(f"commit refs/heads/main\ncommitter Ann <a@x.org> {1_700_000_000 + number} +0000\ndata 1\nx\n")
        for at in range(files) if number == 0 else chance.sample(range(files), 5):
            text = "".join(f"key{line}: {chance.randrange(10**9)}\n" for line in range(chance.randrange(20, 200)))
            out.append(f"M 100644 inline apps/a{at % 50}/f{at}.yaml\ndata {len(text)}\n{text}\n")
    return "".join(out).encode()


class Side:
    """One of the two servers, with its own copy of the repository."""

    def __init__(self, name: str, url: str, base: Path) -> None:
        self.name, self.url, self.base = name, url, base / name
        self.base.mkdir()
        self.number = 0

    def fresh(self) -> Path:
        self.number += 1
        return self.base / f"work{self.number}"

    def clone(self) -> Path:
        place = self.fresh()
        git(self.base, "clone", "--quiet", "--no-checkout", self.url, str(place))
        return place


def change(work: Path, number: int, kib: int = 64) -> None:
    (work / "apps").mkdir(exist_ok=True)
    (work / "apps" / f"new{number}.bin").write_bytes(random.Random(number).randbytes(kib * 1024))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "-m", f"change {number}")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(sides: list[Side], times: int, prepare: Callable[[Side, int], Callable[[], object]]) -> list[list[float]]:
    """Seconds of each side, in turns, so that what else the machine does meets both."""
    taken: list[list[float]] = [[] for _ in sides]
    for number in range(times + 1):
        for at, side in enumerate(sides):
            seconds = timed(prepare(side, number))
            if number:  # the first warms the caches
                taken[at].append(seconds)
    return taken


def a_clone(side: Side, number: int) -> Callable[[], object]:
    return side.clone


def a_push(side: Side, number: int) -> Callable[[], object]:
    work = side.base / "pusher"
    if not work.exists():
        git(side.base, "clone", "--quiet", side.url, str(work))
    change(work, 1000 + number)
    return lambda: git(work, "push", "--quiet", "origin", f"HEAD:b{number}")


def a_fetch(side: Side, number: int) -> Callable[[], object]:
    reader = side.base / "reader"
    if not reader.exists():
        git(side.base, "clone", "--quiet", side.url, str(reader))
    a_push(side, 5000 + number)()
    return lambda: git(reader, "fetch", "--quiet")


def a_poll(side: Side, number: int) -> Callable[[], object]:
    reader = side.base / "reader"
    return lambda: [git(reader, "ls-remote", "origin") for _ in range(5)]


class Watched:
    """The largest resident memory of a process while a block runs, in MiB."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self.most = self.first = self.now()

    def now(self) -> float:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def __enter__(self) -> Watched:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self.most = max(self.most, self.now())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--push-mib", type=int, default=500)
    parser.add_argument("--small", action="store_true", help="a small repository, for a quick look")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        return measure(Path(name), given.times, given.push_mib, given.small)


def measure(base: Path, times: int, push_mib: int, small: bool) -> int:
    source = base / "source.git"
    git(base, "init", "--quiet", "--bare", "--initial-branch=main", str(source))
    git(source, "fast-import", "--quiet", stdin=history(50 if small else 300, 200 if small else 3000))
    git(source, "repack", "-adq")
    shutil.copytree(source, base / "theirs" / "bench.git")
    git(base / "theirs" / "bench.git", "config", "http.receivepack", "true")
    Backend.root = str(base / "theirs")
    theirs = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=theirs.serve_forever, daemon=True).start()
    served = Served("hosted:configuration", base / "data").start()
    try:
        served.json("repository", "import", "bench", str(source))
        token = (served.data / "token").read_text().strip()
        ours = f"{served.url.replace('http://', f'http://operator:{token}@')}/git/bench.git"
        sides = [Side("trimtab", ours, base), Side("backend", f"http://ann:ann@127.0.0.1:{theirs.server_port}/bench.git", base)]
        return told(sides, times, push_mib, served)
    finally:
        served.down()
        theirs.shutdown()


def told(sides: list[Side], times: int, push_mib: int, served: Served) -> int:
    missed = 0
    for what, prepare in (("clone", a_clone), ("push", a_push), ("fetch", a_fetch), ("5 polls, unchanged", a_poll)):
        ours, others = compare(sides, times, prepare)
        ratio = statistics.median(ours) / statistics.median(others)
        good = ratio <= RATIO_MAX
        missed += not good
        print(
            f"{'ok  ' if good else 'MISS'} {what:24} {statistics.median(ours) * 1e3:7.0f} ms, http-backend "
            f"{statistics.median(others) * 1e3:7.0f} ms: {ratio:.2f} x  goal <= {RATIO_MAX} x",
            flush=True,
        )
    with Watched(served.pid) as memory, ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: sides[0].clone(), range(20)))
    missed += verdict("20 clones at once", memory.most, CLONES_MIB_MAX, "MiB resident")
    work = sides[0].base / "pusher"
    for number in range(10):
        change(work, 9000 + number, kib=push_mib * 1024 // 10)
    with Watched(served.pid) as memory:
        seconds = timed(lambda: git(work, "push", "--quiet", "origin", "HEAD:large"))
    missed += verdict(f"push of {push_mib} MiB", memory.most - memory.first, PUSH_MIB_MAX, f"MiB more ({seconds:.1f} s)")
    return 1 if missed else 0


def verdict(what: str, found: float, most: float, unit: str) -> int:
    good = found <= most
    print(f"{'ok  ' if good else 'MISS'} {what:24} {found:7.1f} {unit}  goal <= {most:.0f}", flush=True)
    return not good


if __name__ == "__main__":
    sys.exit(main())
