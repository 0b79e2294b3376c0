"""Rounds on one cluster: the raw loop and Trimtab in turns, each in a namespace of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from bench.clusters.contents import Body, Repository
from bench.clusters.raw import Server, owned, raw_seconds
from tests.kubernetes.cluster import Cluster

ROOT = Path(__file__).parent.parent.parent


class Run:
    """The measurements on one cluster."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self.cluster, self.root = cluster, root
        self.server = Server(cluster.server, cluster.token, str(cluster.authority), str(cluster.kubeconfig))
        self.number = 0

    def raw(self, wanted: dict[str, list[Body]], *, bare: bool = False) -> float:
        """Seconds of the raw loop; ``bare``: for the manifests as they stand in Git."""
        namespace = self.cluster.namespace("raw")
        each = ((name, body) for name, bodies in wanted.items() for body in bodies)
        sent = [body if bare else owned(body, namespace, name) for name, body in each]
        seconds = asyncio.run(raw_seconds(self.server, namespace, sent))
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
        command = [sys.executable, "-m", "bench.clusters.measures", json.dumps([msgspec.to_builtins(self.server), order])]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
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
