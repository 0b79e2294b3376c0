"""Every kind that a real server serves is read by a rule of its own, and not by a convention that it may break."""

from __future__ import annotations

from collections.abc import Iterator

from tests.kubernetes.api import Api
from tests.kubernetes.cluster import Cluster

from trimtab.targets.kubernetes import health

BUILT_IN = (".k8s.io", "apps", "batch", "autoscaling", "policy", "extensions")
KINDS_MIN = 50


def versions(api: Api) -> Iterator[tuple[str, str]]:
    yield "v1", "/api/v1"
    for group in api.get("/apis")["groups"]:
        if group["name"].endswith(BUILT_IN):
            yield from ((one["groupVersion"], f"/apis/{one['groupVersion']}") for one in group["versions"])


def test_every_kind_of_the_server_s_own_has_its_health(cluster: Cluster) -> None:
    """By the server's discovery, in every version that it serves; what is only asked and never stored has none."""
    kept = [
        (version, resource["kind"])
        for version, path in versions(cluster.api)
        for resource in cluster.api.get(path)["resources"]
        if "/" not in resource["name"] and "list" in resource["verbs"]
    ]
    assert len(kept) > KINDS_MIN
    assert [kind for kind in kept if not health.known(*kind)] == []
