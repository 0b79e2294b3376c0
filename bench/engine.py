"""What a commit costs: one application of a thousand against one application of one, on real Git, real rendering, the real store
and a target in memory.

    python bench/engine.py [--applications 1000] [--objects 4] [--json]

Goals: a commit that touches one application of 1,000 costs at most 1.5 times that of a repository with one (less the bare fetch of
each); one that touches none renders nothing, asks the target nothing and takes at most 0.3 s; the first full pass, from the moment
that Git has the commit until all is healthy, takes at most three times the time to parse the same YAML once with PyYAML's C loader; resident
memory stays below 200 MiB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOUCHES = 15
GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgSign=false", "-c", "gc.auto=0"]

MANIFEST = """\
apiVersion: host.trimtab.dev/v1
kind: Process
metadata:
  name: {name}
  labels:
    app: {name}
    part: "{part}"
spec:
  command: ["/usr/bin/env", "python3", "server.py", "--verbose"]
  replicas: {replicas}
  environment:
    LOG_LEVEL: info
    REGION: "eu-1"
    DATABASE: postgres.internal
  ports:
    - name: http
  readiness:
    http:
      path: /healthz
      port: http
    periodSeconds: 1
    failureThreshold: 3
  stop:
    signal: TERM
    graceSeconds: 10
"""
APPLICATION = """\
apiVersion: trimtab.dev/v1
kind: Application
metadata: {{name: {name}}}
spec:
  source: {{path: apps/{name}}}
"""


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run([*GIT, "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout.strip()


def make_repository(repository: Path, applications: int, objects: int) -> None:
    for number in range(applications):
        name = f"app-{number:05}"
        folder = repository / "apps" / name
        folder.mkdir(parents=True)
        for part in range(objects):
            text = MANIFEST.format(name=f"{name}-{part}", part=part, replicas=1)
            (folder / f"{part}.yaml").write_text(text)
        configuration = repository / ".trimtab" / f"{name}.yaml"
        configuration.parent.mkdir(exist_ok=True)
        configuration.write_text(APPLICATION.format(name=name))
    git(repository.parent, "init", "--quiet", "--initial-branch=main", str(repository))
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "all of it")


def parse_seconds(repository: Path) -> dict[str, float]:
    """The time to parse all YAML once: with PyYAML's C loader, the raw way to do it, and with the reader that rendering uses."""
    import yaml

    from trimtab.core.decide import documents

    texts = [path.read_bytes() for path in sorted(repository.rglob("*.yaml"))]
    began = time.perf_counter()
    for text in texts:
        list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    raw = time.perf_counter()
    for text in texts:
        documents.read(text, "bench.yaml")
    return {"parse": raw - began, "parse_own": time.perf_counter() - raw}


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Counting:
    """A Renderer that counts the requests that reach it, cached or not."""

    def __init__(self, renderer: Any) -> None:
        self.renderer = renderer
        self.renders = 0

    async def render(self, request: Any, tree: Any, **more: Any) -> Any:
        self.renders += 1
        return await self.renderer.render(request, tree, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.renderer, name)


