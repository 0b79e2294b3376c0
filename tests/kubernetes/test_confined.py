"""An account that is bound to two namespaces by the Role of docs/reference/kubernetes.md, and by nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.api import Api
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, installation_name, manifest, opened
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_projects import as_account
from tests.kubernetes.test_target import deployment

from trimtab.core.model.errors import Refused
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key, ObjectRef
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Failed, Step
from trimtab.ports.target import LogWish
from trimtab.wiring.server import Settings, running

PAGE = (Path(__file__).parents[2] / "docs/reference/kubernetes.md").read_text(encoding="utf-8")
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Bound:
    """Two namespaces, and who may work in both of them."""

    kubeconfig: Path
    home: str
    other: str
    token: str

    @property
    def namespaces(self) -> list[str]:
        return [self.home, self.other]


@pytest.fixture
def bound(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Bound]:
    found = re.search(r"^```yaml\n(# In each of the namespaces.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    other = cluster.namespace()
    for name in (namespace, other):
        for document in yaml.safe_load_all(found[1]):
            document["metadata"]["namespace"] = name
            for subject in document.get("subjects", ()):
                subject |= {"name": "default", "namespace": namespace}
            cluster.api.apply(document)
    kubeconfig = as_account(cluster, namespace, tmp_path / "kubeconfig")
    token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    yield Bound(kubeconfig, namespace, other, token)
    cluster.api.request("DELETE", f"/api/v1/namespaces/{other}")


def inside(namespace: str, body: dict[str, Any], file: str = "apps/all.yaml", line: int = 1) -> Manifest:
    body["metadata"]["namespace"] = namespace
    return manifest(body, file, line)


def may(api: Api, verb: str, resource: str, namespace: str = "", group: str = "") -> bool:
    """`kubectl auth can-i`."""
    asked = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
    return bool(api.good("POST", REVIEWS, body)["status"]["allowed"])


def test_the_documented_role_gives_nothing_beyond_its_namespaces(cluster: Cluster, bound: Bound) -> None:
    """Nothing for the whole cluster or elsewhere, and no way to give itself more."""
    api = Api(cluster.server, bound.token, ssl.create_default_context(cafile=str(cluster.authority)))
    assert may(api, "patch", "configmaps", bound.home)
    assert may(api, "list", "secrets", bound.other)
    for verb in ("get", "list", "watch", "create", "patch", "delete"):
        for resource in ("configmaps", "secrets", "namespaces"):
            assert not may(api, verb, resource)
            assert not may(api, verb, resource, "kube-system")
    for verb in ("create", "patch", "bind", "escalate"):
        assert not may(api, verb, "roles", bound.home, "rbac.authorization.k8s.io")
        assert not may(api, verb, "rolebindings", bound.home, "rbac.authorization.k8s.io")
    assert not may(api, "impersonate", "serviceaccounts", bound.home)
    assert not may(api, "create", "pods/exec", bound.home)


async def test_it_is_enough_for_all_that_trimtab_does(cluster: Cluster, bound: Bound) -> None:
    """Create, heal, adopt, look, show logs, read ownership back, and remove, in both namespaces."""
    talking = deployment("web")
    talking["spec"]["template"]["metadata"]["annotations"] = {"node.test/log": "hello\n"}
    web, settings = manifest(talking), inside(bound.other, config_map("settings", key="a"))
    cluster.api.apply(config_map("there") | {"metadata": {"name": "there", "namespace": bound.other}}, "kubectl")
    there, installation = inside(bound.other, config_map("there", key="a")), installation_name()
    async with opened(bound.kubeconfig, "", installation, namespaces=bound.namespaces) as target:
        world = World(target)
        made = await world.settle([web, settings, there], adopt=True)
        assert [step.action for step in made.steps].count(Action.CREATE) == 2
        cluster.api.merge(f"/api/v1/namespaces/{bound.other}/configmaps/settings", {"data": {"key": "b"}})
        await world.seen(settings.ref, lambda known: b"f:key" not in known.managed)
        assert [step.action for step in (await world.settle([web, settings, there])).steps] == [Action.UPDATE]
        await asyncio.to_thread(
            cluster.api.until,
            f"/api/v1/namespaces/{bound.home}/pods",
            lambda found: found["items"] and found["items"][0]["status"]["phase"] == "Running",
        )
        assert [line.text async for line in target.logs(web.ref, LogWish(5, follow=False))] == ["hello"]
    async with opened(bound.kubeconfig, "", installation, namespaces=bound.namespaces) as target:
        owned = {known.ref for known in await target.cluster.everything()}
        assert owned == {web.ref, settings.ref, there.ref}
        again = World(target)
        again.inventory = world.inventory
        made = await again.settle([web])
        assert [step.action for step in made.steps] == [Action.REMOVE] * 2
    assert cluster.api.get(f"/apis/apps/v1/namespaces/{bound.home}/deployments/web")


async def test_what_is_elsewhere_is_refused_with_file_and_line_and_nothing_is_asked_of_the_server(bound: Bound) -> None:
    """Another namespace, and the kinds that are in none, whatever rights there are."""
    elsewhere = inside("kube-system", config_map(), "apps/a.yaml", 7)
    space = manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bound.home}}, "apps/b.yaml", 3)
    async with opened(bound.kubeconfig, "", namespaces=bound.namespaces) as target:
        await target.preview([inside(bound.home, config_map())])
        sent = target.cluster.client.transport.counts.requests
        preview = await target.preview([elsewhere, space])
        assert [(one.file, one.line, one.field) for one in preview.problems] == [
            ("apps/a.yaml", 7, "metadata.namespace"),
            ("apps/b.yaml", 3, "kind"),
        ]
        assert f"confined to namespaces ({bound.home}, {bound.other})" in preview.problems[0].message
        for step in (
            Step(Action.CREATE, elsewhere.ref, "shop", "host", manifest=elsewhere),
            Step(Action.REMOVE, elsewhere.ref, "shop", "host", uid="some"),
        ):
            outcome = await (target.remove(step) if step.action is Action.REMOVE else target.apply(step, "r1"))
            assert isinstance(outcome, Failed)
            assert not outcome.transient
        assert target.cluster.client.transport.counts.requests == sent


async def test_what_cannot_be_seen_is_not_held_to_be_gone(bound: Bound) -> None:
    """An object that was applied before the confinement."""
    async with opened(bound.kubeconfig, "", namespaces=bound.namespaces) as target:
        with pytest.raises(Refused, match="it would be in kube-system"):
            await target.observe(Scope("host", (ObjectRef("v1", "ConfigMap", "kube-system", "old"),)))


async def test_without_the_setting_the_error_names_it(bound: Bound) -> None:
    """A bound account may not list for the whole cluster."""
    async with opened(bound.kubeconfig, bound.home) as target:
        (problem,) = (await target.preview([manifest(config_map())])).problems
        assert "at the cluster scope" in problem.message
        assert "name the namespaces that it is for in spec.target.namespaces" in problem.remedy


async def test_a_commit_that_leaves_the_namespaces_is_refused_as_a_whole(cluster: Cluster, bound: Bound, tmp_path: Path) -> None:
    """Through a whole server: the problem has file and line, and what is allowed beside it is not applied either."""
    repository = Repository(tmp_path / "repo", bound.kubeconfig, "")
    target = {"kind": "kubernetes", "kubeconfig": str(bound.kubeconfig), "namespaces": bound.namespaces}
    repository.declare("environment", "Environment", "prod", {"target": target})
    repository.application("web", config_map("one"), inside("kube-system", config_map("two")).body)
    repository.application("fine", config_map("fine"))
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["fine"])
        for _ in range(500):
            session = server.engine.session
            refused = session.world.live[Key("prod", "web")].refused if session is not None else ()
            if refused:
                break
            await asyncio.sleep(0.01)
        (problem,) = refused
        assert (problem.file, problem.field) == ("apps/web/all.yaml", "metadata.namespace")
        assert problem.line > 1
    await asyncio.sleep(0.05)
    assert not cluster.api.exists(f"/api/v1/namespaces/{bound.home}/configmaps/one")
