"""Projects on a real cluster: each acts with the rights of its own account, and what its limits deny never reaches the server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_loop import Repository, healthy

from trimtab.core.model.config import Metadata, Project, ProjectSpec
from trimtab.core.model.mandate import Location, Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Action, Failed
from trimtab.engine.looking import denied_by
from trimtab.wiring.server import Running, Settings, running

PAGE = (Path(__file__).parents[2] / "docs/reference/kubernetes.md").read_text(encoding="utf-8")
READS = {"apiGroups": ["", "apps", "rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]}


def documented() -> list[dict[str, Any]]:
    """What the page gives a Project's account, and Trimtab to act as it."""
    found = re.search(r"^```yaml\n# Trimtab acts(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return list(yaml.safe_load_all("# Trimtab acts" + found[1]))


def as_account(cluster: Cluster, namespace: str, path: Path) -> Path:
    """A kubeconfig for the account `default` of a namespace."""
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": cluster.token_for(namespace, seconds=600)}
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.fixture
def teams(cluster: Cluster, namespace: str) -> Iterator[tuple[str, str]]:
    """Two namespaces, each with an account `deployer` as documented, and the account of ``namespace`` may look everywhere and act as both,
    and write nothing.
    """
    names = (cluster.namespace("team"), cluster.namespace("team"))
    own = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    for name in names:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", "namespace": name}}
        cluster.api.apply(account)
        for document in documented():
            document["metadata"]["namespace"] = name
            for subject in document.get("subjects", ()):
                subject |= own if subject["name"] == "trimtab" else {"namespace": name}
            cluster.api.apply(document)
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": namespace}, "rules": [READS]}
    binding = {"kind": "ClusterRoleBinding", "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": namespace}}
    cluster.api.apply(role)
    cluster.api.apply(binding | {"apiVersion": f"{group}/v1", "metadata": {"name": namespace}, "subjects": [own]})
    yield names
    for each in ("clusterroles", "clusterrolebindings"):
        cluster.api.delete(f"/apis/{group}/v1/{each}/{namespace}")
    for name in names:
        cluster.api.request("DELETE", f"/api/v1/namespaces/{name}")


def deployer(namespace: str) -> Mandate:
    return Mandate(f"system:serviceaccount:{namespace}:deployer")


def inside(namespace: str, name: str = "one", **data: str) -> Manifest:
    body = config_map(name, **data)
    body["metadata"]["namespace"] = namespace
    return manifest(body, "apps/all.yaml", 3)