@dataclass
class Bench:
    """An engine with everything real but the target and the web."""

    repository: Path
    data: Path
    healthy: dict[tuple[str, str], float] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    fetched: float = 0.0

    @asynccontextmanager
    async def engine(self) -> Any:
        from trimtab.engine.engine import Engine, Parts
        from trimtab.git.repositories import GitRepositories
        from trimtab.plumbing.clock import SystemChance, SystemClock
        from trimtab.render.renderer import TreeRenderer
        from trimtab.store.store import SqlStore
        from trimtab.testing.faults import Faults
        from trimtab.testing.objects import World
        from trimtab.testing.targets import FakeTargets

        self.targets = FakeTargets(World(Faults.none(), installation="bench", ready_seconds=(0, 0), echo=False))
        self.renderer = Counting(TreeRenderer(self.data / "cache"))
        store = SqlStore.open(self.data / "trimtab.db")
        repositories = GitRepositories(self.data / "git")
        parts = Parts(
            installation="bench",
            holder="bench",
            repository=str(self.repository),
            repositories=repositories,
            renderer=self.renderer,
            targets=self.targets,
            store=store,
            clock=SystemClock(),
            chance=SystemChance(),
            poll_seconds=3600,
        )
        engine = Engine(parts)
        engine.journal.on_event(self._heard)
        task = asyncio.create_task(engine.run())
        try:
            yield engine
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.renderer.close()
            await repositories.close()
            await store.close()

    def _heard(self, event: Any) -> None:
        if event.kind == "repository.fetched" and not self.fetched:
            self.fetched = time.perf_counter()
        if event.kind == "deployment.healthy":
            self.healthy[event.application, event.revision] = time.perf_counter()
            self.bell.set()

    async def until(self, condition: Any, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.bell.clear()
                try:
                    await asyncio.wait_for(self.bell.wait(), 0.005)
                except TimeoutError:
                    continue


def bare_fetch_seconds(repository: Path, mirror: Path) -> float:
    began = time.perf_counter()
    git(mirror, "fetch", "--quiet", "--prune", str(repository), "+refs/heads/*:refs/heads/*")
    return time.perf_counter() - began


async def measure(applications: int, objects: int) -> dict[str, float]:
    gc.set_threshold(50_000, 20, 100)
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
        root = Path(name)
        repository, data, mirror = root / "repository", root / "data", root / "mirror.git"
        data.mkdir()
        make_repository(repository, applications, objects)
        git(root, "clone", "--quiet", "--bare", str(repository), str(mirror))
        found = parse_seconds(repository)
        bench = Bench(repository, data)
        began = time.perf_counter()
        async with bench.engine() as engine:
            await bench.until(lambda: len(bench.healthy) >= applications)
            found["start"] = bench.fetched - began
            found["first"] = time.perf_counter() - bench.fetched
            await asyncio.sleep(1.0)
            found |= await touch_one(bench, engine, repository, mirror)
            found |= await touch_none(bench, engine, repository)
            gc.collect()
            found["resident"] = resident_mib()
    return found


async def touch_one(bench: Bench, engine: Any, repository: Path, mirror: Path) -> dict[str, float]:
    costs, fetches = [], []
    for turn in range(TOUCHES):
        path = repository / "apps" / "app-00000" / "0.yaml"
        path.write_text(MANIFEST.format(name="app-00000-0", part=0, replicas=2 + turn))
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", f"touch {turn}")
        revision = git(repository, "rev-parse", "HEAD")
        began = time.perf_counter()
        engine.session.follower.wake()
        await bench.until(lambda revision=revision: ("app-00000", revision) in bench.healthy)
        costs.append(bench.healthy["app-00000", revision] - began)
        fetches.append(bare_fetch_seconds(repository, mirror))
    return {"touch_one": statistics.median(costs), "fetch": statistics.median(fetches)}


async def touch_none(bench: Bench, engine: Any, repository: Path) -> dict[str, float]:
    await asyncio.sleep(0.5)
    target = next(iter(bench.targets.made.values()))
    calls, costs = sum(target.calls.values()), []
    renders = bench.renderer.renders
    for turn in range(5):
        (repository / "README.md").write_text(f"{turn}\n")
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--message", f"words {turn}")
        sequence = engine.session.declarer.posted
        began = time.perf_counter()
        engine.session.follower.wake()
        await bench.until(lambda sequence=sequence: engine.session.declarer.posted > sequence)
        costs.append(time.perf_counter() - began)
    return {
        "touch_none": statistics.median(costs),
        "touch_none_calls": sum(target.calls.values()) - calls,
        "touch_none_renders": bench.renderer.renders - renders,
    }


def in_a_process_of_its_own(applications: int, objects: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--applications", str(applications), "--objects", str(objects), "--measure"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--applications", type=int, default=1_000)
    parser.add_argument("--objects", type=int, default=4)
    parser.add_argument("--measure", action="store_true", help="measure one size in this process and print it as JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(asyncio.run(measure(options.applications, options.objects))))
        return 0
    one = in_a_process_of_its_own(1, options.objects)
    many = in_a_process_of_its_own(options.applications, options.objects)
    cost_one, cost_many = one["touch_one"] - one["fetch"], many["touch_one"] - many["fetch"]
    rows = [
        ("first full pass / parsing the same YAML once", many["first"] / many["parse"], 3.0, "x"),
        ("touch one of many / touch the only one (each less its fetch)", cost_many / cost_one, 1.5, "x"),
        ("touch none: seconds", many["touch_none"], 0.3, "s"),
        ("touch none: renders", many["touch_none_renders"], 0, ""),
        ("touch none: target calls", many["touch_none_calls"], 0, ""),
        ("resident memory", many["resident"], 200, "MiB"),
    ]
    print(f"{options.applications} applications x {options.objects} objects")
    print(
        f"parse {many['parse']:.2f} s (our own reader: {many['parse_own']:.2f} s, of which the first pass is "
        f"{many['first'] / many['parse_own']:.1f} x), start and clone {many['start']:.2f} s, first pass {many['first']:.2f} s; touch one {many['touch_one'] * 1e3:.0f} ms "
        f"(fetch {many['fetch'] * 1e3:.0f} ms), with one application {one['touch_one'] * 1e3:.0f} ms (fetch {one['fetch'] * 1e3:.0f} ms)"
    )
    for name, value, goal, unit in rows:
        print(f"{'ok  ' if value <= goal else 'MISS'} {name:62} {value:8.2f} {unit:4} goal <= {goal}")
    return 0 if all(value <= goal for _, value, goal, _ in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
