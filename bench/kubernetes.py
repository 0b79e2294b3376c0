"""What Kubernetes costs: installs as ratios to a raw loop that sends the same applies over 16 kept-alive connections to the same API server,
and what a commit, an edit by hand and a change of health cost when nearly everything is as it should be.

    python bench/kubernetes.py [--applications 100] [--maps 1000] [--large 1000] [--touches 50] [--drifts 20] [--healths 10] [--rounds 3]

The control plane of the tests is used, a new one for the run; it is built when it is missing. Each round measures the raw loop before
and after Trimtab, with all objects in a namespace of its own; the median of the rounds counts. `--large 0` leaves out the larger size.
Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import aiohttp
import msgspec
import yaml
from tests.kubernetes.cluster import Cluster

CONNECTIONS = 16
QUIET_SECONDS = 0.4
IDLE_SECONDS = 20.0
WAIT_SECONDS_MAX = 600.0
APPLY = "?fieldManager=raw&force=true&fieldValidation=Strict"
GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgSign=false", "-c", "gc.auto=0"]
PATHS = {
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "Service": "api/v1/namespaces/{}/services",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Ingress": "apis/networking.k8s.io/v1/namespaces/{}/ingresses",
}
Body = dict[str, Any]


# What is installed


def application(name: str, *, image: int = 1, replicas: int = 0) -> list[Body]:
    meta = {"name": name, "labels": {"app": name}}
    container = {
        "name": "web",
        "image": f"registry.example/web:{image}",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "REGION", "value": "eu-1"}, {"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": f"{name}.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        },
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}},
    ]


def config_maps(count: int) -> list[Body]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"map-{number:05}"},
            "data": {"number": str(number), "text": "some words of a setting"},
        }
        for number in range(count)
    ]


def contents(applications: int, maps: int) -> dict[str, list[Body]]:
    """The objects of each application: many small ones, or one of ConfigMaps."""
    if maps:
        return {"maps": config_maps(maps)}
    return {f"app-{number:05}": application(f"app-{number:05}") for number in range(applications)}


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, kubeconfig: Path, namespace: str, wanted: dict[str, list[Body]]) -> None:
        target = {"kind": "kubernetes", "kubeconfig": str(kubeconfig), "namespace": namespace}
        documents: list[Body] = [
            {"apiVersion": "trimtab.dev/v1", "kind": "Environment", "metadata": {"name": "prod"}, "spec": {"target": target}}
        ]
        for name, bodies in wanted.items():
            spec = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}]}
            documents.append({"apiVersion": "trimtab.dev/v1", "kind": "Application", "metadata": {"name": name}, "spec": spec})
            self.write(name, bodies)
        (self.path / ".trimtab").mkdir()
        (self.path / ".trimtab" / "all.yaml").write_text(yaml.safe_dump_all(documents))
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("all of it")

    def write(self, name: str, bodies: list[Body]) -> None:
        folder = self.path / "apps" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "all.yaml").write_text(yaml.safe_dump_all(bodies))

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        done = subprocess.run([*GIT, "-C", str(self.path), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()


# The raw loop


@dataclass(frozen=True)
class Server:
    """How the bench itself speaks to the API server."""

    address: str
    token: str
    authority: str
    kubeconfig: str

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        trust = ssl.create_default_context(cafile=self.authority)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=trust)
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(self.address + "/", connector=connector, headers=headers, timeout=timeout) as made:
            yield made
        await asyncio.sleep(0.05)  # TLS connections end a moment after they were told to


async def raw_seconds(server: Server, namespace: str, bodies: list[Body]) -> float:
    requests = [(f"{place(body['kind'], namespace, body['metadata']['name'])}{APPLY}", json.dumps(body)) for body in bodies]
    headers = {"Content-Type": "application/apply-patch+yaml"}

    async def work(http: aiohttp.ClientSession, left: Iterator[tuple[str, str]]) -> None:
        for path, data in left:
            async with http.patch(path, data=data, headers=headers) as answer:
                await answer.read()
                answer.raise_for_status()

    async with server.session() as http:
        began = time.perf_counter()
        left = iter(requests)
        await asyncio.gather(*(work(http, left) for _ in range(CONNECTIONS)))
        return time.perf_counter() - began


def place(kind: str, namespace: str, name: str = "") -> str:
    return PATHS[kind].format(namespace) + (f"/{name}" if name else "")


# Trimtab, in a process of its own


def family() -> list[Path]:
    """The entries in /proc of this process and of everything that it has started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [os.getpid()]
    for pid in found:
        found += parents.get(pid, [])
    return [Path("/proc", str(pid)) for pid in found]