async def test_two_projects_act_with_the_rights_of_their_own_accounts(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """Each makes, changes, adopts and removes in its own namespace; in the other's the server itself refuses it, with file and line."""
    first, second = teams
    async with opened(as_account(cluster, namespace, tmp_path / "kubeconfig"), namespace) as target:
        for name in teams:
            cluster.api.apply(config_map("there") | {"metadata": {"name": "there", "namespace": name}}, "kubectl")
            world = World(target.under(deployer(name)), application=name)
            made = await world.settle([inside(name, key="a"), inside(name, "there", key="b")], adopt=True)
            assert {step.action for step in made.steps} == {Action.CREATE, Action.ADOPT}
            await world.settle([inside(name, key="b"), inside(name, "there", key="b")])
        for mine, other in ((first, second), (second, first)):
            preview = await target.under(deployer(mine)).preview([inside(mine, "new"), inside(other, "new")])
            (problem,) = preview.problems
            assert (problem.file, problem.line) == ("apps/all.yaml", 3)
            assert f'User "system:serviceaccount:{mine}:deployer" cannot' in problem.message
        made = await World(target.under(deployer(first)), application=first).plan([inside(second, key="b")])
        (outcome,) = await World(target.under(deployer(first))).act(made)
        assert isinstance(outcome, Failed)
        assert not outcome.transient
        assert (await world.settle([inside(second, key="b")])).steps[0].action is Action.REMOVE
    written = cluster.api.get(f"/api/v1/namespaces/{second}/configmaps/one")
    assert written["metadata"]["labels"]["trimtab.dev/application"] == second


async def test_an_account_may_do_what_trimtab_s_own_may_not(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """Trimtab's own has no right to write here: neither to write, nor to act as anybody whom it was not given."""
    async with opened(as_account(cluster, namespace, tmp_path / "kubeconfig"), namespace) as target:
        for refused in (target, target.under(Mandate("system:admin")), target.under(deployer("default"))):
            (problem,) = (await refused.preview([inside(teams[0])])).problems
            assert "cannot" in problem.message


async def test_what_one_account_was_told_is_not_told_to_another(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """What stands in an object that a Project may not read does not show in its plans, though another has just looked at it."""
    first, second = teams
    cluster.api.apply(config_map("there", key="hidden") | {"metadata": {"name": "there", "namespace": first}}, "kubectl")
    async with opened(as_account(cluster, namespace, tmp_path / "kubeconfig"), namespace) as target:
        seen = await target.under(deployer(first)).preview([inside(first, "there", key="b")])
        assert "hidden" in str(seen.observed)
        refused = await target.under(deployer(second)).preview([inside(first, "there", key="b")])
        assert "hidden" not in str(refused)
        assert refused.problems


async def test_objects_are_judged_by_where_the_server_would_put_them(cluster: Cluster, namespace: str) -> None:
    """A namespace that is left out, one on a kind that has none, a Namespace, a kind of the cluster, kinds that a commit defines, a kind that nobody knows."""

    def one(api_version: str, kind: str, name: str = "one", **metadata: str) -> Manifest:
        return manifest({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}})

    def definition(kind: str, scope: str) -> Manifest:
        names = {"kind": kind, "plural": f"{kind.lower()}s"}
        return manifest(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{kind.lower()}s.places.test"},
                "spec": {"group": "places.test", "scope": scope, "names": names},
            }
        )

    rbac, wide = "rbac.authorization.k8s.io/v1", Location()
    home, other = Location(namespace, wide=False), Location("other", wide=False)
    cases = [
        (one("v1", "ConfigMap"), home),
        (one("v1", "ConfigMap", "two", namespace="other"), other),
        (one("v1", "Namespace", "other"), Location("other", wide=True)),
        (one(rbac, "ClusterRole"), wide),
        (one(rbac, "ClusterRole", "two", namespace=namespace), wide),
        (definition("Inner", "Namespaced"), wide),
        (definition("Outer", "Cluster"), wide),
        (one("places.test/v1", "Inner"), home),
        (one("places.test/v1", "Outer", "two", namespace=namespace), wide),
    ]
    unknown = one("places.test/v1", "Nobody")
    async with opened(cluster.kubeconfig, namespace) as target:
        found = await target.locate([*(each for each, _ in cases), unknown])
        assert found == {each.identity: location for each, location in cases}
        project = Project(Metadata("team"), ProjectSpec(namespaces=[namespace]))
        denied = await denied_by(project, [*(each for each, _ in cases), unknown], target)
    assert len(denied) == sum(location != home for _, location in cases) + 1
    assert all(f"{each.ref}" in str(denied) for each, location in cases if location != home)


async def test_a_whole_server_needs_no_right_to_write_where_projects_have_accounts(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """From a commit to healthy and to the removal of what Git drops; an Application of the other Project that reaches over is refused as a whole,
    as is one that its Project's limits deny.
    """
    first, second = teams
    repository = Repository(tmp_path / "repo", as_account(cluster, namespace, tmp_path / "kubeconfig"), first)
    for name, space, more in (("one", first, {}), ("two", second, {}), ("three", second, {"namespaces": [second]})):
        repository.declare(f"project-{name}", "Project", name, {"account": deployer(space).account, **more})
    for name, project, bodies in (
        ("good", "one", [inside(first, "good").body]),
        ("reaching", "two", [inside(second, "beside").body, inside(first, "reached").body]),
        ("denied", "three", [inside(second, "held").body, inside(first, "denied").body]),
    ):
        repository.application(name, *bodies)
        source = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}], "project": project}
        repository.declare(name, "Application", name, source)
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        await healthy(server, ["good"])
        wanted = {"reaching": "cannot patch", "denied": "project three does not allow the namespace"}
        for name, words in wanted.items():
            assert words in await refusal(server, name)
        (repository.path / ".trimtab/good.yaml").unlink()
        environment = {"kind": "kubernetes", "kubeconfig": str(tmp_path / "kubeconfig"), "namespace": first}
        removal = {"emptyRender": "allow"}
        repository.declare("environment", "Environment", "prod", {"target": environment, "removal": removal})
        repository.commit()
        server.wake()
        await asyncio.to_thread(cluster.api.until_gone, f"/api/v1/namespaces/{first}/configmaps/good")
    await asyncio.sleep(0.05)
    for path in (f"{first}/configmaps/reached", f"{second}/configmaps/beside", f"{second}/configmaps/held"):
        assert not cluster.api.exists(f"/api/v1/namespaces/{path}")


async def refusal(server: Running, application: str) -> str:
    """What an Application is refused for, as soon as it is."""
    for _ in range(1_000):
        session = server.engine.session
        found = session.world.live[Key("prod", application)].refused if session is not None else ()
        if found:
            assert found[0].file == f"apps/{application}/all.yaml"
            return found[0].message
        await asyncio.sleep(0.01)
    raise AssertionError(f"{application} was not refused")


async def test_what_is_wrapped_in_lists_is_denied_like_everything_else(
    cluster: Cluster, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However deep, by its own namespace and kind; and nothing of its Application is applied, what is allowed neither."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    repository.declare("team", "Project", "team", {"namespaces": [namespace], "kinds": ["ConfigMap", "Secret"]})

    def wrapped(*bodies: dict[str, Any]) -> dict[str, Any]:
        inner = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
        return {"apiVersion": "v1", "kind": "List", "items": [config_map(f"beside-{bodies[0]['metadata']['name']}"), inner]}

    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "wrapped"}, "rules": []}
    denied = {
        "place": (wrapped(inside("kube-system", "reached").body), "does not allow the namespace kube-system"),
        "kind": (wrapped(role), "does not allow this kind"),
    }
    for name, (body, _) in denied.items():
        repository.application(name, body)
        source = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}], "project": "team"}
        repository.declare(name, "Application", name, source)
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=tmp_path / "data")) as server:
        assert denied["place"][1] in await refusal(server, "place")
        for _ in range(500):
            if denied["kind"][1] in caplog.text:
                break
            await asyncio.sleep(0.02)
        assert f"apps/kind/all.yaml:10: kind: ClusterRole/wrapped: project team {denied['kind'][1]}" in caplog.text
    await asyncio.sleep(0.05)
    for path in (
        "kube-system/configmaps/reached",
        f"{namespace}/configmaps/beside-reached",
        f"{namespace}/configmaps/beside-wrapped",
    ):
        assert not cluster.api.exists(f"/api/v1/namespaces/{path}")
