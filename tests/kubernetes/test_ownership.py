"""Whose an object is, what drift is, and how things go, on a real cluster."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.api import Api
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import ENVIRONMENT, World, config_map, environment, manifest, opened
from tests.kubernetes.test_target import deployment

from trimtab.core.model.errors import TransientError
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.targets.kubernetes.foreseeing import FULL_CHECK_SECONDS
from trimtab.targets.kubernetes.shape import shaped
from trimtab.targets.kubernetes.target import KubernetesTarget, KubernetesTargets

FINALIZER = "test.example/held"


@pytest.fixture
async def target(cluster: Cluster, namespace: str) -> AsyncIterator[KubernetesTarget]:
    async with opened(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"port": 53, "name": "tcp"}, {"port": 53, "protocol": "UDP", "name": "udp"}],
            **spec,
        },
    }


def placed(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def path_of(api: Api, body: dict[str, Any], namespace: str) -> str:
    return api.path(placed(body, namespace))


# Settled means quiet


async def test_a_settled_application_costs_no_request(
    cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """Keys that the server fills in, values that it rewrites, secrets in plain text: all of it is known from the watches afterwards."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "plain"}}
    limits = {"limits": {"cpu": "1000m", "memory": "1024Mi"}}
    web = deployment(replicas=0, ports=[{"containerPort": 80}], resources=limits, env=[{"name": "A", "value": "b"}])
    manifests = [manifest(body) for body in (config_map(a="1"), secret, web, service(ports=[{"port": 80}]))]
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as target:
        world = World(target)
        assert {step.action for step in (await world.settle(manifests)).steps} == {Action.CREATE}
        await asyncio.sleep(0.5)
        assert (await world.plan(manifests)).empty
        before = len(faults.requests)
        for _ in range(3):
            assert (await world.plan(manifests)).empty
        assert [seen.path for seen in faults.requests[before:]] == []