def cpu_seconds() -> float:
    """Of all of them since they began, those included that have ended."""
    ticks = 0
    for entry in family():
        with suppress(OSError):
            ticks += sum(int(value) for value in (entry / "stat").read_text().rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib() -> float:
    pages = 0
    for entry in family():
        with suppress(OSError):
            pages += int((entry / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Recorded:
    """A Store that notes when what was applied is on the record."""

    def __init__(self, store: Any, heard: Callable[[], None]) -> None:
        self._store, self._heard = store, heard
        self.applied = 0
        self.of: Counter[str] = Counter()

    async def write(self, writes: Any, *, epoch: int) -> Any:
        stored = await self._store.write(writes, epoch=epoch)
        for entry in writes.entries:
            if entry.state == "applied":
                self.applied += 1
                self.of[entry.application] += 1
        self._heard()
        return stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class Bench:
    """An engine with everything real but the web."""

    server: Server
    repository: Repository
    data: Path
    namespace: str
    healthy: dict[tuple[str, str], float] = field(default_factory=dict)
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    engine: Any = None
    began: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        from trimtab.engine.engine import Engine, Parts
        from trimtab.git.repositories import GitRepositories
        from trimtab.plumbing.clock import SystemChance, SystemClock
        from trimtab.render.renderer import TreeRenderer
        from trimtab.store.store import SqlStore
        from trimtab.targets.kubernetes.target import KubernetesTargets
        from trimtab.wiring.adapters import SETTINGS

        clock, chance = SystemClock(), SystemChance()
        self.targets = KubernetesTargets(installation=f"bench-{self.namespace}", clock=clock, chance=chance)
        self.store = Recorded(SqlStore.open(self.data / "trimtab.db"), self.bell.set)
        renderer, repositories = TreeRenderer(self.data / "cache"), GitRepositories(self.data / "git")
        parts = Parts(
            installation=f"bench-{self.namespace}",
            holder="bench",
            repository=str(self.repository.path),
            repositories=repositories,
            renderer=renderer,
            targets=self.targets,
            adapters=SETTINGS,
            store=self.store,
            clock=clock,
            chance=chance,
            poll_seconds=3600,
        )
        self.engine = Engine(parts)
        self.engine.journal.on_event(self._heard)
        self.began = time.perf_counter()  # the next thing that it does is to fetch
        task = asyncio.create_task(self.engine.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for part in (renderer, repositories, self.store, self.targets):
                await part.close()
            await asyncio.sleep(0.05)

    def _heard(self, event: Any) -> None:
        if event.kind == "deployment.healthy":
            self.healthy[event.application, event.revision] = time.perf_counter()
        if event.kind in ("deployment.failed", "deployment.held", "render.failed", "reconcile.broken"):
            print(f"{event.kind} {event.application}: {event.message}", file=sys.stderr)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not condition():
                self.bell.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.bell.wait(), 0.005)

    async def quiet(self) -> None:
        """Until nothing has been asked and nothing been done for a while."""
        before = None
        while before != (before := (self.calls(), self.store.applied, self.engine.session.workers.busy)):
            await asyncio.sleep(QUIET_SECONDS)

    def calls(self) -> int:
        return sum(target.cluster.client.transport.counts.requests for target in self.targets._targets.values())

    def look_at_git(self) -> None:
        self.engine.session.follower.wake()


async def measure(server: Server, order: Body) -> Body:
    """One size. ``order``: repository, data, namespace, and how often to do what; each number 0 leaves that out."""
    gc.set_threshold(50_000, 20, 100)
    bench = Bench(server, Repository(Path(order["repository"])), Path(order["data"]), order["namespace"])
    async with bench.running(), server.session() as http:
        await bench.until(lambda: bench.store.applied >= order["objects"])
        found: Body = {"install": time.perf_counter() - bench.began, "install_cpu": cpu_seconds(), "install_calls": bench.calls()}
        await bench.quiet()
        found |= {"calls_until_quiet": bench.calls(), "applied_until_quiet": bench.store.applied}
        found |= await touch_none(bench)
        found |= await look_again(bench, order["looked_at"])
        if order["touches"]:
            found |= await touch_one(bench, order["touches"])
        if order["drifts"]:
            found["drift"] = [await drift(bench, http, turn) for turn in range(order["drifts"])]
        if order["healths"]:
            found["health"] = [await health(bench, http, turn) for turn in range(order["healths"])]
        gc.collect()
        found["resident"] = resident_mib()
        if order["idle"]:
            await bench.quiet()
            cpu, began = cpu_seconds(), time.perf_counter()
            await asyncio.sleep(IDLE_SECONDS)
            found["idle"] = (cpu_seconds() - cpu) / (time.perf_counter() - began) * 100
    return found


async def touch_none(bench: Bench) -> Body:
    """A commit to a file that nobody reads: from being asked to look until it is known that nothing is to be done."""
    seconds, cpu = [], []
    calls = bench.calls()
    for turn in range(5):
        (bench.repository.path / "README.md").write_text(f"{turn}\n")
        bench.repository.commit(f"words {turn}")
        sequence, before, began = bench.engine.session.declarer.posted, cpu_seconds(), time.perf_counter()
        bench.look_at_git()
        await bench.until(lambda sequence=sequence: bench.engine.session.declarer.posted > sequence)
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(QUIET_SECONDS)
        cpu.append(cpu_seconds() - before)
    return {"none": statistics.median(seconds), "none_cpu": statistics.mean(cpu), "none_calls": bench.calls() - calls}


async def look_again(bench: Bench, name: str) -> Body:
    """All objects of an application are compared with Git, although nothing has happened."""
    from trimtab.core.model.names import Key

    seconds, calls, workers = [], bench.calls(), bench.engine.session.workers
    for _ in range(5):
        began = time.perf_counter()
        workers.wake(Key("prod", name))
        await bench.until(lambda: not workers.busy)
        seconds.append(time.perf_counter() - began)
    return {"look": statistics.median(seconds), "look_calls": bench.calls() - calls}


async def touch_one(bench: Bench, times: int) -> Body:
    """A new image for one application: from being asked to look until it is applied and that is on the record."""
    seconds, calls, name = [], [], "app-00000"
    for turn in range(times):
        bench.repository.write(name, application(name, image=turn + 2))
        bench.repository.commit(f"touch {turn}")
        before, asked, began = bench.store.of[name], bench.calls(), time.perf_counter()
        bench.look_at_git()
        await bench.until(lambda before=before: bench.store.of[name] > before)
        seconds.append(time.perf_counter() - began)
        await bench.quiet()
        calls.append(bench.calls() - asked)
    return {"one": seconds, "one_calls": calls}


async def drift(bench: Bench, http: aiohttp.ClientSession, turn: int) -> float:
    """From the answer to an edit by hand until the object is as Git says, as a watch of our own sees it."""
    name = "app-00002"
    path = place("Service", bench.namespace, name)
    async with watching(http, "Service", bench.namespace, name) as states:
        patch = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9000 + turn}]
        async with http.patch(path, data=json.dumps(patch), headers={"Content-Type": "application/json-patch+json"}) as answer:
            answer.raise_for_status()
            edited = int((await answer.json())["metadata"]["resourceVersion"])
            began = time.perf_counter()
        async for state in states:
            if int(state["metadata"]["resourceVersion"]) > edited and state["spec"]["ports"][0]["targetPort"] == 8080:
                healed = time.perf_counter() - began
                break
    await bench.quiet()
    return healed


async def health(bench: Bench, http: aiohttp.ClientSession, turn: int) -> float:
    """From the event in which the API shows a Deployment to be complete until our record has it."""
    name = "app-00001"
    replicas = 1 + turn % 2
    async with watching(http, "Deployment", bench.namespace, name) as states:
        bench.repository.write(name, application(name, image=turn + 2, replicas=replicas))
        revision = bench.repository.commit(f"replicas {turn}")
        bench.look_at_git()
        async for state in states:
            if complete(state, f":{turn + 2}", replicas):
                shown = time.perf_counter()
                break
        await bench.until(lambda: (name, revision) in bench.healthy)
    await bench.quiet()
    return bench.healthy[name, revision] - shown


def complete(state: Body, image: str, replicas: int) -> bool:
    status, spec = state.get("status", {}), state["spec"]
    numbers = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")]
    seen = status.get("observedGeneration") == state["metadata"]["generation"]
    return seen and spec["template"]["spec"]["containers"][0]["image"].endswith(image) and set(numbers) == {replicas}


@asynccontextmanager
async def watching(http: aiohttp.ClientSession, kind: str, namespace: str, name: str) -> AsyncIterator[AsyncIterator[Body]]:
    """Every state of one object, beginning with the present one."""
    query = f"?watch=true&fieldSelector=metadata.name%3D{name}"
    async with http.get(place(kind, namespace) + query) as answer:
        answer.raise_for_status()

        async def states() -> AsyncIterator[Body]:
            async for line in answer.content:
                yield json.loads(line)["object"]

        yield states()
        answer.close()


# All of it


class Run:
    """The measurements on one cluster."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self.cluster, self.root = cluster, root
        self.server = Server(cluster.server, cluster.token, str(cluster.authority), str(cluster.kubeconfig))
        self.number = 0

    def raw(self, wanted: dict[str, list[Body]]) -> float:
        namespace = self.cluster.namespace("raw")
        seconds = asyncio.run(raw_seconds(self.server, namespace, [body for bodies in wanted.values() for body in bodies]))
        self.settle()
        return seconds

    def trimtab(self, wanted: dict[str, list[Body]], **how_often: int) -> Body:
        self.number += 1
        repository, data = Repository(self.root / f"repository-{self.number}"), self.root / f"data-{self.number}"
        namespace = self.cluster.namespace("bench")
        data.mkdir()
        repository.path.mkdir()
        repository.make(self.cluster.kubeconfig, namespace, wanted)
        order = {"touches": 0, "drifts": 0, "healths": 0, "idle": 0, **how_often}
        order |= {"repository": str(repository.path), "data": str(data), "namespace": namespace, "looked_at": next(iter(wanted))}
        order["objects"] = sum(len(bodies) for bodies in wanted.values())
        command = [sys.executable, __file__, "--measure", json.dumps([msgspec.to_builtins(self.server), order])]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        self.settle()
        return json.loads(done.stdout.splitlines()[-1])

    def rounds(self, wanted: dict[str, list[Body]], count: int, **how_often: int) -> list[Body]:
        """Each with the time of the raw loop around it; what is asked ``how_often`` is asked in the last one."""
        found = []
        before = self.raw(wanted)
        for turn in range(count):
            one = self.trimtab(wanted, **(how_often if turn == count - 1 else {}))
            after = self.raw(wanted)
            found.append({**one, "raw": (before + after) / 2})
            before = after
        return found

    def settle(self) -> None:
        """Until the controllers have seen everything, so that what was installed before does not slow down what comes next."""
        for _ in range(600):
            deployments = self.cluster.api.get("/apis/apps/v1/deployments")["items"]
            if all(one.get("status", {}).get("observedGeneration") == one["metadata"]["generation"] for one in deployments):
                break
            time.sleep(0.5)
        time.sleep(1.0)


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    goal: float
    unit: str = ""


def middle(rounds: list[Body], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def install_row(what: str, rounds: list[Body]) -> Row:
    return Row(f"{what}: first install / raw loop", statistics.median(one["install"] / one["raw"] for one in rounds), 1.5, "x")


def touch_rows(what: str, last: Body) -> list[Row]:
    return [
        Row(f"{what}: touch one, p50", statistics.median(last["one"]) * 1e3, 80, "ms"),
        Row(f"{what}: touch one, p99", percentile(last["one"], 0.99) * 1e3, 200, "ms"),
        Row(f"{what}: touch one, API calls (most)", max(last["one_calls"]), 6),
    ]


def measured_here(run: Run, options: argparse.Namespace) -> Iterator[Row]:
    what = f"{options.applications} x 4"
    wanted = contents(options.applications, 0)
    run.raw(contents(20, 0)), run.raw(contents(0, 50))  # the server's own first times
    rounds = run.rounds(wanted, options.rounds, touches=options.touches, drifts=options.drifts, healths=options.healths, idle=1)
    last = rounds[-1]
    told(what, rounds)
    yield install_row(what, rounds)
    yield Row(f"{what}: install, CPU", middle(rounds, "install_cpu"), 1.5, "s")
    yield from none_rows(what, rounds, 0.1)
    yield Row(f"{what}: touch none, CPU", middle(rounds, "none_cpu"), 0.05, "s")
    yield from touch_rows(what, last)
    yield Row(f"{what}: drift -> healed, p50", statistics.median(last["drift"]) * 1e3, 100, "ms")
    yield Row(f"{what}: API shows healthy -> we say so, p50", statistics.median(last["health"]) * 1e3, 50, "ms")
    yield Row(f"{what}: resident memory", last["resident"], 110, "MiB")
    what = f"1 x {options.maps} ConfigMaps"
    rounds = run.rounds(contents(0, options.maps), options.rounds)
    told(what, rounds)
    yield install_row(what, rounds)
    yield from none_rows(what, rounds, 0.1)
    yield Row(f"{what}: a look at all, unchanged", middle(rounds, "look"), 0.1, "s")
    yield Row(f"{what}: a look at all, API calls", max(one["look_calls"] for one in rounds), 0)
    if options.large:
        what = f"{options.large} x 4"
        rounds = run.rounds(contents(options.large, 0), 1, touches=options.touches, idle=1)
        told(what, rounds)
        yield install_row(what, rounds)
        yield from none_rows(what, rounds, 0.2)
        yield from touch_rows(what, rounds[-1])
        yield Row(f"{what}: resident memory", rounds[-1]["resident"], 200, "MiB")
    yield (
        Row(f"{what}: idle CPU", rounds[-1]["idle"], 2, "%")
        if options.large
        else Row(f"{options.applications} x 4: idle CPU", last["idle"], 2, "%")
    )


def none_rows(what: str, rounds: list[Body], goal: float) -> Iterator[Row]:
    yield Row(f"{what}: touch none", middle(rounds, "none"), goal, "s")
    yield Row(f"{what}: touch none, API calls", max(one["none_calls"] for one in rounds), 0)


def told(what: str, rounds: list[Body]) -> None:
    """The seconds behind the ratios."""
    each = ", ".join(f"{one['install']:.2f}/{one['raw']:.2f}" for one in rounds)
    calls = f"{middle(rounds, 'install_calls'):.0f} API calls, {middle(rounds, 'calls_until_quiet'):.0f} until quiet"
    print(f"{what}: install/raw {each} s; {calls}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("applications", 100), ("maps", 1_000), ("large", 1_000), ("touches", 50), ("drifts", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--healths", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        server, order = json.loads(options.measure)
        print(json.dumps(asyncio.run(measure(Server(**server), order))))
        return 0
    cluster = Cluster("bench")
    try:
        with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as name:
            well = [shown(row) for row in measured_here(Run(cluster.up(), Path(name)), options)]
    finally:
        cluster.close()
    return 0 if all(well) else 1


def shown(row: Row) -> bool:
    well = row.value <= row.goal
    print(f"{'ok  ' if well else 'MISS'} {row.what:55} {row.value:9.2f} {row.unit:4} goal <= {row.goal:g}", flush=True)
    return well


if __name__ == "__main__":
    raise SystemExit(main())
