"""`trimtab plan PATH --environment E` against a live cluster: what a directory would change there, however its objects come about."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_bad_commits import until
from tests.kubernetes.test_hooks import job
from tests.kubernetes.test_loop import Repository, healthy
from tests.kubernetes.test_target import deployment

from trimtab.core.model.deployment import Phase
from trimtab.core.model.views import PlanView
from trimtab.wiring.offline import offline_plan
from trimtab.wiring.server import Settings, running

CHART = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: from-helm}
data:
  value: "{{ .Values.value }}"
  version: "{{ .Capabilities.KubeVersion.Version }}"
---
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: "pre-install,pre-upgrade"}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "registry.test/migrate:{{ .Values.value }}"}]}
"""
JSONNET = """\
{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'from-jsonnet'}, data: {value: '%s'}}
"""


def written(repository: Repository, value: str, *, fixed: str = "1", unknown: bool = False) -> None:
    """A chart with a hook, a Jsonnet file, and plain manifests with what can only be made once; a Generator makes Applications of them."""
    apps = repository.path / "apps"
    for name in ("chart/templates", "program", "plain"):
        (apps / name).mkdir(parents=True, exist_ok=True)
    (apps / "chart/Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (apps / "chart/values.yaml").write_text(f'value: "{value}"\n')
    (apps / "chart/templates/all.yaml").write_text(CHART)
    (apps / "program/main.jsonnet").write_text(JSONNET % value)
    fixed_one: dict[str, Any] = {**config_map("fixed", a=fixed), "immutable": True}
    wrong = [{**config_map("wrong"), "colour": "red"}] if unknown else []
    (apps / "plain/all.yaml").write_text(yaml.safe_dump_all([config_map("plain", a=value), fixed_one, *wrong]))
    source: dict[str, Any] = {"source": {"path": "${path}"}, "environments": [{"name": "prod"}]}
    template = {"metadata": {"name": "${path.basename}"}, "spec": source}
    spec = {"generate": [{"directories": {"include": ["apps/*"]}}], "template": template}
    repository.declare("all", "Generator", "all", spec)


BASE = """\
resources: [web.yaml]
configMapGenerator:
  - {name: page, files: [index.html]}
"""
OVERLAY = """\
resources: [../base]
namePrefix: %s-
replicas:
  - {name: web, count: %d}
"""


def overlaid(repository: Repository, namespace: str, *, text: str = "hello", staging: int = 0, production: int = 0) -> None:
    """A base and an overlay for each of two Environments, in one namespace, so by their prefixes."""
    place = repository.path / "web"
    for name, count in (("base", 0), ("staging", staging), ("production", production)):
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / "kustomization.yaml").write_text(OVERLAY % (name, count) if name != "base" else BASE)
    (place / "base" / "index.html").write_text(text)
    env = [{"name": "PAGE", "valueFrom": {"configMapKeyRef": {"name": "page", "key": "index.html"}}}]
    (place / "base" / "web.yaml").write_text(yaml.safe_dump(deployment("web", replicas=0, env=env)))
    environment = yaml.safe_load((repository.path / ".trimtab/environment.yaml").read_text())["spec"]
    for name in ("staging", "production"):
        repository.declare(name, "Environment", name, environment)
    entries = [{"name": name, "path": f"web/{name}"} for name in ("staging", "production")]
    repository.declare("web", "Application", "web", {"source": {"path": "web/base"}, "environments": entries})


async def planned(repository: Repository, data: Path, environment: str = "prod") -> PlanView:
    return await asyncio.to_thread(offline_plan, str(repository.path), environment, str(data))


def steps(view: PlanView) -> list[tuple[str, str, str]]:
    return sorted((step.application, str(step.action), step.object.name) for step in view.steps)


