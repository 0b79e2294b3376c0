"""Many new objects at once, on a real server: one of each kind of likeness is asked about, and what may not follow it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_ownership import path_of
from tests.kubernetes.test_target import deployment

from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed
from trimtab.targets.kubernetes.newcomers import FEW
from trimtab.targets.kubernetes.similar import likeness
from trimtab.targets.kubernetes.target import KubernetesTarget

MANY = 40
MAPS = [manifest(config_map(f"n{number:02}", a=str(number))) for number in range(MANY)]


@pytest.fixture
async def target(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Any) -> AsyncIterator[KubernetesTarget]:
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


def dry_runs(faults: FaultProxy) -> int:
    return sum("dryRun=All" in seen.path for seen in faults.requests)


async def test_many_alike_cost_few_questions(world: World, faults: FaultProxy) -> None:
    made = await world.settle(MAPS)
    assert {step.action for step in made.steps} == {Action.CREATE}
    assert len(made.steps) == MANY
    assert dry_runs(faults) <= FEW + 1


async def test_a_kind_of_which_everything_was_asked_is_watched_without_another_list(
    target: KubernetesTarget, faults: FaultProxy
) -> None:
    """The start asks of every kind what is ours. Where that was nothing, the watch begins there, and misses nothing."""
    assert await target.observe(Scope(target.name)) == {}
    lists = [seen.path for seen in faults.requests if "/configmaps" in seen.path]
    assert await target.observe(Scope(target.name, (MAPS[0].ref,))) == {}
    asked = [seen.path for seen in faults.requests if "/configmaps" in seen.path][len(lists) :]
    assert ["watch=true" in path for path in asked] == [True]
    world = World(target)
    await world.settle(MAPS[:2])
    assert set(await target.observe(Scope(target.name, tuple(one.ref for one in MAPS)))) == {one.identity for one in MAPS[:2]}


async def test_what_is_shown_to_somebody_is_asked_in_full(target: KubernetesTarget, faults: FaultProxy) -> None:
    preview = await target.preview(MAPS)
    assert dry_runs(faults) == MANY
    assert set(preview.observed.values()) == {None}


async def test_each_of_many_bad_ones_gets_its_own_answer(target: KubernetesTarget) -> None:
    """What is like something that was refused is asked about itself, and told with its own file and line."""
    bad = [manifest({**config_map(f"bad-{number}"), "dat": {}}, f"apps/{number}.yaml", number + 1) for number in range(MANY)]
    preview = await target.preview(bad, shown=False)
    assert sorted((problem.file, problem.line) for problem in preview.problems) == sorted((one.file, one.line) for one in bad)


async def test_what_is_there_already_is_seen_among_many(world: World, cluster: Cluster, namespace: str) -> None:
    """Nobody's object of the same name is a Hold at the first look, and stays as it is."""
    theirs = config_map("n07", a="theirs")
    cluster.api.good("POST", f"/api/v1/namespaces/{namespace}/configmaps", theirs)
    made = await world.plan(MAPS)
    assert [hold.object.name for hold in made.holds if hold.object is not None] == ["n07"]
    assert len(made.steps) == MANY - 1
    await world.act(made)
    assert cluster.api.get(path_of(cluster.api, theirs, namespace))["data"] == {"a": "theirs"}


async def test_what_appears_between_look_and_apply_is_not_written_to(world: World, cluster: Cluster, namespace: str) -> None:
    """What is to be made is made or fails; then it is looked at again, and is a Hold."""
    made = await world.plan(MAPS)
    theirs = config_map("n07", a="theirs")
    cluster.api.good("POST", f"/api/v1/namespaces/{namespace}/configmaps", theirs)
    failed = [outcome for outcome in await world.act(made) if not isinstance(outcome, Applied)]
    assert [(outcome.ref.name, outcome.transient) for outcome in failed if isinstance(outcome, Failed)] == [("n07", True)]
    assert "it is there already" in failed[0].message
    assert cluster.api.get(path_of(cluster.api, theirs, namespace))["data"] == {"a": "theirs"}
    again = await world.plan(MAPS)
    assert [hold.reason for hold in again.holds] == ["it is there already and belongs to nobody"]


async def test_a_lost_answer_to_what_was_made_is_no_stranger(world: World, faults: FaultProxy) -> None:
    """The second attempt finds what the first has made, by its marks, and is content."""
    made = await world.plan(MAPS[:2])
    faults.lose_answer(method="PATCH", path="force=true(?!.*dryRun)", times=2)
    assert all(isinstance(outcome, Applied) for outcome in await world.act(made))
    assert (await world.plan(MAPS[:2])).empty


