"""What is wrong in Git is said before anything is done, where it stands and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_ownership import crd, placed, service
from tests.kubernetes.test_target import deployment

from trimtab.core.model.errors import Problem
from trimtab.core.model.mandate import Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.plan import Action, Applied, Failed, Plan, Step
from trimtab.targets.kubernetes.target import KubernetesTarget

REPLACE = {"trimtab.dev/replace": "true"}


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


async def refused(target: KubernetesTarget, *bodies: dict[str, Any]) -> list[Problem]:
    preview = await target.preview([manifest(body, line=7) for body in bodies])
    assert all(problem.file == "apps/all.yaml" for problem in preview.problems)
    assert all(problem.line == 7 for problem in preview.problems)
    return list(preview.problems)


async def test_a_kind_that_nobody_serves(target: KubernetesTarget) -> None:
    """A misspelt kind and a version that does not exist."""
    for version, kind in (("v1", "ConfigMapp"), ("apps/v1beta1", "Deployment"), ("nobody.example/v1", "Thing")):
        (problem,) = await refused(target, {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
        assert f"the server does not serve {kind} of {version}" in problem.message
        assert problem.field == "kind"


async def test_a_kind_that_the_same_application_defines_is_no_error(target: KubernetesTarget) -> None:
    """Its definition is applied first."""
    thing = {"apiVersion": "test.example/v1", "kind": "Later", "metadata": {"name": "x"}}
    assert await refused(target, crd("laters"), thing) == []


async def test_a_namespace_on_what_has_none(target: KubernetesTarget) -> None:
    """A cluster-wide object cannot be in one."""
    (problem,) = await refused(target, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "namespace": "y"}})
    assert problem.field == "metadata.namespace"
    assert "have no namespace" in problem.message


async def test_a_namespace_that_is_not_there(target: KubernetesTarget) -> None:
    """Unless the same application makes it."""
    inside = placed(config_map(), "nowhere")
    (problem,) = await refused(target, inside)
    assert (problem.field, problem.message) == ("metadata.namespace", "ConfigMap/nowhere/one: there is no namespace nowhere")
    assert await refused(target, inside, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nowhere"}}) == []


async def test_every_field_that_is_unknown_is_named(target: KubernetesTarget) -> None:
    """With its path, so that its line can be found."""
    body = deployment(imagePullPolicyy="Always")
    body["spec"]["replica"] = 3
    problems = await refused(target, body)
    fields = {problem.field for problem in problems}
    assert "spec.replica" in fields, problems
    assert all("not declared" in problem.message or "unknown" in problem.message for problem in problems)


async def test_every_value_that_is_wrong_is_named(target: KubernetesTarget) -> None:
    """All of an object's at once."""
    problems = await refused(target, service(ports=[{"port": 70000}], type="None"))
    assert {"spec.ports[0].port", "spec.type"} <= {problem.field for problem in problems}


async def test_a_value_of_the_wrong_type_is_named(target: KubernetesTarget) -> None:
    """A number for a text."""
    problems = await refused(target, config_map(a=1))  # type: ignore[arg-type]
    assert [problem.field for problem in problems] == ["data.a"], problems


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"stringData": {"password": 8675309}}, "stringData.password"),
        ({"data": {"password": "8675309 is plain"}}, "data"),
        ({"stringData": {"password": ["8675309"]}}, "stringData.password"),
        ({"data": "8675309"}, "data"),
    ],
)
async def test_a_secret_that_is_wrong_is_not_quoted(target: KubernetesTarget, wrong: dict[str, Any], field: str) -> None:
    """The server quotes what it refuses; file, line and field are enough."""
    (problem,) = await refused(target, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, **wrong})
    assert problem.field == field
    assert "8675309" not in str(problem)


async def test_a_secret_field_of_a_kind_of_one_s_own_is_not_quoted(cluster: Cluster, target: KubernetesTarget) -> None:
    """Neither by a rule of its definition; what is wrong with it is told."""
    short = {"type": "string", "pattern": "^[a-z]{3}$"}
    cluster.api.apply(crd("lockers", {"spec": {"type": "object", "properties": {"password": short, "name": short}}}))
    locker = {"apiVersion": "test.example/v1", "kind": "Locker", "metadata": {"name": "x"}}
    try:
        for _ in range(200):
            problems = await refused(target, locker | {"spec": {"password": "8675309", "name": "abcdef"}})
            if {problem.field for problem in problems} == {"spec.password", "spec.name"}:
                break
            await asyncio.sleep(0.05)
        assert "8675309" not in str(problems)
        assert all("should match" in problem.message for problem in problems)
        assert "abcdef" in str(problems)
    finally:
        cluster.api.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/lockers.test.example")


async def test_one_object_under_two_names(target: KubernetesTarget, namespace: str) -> None:
    """Once without its namespace and once with it."""
    (problem,) = await refused(target, config_map(), placed(config_map(), namespace))
    assert "the same object is declared in apps/all.yaml:7" in problem.message


