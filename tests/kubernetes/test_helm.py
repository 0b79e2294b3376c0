"""Charts on a real cluster: they learn what it can do, and are rendered again when that changes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import opened
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_ownership import crd

from trimtab.targets.kubernetes.target import KubernetesTarget
from trimtab.wiring.server import Settings, running

TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata: {{name: "{{{{ .Release.Name }}}}"}}
data:
  version: {{{{ .Capabilities.KubeVersion.Version }}}}
  served: {{{{ .Capabilities.APIVersions.Has "{group}/v1/{kind}" | quote }}}}
  deployments: {{{{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}}}
"""


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


async def test_what_a_cluster_can_do(target: KubernetesTarget) -> None:
    """Its version, every group version and every kind."""
    abilities = await target.capabilities()
    version = (await target.cluster.client.version()).git_version
    assert {f"version={version}", "api=v1", "api=v1/Pod", "api=apps/v1", "api=apps/v1/Deployment"} <= set(abilities)
    assert not any(word.startswith("api=metrics.k8s.io/") and word.count("/") == 2 for word in abilities)


async def test_a_chart_follows_what_its_cluster_can_do(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """A kind that is defined later is seen without a commit; one that is not used anywhere costs nothing."""
    plural = f"w{secrets.token_hex(3)}s"
    kind = plural.capitalize().removesuffix("s")
    group = "test.example"
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    chart = repository.path / "apps" / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (chart / "templates" / "one.yaml").write_text(TEMPLATE.format(group=group, kind=kind))
    spec = {"source": {"path": "apps/web"}, "environments": [{"name": "prod"}]}
    repository.declare("web", "Application", "web", spec)
    repository.commit()
    settings = Settings(repository=str(repository.path), data=tmp_path / "data", poll_seconds=0.5)
    async with running(settings) as server:
        await healthy(server, ["web"])
        path = f"/api/v1/namespaces/{namespace}/configmaps/web"
        data = cluster.api.get(path)["data"]
        assert data["version"].startswith("v1.")
        assert (data["served"], data["deployments"]) == ("false", "true")
        widget = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "one"}}
        repository.application("widgets", crd(plural), widget)
        repository.commit()
        await healthy(server, ["web", "widgets"])
        for _ in range(200):
            if cluster.api.get(path)["data"]["served"] == "true":
                break
            await asyncio.sleep(0.1)
        assert cluster.api.get(path)["data"]["served"] == "true"
