"""The pages about Kubernetes that have commands are typed in as they stand, against a real API server."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.console import ROOT, Page, opened
from tests.kubernetes.cluster import Cluster

NAMESPACES = ("greeter-staging", "greeter-production", "shop", "hooked-shop")


@pytest.fixture
def clean(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cluster but the one of the test is found, and nothing of the page stays there."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in NAMESPACES:
        cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


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


def test_the_how_to_does_what_it_says(cluster: Cluster, clean: None) -> None:
    with on_a_cluster(ROOT / "docs/howto/kubernetes.md", cluster, kubectl=None) as page:
        page.type_in()
