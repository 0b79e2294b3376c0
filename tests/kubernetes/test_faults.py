"""What the target does when the server, the way to it, or somebody else on it misbehaves: nothing is believed gone, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import ENVIRONMENT, World, config_map, manifest, opened
from tests.kubernetes.test_ownership import again, path_of, placed

from trimtab.core.model.errors import Refused, TransientError, TrimtabError
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.targets.kubernetes.target import KubernetesTarget

MAPS = [manifest(config_map(f"n{number:02}", a="1")) for number in range(12)]


@pytest.fixture
async def target(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Any) -> AsyncIterator[KubernetesTarget]:
    """Through the misbehaving proxy."""
    async with opened(faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig"), namespace) as made:
        yield made


@pytest.fixture
def world(target: KubernetesTarget) -> World:
    return World(target)


async def persist(world: World, manifests: list[Any], rounds: int = 30) -> None:
    """Looks and acts until there is nothing left to do, as an engine does, and asserts that nothing is ever planned away."""
    for _ in range(rounds):
        made = await again(world, manifests)
        if made.empty:
            return
        assert all(step.manifest is not None for step in made.steps)
        await world.act(made)
    raise AssertionError(made)


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_refusals_of_the_moment_pass(world: World, faults: FaultProxy, status: int) -> None:
    """The applies that failed are done in the next round, and no more than needed."""
    await world.plan(MAPS)
    faults.fail(status, method="PATCH", times=9, retry_after=0 if status == 429 else None)
    await persist(world, MAPS)
    assert len(await world.target.observe(Scope(ENVIRONMENT))) == len(MAPS)


async def test_lost_answers_are_asked_for_again(world: World, faults: FaultProxy, cluster: Cluster, namespace: str) -> None:
    """What was done without our hearing of it is found done; the object is the same one."""
    await world.plan(MAPS)
    faults.lose_answer(method="PATCH", path="force=true(?!.*dryRun)", times=5)
    faults.cut(method="PATCH", times=3)
    await persist(world, MAPS)
    items = cluster.api.items(f"/api/v1/namespaces/{namespace}/configmaps")
    assert len([item for item in items if item["metadata"]["name"].startswith("n")]) == len(MAPS)


async def test_a_list_that_fails_half_way_tells_nothing(
    cluster: Cluster, faults: FaultProxy, namespace: str, world: World
) -> None:
    """Whoever asks is told that it cannot be told; afterwards everything is there."""
    await world.settle(MAPS)
    kubeconfig = world.target.settings.kubeconfig
    faults.cut_answer(method="GET", path=r"configmaps\?.*limit=500", after_bytes=600, times=3)
    async with opened(kubeconfig, namespace, world.target.cluster.installation) as other:
        for _ in range(100):
            try:
                seen = await other.observe(Scope(ENVIRONMENT, tuple(one.ref for one in MAPS)))
            except TransientError:
                await asyncio.sleep(0.05)
                continue
            assert len(seen) == len(MAPS)
            return
    raise AssertionError("it never came back")


async def test_a_watch_that_is_cut_hides_nothing(world: World, faults: FaultProxy, cluster: Cluster, namespace: str) -> None:
    """What happens meanwhile is seen when it is over."""
    await world.settle(MAPS)
    faults.cut(method="GET", path="watch=", times=2)
    faults.cut_streams()
    path = path_of(cluster.api, config_map("n00"), namespace)
    cluster.api.merge(path, {"data": {"a": "hacked"}})
    cluster.api.delete(path_of(cluster.api, config_map("n01"), namespace))
    await world.seen(MAPS[1].ref, lambda known: known is None)
    made = await again(world, MAPS)
    assert sorted((step.action, step.ref.name) for step in made.steps) == [("create", "n01"), ("update", "n00")]
    await persist(world, MAPS)
    assert cluster.api.get(path)["data"] == {"a": "1"}


async def test_a_server_that_is_killed_in_the_middle(own_cluster: Cluster) -> None:
    """Some applies fail, none is believed done; when the server is back, the rest is done and nothing was removed."""
    namespace = await asyncio.to_thread(own_cluster.namespace)
    many = [manifest(config_map(f"n{number:03}", a="1")) for number in range(150)]
    async with opened(own_cluster.kubeconfig, namespace) as target:
        world = World(target)
        made = await world.plan(many)
        acting = asyncio.create_task(world.act(made))
        await asyncio.sleep(0.15)
        await asyncio.to_thread(own_cluster.kill, "apiserver")
        starting = asyncio.create_task(asyncio.to_thread(own_cluster.start, "apiserver"))
        outcomes = await acting
        assert all(isinstance(outcome, Applied) or outcome.transient for outcome in outcomes)
        await starting
        await persist(world, many)
        assert len(await target.observe(Scope(ENVIRONMENT))) == len(many)


async def test_a_server_that_is_down_is_not_empty(world: World, faults: FaultProxy) -> None:
    """From nobody listens to somebody does: never an answer that an object is absent, and the wait has an end."""
    await world.settle(MAPS[:2])
    faults.refuse()
    elsewhere = manifest({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    with pytest.raises(TransientError):
        await asyncio.wait_for(world.target.observe(Scope(ENVIRONMENT, (elsewhere.ref,))), 35)
    with pytest.raises(TransientError):
        await world.target.observe(Scope(ENVIRONMENT))
    faults.accept()
    await again(world, [*MAPS[:2], elsewhere])


async def test_whoever_waited_for_the_server_is_told_that_it_is_back(world: World, faults: FaultProxy) -> None:
    """The Key of what is there wakes up when the watch has been restored."""
    await world.settle(MAPS[:1])
    watch = world.target.watch()
    faults.refuse()
    await asyncio.sleep(0.3)
    while True:  # what moved before
        try:
            await asyncio.wait_for(anext(watch), 0.1)
        except TimeoutError:
            break
    watch = world.target.watch()
    faults.accept()
    key = await asyncio.wait_for(anext(watch), 10)
    assert key.application == "shop"
    await watch.aclose()


async def test_a_token_that_is_not_accepted(cluster: Cluster, namespace: str, tmp_path: Any) -> None:
    """Is a matter of the moment: somebody renews it; nothing is concluded."""
    path = tmp_path / "kubeconfig"
    path.write_text(cluster.kubeconfig.read_text().replace(cluster.token, "expired"))
    async with opened(path, namespace) as target:
        with pytest.raises(TransientError, match=r"401|nauthorized"):
            await target.observe(Scope(ENVIRONMENT, (MAPS[0].ref,)))


async def test_a_denied_verb_is_named_with_its_resource(cluster: Cluster, namespace: str) -> None:
    """Who may not look is told what he may not, and at once."""
    async with opened(cluster.kubeconfig_for("nobody"), namespace) as target:
        with pytest.raises(TrimtabError, match=r'cannot list resource "configmaps"') as denied:
            await asyncio.wait_for(target.observe(Scope(ENVIRONMENT, (MAPS[0].ref,))), 5)
        assert isinstance(denied.value, Refused)


async def test_who_may_look_and_not_write_is_told_so_with_the_file(cluster: Cluster, namespace: str) -> None:
    """Before anything is done, with verb and resource."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": namespace}}
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace},
        "subjects": [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
    cluster.api.apply({**role, "rules": rules})
    cluster.api.apply(binding)
    try:
        async with opened(cluster.kubeconfig_for("nobody"), namespace) as target:
            preview = await _allowed(target)
            (problem,) = preview.problems
            assert 'cannot patch resource "configmaps"' in problem.message
            assert (problem.file, problem.line) == ("apps/all.yaml", 1)
    finally:
        for kind in ("clusterroles", "clusterrolebindings"):
            cluster.api.delete(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{namespace}")


async def _allowed(target: KubernetesTarget) -> Any:
    """The preview, once the server has heard of the new rights."""
    for _ in range(100):
        try:
            preview = await target.preview([MAPS[0]])
        except TransientError:
            preview = None
        if preview is not None and not any("cannot list" in problem.message for problem in preview.problems):
            return preview
        await asyncio.sleep(0.05)
    raise AssertionError(preview)


def webhook(namespace: str, url: str) -> dict[str, Any]:
    hook = {
        "name": "gate.test.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"url": url},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [hook],
    }


async def test_a_webhook_that_is_down(cluster: Cluster, namespace: str, free_port: int) -> None:
    """Passes: it is named, and asked again."""
    cluster.api.apply(webhook(namespace, f"https://127.0.0.1:{free_port}/"))
    try:
        async with opened(cluster.kubeconfig, namespace) as target:
            assert "gate.test.example" in str(await _hindered(target))
    finally:
        cluster.api.delete(f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{namespace}")


async def _hindered(target: KubernetesTarget) -> TransientError | None:
    """What stops a preview, once the server has heard of the webhook."""
    for _ in range(50):
        try:
            await target.preview([MAPS[0]])
        except TransientError as error:
            return error
        await asyncio.sleep(0.1)
    return None


async def test_admission_that_says_no_is_quoted(cluster: Cluster, namespace: str) -> None:
    """With the words of the policy, before anything is done, and where the object stands."""
    kind = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
        "validations": [{"expression": "!('bad' in object.data)", "message": "bad is not good"}],
    }
    metadata = {"name": namespace}
    cluster.api.apply({"apiVersion": kind, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": policy})
    spec = {"policyName": namespace, "validationActions": ["Deny"]}
    cluster.api.apply({"apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": spec})
    try:
        async with opened(cluster.kubeconfig, namespace) as target:
            for _ in range(100):
                preview = await target.preview([manifest(config_map(bad="1"))])
                if preview.problems:
                    break
                await asyncio.sleep(0.1)
            (problem,) = preview.problems
            assert "bad is not good" in problem.message
            assert problem.file == "apps/all.yaml"
    finally:
        for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            cluster.api.delete(f"/apis/{kind}/{plural}/{namespace}")


async def test_a_namespace_that_is_stuck_in_deletion(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What should go into it is refused with a reason; what holds it stands in its health, and in the step that would remove it."""
    monkeypatch.setattr("trimtab.targets.kubernetes.target.GONE_SECONDS_MAX", 0.2)
    namespace = cluster.namespace()
    held = placed(config_map("held"), namespace)
    held["metadata"]["finalizers"] = ["test.example/held"]
    cluster.api.apply(held)
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")
    try:
        async with opened(cluster.kubeconfig, namespace) as target:
            cluster.api.until(f"/api/v1/namespaces/{namespace}", lambda found: found["status"]["phase"] == "Terminating")
            preview = await target.preview([MAPS[0]])
            (problem,) = preview.problems
            assert problem.field == "metadata.namespace"
            assert "being terminated" in problem.message
            itself = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            made = await World(target).settle([manifest(itself)], adopt=True)
            seen = await World(target).seen(manifest(itself).ref, lambda known: known is not None)
            assert seen.deleting
            assert seen.health.status == "progressing"
            assert made.steps
            await _remaining(target, manifest(itself).ref)
            outcome = await target.remove(Step(Action.REMOVE, manifest(itself).ref, "shop", ENVIRONMENT, uid=seen.uid))
            assert isinstance(outcome, Failed)
            assert outcome.transient
            assert "it is being deleted" in outcome.message
            assert "test.example/held in 1 resource instances" in outcome.message
    finally:
        cluster.api.merge(path_of(cluster.api, held, namespace), {"metadata": {"finalizers": None}})


async def _remaining(target: KubernetesTarget, ref: ObjectRef) -> None:
    """Until the namespace says what is left in it."""
    await World(target).seen(ref, lambda known: "remaining" in known.health.message, 15.0)


async def test_an_aggregated_server_that_is_down_takes_nothing_with_it(own_cluster: Cluster) -> None:
    """Its kinds are unknown and not gone; the other kinds are seen as ever, only "everything" cannot be told."""
    namespace = await asyncio.to_thread(own_cluster.namespace)
    service = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.away.example"}}
    spec = {
        "group": "away.example",
        "version": "v1",
        "groupPriorityMinimum": 1,
        "versionPriority": 1,
        "insecureSkipTLSVerify": True,
        "service": {"name": "nobody", "namespace": namespace},
    }
    own_cluster.api.apply({**service, "spec": spec})
    thing = manifest({"apiVersion": "away.example/v1", "kind": "Thing", "metadata": {"name": "x"}})
    async with opened(own_cluster.kubeconfig, namespace) as target:
        world = World(target)
        await world.settle(MAPS[:2])
        with pytest.raises(TransientError):
            await target.observe(Scope(ENVIRONMENT, (thing.ref,)))
        with pytest.raises(TransientError):
            await target.preview([thing])
        outcome = await _everything(target)
        assert isinstance(outcome, TransientError)
        assert "away.example" in str(outcome)
        own_cluster.api.delete("/apis/apiregistration.k8s.io/v1/apiservices/v1.away.example")


async def _everything(target: KubernetesTarget) -> Any:
    """What becomes of a look at everything, once the server's catalog knows of the newcomer."""
    for _ in range(100):
        try:
            await target.observe(Scope(ENVIRONMENT))
        except TransientError as error:
            return error
        await asyncio.sleep(0.1)
    return None


async def test_two_managers_that_fight_over_a_field(world: World, cluster: Cluster, namespace: str) -> None:
    """Each round is one apply of ours for one write of theirs; the engine backs off when there are many."""
    await world.settle(MAPS[:1])
    path = path_of(cluster.api, config_map("n00"), namespace)
    for number in range(3):
        version = cluster.api.merge(path, {"data": {"a": f"theirs{number}"}})["metadata"]["resourceVersion"]
        await world.seen(MAPS[0].ref, lambda known, version=version: known.version >= int(version))
        made = await world.plan(MAPS[:1])
        assert [change.path for change in made.steps[0].changes] == ["/data/a"]
        (outcome,) = await world.act(made)
        assert not isinstance(outcome, Failed)