class LaterClock(SystemClock):
    """It can be put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_what_nobody_was_seen_to_touch_is_asked_about_in_full_after_a_while(
    cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """Each object by a dry-run, spread over an hour; what the watches were wrong about comes to light then, and is quiet afterwards."""
    manifests = [manifest(config_map(f"one-{number}", a="1")) for number in range(20)]
    clock = LaterClock()
    faults.mute(method="GET", path="watch=")
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace, clock=clock) as target:
        world = World(target)
        await world.settle(manifests)
        asked: list[int] = []
        for _ in range(4):
            before = len(faults.requests)
            assert (await world.plan(manifests)).empty
            asked.append(sum("dryRun" in seen.path for seen in faults.requests[before:]))
            clock.ahead += FULL_CHECK_SECONDS / 2
        assert asked[:2] == [0, 0]
        assert asked[2] > 0
        assert asked[3] > 0
        assert sum(asked) == len(manifests)
        path = path_of(cluster.api, manifests[0].body, namespace)
        cluster.api.merge(path, {"data": {"a": "2"}})
        clock.ahead += 2 * FULL_CHECK_SECONDS
        made = await world.plan(manifests)
        assert [(step.action, step.ref.name) for step in made.steps] == [(Action.UPDATE, "one-0")]


async def test_one_changed_object_costs_three_requests(
    cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """What would be, what is, and the apply."""
    others = [manifest(config_map(f"other-{number}", a="1")) for number in range(5)]
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as target:
        world = World(target)
        await world.settle([*others, manifest(config_map(a="1"))])
        before = len(faults.requests)
        made = await world.settle([*others, manifest(config_map(a="2"))])
        assert [change.path for change in made.steps[0].changes] == ["/data/a"]
        assert [seen.method for seen in faults.requests[before:]] == ["PATCH", "GET", "PATCH"]


async def test_a_controller_that_rewrites_a_field_is_asked_about_once(
    cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """Another manager takes a field and sets it as Git has it: nothing to do, and no request until somebody writes again."""
    wanted = manifest(config_map(a="1", b="2"))
    path = path_of(cluster.api, config_map(), namespace)
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as target:
        world = World(target)
        await world.settle([wanted])
        for value in ("x", "1"):
            version = cluster.api.merge(path, {"data": {"a": value}})["metadata"]["resourceVersion"]
        await world.seen(wanted.ref, lambda known: known.version == int(version))
        assert (await world.plan([wanted])).empty
        before = len(faults.requests)
        assert (await world.plan([wanted])).empty
        assert len(faults.requests) == before
        version = cluster.api.merge(path, {"data": {"a": "x"}})["metadata"]["resourceVersion"]
        await world.seen(wanted.ref, lambda known: known.version == int(version))
        assert [step.action for step in (await world.plan([wanted])).steps] == [Action.UPDATE]


# Whose is it


async def test_what_is_there_and_nobodys_is_not_touched(cluster: Cluster, namespace: str, world: World) -> None:
    """Until Git says that it may be adopted."""
    cluster.api.apply(placed(config_map(a="0"), namespace))
    made = await world.plan([manifest(config_map(a="1"))])
    assert [hold.reason for hold in made.holds] == ["it is there already and belongs to nobody"]
    await world.settle([manifest(config_map(a="1"))], adopt=True)
    assert cluster.api.get(path_of(cluster.api, config_map(), namespace))["data"] == {"a": "1"}


async def test_two_installations_never_fight(cluster: Cluster, namespace: str, world: World) -> None:
    """The second one holds, says whose it is, and writes nothing; not even when it is told to adopt."""
    wanted = manifest(config_map(a="1"))
    await world.settle([wanted])
    async with opened(cluster.kubeconfig, namespace) as other:
        theirs = World(other)
        for adopt in (False, True):
            made = await theirs.plan([manifest(config_map(a="2"))], adopt=adopt)
            assert made.steps == ()
            assert made.holds[0].reason.startswith("it belongs to another Trimtab")
        assert await other.observe(Scope(ENVIRONMENT)) == {}
    assert (await world.plan([wanted])).empty


async def test_labels_that_claim_anothers_object_are_overruled(cluster: Cluster, namespace: str, world: World) -> None:
    """A manifest cannot say whose its object is."""
    claim = {"trimtab.dev/application": "bank", "trimtab.dev/installation": "else", "trimtab.dev/environment": "prod"}
    body = config_map(a="1")
    body["metadata"] |= {
        "labels": {**claim, "mine": "yes"},
        "annotations": {"trimtab.dev/object": "x", "trimtab.dev/digest": "y"},
    }
    wanted = manifest(body)
    await world.settle([wanted])
    labels = cluster.api.get(path_of(cluster.api, body, namespace))["metadata"]["labels"]
    assert labels["trimtab.dev/application"] == "shop"
    assert labels["trimtab.dev/installation"] == world.target.cluster.installation
    assert labels["mine"] == "yes"
    assert (await world.plan([wanted])).empty


async def test_a_copy_of_our_labels_makes_nothing_ours(cluster: Cluster, namespace: str, world: World) -> None:
    """Controllers copy labels (a Service's onto its EndpointSlices), people copy whole objects; neither is removed as ours."""
    await world.settle([manifest(service()), manifest(config_map(a="1"))])
    ours = cluster.api.get(path_of(cluster.api, config_map(), namespace))
    copied = {name: ours["metadata"][name] for name in ("labels", "annotations")}
    cluster.api.apply({**placed(config_map("copy"), namespace), "metadata": {"name": "copy", "namespace": namespace, **copied}})
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    cluster.api.until(slices, lambda found: any("trimtab.dev/application" in s["metadata"]["labels"] for s in found["items"]))
    seen = await world.target.observe(Scope(ENVIRONMENT))
    assert sorted(identity[1] for identity in seen) == ["ConfigMap", "Service"]
    assert [identity[3] for identity in seen if identity[1] == "ConfigMap"] == ["one"]


async def test_a_handover_keeps_the_object(world: World, cluster: Cluster, namespace: str) -> None:
    """The other application writes its name on it, and the first one has nothing to remove any more."""
    wanted = manifest(config_map(a="1"))
    await world.settle([wanted])
    uid = cluster.api.get(path_of(cluster.api, config_map(), namespace))["metadata"]["uid"]
    other = World(world.target, "bank")
    made = await other.settle([wanted])
    assert [step.action for step in made.steps] == [Action.HANDOVER]
    assert (await world.plan([])).empty
    assert cluster.api.get(path_of(cluster.api, config_map(), namespace))["metadata"]["uid"] == uid


async def test_one_cluster_by_two_addresses_is_one_place(
    cluster: Cluster, second_cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """And what an object is called there has the namespace that it is in, wherever that comes from; another cluster is another place."""
    proxied = faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig")
    chosen = {
        "direct": (cluster.kubeconfig, namespace),
        "proxied": (proxied, "default"),
        "other": (second_cluster.kubeconfig, "x"),
    }
    targets = KubernetesTargets(installation="test", clock=SystemClock(), chance=SystemChance())
    try:
        made = {name: targets.get(name, environment(file, within)) for name, (file, within) in chosen.items()}
        assert {target.place() for target in made.values()} == {""}
        for name, target in made.items():
            await target.observe(Scope(name, ()))
        assert made["direct"].place() == made["proxied"].place() != made["other"].place()
        here, there = ("", "ConfigMap", "", "one"), ("", "ConfigMap", namespace, "one")
        assert made["direct"].called(here) == made["direct"].called(there) == made["proxied"].called(there)
        assert made["proxied"].called(here) != made["direct"].called(here)
        wide = ("rbac.authorization.k8s.io", "ClusterRole", "", "one")
        assert made["proxied"].called(wide) == made["direct"].called(wide) != ""
        assert made["direct"].called(("strange.example", "Kind", "", "one")) == ""
    finally:
        await targets.close()
    await asyncio.sleep(0.05)


async def test_where_the_cluster_does_not_say_which_it_is_the_address_counts(
    cluster: Cluster, namespace: str, faults: FaultProxy, tmp_path: Any
) -> None:
    """For an account that may not read it; while it does not answer, nothing is known."""
    proxied = faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig")
    faults.fail(503, path="namespaces/kube-system")
    async with opened(proxied, namespace) as target:
        await target.observe(Scope(ENVIRONMENT, ()))
        assert target.place() == ""
    faults.clear()
    faults.fail(403, path="namespaces/kube-system")
    async with opened(proxied, namespace) as target:
        await target.observe(Scope(ENVIRONMENT, ()))
        assert target.place().startswith("address https://")


async def test_a_namespace_that_git_adds_renames_nothing(world: World, cluster: Cluster, namespace: str) -> None:
    """The object that had no namespace in Git and now has the one that it is in: one object, updated, never removed."""
    await world.settle([manifest(config_map(a="1"))])
    uid = cluster.api.get(path_of(cluster.api, config_map(), namespace))["metadata"]["uid"]
    made = await world.settle([manifest(placed(config_map(a="1"), namespace))])
    assert [step.action for step in made.steps] == [Action.UPDATE]
    assert cluster.api.get(path_of(cluster.api, config_map(), namespace))["metadata"]["uid"] == uid
    assert len(await world.target.observe(Scope(ENVIRONMENT))) == 1


async def test_another_object_of_the_same_name_is_not_written_to(world: World, cluster: Cluster, namespace: str) -> None:
    """Between the look and the act somebody removes ours and makes one of his own."""
    await world.settle([manifest(config_map(a="1"))])
    made = await world.plan([manifest(config_map(a="2"))])
    path = path_of(cluster.api, config_map(), namespace)
    cluster.api.delete(path)
    cluster.api.apply(placed(config_map(a="0"), namespace))
    (outcome,) = await world.act(made)
    assert isinstance(outcome, Failed)
    assert outcome.transient
    assert cluster.api.get(path)["data"] == {"a": "0"}


# Adoption


@pytest.mark.parametrize("way", ["kubectl-client-side-apply", "kubectl", "helm", "kustomize-controller"])
async def test_a_field_that_git_does_not_have_goes_at_adoption(world: World, cluster: Cluster, namespace: str, way: str) -> None:
    """Whoever installed it before; and the plan says so. What a controller owns stays."""
    before = deployment(replicas=0, env=[{"name": "A", "value": "a"}, {"name": "B", "value": "b"}], args=["x"])
    before["metadata"]["annotations"] = {"old": "yes"}
    path = path_of(cluster.api, before, namespace)
    install(cluster, placed(before, namespace), way)
    scale = {"metadata": {"annotations": {"controller": "here"}}}
    cluster.api.good("PATCH", f"{path}?fieldManager=some-controller", scale, "application/merge-patch+json")
    wanted = manifest(deployment(replicas=0, env=[{"name": "A", "value": "a"}]))
    made = await world.settle([wanted], adopt=True)
    (step,) = made.steps
    assert step.action is Action.ADOPT
    removed = {change.path for change in step.changes if change.to is None}
    assert {"/metadata/annotations/old", "/spec/template/spec/containers/0/args"} <= removed
    live = cluster.api.get(path)
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "A", "value": "a"}]
    assert "args" not in container
    annotations = live["metadata"]["annotations"]
    assert "old" not in annotations
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations
    assert annotations["controller"] == "here"