async def test_good_objects_beside_bad_ones_are_foreseen(target: KubernetesTarget) -> None:
    """One mistake does not hide another, nor what is right."""
    preview = await target.preview(
        [manifest(config_map("good", a="1")), manifest(service(ports=[])), manifest(config_map("bad", a=[]))]
    )  # type: ignore[arg-type]
    assert len(preview.problems) == 2
    assert [identity[3] for identity in preview.bodies] == ["good"]


async def test_what_only_a_server_writes_is_ignored(world: World, cluster: Cluster, namespace: str) -> None:
    """Status, managedFields and versions in a manifest, as `kubectl get -o yaml` prints them."""
    body = {**deployment(replicas=0), "status": {"replicas": 9}}
    odd = {
        "managedFields": [{"manager": "x", "operation": "Apply"}],
        "resourceVersion": "1",
        "uid": "5",
        "creationTimestamp": None,
    }
    body["metadata"] = {**body["metadata"], **odd, "generation": 7}
    await world.settle([manifest(body)])
    assert (await world.plan([manifest(body)])).empty


async def test_an_object_that_is_too_large(target: KubernetesTarget) -> None:
    """A map over its limit, and one that no request can hold; said at once, and not tried again and again."""
    (problem,) = await refused(target, config_map(a="x" * (1 << 20), b="y"))
    assert "1048576" in problem.message
    problems = await refused(target, config_map(a="x" * (4 << 20)))
    assert problems
    assert len(str(problems[0])) < 3_000


async def test_an_object_that_the_store_does_not_take(cluster: Cluster, target: KubernetesTarget) -> None:
    """The server takes it and its store does not, which only the apply shows: failed, and not for now only."""
    cluster.api.apply(crd("larges"))
    try:
        body = {"apiVersion": "test.example/v1", "kind": "Large", "metadata": {"name": "x"}, "spec": {"a": "x" * 1_700_000}}
        made = manifest(body)
        outcome = await target.apply(Step(Action.CREATE, made.ref, "shop", "host", manifest=made), "r1")
        assert isinstance(outcome, Failed)
        assert "too large for the server to store" in outcome.message
        assert not outcome.transient
    finally:
        cluster.api.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/larges.test.example")


async def test_a_conflict_names_manager_and_field(cluster: Cluster, namespace: str) -> None:
    """Where Git may not take fields from others; by default it does."""
    body = config_map(a="1", b="2")
    async with opened(cluster.kubeconfig, namespace, conflicts="fail") as target:
        world = World(target)
        await world.settle([manifest(body)])
        cluster.api.apply(placed(config_map(b="theirs"), namespace), "rival", force=True)
        await world.seen(manifest(body).ref, lambda known: b"f:b" not in known.managed)
        made: Plan = await world.plan([manifest(body)])
        (outcome,) = await world.act(made)
        assert isinstance(outcome, Failed)
        assert "rival: data.b" in outcome.message
        assert "conflicts: force" in outcome.remedy
        assert not outcome.transient
    async with opened(cluster.kubeconfig, namespace, target.cluster.installation) as again:
        forced = World(again)
        forced.inventory = world.inventory
        assert all(isinstance(outcome, Applied) for outcome in await forced.act(await forced.plan([manifest(body)])))


@pytest.mark.parametrize(
    ("environment", "application", "annotated", "takes"),
    [
        ("force", "", "", True),
        ("force", "fail", "", False),
        ("fail", "force", "", True),
        ("force", "", "fail", False),
        ("fail", "fail", "force", True),
        ("force", "force", "fail", False),
    ],
)
async def test_the_nearest_word_on_conflicts_counts(
    cluster: Cluster, namespace: str, environment: str, application: Any, annotated: str, takes: bool
) -> None:
    """That of the object before that of the Application before that of the Environment."""
    body = config_map(a="1", b="2")
    if annotated:
        body["metadata"]["annotations"] = {"trimtab.dev/conflicts": annotated}
    async with opened(cluster.kubeconfig, namespace, conflicts=environment) as target:
        world = World(target.under(Mandate(conflicts=application)))
        await world.settle([manifest(body)])
        cluster.api.apply(placed(config_map(b="theirs"), namespace), "rival", force=True)
        await world.seen(manifest(body).ref, lambda known: b"f:b" not in known.managed)
        (outcome,) = await world.act(await world.plan([manifest(body)]))
    assert isinstance(outcome, Applied) == takes
    live = cluster.api.get(cluster.api.path(placed(config_map(), namespace)))
    assert live["data"]["b"] == ("2" if takes else "theirs")


async def test_a_word_on_conflicts_that_there_is_not_is_an_error(target: KubernetesTarget) -> None:
    """Rather than fields being taken by mistake."""
    body = config_map(a="1")
    body["metadata"]["annotations"] = {"trimtab.dev/conflicts": "never"}
    (problem,) = await refused(target, body)
    assert problem.message.endswith("trimtab.dev/conflicts is neither force nor fail")


async def test_a_lists_of_manifests_is_checked_in_one_round(target: KubernetesTarget) -> None:
    """Many objects: their problems come together, in the order of the files."""
    bad: list[Manifest] = [manifest(config_map(f"n{number}", a=1), line=number) for number in range(1, 6)]  # type: ignore[arg-type]
    preview = await target.preview(bad)
    assert [problem.line for problem in preview.problems] == [1, 2, 3, 4, 5]
