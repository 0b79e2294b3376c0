"""One commit with everything that people get wrong, on a real cluster: each mistake is told with its place, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_loop import Repository, healthy, states

from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.wiring.server import Running, Settings, running

ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "r", "namespace": "default"},
    "rules": [],
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "generated": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}, "generateName"),
    "unknown-kind": ({"apiVersion": "v1", "kind": "ConfigMapp", "metadata": {"name": "x"}}, "does not serve ConfigMapp"),
    "wrong-version": ({"apiVersion": "apps/v1beta7", "kind": "Deployment", "metadata": {"name": "x"}}, "apps/v1"),
    "wide": (ROLE, "objects of this kind have no namespace"),
    "nowhere": (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "no-such-place"}},
        "there is no namespace no-such-place",
    ),
    "typo": ({**config_map("x"), "colour": "red"}, "colour"),
    "nameless": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "name"),
}


@pytest.fixture
def repository(cluster: Cluster, namespace: str, tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo", cluster.kubeconfig, namespace)


def maps(cluster: Cluster, namespace: str) -> dict[str, Any]:
    found = cluster.api.items(f"/api/v1/namespaces/{namespace}/configmaps")
    return {one["metadata"]["name"]: one for one in found if one["metadata"]["name"] != "kube-root-ca.crt"}


async def told(caplog: pytest.LogCaptureFixture, *words: str) -> str:
    """The line of the log that has all of them."""
    for _ in range(1_500):
        lines = [line for line in caplog.text.splitlines() if all(word in line for word in words)]
        if lines:
            return lines[0]
        await asyncio.sleep(0.02)
    raise AssertionError((words, caplog.text))


async def test_each_mistake_is_told_with_its_file_and_stops_only_its_own_application(
    cluster: Cluster, namespace: str, repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The good object beside each bad one is not applied either; the good Application is."""
    for name, (body, _) in BAD.items():
        repository.application(name, config_map(f"beside-{name}"), body)
    repository.application("good", config_map("good"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["good"])
        for name, (_, words) in BAD.items():
            await told(caplog, f"apps/{name}/all.yaml:", words)
    assert maps(cluster, namespace).keys() == {"good"}


async def test_lists_in_lists_and_what_only_a_server_writes_are_no_mistakes(
    cluster: Cluster, namespace: str, repository: Repository, tmp_path: Path
) -> None:
    """As `kubectl get -o yaml` prints them: taken apart, and applied without status, managedFields and uid."""
    printed = config_map("printed", a="1") | {"status": {"phase": "Done"}}
    printed["metadata"] |= {"managedFields": [{"manager": "x"}], "uid": "not-mine", "resourceVersion": "7", "generation": 3}
    inner = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [printed]}
    typed = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [config_map("typed", a="2")]}
    repository.application("web", {"apiVersion": "v1", "kind": "List", "items": [inner, typed]})
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
    found = maps(cluster, namespace)
    assert found.keys() == {"printed", "typed"}
    assert found["printed"]["metadata"]["uid"] != "not-mine"


async def test_an_object_that_is_declared_twice_is_told_with_both_places_or_both_owners(
    cluster: Cluster, namespace: str, repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In two files of one Application nothing of it is applied; by two Applications the second is held, and the first keeps the object."""
    repository.application("twice", config_map("same", a="1"))
    (repository.path / "apps/twice/more.yaml").write_text(yaml.safe_dump(config_map("same", a="2")))
    repository.application("first", config_map("shared", by="first"))
    repository.application("second", config_map("shared", by="second"), config_map("own"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        line = await told(caplog, "twice@prod", "apps/twice/more.yaml")
        assert "apps/twice/all.yaml" in line
        await healthy(server, ["first"])
        held = await until(server, "second", Phase.HELD)
        assert "application first declares it too" in held.message
    found = maps(cluster, namespace)
    assert found.keys() == {"shared", "own"}
    assert found["shared"]["data"] == {"by": "first"}


async def test_an_application_that_renders_to_nothing_is_held_and_loses_nothing(
    cluster: Cluster, namespace: str, repository: Repository, tmp_path: Path
) -> None:
    """Be its file emptied, or all of it made a comment; approved or put back, it goes on."""
    repository.application("web", config_map("one"), config_map("two"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["web"])
        (repository.path / "apps/web/all.yaml").write_text("# nothing\n---\n")
        repository.commit()
        server.wake()
        held = await until(server, "web", Phase.HELD)
        assert "nothing would be left" in held.message
        before = maps(cluster, namespace)
        assert before.keys() == {"one", "two"}
        repository.application("web", config_map("one"), config_map("two"))
        repository.commit()
        server.wake()
        await healthy(server, ["web"], 3)
    assert {name: one["metadata"]["uid"] for name, one in maps(cluster, namespace).items()} == {
        name: one["metadata"]["uid"] for name, one in before.items()
    }


async def until(server: Running, application: str, phase: Phase, environment: str = "prod") -> Any:
    for _ in range(1_500):
        state = states(server).get(Key(environment, application))
        if state is not None and state.current is not None and state.current.phase is phase:
            return state.current
        await asyncio.sleep(0.02)
    raise AssertionError(states(server))
