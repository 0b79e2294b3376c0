"""A whole server while its cluster goes down under it: what was begun is finished, and nothing that Git wants is ever removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_loop import Repository, healthy

from trimtab.wiring.server import Running, Settings, running

COUNT = 40


def maps(value: str, *, start: int = 0) -> list[dict[str, Any]]:
    """In four waves, so that there is a middle."""
    made = [config_map(f"n{number:02}", a=value) for number in range(start, start + COUNT)]
    for number, body in enumerate(made):
        body["metadata"]["annotations"] = {"trimtab.dev/wave": str(number % 4)}
    return made


def there(cluster: Cluster, namespace: str) -> dict[str, tuple[str, str]]:
    """By a raw list: value and uid of each."""
    found = cluster.api.items(f"/api/v1/namespaces/{namespace}/configmaps")
    return {
        one["metadata"]["name"]: (one["data"]["a"], one["metadata"]["uid"]) for one in found if "a" in (one.get("data") or {})
    }


async def begun(server: Running, cluster: Cluster, namespace: str, value: str) -> None:
    """Until some, and not all, have the value."""
    server.wake()
    for _ in range(2_000):
        done = [one for one, _ in (await asyncio.to_thread(there, cluster, namespace)).values() if one == value]
        if done:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nothing was begun")


@contextlib.asynccontextmanager
async def without(cluster: Cluster, part: str) -> Any:
    await asyncio.to_thread(cluster.kill, part)
    yield
    await asyncio.to_thread(cluster.start, part)


async def test_what_was_begun_is_finished_when_the_cluster_is_back(
    own_cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server is killed in the middle of an installation, etcd in the middle of an update that also removes; by an independent list
    the cluster equals Git afterwards, and what stays is the very same object.
    """
    caplog.set_level(logging.INFO)
    namespace = await asyncio.to_thread(own_cluster.namespace)
    repository = Repository(tmp_path / "repo", own_cluster.kubeconfig, namespace)
    repository.application("web", *maps("1"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await begun(server, own_cluster, namespace, "1")
        async with without(own_cluster, "apiserver"):
            await asyncio.sleep(0.3)
        await healthy(server, ["web"])
        before = there(own_cluster, namespace)
        assert {name: value for name, (value, _) in before.items()} == {f"n{number:02}": "1" for number in range(COUNT)}
        repository.application("web", *maps("2", start=1))
        repository.commit()
        await begun(server, own_cluster, namespace, "2")
        async with without(own_cluster, "etcd"):
            await asyncio.sleep(0.3)
        await healthy(server, ["web"], 2)
        after = there(own_cluster, namespace)
    await asyncio.sleep(0.05)
    assert {name: value for name, (value, _) in after.items()} == {f"n{number:02}": "2" for number in range(1, COUNT + 1)}
    assert all(after[name][1] == uid for name, (_, uid) in before.items() if name in after)
    assert set(re.findall(r"remove ConfigMap/(\w+)", caplog.text)) == {"n00"}
