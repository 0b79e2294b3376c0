"""Trimtab manages Trimtab: the manifests of deploy/ are applied by one that runs outside, then by one that runs with their account."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.test_loop import healthy, states

from trimtab.core.model.deployment import Phase
from trimtab.engine.queries import Queries
from trimtab.targets.kubernetes import kubeconfig
from trimtab.testing.served import Repository
from trimtab.wiring.server import Running, Settings, running

ROOT = Path(__file__).parents[2]
INSTALLATION = "platform"
DEPLOYMENT = "/apis/apps/v1/namespaces/trimtab/deployments/trimtab"
POLICY = "/apis/networking.k8s.io/v1/namespaces/trimtab/networkpolicies/trimtab"
REHEARSAL = "deploy/kubernetes/itself/rehearsal.yaml"
EXAMPLE = "deploy/kubernetes/example/kustomization.yaml"
DECLARED = """\
apiVersion: trimtab.dev/v1
kind: Environment
metadata: {name: cluster}
spec:
  target: {kind: kubernetes, namespace: trimtab}
---
apiVersion: trimtab.dev/v1
kind: Application
metadata: {name: trimtab}
spec:
  source: {path: deploy/kubernetes/example}
  environments: [{name: cluster}]
"""


@pytest.fixture
def volume(cluster: Cluster) -> Iterator[None]:
    """For the claim: the cluster has nothing that makes volumes. Afterwards nothing of Trimtab is on the cluster any more."""
    spec = {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"}}
    cluster.api.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "trimtab-data"}, "spec": spec})
    yield
    roles = "/apis/rbac.authorization.k8s.io/v1"
    gone = [
        f"{roles}/{kind}/{name}" for kind in ("clusterroles", "clusterrolebindings") for name in ("trimtab", "trimtab-itself")
    ]
    for path in (*gone, "/api/v1/namespaces/trimtab", "/api/v1/persistentvolumes/trimtab-data"):
        cluster.api.request("DELETE", path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """With deploy/ as it is shipped, and one Application that is made of it."""
    made = Repository(tmp_path / "config")
    shutil.copytree(ROOT / "deploy", made.path / "deploy")
    made.write({".trimtab/trimtab.yaml": DECLARED})
    return made


def alter(repository: Repository, path: str, old: str, new: str) -> str:
    text = (repository.path / path).read_text(encoding="utf-8")
    assert old in text
    return repository.commit({path: text.replace(old, new)})


def inside(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in the Pod: the address of the API in the environment, and the files of the service account that is shipped."""
    place, account = urlsplit(cluster.server), tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text(cluster.token_for("trimtab", "trimtab", seconds=600))
    (account / "ca.crt").write_bytes(cluster.authority.read_bytes())
    (account / "namespace").write_text("trimtab")
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(place.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(place.port))
    found = kubeconfig.in_cluster
    monkeypatch.setattr(kubeconfig, "in_cluster", lambda environment: found(environment, account=account))


async def runs(server: Running, sequence: int) -> None:
    server.wake()
    await healthy(server, ["trimtab"], sequence)


async def until_told(server: Running, words: str) -> str:
    """The message of an event that has these words in it."""
    async with asyncio.timeout(30):
        while True:
            view = await Queries(server.engine).status("")
            found = [str(error) for error in view.errors if words in str(error)]
            if found:
                return found[0]
            await asyncio.sleep(0.05)


async def until_failed(server: Running, sequence: int) -> str:
    """What is said of the Deployment of that commit, which fails."""
    async with asyncio.timeout(30):
        while True:
            (deployment,) = [state.current for state in states(server).values()]
            if deployment is not None and deployment.sequence >= sequence and deployment.phase is Phase.FAILED:
                return deployment.message
            await asyncio.sleep(0.05)


def image(cluster: Cluster) -> str:
    return str(cluster.api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["image"])


async def test_trimtab_manages_trimtab(
    cluster: Cluster, volume: None, kustomize: None, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outside it installs what is shipped, rolls an image and prunes; then one with the shipped account takes all of it over and
    rolls its own Deployment, without a right beyond those that are shipped.
    """
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("HOME", str(tmp_path))
    repository.commit()
    source = str(repository.path)
    async with running(Settings(repository=source, data=tmp_path / "outside", installation=INSTALLATION)) as server:
        await runs(server, 1)
        pods = cluster.api.items("/api/v1/namespaces/trimtab/pods?labelSelector=app.kubernetes.io/name=trimtab")
        assert [pod["status"]["phase"] for pod in pods] == ["Running"]
        assert pods[0]["spec"]["containers"][0]["image"] == "registry.example.com/trimtab:0.1.0"

        alter(repository, EXAMPLE, "newTag: 0.1.0", "newTag: 0.2.0")
        await runs(server, 2)
        assert image(cluster) == "registry.example.com/trimtab:0.2.0"
        assert cluster.api.exists(POLICY)

        alter(repository, "deploy/kubernetes/base/kustomization.yaml", "  - network.yaml\n", "")
        await runs(server, 3)
        assert not cluster.api.exists(POLICY)

    uid = cluster.api.get(DEPLOYMENT)["metadata"]["uid"]
    inside(cluster, monkeypatch, tmp_path)
    async with running(Settings(repository=source, data=tmp_path / "inside", installation=INSTALLATION)) as server:
        await runs(server, 1)
        alter(repository, EXAMPLE, "newTag: 0.2.0", "newTag: 0.3.0")
        await runs(server, 2)
        # A Deployment of its own that it removes or makes anew would be another one.
        assert (image(cluster), cluster.api.get(DEPLOYMENT)["metadata"]["uid"]) == ("registry.example.com/trimtab:0.3.0", uid)

        # An image that does not come is not rolled out: the one that runs stays.
        rehearsal = (repository.path / REHEARSAL).read_text(encoding="utf-8")
        missing = "activeDeadlineSeconds: 2\n  template:\n    metadata:\n      annotations: {node.test/behaviour: imagepull}\n"
        repository.write({REHEARSAL: rehearsal.replace("activeDeadlineSeconds: 300\n  template:\n    metadata:\n", missing)})
        alter(repository, EXAMPLE, "newTag: 0.3.0", "newTag: 0.4.0")
        server.wake()
        assert "Job/trimtab/rehearsal failed" in await until_failed(server, 3)
        assert (image(cluster), cluster.api.get(DEPLOYMENT)["metadata"]["uid"]) == ("registry.example.com/trimtab:0.3.0", uid)
        repository.write({REHEARSAL: rehearsal})
        alter(repository, EXAMPLE, "newTag: 0.4.0", "newTag: 0.3.0")
        await runs(server, 4)

        # It cannot give itself a right that it has not got.
        role = 'rules:\n  - {apiGroups: ["*"], resources: ["*"], verbs: ["*"]}\n'
        alter(repository, "deploy/kubernetes/itself/rights.yaml", "rules:\n", role)
        server.wake()
        told = await until_told(server, "attempting to grant RBAC permissions not currently held")
        assert "deploy/kubernetes" in told
        assert cluster.api.get(DEPLOYMENT)["metadata"]["uid"] == uid
