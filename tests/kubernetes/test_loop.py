"""The whole loop on a real cluster: what a commit costs, what a lost store does, what a hand-over leaves alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_ownership import placed
from tests.kubernetes.test_target import deployment

from trimtab.core.lifecycle.reconcile import HEALS_MAX
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.wiring.offline import offline_plan
from trimtab.wiring.server import Running, Settings, running

WAIT_SECONDS = 30.0


class Repository:
    """A configuration repository with one environment and an application for each directory of apps/."""

    def __init__(self, path: Path, kubeconfig: Path, namespace: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        target = {"kind": "kubernetes", "kubeconfig": str(kubeconfig), "namespace": namespace}
        self.declare("environment", "Environment", "prod", {"target": target})

    def application(self, name: str, *bodies: dict[str, Any]) -> None:
        spec = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}]}
        self.declare(name, "Application", name, spec)
        (self.path / "apps" / name).mkdir(parents=True, exist_ok=True)
        (self.path / "apps" / name / "all.yaml").write_text(yaml.safe_dump_all(bodies))

    def remove(self, name: str) -> None:
        """An application is declared no more, in a commit of its own."""
        self.git("rm", "-rq", f".trimtab/{name}.yaml", f"apps/{name}")
        self.commit()

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "change")

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.path), *words], check=True, capture_output=True, env=os.environ)

    def declare(self, file: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        place = self.path / ".trimtab" / f"{file}.yaml"
        place.parent.mkdir(exist_ok=True)
        document = {"apiVersion": "trimtab.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        place.write_text(yaml.safe_dump(document))


def states(server: Running) -> dict[Key, Reconciliation]:
    session = server.engine.session
    return dict(session.world.states) if session is not None else {}


async def healthy(server: Running, names: list[str], sequence: int = 1) -> None:
    """Until every one of these applications is healthy at the commit of that number, and at rest."""
    for _ in range(int(WAIT_SECONDS / 0.01)):
        found = {key.application: state.current for key, state in states(server).items() if state.pending is None}
        if all((one := found.get(name)) and one.phase is Phase.HEALTHY and one.sequence >= sequence for name in names):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(states(server))


def writes(faults: FaultProxy) -> list[str]:
    return [f"{seen.method} {seen.path}" for seen in faults.requests if seen.method != "GET" and "dryRun" not in seen.path]


async def test_a_lost_store_moves_nothing(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path) -> None:
    """Ownership is on the objects and the rest is in Git: after a start without the record there is no hold and no write."""
    repository = Repository(tmp_path / "repo", faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace)
    repository.application("web", deployment(), config_map("settings", a="1"))
    repository.application("other", config_map("other", a="1"))
    repository.commit()
    settings = Settings(repository=str(repository.path), data=tmp_path / "data")
    async with running(settings) as server:
        await healthy(server, ["web", "other"])
    for file in (tmp_path / "data").glob("trimtab.db*"):
        file.unlink()
    faults.requests.clear()
    async with running(settings) as server:
        await healthy(server, ["web", "other"])
        await asyncio.sleep(0.3)
        assert writes(faults) == []
        assert all(state.sync == "synced" for state in states(server).values())
    await asyncio.sleep(0.05)


async def test_a_commit_that_touches_one_of_many(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path) -> None:
    """Costs at most six requests, all about that one; nobody asks about the others."""
    names = [f"app-{number:02}" for number in range(20)]
    repository = Repository(tmp_path / "repo", faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace)
    for name in names:
        repository.application(name, config_map(name, a="1"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, names)
        await asyncio.sleep(0.3)
        faults.requests.clear()
        repository.application("app-07", config_map("app-07", a="2"))
        repository.commit()
        server.wake()
        await asyncio.to_thread(
            cluster.api.until,
            cluster.api.path(placed(config_map("app-07"), namespace)),
            lambda live: live["data"] == {"a": "2"},
        )
        await healthy(server, ["app-07"])
        asked = [f"{seen.method} {seen.path}" for seen in faults.requests if "watch=" not in seen.path]
        assert len(asked) <= 6, asked
        assert all("app-07" in one for one in asked), asked
    await asyncio.sleep(0.05)


async def test_an_object_that_moves_to_another_application_stays(
    cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path
) -> None:
    """One commit takes it out of one application and puts it into another: the same object, under the same uid."""
    repository = Repository(tmp_path / "repo", faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace)
    shared = config_map("shared", a="1")
    repository.application("one", config_map("left", a="1"), shared)
    repository.application("two", config_map("right", a="1"))
    repository.commit()
    path = cluster.api.path(placed(shared, namespace))
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["one", "two"])
        uid = cluster.api.get(path)["metadata"]["uid"]
        repository.application("one", config_map("left", a="1"))
        repository.application("two", config_map("right", a="1"), shared)
        repository.commit()
        server.wake()
        label = "trimtab.dev/application"
        live = await asyncio.to_thread(cluster.api.until, path, lambda live: live["metadata"]["labels"][label] == "two")
        assert live["metadata"]["uid"] == uid
        await healthy(server, ["one", "two"])
    await asyncio.sleep(0.05)
    assert not any(line.startswith("DELETE") for line in writes(faults))


async def test_a_fight_over_a_field_is_noticed_told_and_backed_off_from(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Another program sets its value whenever ours is back. After some rounds we wait longer and longer, and say why."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    fought = config_map("fought", a="ours")
    repository.application("web", fought)
    repository.commit()
    path = cluster.api.path(placed(fought, namespace))
    ended = threading.Event()
    theirs: list[float] = []

    def rival() -> None:
        while not ended.is_set():
            if cluster.api.get(path)["data"] == {"a": "ours"}:
                cluster.api.merge(path, {"data": {"a": "theirs"}})
                theirs.append(time.monotonic())
            time.sleep(0.005)

    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
        told: list[str] = []
        server.engine.journal.on_event(lambda event: told.append(event.message))
        fighting = asyncio.create_task(asyncio.to_thread(rival))
        try:
            async with asyncio.timeout(90):
                while not any("somebody keeps changing it" in message for message in told):
                    await asyncio.sleep(0.05)
            many = len(theirs)
            await asyncio.sleep(2.0)
            assert len(theirs) - many <= 4  # the next tries are a second and more apart
        finally:
            ended.set()
            await fighting
        message = next(message for message in told if "somebody keeps changing it" in message)
        assert "ConfigMap/fought was changed" in message
    await asyncio.sleep(0.05)
    assert many > HEALS_MAX - 5


async def test_a_job_that_the_cluster_clears_away_is_run_once_for_each_content(
    cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path
) -> None:
    """`ttlSecondsAfterFinished` is no drift: what has ended and gone is not run again, not by a restart either."""

    def job(image: str) -> dict[str, Any]:
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
        spec = {"ttlSecondsAfterFinished": 0, "template": {"spec": pod}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}, "spec": spec}

    def runs() -> int:
        return sum("/jobs/migrate?" in one for one in writes(faults))

    async def gone() -> None:
        await asyncio.to_thread(cluster.api.until_gone, f"/apis/batch/v1/namespaces/{namespace}/jobs/migrate")

    repository = Repository(tmp_path / "repo", faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace)
    repository.application("web", job("test/one"), config_map(a="1"))
    repository.commit()
    settings = Settings(repository=str(repository.path), data=tmp_path / "data")
    async with running(settings) as server:
        await healthy(server, ["web"])
        await gone()
        await asyncio.sleep(0.5)
        assert runs() == 1
        planned = await asyncio.to_thread(offline_plan, str(repository.path), "prod", str(settings.data))
        assert (planned.steps, planned.errors) == ([], [])
        repository.application("web", job("test/one"), config_map(a="2"))
        repository.commit()
        server.wake()
        await healthy(server, ["web"], 2)
        assert runs() == 1
    async with running(settings) as server:
        repository.application("web", job("test/one"), config_map(a="3"))
        repository.commit()
        server.wake()
        await healthy(server, ["web"], 3)
        assert runs() == 1
        repository.application("web", job("test/two"), config_map(a="3"))
        repository.commit()
        server.wake()
        await healthy(server, ["web"], 4)
        await gone()
        assert runs() == 2
    await asyncio.sleep(0.05)
