"""`kill -9` of the server at random moments between "merge asked" and "recorded", with the repository that it hosts itself.

    python bench/kill9_changes.py [--times 50] [--seed 1]

Each round pushes a Change with stock git to a server on this host, approves its plan, asks for the merge, kills the server a moment
later and starts it again; sometimes two Changes are merged at once, and sometimes the server is killed twice. In the end no merge may be
lost or doubled: each Change has one merge commit on the branch and one on the record, a task ran once for each version that was merged, what
runs is what the branch says, no Change is left half open, and every trail holds. Prints a summary; the exit code is 1 when one of these is untrue.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec

from trimtab.core.decide.trail import broken
from trimtab.core.model.trail import Link
from trimtab.testing.served import Served, until

ROUND_SECONDS = 60.0
RULES = """\
apiVersion: trimtab.dev/v1
kind: Environment
metadata: {name: production}
spec:
  target: {kind: host}
  approvals: {required: 1}
"""
APPLICATION = """\
apiVersion: trimtab.dev/v1
kind: Application
metadata: {{name: {name}}}
spec:
  source: {{path: {name}}}
  environments: [{{name: production}}]
"""
OBJECTS = """\
apiVersion: host.trimtab.dev/v1
kind: Task
metadata: {{name: {name}-migrate}}
spec:
  command: [sh, -c, "echo {name}-{version} >>{log}"]
