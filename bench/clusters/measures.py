"""One size, measured from the inside: `python -m bench.clusters.measures ORDER` prints what it found as its last line."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from bench.clusters.contents import Body, Repository, application
from bench.clusters.cost import cpu_seconds, resident_mib
from bench.clusters.raw import Server, place
from bench.clusters.running import QUIET_SECONDS, Bench

IDLE_SECONDS = 20.0


async def measure(server: Server, order: Body) -> Body:
    """One size. ``order``: repository, data, namespace, and how often to do what; each number 0 leaves that out."""
    gc.set_threshold(50_000, 20, 100)
    bench = Bench(server, Repository(Path(order["repository"])), Path(order["data"]), order["namespace"])
    async with bench.running(), server.session() as http:
        await bench.until(lambda: bench.store.applied >= order["objects"])
        found: Body = {
            "install": time.perf_counter() - bench.began,
            "install_cpu": cpu_seconds() - bench.cpu,
            "install_calls": bench.calls(),
        }
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


if __name__ == "__main__":
    given, asked = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(measure(Server(**given), asked))))
