"""Every cause of trouble that we know, on a real server, as `trimtab app explain` tells it: the chain from the workload down to the container,
what is to blame, and what moves it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_ownership import placed
from tests.kubernetes.test_target import deployment

from trimtab.core.model.errors import NotFound
from trimtab.core.model.views import Reason
from trimtab.engine.queries import Queries
from trimtab.wiring.server import Running, Settings, running

SECONDS = 45.0


def behaving(name: str, kind: str, log: str = "", **spec: Any) -> dict[str, Any]:
    """A Deployment whose Pods behave so."""
    body = deployment(name)
    template = body["spec"]["template"]
    template["metadata"]["annotations"] = {"node.test/behaviour": kind, "node.test/log": log}
    template["spec"].update(spec)
    return body


def hungry(name: str) -> dict[str, Any]:
    return deployment(name, resources={"requests": {"cpu": "100000"}})


TROUBLES = {
    "pull": behaving("pull", "imagepull"),
    "crash": behaving("crash", "crashloop", "panic: no such table: orders"),
    "oom": behaving("oom", "oom"),
    "config": behaving("config", "configerror"),
    "init": behaving("init", "initcrash", initContainers=[{"name": "migrate", "image": "registry.test/migrate:1"}]),
    "probe": behaving("probe", "unready"),
    "place": hungry("place"),
}
TOLD = {
    "pull": "container web: image registry.test/web:1 cannot be pulled: ",
    "crash": "container web crashes again and again",
    "oom": "out of memory",
    "config": 'secret "absent" not found',
    "init": "container migrate crashes again and again",
    "probe": "does not pass its probe: Readiness probe failed: HTTP probe failed with statuscode: 503",
    "place": "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu",
}
"""What the reason says, beside the Pod."""


async def reason(server: Running, application: str, fits: Callable[[Reason], bool]) -> Reason:
    """The reason of this Application that fits, as soon as there is one."""
    found: list[Reason] = []
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(NotFound):  # it has not been read yet
                    found = [one for view in await Queries(server.engine).explain(application) for one in view.reasons]
                if chosen := [one for one in found if fits(one)]:
                    return chosen[0]
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{application}: {found}") from None


async def test_each_trouble_is_named_with_the_chain_that_leads_to_it(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """From the Deployment by its ReplicaSet to the Pod, and the container with its last log line where it has written any."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    for name, body in TROUBLES.items():
        repository.application(name, body)
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        for name, told in TOLD.items():
            found = await reason(server, name, lambda one, told=told: told in one.reason)  # type: ignore[misc]
            assert found.subject == f"Deployment/{name}"
            assert f"because of Pod/{namespace}/{name}-" in found.reason, name
            kinds = [link.partition("/")[0] for link in found.chain]
            assert kinds == ["ReplicaSet", "Pod"], found
            assert f"Pod/{name}-" in found.chain[1]
            assert "0/1 ready" in found.chain[1]
            assert found.next.startswith("it is watched")
        crash = await reason(server, "crash", lambda one: "last log line" in one.reason)
        assert crash.reason.endswith("last log line: panic: no such table: orders")
        assert "restart" in (await reason(server, "crash", lambda one: "restart" in one.chain[-1])).chain[-1]


async def test_pods_that_a_quota_forbids_are_told_with_the_quota(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """There is no Pod to blame: the chain ends at the ReplicaSet that may not make any."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": namespace}}
    cluster.api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    cluster.api.until(f"/api/v1/namespaces/{namespace}/resourcequotas/small", lambda live: live.get("status", {}).get("hard"))
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    repository.application("web", deployment())
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        found = await reason(server, "web", lambda one: "exceeded quota" in one.reason)
        assert "cannot be created" in found.reason
        assert "small" in found.reason
        assert [link.partition("/")[0] for link in found.chain] == ["ReplicaSet"]


async def test_who_owns_a_field_in_a_conflict_is_named_and_when_it_is_tried_again(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    repository.application("web", config_map("settings", colour="red"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
        theirs = placed(config_map("settings", size="big"), namespace)
        await asyncio.to_thread(cluster.api.apply, theirs, "billing-operator")
        ours = config_map("settings", colour="red", size="small")
        ours["metadata"]["annotations"] = {"trimtab.dev/conflicts": "fail"}
        repository.application("web", ours)
        repository.commit()
        server.wake()
        found = await reason(server, "web", lambda one: "other managers own fields" in one.reason)
        assert (found.subject, found.state) == ("ConfigMap/settings", "to update")
        assert "billing-operator: " in found.reason
        assert "data.size" in found.reason
        assert found.next


async def test_what_is_held_names_who_can_lift_it(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    target = {"kind": "kubernetes", "kubeconfig": str(cluster.kubeconfig), "namespace": namespace}
    repository.declare("environment", "Environment", "prod", {"target": target, "removal": {"percent": 0, "objects": 0}})
    repository.application("web", config_map("kept"), config_map("gone"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
        repository.application("web", config_map("kept"))
        repository.commit()
        server.wake()
        found = await reason(server, "web", lambda one: one.state == "held")
        assert "ConfigMap/gone" in found.subject
        assert "trimtab app approve" in found.next