---
apiVersion: host.trimtab.dev/v1
kind: File
metadata: {{name: {name}-version}}
spec: {{path: {name}, content: "{version}"}}
"""


@dataclass
class Developer:
    """A clone, and a server that may be gone at any moment."""

    root: Path
    served: Served
    log: Path
    versions: dict[str, int] = field(default_factory=lambda: {"shop": 0, "blog": 0})
    expected: Counter[str] = field(default_factory=Counter)
    changes: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.root / "work"

    def git(self, *arguments: str) -> str:
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(["git", *arguments], cwd=self.work, env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"git {arguments[0]}: {done.stderr}")
        return done.stdout + done.stderr

    def address(self) -> None:
        """The port is another one after each start."""
        token = (self.served.data / "token").read_text().strip()
        url = f"{self.served.url.replace('http://', f'http://operator:{token}@')}/git/configuration.git"
        self.git("remote", "set-url", "origin", url)

    def begin(self) -> None:
        self.work.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")
        self.git("remote", "add", "origin", "unknown")
        self.address()
        (self.work / ".trimtab").mkdir()
        (self.work / ".trimtab" / "production.yaml").write_text(RULES)
        for name in self.versions:
            (self.work / ".trimtab" / f"{name}.yaml").write_text(APPLICATION.format(name=name))
            self.write(name)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "the beginning")
        self.git("push", "--quiet", "origin", "HEAD:main")
        for name in self.versions:
            until(lambda name=name: self.let_in(name), what=f"{name} is let in")
        self.healthy()

    def write(self, name: str) -> None:
        self.versions[name] += 1
        version = f"v{self.versions[name]}"
        (self.work / name).mkdir(exist_ok=True)
        (self.work / name / "all.yaml").write_text(OBJECTS.format(name=name, version=version, log=self.log))
        self.expected[f"{name}-{version}"] += 1

    def let_in(self, name: str) -> bool:
        """The first content of a protected Environment is approved like any other."""
        plan = self.served.get(f"/applications/{name}/plan", environment="production")
        if not plan["holds"]:
            return False
        status, _ = self.served.post(f"/applications/{name}/approve", environment="production", hash=plan["hash"])
        return status < 300

    def propose(self, name: str) -> int:
        """A Change of one Application, approved as it is shown."""
        self.git("fetch", "--quiet", "origin", "main")
        self.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
        self.write(name)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", f"{name} v{self.versions[name]}")
        found = re.search(r"change (\d+):", self.git("push", "origin", "HEAD:refs/for/main"))
        assert found is not None, "the push tells the number of its change"
        number = int(found[1])
        self.changes.append(number)
        until(lambda: self.approve(number), ROUND_SECONDS, what=f"change {number} is approved")
        return number

    def approve(self, number: int) -> bool:
        plans = [one for one in self.change(number)["environments"] if one["environment"] == "production"]
        if not plans:
            return False
        status, _ = self.served.post(f"/changes/{number}/approve", environment="production", hash=plans[0]["hash"])
        return status < 300

    def change(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.served.get(f"/changes/{number}")
        return found

    def ask(self, number: int) -> bool:
        """Ask for the merge; False when nobody can tell whether it was heard."""
        try:
            status, _ = self.served.post(f"/changes/{number}/merge")
        except (OSError, HTTPException, ValueError):
            return False
        return status < 300

    def merged(self, number: int) -> bool:
        found = self.change(number)
        if found["stage"] == "open" and not found["wantedBy"]:
            self.ask(number)  # it was killed before it had heard
        return bool(found["stage"] == "merged")

    def healthy(self) -> None:
        """What runs is what was merged."""
        until(self.is_as_merged, ROUND_SECONDS, what=f"what was merged runs ({self.versions})")

    def is_as_merged(self) -> bool:
        files = (self.served.data / "host" / "files" / "production").iterdir()
        shown = Counter(path.read_text() for path in files)
        rows = self.served.get("/applications")["applications"]
        return shown == Counter(f"v{number}" for number in self.versions.values()) and all(
            (one["sync"], one["health"]) == ("synced", "healthy") for one in rows
        )

    # --- what has to hold ---------------------------------------------------------------------------------------------------

    def check(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong.append(f"{what}: {found}, wanted {wanted}")

    def check_round(self) -> None:
        self.check("tasks", Counter(self.log.read_text().split()), self.expected)
        self.git("fetch", "--quiet", "origin", "main")
        messages = self.git("log", "--format=%B", "FETCH_HEAD")
        self.check(
            "merges on the branch",
            Counter(int(one) for one in re.findall(r"^Change: (\d+)$", messages, re.M)),
            Counter(self.changes),
        )

    def check_record(self) -> None:
        told = Counter(one["data"]["change"] for one in self.served.events(kind="change.merged"))
        self.check("merges on the record", told, Counter(self.changes))
        opened = Counter(one["data"]["change"] for one in self.served.events(kind="change.opened"))
        self.check("changes on the record", opened, Counter(self.changes))
        self.check("open changes", self.served.get("/changes", stage="open")["changes"], [])
        self.check("errors of ours", [one["message"] for one in self.served.events(kind="reconcile.broken")], [])
        for row in self.served.get("/audit")["trails"]:
            links = self.served.get("/audit/trail", name=row["trail"], limit=1000)["links"]
            self.check("the trails", list(broken(msgspec.convert(links, list[Link]))), [])


def shoot(developer: Developer, times: int, usual_seconds: float, chance: random.Random) -> None:
    served = developer.served
    for _ in range(times):
        names = ["shop", "blog"] if chance.random() < 0.3 else [chance.choice(("shop", "blog"))]
        numbers = [developer.propose(name) for name in names]
        asking = [threading.Thread(target=developer.ask, args=(number,)) for number in numbers]
        for thread in asking:
            thread.start()
        time.sleep(chance.uniform(0, usual_seconds))
        served.kill()
        for thread in asking:
            thread.join()
        served.start()
        if chance.random() < 0.25:  # and once more while it finds out what became of it
            time.sleep(chance.uniform(0, 0.4))
            served.kill()
            served.start()
        developer.address()
        for number in numbers:
            until(lambda number=number: developer.merged(number), ROUND_SECONDS, what=f"change {number} is merged")
        developer.healthy()
        developer.check_round()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trimtab-kill9-") as name:
        root = Path(name)
        return run(Developer(root, Served("hosted:configuration", root / "data"), root / "migrated"), options.times, options.seed)


def run(developer: Developer, times: int, seed: int) -> int:
    began, usual_seconds = time.monotonic(), 0.0
    try:
        developer.served.start()
        developer.begin()
        number = developer.propose("shop")
        asked = time.monotonic()
        developer.ask(number)
        until(lambda: developer.merged(number), ROUND_SECONDS, every=0.01, what="the first change is merged")
        usual_seconds = time.monotonic() - asked
        developer.healthy()
        shoot(developer, times, usual_seconds, random.Random(seed))
        developer.check_record()
    except (AssertionError, RuntimeError, OSError) as error:
        developer.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        developer.served.down()
    print(f"killed {times} times in {time.monotonic() - began:.0f} s, seed {seed}: {len(developer.changes)} changes; "
          f"from asked to merged usually takes {usual_seconds * 1e3:.0f} ms")  # fmt: skip
    for line in developer.wrong:
        print(f"WRONG {line}")
    print("ok    no merge was lost, none was doubled" if not developer.wrong else f"{len(developer.wrong)} things are wrong")
    return 1 if developer.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
