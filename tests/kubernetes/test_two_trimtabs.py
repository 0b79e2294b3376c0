"""Two installations of Trimtab on one cluster, both whole: they never fight over an object, and each loses nothing to the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_bad_commits import until
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_ownership import path_of

from trimtab.core.model.deployment import Phase
from trimtab.wiring.server import Settings, running


async def test_the_second_is_held_and_says_whose_it_is_and_takes_over_when_the_first_lets_go(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Although it declares adoption: what another installation owns is written once, by that one, and never twice."""
    first, second = (Repository(tmp_path / name, cluster.kubeconfig, namespace) for name in ("first", "second"))
    shared = path_of(cluster.api, config_map("shared"), namespace)
    first.application("web", config_map("shared", by="first"), config_map("stays"))
    claimed = config_map("shared", by="second")
    claimed["metadata"]["annotations"] = {"trimtab.dev/adopt": "true"}
    second.application("web", claimed, config_map("own"))
    first.commit()
    second.commit()
    async with (
        running(Settings(repository=str(first.path), data=tmp_path / "data-1")) as one,
        running(Settings(repository=str(second.path), data=tmp_path / "data-2")) as two,
    ):
        await healthy(one, ["web"])
        held = await until(two, "web", Phase.HELD)
        assert "it belongs to another Trimtab" in held.message
        before = cluster.api.get(shared)
        two.wake()
        await asyncio.sleep(2.0)
        after = cluster.api.get(shared)
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert after["data"] == {"by": "first"}
        first.application("web", config_map("stays"))
        first.commit()
        one.wake()
        await healthy(one, ["web"], 2)
        second.application("web", claimed, config_map("own", again="yes"))
        second.commit()
        two.wake()
        await healthy(two, ["web"], 2)
    assert cluster.api.get(shared)["data"] == {"by": "second"}
    assert cluster.api.exists(path_of(cluster.api, config_map("stays"), namespace))