async def test_before_anything_is_there_all_of_it_would_be_made(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """By every renderer, for each Application that a Generator makes; hooks run first, and nothing is written by it."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    written(repository, "1")
    view = await planned(repository, tmp_path / "none")
    assert view.errors == []
    assert steps(view) == [
        ("chart", "create", "from-helm"),
        ("chart", "run", "migrate"),
        ("plain", "create", "fixed"),
        ("plain", "create", "plain"),
        ("program", "create", "from-jsonnet"),
    ]
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    assert [one["metadata"]["name"] for one in cluster.api.items(maps) if one["metadata"]["name"] != "kube-root-ca.crt"] == []


async def test_a_working_directory_shows_what_would_change_of_what_runs(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Nothing for what runs as it says; then each changed field, the hook that would run again, and what would be held, with its field."""
    repository, data = Repository(tmp_path / "repo", cluster.kubeconfig, namespace), tmp_path / "data"
    written(repository, "1")
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=data)) as server:
        await healthy(server, ["chart", "program", "plain"])
    await asyncio.sleep(0.05)
    same = await planned(repository, data)
    assert (same.errors, same.holds, steps(same)) == ([], [], [])
    written(repository, "2", fixed="2")
    view = await planned(repository, data)
    assert view.errors == []
    assert steps(view) == [
        ("chart", "run", "migrate"),
        ("chart", "update", "from-helm"),
        ("plain", "update", "plain"),
        ("program", "update", "from-jsonnet"),
    ]
    fields = {step.object.name: [change.path for change in step.changes] for step in view.steps}
    assert fields["from-helm"] == fields["from-jsonnet"] == ["/data/value"]
    assert [(hold.object.name if hold.object else "", hold.reason) for hold in view.holds] == [
        ("fixed", "data cannot be changed in place")
    ]
    assert cluster.api.get(f"/api/v1/namespaces/{namespace}/configmaps/plain")["data"] == {"a": "1"}


async def test_what_the_server_would_refuse_is_told_with_its_place(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """And the rest is planned all the same; an Environment that nobody declares is an error, and so is a hook that cannot run."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    written(repository, "1", unknown=True)
    bad = job("bad", **{"argocd.argoproj.io/hook": "PreSync"})
    bad["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    (repository.path / "apps/hooked").mkdir()
    (repository.path / "apps/hooked/all.yaml").write_text(yaml.safe_dump(bad))
    view = await planned(repository, tmp_path / "none")
    told = {(error.file, error.field) for error in view.errors}
    assert ("apps/plain/all.yaml", "colour") in told
    assert ("apps/hooked/all.yaml", "spec.template.spec.restartPolicy") in told
    assert {application for application, _, _ in steps(view)} == {"chart", "program"}


async def test_overlays_are_planned_each_for_its_environment(
    cluster: Cluster, namespace: str, kustomize: None, tmp_path: Path
) -> None:
    """All of it before it is there, nothing when it runs as the directory says; then what one overlay changes for the one Environment,
    and a new text in the base, which is a ConfigMap of another name, for both.
    """
    repository, data = Repository(tmp_path / "repo", cluster.kubeconfig, namespace), tmp_path / "data"
    overlaid(repository, namespace)
    first = await planned(repository, tmp_path / "none", "staging")
    assert first.errors == []
    page = next(step.object.name for step in first.steps if step.object.kind == "ConfigMap")
    assert page.startswith("staging-page-")
    assert steps(first) == [("web", "create", page), ("web", "create", "staging-web")]
    repository.commit()
    async with running(Settings(repository=str(repository.path), data=data)) as server:
        for environment in ("staging", "production"):
            await until(server, "web", Phase.HEALTHY, environment)
    await asyncio.sleep(0.05)
    for environment in ("staging", "production"):
        assert steps(await planned(repository, data, environment)) == []
    overlaid(repository, namespace, production=2)
    assert steps(await planned(repository, data, "staging")) == []
    (scaled,) = (await planned(repository, data, "production")).steps
    assert [(change.path, change.from_, change.to) for change in scaled.changes] == [("/spec/replicas", 0, 2)]
    overlaid(repository, namespace, text="good morning", production=2)
    for environment in ("staging", "production"):
        made = await planned(repository, data, environment)
        assert [action for _, action, _ in steps(made)] == ["create", "remove", "update"]


async def test_an_overlay_that_reaches_for_what_is_not_there_is_told_with_its_line(
    cluster: Cluster, namespace: str, kustomize: None, tmp_path: Path
) -> None:
    """In the Environment that it is for; the other one is planned."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    overlaid(repository, namespace)
    (repository.path / "web/production/kustomization.yaml").write_text("namePrefix: x-\nresources: [../bases]\n")
    assert len((await planned(repository, tmp_path / "none", "staging")).steps) == 2
    view = await planned(repository, tmp_path / "none", "production")
    assert view.steps == []
    assert [(error.file, error.line) for error in view.errors] == [("web/production/kustomization.yaml", 2)]
