"""A definition that changes together with its objects, through a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_bad_input import crd
from tests.kubernetes.test_loop import Repository, healthy

from trimtab.engine.queries import Queries
from trimtab.wiring.server import Running, Settings, running

SECONDS = 30.0


@pytest.fixture
def place(cluster: Cluster) -> Iterator[str]:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/growings.test.example"
    yield path
    cluster.api.request("DELETE", path)


def definition(*names: str) -> dict[str, Any]:
    fields = {name: {"type": "string"} for name in names}
    return crd("growings", {"spec": {"type": "object", "properties": fields}})


def thing(**spec: str) -> dict[str, Any]:
    return {"apiVersion": "test.example/v1", "kind": "Growing", "metadata": {"name": "one"}, "spec": spec}


async def errors(server: Running, words: str) -> str:
    async with asyncio.timeout(SECONDS):
        while True:
            view = await Queries(server.engine).status("")
            if found := [str(error) for error in view.errors if words in str(error)]:
                return found[0]
            await asyncio.sleep(0.05)


async def test_a_field_and_its_first_use_work_in_one_commit(cluster: Cluster, namespace: str, place: str, tmp_path: Path) -> None:
    """The definition goes first, and the object is asked about when the server goes by it; a field that nobody defines is still refused."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    stored = f"/apis/test.example/v1/namespaces/{namespace}/growings/one"
    repository.application("web", definition("a"), thing(a="1"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
        repository.application("web", definition("a", "b"), thing(a="2", b="2"))
        repository.commit()
        server.wake()
        await healthy(server, ["web"], 2)
        assert cluster.api.get(stored)["spec"] == {"a": "2", "b": "2"}
        repository.application("web", definition("a", "b", "c"), thing(a="3", e="3"))
        repository.commit()
        server.wake()
        assert "field not declared in schema" in await errors(server, "spec.e")
        assert cluster.api.get(stored)["spec"]["a"] == "2"


async def test_what_another_application_brings_in_the_same_commit_is_waited_for(
    cluster: Cluster, namespace: str, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Namespace and a definition by one, what is in and of them by others that name no order: at the first try, and nobody is told of a failure."""
    home = f"{namespace}-brought"
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    inside = config_map("inside")
    inside["metadata"]["namespace"] = home
    repository.application("a-content", inside)
    repository.application("b-objects", thing(a="1"))
    repository.application("foundation", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}}, definition("a"))
    repository.commit()
    try:
        async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
            await healthy(server, ["a-content", "b-objects", "foundation"])
        assert "deployment.failed" not in caplog.text
    finally:
        cluster.api.request("DELETE", f"/api/v1/namespaces/{home}")