async def test_where_somebody_else_has_a_say_each_is_asked(
    world: World, cluster: Cluster, faults: FaultProxy, namespace: str
) -> None:
    """A policy that looks at values: every object is asked about, and the refused one stops its application before anything is done."""
    name = f"no-secrets-{namespace}"
    group = "/apis/admissionregistration.k8s.io/v1"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "resourceRules": rules}
    no = [{"expression": "!has(object.data.a) || object.data.a != '7'", "message": "seven is not allowed"}]
    policy = {"metadata": {"name": name}, "spec": {"failurePolicy": "Fail", "matchConstraints": where, "validations": no}}
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    cluster.api.good("POST", f"{group}/validatingadmissionpolicies", policy)
    cluster.api.good("POST", f"{group}/validatingadmissionpolicybindings", binding)
    try:
        for _ in range(100):  # a policy takes a moment to count
            preview = await world.target.preview(MAPS, shown=False)
            if preview.problems:
                break
            await asyncio.sleep(0.1)
        assert ["seven is not allowed" in problem.message for problem in preview.problems] == [True]
        before = dry_runs(faults)
        await world.target.preview(MAPS, shown=False)
        assert dry_runs(faults) - before == MANY
    finally:
        cluster.api.request("DELETE", f"{group}/validatingadmissionpolicybindings/{name}")
        cluster.api.request("DELETE", f"{group}/validatingadmissionpolicies/{name}")


def _at(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    body = json.loads(json.dumps(body))
    *way, last = path.split("/")
    place: Any = body
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    return body


_POD = "spec/template/spec"
_BASE = deployment(
    replicas=0,
    ports=[{"containerPort": 80, "name": "http"}],
    env=[{"name": "A", "value": "b"}],
    volumeMounts=[{"name": "data", "mountPath": "/data"}],
)
_BASE["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
REFUSED: list[tuple[str, Any]] = [
    ("spec/selector/matchLabels/app", "other"),
    (f"{_POD}/volumes/0/name", "other"),
    (f"{_POD}/containers/0/volumeMounts/0/name", "other"),
    (f"{_POD}/containers/0/ports/0/name", "a-name-of-a-port-too-long"),
    (f"{_POD}/containers/0/ports/0/containerPort", 99999),
    (f"{_POD}/containers/0/image", ""),
    (f"{_POD}/containers/0/name", "a.b"),
    (f"{_POD}/containers/0/imagePullPolicy", "Sometimes"),
    (f"{_POD}/containers/0/env/0/value", 1),
    (f"{_POD}/containers/0/environment", []),
    (f"{_POD}/restartPolicy", "Never"),
    ("metadata/labels", {"a": "b c"}),
    ("metadata/name", "Web"),
    ("metadata/annotations", {"a b": "c"}),
    ("metadata/namespace", 5),
]


@pytest.mark.parametrize(("path", "value"), REFUSED)
async def test_what_a_server_refuses_is_not_like_what_it_takes(cluster: Cluster, namespace: str, path: str, value: Any) -> None:
    """The server takes the one and refuses the other, so they must not be alike."""
    query = "?dryRun=All&fieldManager=test&force=true&fieldValidation=Strict"
    good, bad = _BASE, _at(_BASE, path, value)
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments/"
    kind = "application/apply-patch+yaml"
    assert cluster.api.request("PATCH", f"{place}web{query}", good, kind).status < 300
    assert cluster.api.request("PATCH", f"{place}{bad['metadata']['name']}{query}", bad, kind).status >= 400
    assert likeness("apps", "Deployment", namespace, bad) != likeness("apps", "Deployment", namespace, good)


async def test_what_is_another_environments_is_seen_among_many(world: World, cluster: Cluster, namespace: str) -> None:
    """It has our installation's label and not our Environment's, so no watch shows it."""
    theirs = config_map("n07", a="theirs")
    where = f"ConfigMap./{namespace}/n07"
    labels = {"trimtab.dev/installation": world.target.cluster.installation, "trimtab.dev/environment": "other"}
    theirs["metadata"] |= {"labels": {**labels, "trimtab.dev/application": "a"}, "annotations": {"trimtab.dev/object": where}}
    cluster.api.good("POST", f"/api/v1/namespaces/{namespace}/configmaps", theirs)
    made = await world.plan(MAPS)
    assert [hold.reason for hold in made.holds] == ["it belongs to environment other"]
