"""A kubeconfig file that somebody rewrites while we run: followed without a restart, and never to a cluster that nobody meant."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_lent import config_of

from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.targets.kubernetes import lent
from trimtab.targets.kubernetes.cluster import connect
from trimtab.targets.kubernetes.errors import Unauthorized
from trimtab.targets.kubernetes.settings import KubernetesSettings


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent, "READ_SECONDS", 0.0)
    monkeypatch.setattr(lent, "READ_SECONDS_MIN", 0.0)


def together(first: Cluster, second: Cluster, current: str) -> str:
    """Two contexts, `one` and `two`, in one file."""
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "current-context": current}
    for section, word in (("clusters", "cluster"), ("users", "user")):
        found = [json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))[section][0][word] for cluster in (first, second)]
        made[section] = [{"name": name, word: one} for name, one in zip(("one", "two"), found, strict=True)]
    made["contexts"] = [{"name": name, "context": {"cluster": name, "user": name}} for name in ("one", "two")]
    return json.dumps(made)


async def test_a_token_in_it_that_is_refused_is_looked_up_at_once(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request that met the refusal is carried out, without a restart and without a minute's wait."""
    monkeypatch.setattr(lent, "READ_SECONDS_MIN", 0.0)
    path = tmp_path / "kubeconfig"
    path.write_text(config_of(cluster, "no-such-token"))
    async with opened(path, namespace) as target:
        with pytest.raises(Unauthorized):
            await target.cluster.client.version()
        path.write_text(config_of(cluster))
        await World(target).settle([manifest(config_map())])


async def test_another_server_of_the_same_context_is_followed(
    cluster: Cluster, second_cluster: Cluster, namespace: str, tmp_path: Path, at_once: None
) -> None:
    """The cluster has moved: the next request goes there."""
    path = tmp_path / "kubeconfig"
    path.write_text(config_of(second_cluster))
    async with opened(path, namespace) as target:
        await target.cluster.client.version()
        assert target.cluster.client.transport.server == second_cluster.server
        path.write_text(config_of(cluster))
        await target.cluster.client.version()
        assert target.cluster.client.transport.server == cluster.server


async def test_who_turns_to_another_context_on_this_machine_turns_us_nowhere(
    cluster: Cluster, second_cluster: Cluster, namespace: str, tmp_path: Path, at_once: None
) -> None:
    """`kubectl config use-context` changes one word of the file, and must not send what is for one cluster to another."""
    path = tmp_path / "kubeconfig"
    path.write_text(together(cluster, second_cluster, "one"))
    async with opened(path, namespace) as target:
        await target.cluster.client.version()
        path.write_text(together(cluster, second_cluster, "two"))
        await target.cluster.client.version()
        assert target.cluster.client.transport.server == cluster.server


@pytest.mark.parametrize("content", [None, "", "kind: [", '{"kind": "Config", "contexts": []}'])
async def test_while_it_is_half_written_what_it_said_before_holds(
    cluster: Cluster,
    tmp_path: Path,
    at_once: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    """Away, empty or cut off, also in a Pod, where there would be another cluster to go to; the log says so."""
    path = tmp_path / "kubeconfig"
    path.write_text(config_of(cluster))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    caplog.set_level(logging.WARNING)
    client = connect(KubernetesSettings(), SystemClock(), SystemChance())
    try:
        await client.version()
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        await client.version()
        assert client.transport.server == cluster.server
    finally:
        await client.close()
        await asyncio.sleep(0.05)
    assert "what it said before holds" in caplog.text
