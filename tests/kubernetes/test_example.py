"""The pages about Kubernetes that have commands are typed in as they stand, against a real API server."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.e2e.console import ROOT, Page, opened
from tests.kubernetes.cluster import Cluster

OVERLAID = ("overlaid-staging", "overlaid-production")
NAMESPACES = ("greeter-staging", "greeter-production", "shop", "hooked-shop", "greeter", "clock", *OVERLAID, "own-kinds")


@pytest.fixture
def clean(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cluster but the one of the test is found, and nothing of the page stays there."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in NAMESPACES:
        cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def clean_too(second_cluster: Cluster) -> Iterator[None]:
    """The same for the other cluster."""
    yield
    for name in NAMESPACES:
        second_cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


@contextmanager
def on_a_cluster(path: Path, cluster: Cluster, *, kubectl: str | None) -> Iterator[Page]:
    """A page in a home whose kubeconfig leads to ``cluster``; without a ``kubectl`` in a home with one of ours."""
    with opened(path) as page:
        (page.home / ".kube").mkdir()
        shutil.copy(cluster.kubeconfig, page.home / ".kube" / "config")
        if kubectl is None:
            script = page.home / ".local" / "bin" / "kubectl"
            script.write_text(
                f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m tests.kubernetes.kubectl "$@"\n'
            )
            script.chmod(0o755)
        yield page


def test_the_example_does_what_its_page_says(cluster: Cluster, clean: None) -> None:
    """With the machine's own kubectl, where there is one."""
    with on_a_cluster(ROOT / "examples/06-kubernetes/README.md", cluster, kubectl=shutil.which("kubectl")) as page:
        page.type_in()


def test_the_example_of_hooks_does_what_its_page_says(cluster: Cluster, clean: None) -> None:
    with on_a_cluster(ROOT / "examples/08-hooks-and-waves/README.md", cluster, kubectl=None) as page:
        page.type_in()


def test_the_example_of_two_clusters_does_what_its_page_says(
    cluster: Cluster, second_cluster: Cluster, clean: None, clean_too: None
) -> None:
    """Two contexts of one kubeconfig."""
    with on_a_cluster(ROOT / "examples/09-two-clusters/README.md", cluster, kubectl=None) as page:
        both = {
            "east": yaml.safe_load(cluster.kubeconfig.read_text()),
            "west": yaml.safe_load(second_cluster.kubeconfig.read_text()),
        }
        joined = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
        for name, one in both.items():
            joined["clusters"].append({**one["clusters"][0], "name": name})  # type: ignore[attr-defined]
            joined["users"].append({**one["users"][0], "name": name})  # type: ignore[attr-defined]
            joined["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})  # type: ignore[attr-defined]
        (page.home / ".kube" / "config").write_text(yaml.safe_dump(joined))
        page.type_in()


def test_the_example_of_overlays_does_what_its_page_says(cluster: Cluster, clean: None, kustomize: None) -> None:
    with on_a_cluster(ROOT / "examples/10-overlays/README.md", cluster, kubectl=shutil.which("kubectl")) as page:
        page.type_in()


def test_the_example_of_a_kind_of_ones_own_does_what_its_page_says(cluster: Cluster, clean: None) -> None:
    with on_a_cluster(ROOT / "examples/11-own-kinds/README.md", cluster, kubectl=None) as page:
        page.type_in()
    cluster.api.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/greetings.example.com")


def test_the_how_to_does_what_it_says(cluster: Cluster, clean: None) -> None:
    with on_a_cluster(ROOT / "docs/howto/kubernetes.md", cluster, kubectl=None) as page:
        page.type_in()
