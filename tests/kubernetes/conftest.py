"""Fixtures for tests on real clusters. A test of another folder gets them by importing their names from here; the clusters are the
same ones, because the pool has them.

    cluster          the session's cluster, with everything running; leave it as it was found
    second_cluster   another one, for tests of many clusters
    own_cluster      one for this test alone, to be broken (about three seconds)
    namespace        the name of a fresh namespace of `cluster`; removed afterwards
    faults           a proxy in front of `cluster` that misbehaves on request
    kustomize        what renders kustomizations is on the PATH
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kubernetes.cluster import Cluster, pool
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.program import kustomize as made_kustomize
from tests.kubernetes.program import program


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return _shared(request, "first")


@pytest.fixture(scope="session")
def second_cluster(request: pytest.FixtureRequest) -> Cluster:
    return _shared(request, "second")


@pytest.fixture
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    _built(request)
    made = Cluster("own")
    try:
        yield made.up()
    finally:
        made.close()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = cluster.namespace()
    yield name
    cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def faults(cluster: Cluster) -> Iterator[FaultProxy]:
    with FaultProxy(cluster.server, cluster.authority, cluster.directory / "keys") as proxy:
        yield proxy


def _shared(request: pytest.FixtureRequest, name: str) -> Cluster:
    """Closed with the session, whichever modules have imported the fixture."""
    _built(request)
    request.config.add_cleanup(pool.close)
    return pool.get(name)


def _built(request: pytest.FixtureRequest) -> None:
    """Builds the program where people can see it: it can take minutes."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        program()


@pytest.fixture
def kustomize(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What renders kustomizations is on the PATH: the machine's own, or the library's."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        found = made_kustomize()
    if not found.name.startswith("kustomize-"):
        return
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kustomize").symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
