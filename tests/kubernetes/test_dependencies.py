"""`dependsOn` from a cluster to the host and from the host to a cluster, each in an Environment of its own, in one configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_bad_commits import until
from tests.kubernetes.test_causes import behaving
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_ownership import path_of
from tests.kubernetes.test_target import deployment

from trimtab.core.model.deployment import Phase
from trimtab.core.model.errors import NotFound, TransientError
from trimtab.engine.queries import Queries
from trimtab.wiring.down import down
from trimtab.wiring.server import Running, Settings, running

HOST = "host.trimtab.dev/v1"


class Chain(Repository):
    """proxy@machine, a file, needs shop@prod, a Deployment on the cluster, which needs database@machine, a task."""

    def __init__(self, path: Path, kubeconfig: Path, namespace: str) -> None:
        super().__init__(path, kubeconfig, namespace)
        self.declare("machine", "Environment", "machine", {})
        self.gate = path.parent / "gate"

    def put(self, version: str, *, command: str = "", web: dict[str, Any] | None = None, seconds: int = 600) -> None:
        wait = f"while ! [ -e {self.gate} ]; do sleep 0.02; done"
        self.application("database", self.host("Task", "migrate", command=["sh", "-c", f"{command or wait} # {version}"]))
        self.application("shop", config_map("settings", version=version), web or deployment("web"))
        self.application("proxy", self.host("File", "proxy", path="proxy.conf", content=f"{version}\n"))
        for name, place, needs in (("database", "machine", []), ("shop", "prod", ["database@machine"]), ("proxy", "machine", [])):
            entry = {"name": place, "dependsOn": ["shop@prod"]} if name == "proxy" else {"name": place}
            spec = {"source": {"path": f"apps/{name}"}, "environments": [entry], "dependsOn": needs}
            self.declare(name, "Application", name, {**spec, "progressDeadlineSeconds": seconds})
        self.commit()

    @staticmethod
    def host(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        return {"apiVersion": HOST, "kind": kind, "metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def host_and_cluster(repository: Chain, data: Path) -> AsyncIterator[Running]:
    """A server; nothing of the host's goes on after it."""
    try:
        async with running(Settings(repository=str(repository.path), data=data)) as server:
            yield server
        await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(down, str(data))


async def explained(server: Running, name: str, words: str) -> None:
    """Until `app explain` says that the Application waits, and for what."""
    async with asyncio.timeout(30):
        while True:
            with suppress(NotFound, TransientError):  # it has only just begun to read
                (view,) = await Queries(server.engine).explain(name)
                if any(reason.state == "pending" and words in reason.reason for reason in view.reasons):
                    return
            await asyncio.sleep(0.02)


async def test_applications_wait_for_one_another_across_targets(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Until what they need is there and well; a failure on the one target keeps what is new from the other, with the reason, and what runs stays."""
    repository = Chain(tmp_path / "repo", cluster.kubeconfig, namespace)
    repository.put("1")
    settings = path_of(cluster.api, config_map("settings"), namespace)
    written = tmp_path / "data" / "host" / "files" / "machine" / "proxy.conf"
    async with host_and_cluster(repository, tmp_path / "data") as server:

        def shown() -> tuple[str, str]:
            on_cluster = cluster.api.get(settings)["data"]["version"] if cluster.api.exists(settings) else ""
            return on_cluster, written.read_text().strip() if written.exists() else ""

        await explained(server, "shop", "waits for application database@machine")
        await explained(server, "proxy", "waits for application shop@prod")
        assert shown() == ("", "")
        repository.gate.touch()
        await healthy(server, ["database", "shop", "proxy"])
        assert shown() == ("1", "1")

        repository.put("2", command="exit 3")
        server.wake()
        await until(server, "database", Phase.FAILED, "machine")
        await explained(server, "shop", "waits for application database@machine, which is failed")
        await explained(server, "proxy", "waits for application shop@prod, where this revision is not running yet")
        assert shown() == ("1", "1")

        repository.put("3", web=behaving("web", "crashloop"), seconds=3)
        server.wake()
        await until(server, "shop", Phase.FAILED)
        await explained(server, "proxy", "waits for application shop@prod, which is failed")
        assert shown() == ("3", "1")

        repository.put("4")
        server.wake()
        await healthy(server, ["database", "shop", "proxy"], 4)
        assert shown() == ("4", "4")
