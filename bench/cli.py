"""What the command line costs: `trimtab --help` and `trimtab status` against a running server, beside a bare interpreter.

    python bench/cli.py

Goals: `trimtab --help` takes at most 0.25 s and `trimtab status` at most 0.4 s (medians). Exit code 1 when one is missed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trimtab.testing.served import Repository, Served

TIMES = 15
MANIFEST = """\
apiVersion: host.trimtab.dev/v1
kind: File
metadata: {name: motd}
spec: {path: motd, content: hello}
"""


def seconds(*command: str) -> float:
    """The median of several runs, each in a process of its own."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> int:
    trimtab = str(Path(sys.executable).with_name("trimtab"))
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        repository = Repository(Path(name) / "repository")
        commit = repository.commit({"shop/motd.yaml": MANIFEST})
        served = Served(repository.path, Path(name) / "data").start()
        try:
            served.healthy(commit)
            bare = seconds(sys.executable, "-c", "pass")
            rows = [
                ("trimtab --help", seconds(trimtab, "--help"), 0.25),
                ("trimtab status", seconds(trimtab, "status", "--data", str(served.data)), 0.4),
            ]
        finally:
            served.down()
    print(f"bare interpreter: {bare * 1e3:.0f} ms")
    for what, taken, goal in rows:
        print(
            f"{'ok  ' if taken <= goal else 'MISS'} {what:20} {taken * 1e3:6.0f} ms  {taken / bare:4.1f} x bare  goal <= {goal * 1e3:.0f} ms"
        )
    return 0 if all(taken <= goal for _, taken, goal in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
