"""The ClusterRole of docs/reference/kubernetes.md is enough for what it says, tried by a service account that has nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, installation_name, manifest, opened
from tests.kubernetes.test_target import deployment

from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import Action
from trimtab.ports.target import LogWish

PAGE = (Path(__file__).parents[2] / "docs/reference/kubernetes.md").read_text(encoding="utf-8")
ROLES = "/apis/rbac.authorization.k8s.io/v1"


def documents() -> list[dict[str, Any]]:
    """The role and its binding, as they stand on the page."""
    found = re.search(r"^```yaml\n(apiVersion: rbac.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return list(yaml.safe_load_all(found[1]))


@pytest.fixture
def kubeconfig(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Of an account in ``namespace`` to which the page's documents were applied, under names of their own."""
    role, binding = documents()
    role["metadata"]["name"] = binding["metadata"]["name"] = binding["roleRef"]["name"] = namespace
    binding["subjects"][0] |= {"name": "default", "namespace": namespace}
    cluster.api.apply(role)
    cluster.api.apply(binding)
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": cluster.token_for(namespace, seconds=600)}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    yield path
    for each in ("clusterroles", "clusterrolebindings"):
        cluster.api.delete(f"{ROLES}/{each}/{namespace}")


async def test_the_documented_rights_are_enough(cluster: Cluster, namespace: str, kubeconfig: Path) -> None:
    """To create, update, adopt, look, show logs and remove, with a namespace of one's own among it."""
    home = f"{namespace}-own"
    settings = manifest(config_map("settings", key="a"))
    own = manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    talking = deployment("web")
    talking["spec"]["template"]["metadata"]["annotations"] = {"node.test/log": "hello\n"}
    web = manifest(talking)
    cluster.api.apply(config_map("there", key="b") | {"metadata": {"name": "there", "namespace": namespace}}, "kubectl")
    there = manifest(config_map("there", other="c"))
    async with opened(kubeconfig, namespace) as target:
        world = World(target)
        made = await world.settle([own, settings, web])
        assert {step.action for step in made.steps} == {Action.CREATE}
        made = await world.settle([own, manifest(config_map("settings", key="z")), web, there], adopt=True)
        assert {step.action for step in made.steps} == {Action.UPDATE, Action.ADOPT}
        pods = cluster.api.until(
            f"/api/v1/namespaces/{namespace}/pods",
            lambda found: found["items"] and found["items"][0]["status"]["phase"] == "Running",
        )
        logged = [(line.source, line.text) async for line in target.logs(web.ref, LogWish(5, follow=False))]
        assert logged == [(pods["items"][0]["metadata"]["name"], "hello")]
        made = await world.settle([own])
        assert {step.action for step in made.steps} == {Action.REMOVE}
        assert len(made.steps) == 3
        # Not as a Step, which would wait until the namespace is empty.
        spaces = await target.cluster.client.discovery.resource("v1", "Namespace")
        uid = cluster.api.get(f"/api/v1/namespaces/{home}")["metadata"]["uid"]
        await target.cluster.client.delete(spaces, "", home, uid=uid, propagation="Background")
    assert not cluster.api.exists(f"/api/v1/namespaces/{namespace}/configmaps/there")


async def test_everything_of_ours_is_found_with_the_documented_rights(cluster: Cluster, namespace: str, kubeconfig: Path) -> None:
    """What may not be listed is passed over: ownership is read back, though the account sees few of the server's kinds."""
    installation = installation_name()
    async with opened(kubeconfig, namespace, installation) as target:
        await World(target).settle([manifest(config_map("settings", key="a"))])
    async with opened(kubeconfig, namespace, installation) as target:
        found = await target.cluster.everything()
        assert [known.ref for known in found] == [ObjectRef("v1", "ConfigMap", "", "settings")]


async def test_a_kind_that_the_role_does_not_name_is_refused_before_anything_is_applied(
    cluster: Cluster, namespace: str, kubeconfig: Path
) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "more"}, "rules": []}
    async with opened(kubeconfig, namespace) as target:
        preview = await target.preview([manifest(role, "apps/role.yaml", 7), manifest(config_map())])
    assert [(problem.file, problem.line) for problem in preview.problems] == [("apps/role.yaml", 7)]
    assert "forbidden" in preview.problems[0].message