@pytest.mark.parametrize("way", ["kubectl-client-side-apply", "helm"])
async def test_what_an_adoption_shows_is_what_is_there_afterwards(
    world: World, cluster: Cluster, namespace: str, way: str
) -> None:
    """Defaults come back where a field of the installer goes, and what the server has given the object stays: neither is shown as lost."""
    web = deployment(replicas=0)
    before = copy.deepcopy(web)
    before["spec"] |= {"revisionHistoryLimit": 3, "minReadySeconds": 7, "strategy": {"type": "Recreate"}}
    ports = [{"port": 80, "name": "http"}]
    old = service("back", type="NodePort", ports=ports, sessionAffinity="ClientIP")
    for body in (before, old):
        install(cluster, placed(body, namespace), way)
    wanted = [manifest(web), manifest(service("back", type="NodePort", ports=ports))]
    foreseen = (await world.target.preview(wanted)).bodies
    made = await world.settle(wanted, adopt=True)
    assert {step.action for step in made.steps} == {Action.ADOPT}
    for one in wanted:
        live = cluster.api.get(path_of(cluster.api, one.body, namespace))
        live["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        assert shaped(live)["spec"] == foreseen[one.identity]["spec"]
    shown = {change.path for step in made.steps for change in step.changes if change.path.startswith("/spec")}
    assert shown <= {
        *("/spec/revisionHistoryLimit", "/spec/minReadySeconds", "/spec/strategy/type", "/spec/strategy/rollingUpdate"),
        *("/spec/sessionAffinity", "/spec/sessionAffinityConfig"),
    }
    assert {"/spec/revisionHistoryLimit", "/spec/minReadySeconds", "/spec/sessionAffinity"} <= shown


def install(cluster: Cluster, body: dict[str, Any], way: str) -> None:
    """As these tools write: client-side ones by plain requests, with kubectl's note of what it applied last."""
    if way in ("kubectl", "kustomize-controller"):
        cluster.api.apply(body, way)
        return
    if way == "kubectl-client-side-apply":
        note = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
        body["metadata"] = {**body["metadata"], "annotations": {**body["metadata"].get("annotations", {}), **note}}
    cluster.api.good("POST", f"{cluster.api.path(body).rpartition('/')[0]}?fieldManager={way}", body)


# Removal


def removal(world: World, wanted: Any, uid: str) -> Step:
    return Step(Action.REMOVE, wanted.ref, "shop", ENVIRONMENT, uid=uid)


async def test_a_finalizer_that_hangs_is_named(world: World, cluster: Cluster, namespace: str) -> None:
    """The removal is not called done, nobody waits long for it, and it is done once the finalizer has gone."""
    body = config_map(a="1")
    await world.settle([manifest(body)])
    path = path_of(cluster.api, body, namespace)
    live = cluster.api.merge(path, {"metadata": {"finalizers": [FINALIZER]}})
    await world.seen(manifest(body).ref, lambda known: FINALIZER in known.finalizers)
    step = removal(world, manifest(body), live["metadata"]["uid"])
    outcome = await world.target.remove(step)
    assert isinstance(outcome, Failed)
    assert FINALIZER in outcome.message
    assert outcome.transient
    cluster.api.merge(path, {"metadata": {"finalizers": None}})
    assert isinstance(await world.target.remove(step), Applied)


@pytest.mark.parametrize(
    "keep", [("trimtab.dev/prune", "disabled"), ("argocd.argoproj.io/sync-options", "Replace=true,Prune=false")]
)
async def test_what_is_annotated_to_be_kept_is_kept(
    world: World, cluster: Cluster, namespace: str, keep: tuple[str, str]
) -> None:
    """By our annotation or by one that people know, though the objects are not in memory."""
    body = config_map(a="1")
    body["metadata"]["annotations"] = dict([keep])
    await world.settle([manifest(body)])
    assert (await world.plan([manifest(body)])).empty
    assert (await world.plan([])).empty
    assert cluster.api.exists(path_of(cluster.api, body, namespace))


@pytest.mark.parametrize("propagation", ["background", "foreground"])
async def test_what_an_object_owns_goes_with_it(cluster: Cluster, namespace: str, propagation: str) -> None:
    """Foreground: before it; background: soon afterwards."""
    async with opened(cluster.kubeconfig, namespace, propagation=propagation) as target:
        world = World(target)
        await world.settle([manifest(deployment())])
        sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
        cluster.api.until(sets, lambda found: found["items"])
        made = await world.plan([])
        outcomes = await world.act(made)
        assert [isinstance(outcome, Applied) for outcome in outcomes] == [True]
        if propagation == "foreground":
            assert cluster.api.items(sets) == []
        cluster.api.until(sets, lambda found: not found["items"])


async def test_a_definition_that_is_removed_takes_its_objects_along(world: World, cluster: Cluster, namespace: str) -> None:
    """Under our hands, by somebody: both are missing, are made again in order, and nothing else is believed gone."""
    definition, thing = (
        crd("things"),
        {"apiVersion": "test.example/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"a": 1}},
    )
    manifests = [manifest(definition), manifest(thing), manifest(config_map(a="1"))]
    try:
        await in_waves(world, manifests)
        cluster.api.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.test.example")
        await world.seen(manifests[0].ref, lambda known: known is None)
        made = await again(world, manifests)
        assert {(step.action, step.ref.kind) for step in made.steps} >= {(Action.CREATE, "CustomResourceDefinition")}
        await in_waves(world, manifests)
        assert cluster.api.get(f"/apis/test.example/v1/namespaces/{namespace}/things/one")["spec"] == {"a": 1}
    finally:
        cluster.api.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.test.example")


async def again(world: World, manifests: list[Any]) -> Any:
    """A plan, as soon as one can be made."""
    for _ in range(200):
        try:
            return await world.plan(manifests)
        except TransientError:
            await asyncio.sleep(0.05)
    raise AssertionError("no plan")


async def in_waves(world: World, manifests: list[Any]) -> None:
    """As the engine does: the lowest wave first, the next one when that is healthy."""
    for _ in range(300):
        made = await again(world, manifests)
        if made.empty:
            return
        lowest = min(step.wave for step in made.steps)
        first = type(made)(made.application, made.environment, tuple(step for step in made.steps if step.wave == lowest))
        for outcome in await world.act(first):
            assert isinstance(outcome, Applied) or outcome.transient, outcome
        await asyncio.sleep(0.05)
    raise AssertionError(made)


def crd(plural: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    kind = plural.capitalize().removesuffix("s")
    properties = schema or {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.example"},
        "spec": {
            "group": "test.example",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
