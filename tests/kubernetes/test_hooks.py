"""Hooks of Argo CD's and Helm's spelling on a real cluster: when they run, what a failure stops, what they leave, what a crash does."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_loop import Repository, healthy, states
from tests.kubernetes.test_target import deployment

from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.names import Key
from trimtab.engine.commands import Commands
from trimtab.testing.served import Served
from trimtab.wiring.offline import offline_plan
from trimtab.wiring.server import Running, Settings, running

ARGO, ARGO_DELETE = "argocd.argoproj.io/hook", "argocd.argoproj.io/hook-delete-policy"
HELM, HELM_DELETE, WEIGHT = "helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-weight"
KEY = Key("prod", "web")


def job(name: str, behaviour: str = "", log: str = "", **notes: str) -> dict[str, Any]:
    """A Job that succeeds, unless its Pod is to behave otherwise. ``notes`` are its annotations, by `annotated`."""
    pod = {key: value for key, value in {"node.test/behaviour": behaviour, "node.test/log": log}.items() if value}
    container = {"name": "main", "image": "registry.test/migrate:1"}
    template = {"metadata": {"annotations": pod}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": dict(notes)},
        "spec": {"backoffLimit": 0, "template": template},
    }


class Stand:
    """A repository with one application `web`, and a server that follows it through a proxy that notes what is written."""

    def __init__(self, repository: Repository, faults: FaultProxy, cluster: Cluster, namespace: str, data: Path) -> None:
        self.repository, self.faults, self.cluster, self.namespace, self.data = repository, faults, cluster, namespace, data
        self.server: Running | None = None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Running]:
        async with running(Settings(repository=str(self.repository.path), data=self.data)) as server:
            self.server = server
            yield server
        await asyncio.sleep(0.05)

    def commit(self, *bodies: dict[str, Any]) -> None:
        self.repository.application("web", *bodies)
        self.repository.commit()
        if self.server is not None:
            self.server.wake()

    @property
    def current(self) -> Deployment | None:
        assert self.server is not None
        state = states(self.server).get(KEY)
        return state.current if state is not None and state.pending is None else None

    async def until(self, phase: Phase, sequence: int = 1) -> Deployment:
        for _ in range(750):
            current = self.current
            if current is not None and current.phase is phase and current.sequence >= sequence:
                return current
            await asyncio.sleep(0.02)
        raise AssertionError(self.current)

    def path(self, kind: str, name: str = "") -> str:
        group = {"jobs": "/apis/batch/v1", "deployments": "/apis/apps/v1"}.get(kind, "/api/v1")
        return f"{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def uid(self, kind: str, name: str) -> str:
        answer = self.cluster.api.request("GET", self.path(kind, name))
        return str(answer.json["metadata"]["uid"]) if answer.status == 200 else ""

    def acts(self) -> list[str]:
        """What has been written and removed, in order: "+job/migrate", "-job/migrate"."""
        found = []
        for seen in self.faults.requests:
            place = re.search(r"/(\w+?)s/([^/?]+)(\?|$)", seen.path)
            if seen.method in ("PATCH", "DELETE") and "dryRun" not in seen.path and place:
                found.append(f"{'+' if seen.method == 'PATCH' else '-'}{place[1]}/{place[2]}")
        return found


@pytest.fixture
def stand(cluster: Cluster, faults: FaultProxy, namespace: str, tmp_path: Path) -> Stand:
    kubeconfig = faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig")
    return Stand(Repository(tmp_path / "repo", kubeconfig, namespace), faults, cluster, namespace, tmp_path / "data")


async def test_phases_follow_each_other_and_waves_inside_of_them(stand: Stand) -> None:
    """Before the release by waves, beside it by waves, and after it when it is healthy."""
    wave = "argocd.argoproj.io/sync-wave"
    stand.commit(
        job("last", **{ARGO: "PostSync"}),
        job("beside", **{ARGO: "Sync", wave: "1"}),
        job("second", **{ARGO: "PreSync", wave: "0"}),
        job("first", **{ARGO: "PreSync", wave: "-1"}),
        deployment("web"),
    )
    async with stand.serving():
        await stand.until(Phase.HEALTHY)
        assert stand.acts() == ["+job/first", "+job/second", "+deployment/web", "+job/beside", "+job/last"]
        ready = stand.cluster.api.get(stand.path("deployments", "web"))["status"]["conditions"]
        available = next(one["lastTransitionTime"] for one in ready if one["type"] == "Available")
        assert available <= stand.cluster.api.get(stand.path("jobs", "last"))["metadata"]["creationTimestamp"]


async def test_a_hook_takes_over_nothing_that_is_there_and_says_what_is_in_its_way(stand: Stand) -> None:
    """What somebody else has made under its name stays as it is; when they have removed it, the hook runs."""
    stand.cluster.api.apply(job("migrate") | {"metadata": {"name": "migrate", "namespace": stand.namespace}})
    uid = stand.uid("jobs", "migrate")
    stand.commit(job("migrate", **{ARGO: "PreSync"}), config_map("settings", a="1"))
    async with stand.serving():
        failed = await stand.until(Phase.FAILED)
        assert "Job/migrate: an object of this name is there already, and a hook takes nothing over" in failed.message
        assert "Remove it from the cluster, or give the hook another name" in failed.message
        assert (stand.uid("jobs", "migrate"), stand.uid("configmaps", "settings")) == (uid, "")
        stand.cluster.api.request("DELETE", f"{stand.path('jobs', 'migrate')}?propagationPolicy=Background")
        await stand.until(Phase.HEALTHY)
        assert stand.uid("jobs", "migrate") not in ("", uid)


async def test_a_hook_before_a_release_that_fails_stops_it_and_what_ran_goes_on(stand: Stand) -> None:
    """With the reason and the last line of its log; the hook for a failure runs; another try, or a commit, runs it again."""
    tell = job("tell", **{ARGO: "SyncFail"})
    stand.commit(deployment("web"), tell)
    async with stand.serving() as server:
        await stand.until(Phase.HEALTHY)
        before = stand.cluster.api.get(stand.path("deployments", "web"))
        stand.commit(job("migrate", "fail", **{ARGO: "PreSync"}), deployment("web", replicas=2), tell)
        failed = await stand.until(Phase.FAILED, 2)
        assert "the pre hook Job/migrate failed" in failed.message
        await asyncio.to_thread(stand.cluster.api.until, stand.path("jobs", "tell"), lambda live: live["status"].get("succeeded"))
        after = stand.cluster.api.get(stand.path("deployments", "web"))
        assert (after["spec"], after["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])
        assert after["status"]["availableReplicas"] == 1
        uid = stand.uid("jobs", "migrate")
        await asyncio.sleep(3)
        assert stand.uid("jobs", "migrate") == uid, "it is not tried in a loop"
        await Commands(server.engine).sync("web", "", "ada")
        await asyncio.to_thread(
            stand.cluster.api.until, stand.path("jobs", "migrate"), lambda live: live["metadata"]["uid"] != uid
        )
        stand.commit(job("migrate", **{ARGO: "PreSync"}), deployment("web", replicas=2), tell)
        await stand.until(Phase.HEALTHY, 3)
        assert stand.cluster.api.get(stand.path("deployments", "web"))["spec"]["replicas"] == 2


async def test_hooks_after_a_release_wait_until_it_is_well_and_may_still_fail_it(stand: Stand) -> None:
    """As long as a Pod is not ready, nothing of them is there."""
    slow = deployment("web")
    slow["spec"]["template"]["metadata"]["annotations"] = {"node.test/behaviour": "slow:1500ms"}
    stand.commit(slow, job("smoke", "fail", **{ARGO: "PostSync"}))
    async with stand.serving():
        await asyncio.to_thread(stand.cluster.api.until, stand.path("deployments", "web"), lambda live: live["status"])
        assert stand.uid("jobs", "smoke") == ""
        failed = await stand.until(Phase.FAILED)
        assert "the post hook Job/smoke failed" in failed.message
        assert stand.cluster.api.get(stand.path("deployments", "web"))["status"]["availableReplicas"] == 1


async def test_what_they_leave_goes_by_the_three_policies(stand: Stand) -> None:
    """HookSucceeded, BeforeHookCreation (which is what holds when none is named), HookFailed."""
    hooks = [
        job("goes", **{ARGO: "PreSync", ARGO_DELETE: "HookSucceeded"}),
        job("anew", **{ARGO: "PreSync"}),
        job("kept", **{ARGO: "PreSync", ARGO_DELETE: "HookFailed"}),
    ]
    stand.commit(*hooks, config_map("settings", a="1"))
    async with stand.serving():
        await stand.until(Phase.HEALTHY)
        uids = [stand.uid("jobs", name) for name in ("goes", "anew", "kept")]
        assert [bool(uid) for uid in uids] == [False, True, True]
        await asyncio.sleep(1)
        stand.cluster.api.request("DELETE", stand.path("jobs", "kept"), {"propagationPolicy": "Background"})
        await asyncio.sleep(1)
        assert stand.uid("jobs", "kept") == "", "what a hook has left is no drift"
        failing = job("kept", "fail", **{ARGO: "PreSync", ARGO_DELETE: "HookFailed"})
        stand.commit(hooks[0], hooks[1], failing, config_map("settings", a="2"))
        await stand.until(Phase.FAILED, 2)
        await asyncio.to_thread(stand.cluster.api.until_gone, stand.path("jobs", "kept"))
        assert stand.uid("jobs", "anew") not in ("", uids[1])
        assert stand.cluster.api.get(stand.path("configmaps", "settings"))["data"] == {"a": "1"}


async def test_helm_tells_the_first_deployment_from_later_ones_and_orders_by_weight(stand: Stand) -> None:
    """What a hook uses comes before it at the same weight; tests are not run."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migrate"}}
    account["metadata"]["annotations"] = {HELM: "pre-install,pre-upgrade", WEIGHT: "-5"}  # type: ignore[index]
    again = job("again", **{HELM: "post-upgrade", HELM_DELETE: "before-hook-creation,hook-succeeded"})
    hooks = [
        job("install", **{HELM: "pre-install", WEIGHT: "5"}),
        job("both", **{HELM: "pre-install,pre-upgrade", WEIGHT: "-5"}),
        account,
        again,
        job("probe", **{HELM: "test"}),
        job("undo", **{HELM: "pre-rollback, post-rollback"}),
    ]
    stand.commit(*hooks, config_map("settings", a="1"))
    async with stand.serving() as server:
        await stand.until(Phase.HEALTHY)
        assert stand.acts() == ["+serviceaccount/migrate", "+job/both", "+job/install", "+configmap/settings"]
        stand.faults.requests.clear()
        stand.commit(*hooks, config_map("settings", a="2"))
        await healthy(server, ["web"], 2)
        assert [act for act in stand.acts() if act[0] == "+"] == [
            "+serviceaccount/migrate",
            "+job/both",
            "+configmap/settings",
            "+job/again",
        ]
        assert stand.uid("jobs", "again") == ""


async def test_going_back_runs_helms_rollback_hooks_in_place_of_those_of_an_upgrade(stand: Stand) -> None:
    """Those of the content that is gone back to, by weight; Argo CD's run as at every Deployment, the way forward is an upgrade,
    and `trimtab plan PATH` says so beforehand.
    """

    def jobs(version: str) -> list[dict[str, Any]]:
        return [
            job("up", **{HELM: "pre-upgrade"}),
            job("checked", **{HELM: "post-upgrade"}),
            job(f"down-to-{version}", **{HELM: "pre-rollback", WEIGHT: "5"}),
            job("dump", **{HELM: "pre-rollback", WEIGHT: "-5", HELM_DELETE: "hook-succeeded"}),
            job("tell", **{HELM: "post-rollback"}),
            job("argo", **{ARGO: "PreSync"}),
            config_map("settings", version=version),
        ]

    found, foreseen = [], []
    async with stand.serving() as server:
        for number, version in enumerate(("1", "2", "1", "2"), 1):
            stand.faults.requests.clear()
            stand.repository.application("web", *jobs(version))
            view = await asyncio.to_thread(offline_plan, str(stand.repository.path), "prod", str(stand.data))
            foreseen.append([step.object.name for step in view.steps if step.action != "remove"])
            stand.commit(*jobs(version))
            await healthy(server, ["web"], number)
            found.append([act for act in stand.acts() if act[0] == "+"])
        assert stand.uid("jobs", "dump") == ""
    assert [sorted(names) for names in foreseen] == [sorted(act.partition("/")[2] for act in acts) for acts in found]
    up = ["+job/argo", "+job/up", "+configmap/settings", "+job/checked"]
    assert [sorted(found[0]), found[3][2:]] == [["+configmap/settings", "+job/argo"], up[2:]]
    assert [sorted(found[index]) for index in (1, 3)] == [sorted(up)] * 2
    assert found[2] == ["+job/dump", "+job/argo", "+job/down-to-1", "+configmap/settings", "+job/tell"]


async def ended(stand: Stand) -> None:
    """Until nothing is left on the record."""
    assert stand.server is not None
    for _ in range(1500):
        if KEY not in states(stand.server):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(stand.current)


@pytest.mark.parametrize(
    ("name", "before", "after"), [(ARGO, "PreDelete", "PostDelete"), (HELM, "pre-delete", "post-delete")], ids=["argo", "helm"]
)
async def test_an_application_that_ends_runs_its_hooks_for_that_also_after_a_restart(
    stand: Stand, name: str, before: str, after: str
) -> None:
    """Before the first removal and after the last, although Git has them no more; one that fails stops it, until another try."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "backup", "annotations": {name: before}}}
    hooks = [account, job("backup", "complete:400ms", **{name: before}), job("tell", "complete:200ms", **{name: after})]
    stand.repository.declare(
        "environment",
        "Environment",
        "prod",
        {
            "target": {
                "kind": "kubernetes",
                "kubeconfig": str(stand.repository.path.parent / "kubeconfig"),
                "namespace": stand.namespace,
            },
            "removal": {"percent": 100, "emptyRender": "allow"},
        },
    )
    stand.commit(*hooks, deployment("web"), config_map("settings", a="1"))
    async with stand.serving():
        await stand.until(Phase.HEALTHY)
        assert sorted(stand.acts()) == ["+configmap/settings", "+deployment/web"]
    stand.faults.requests.clear()
    stand.repository.remove("web")
    async with stand.serving():
        await ended(stand)
    found = stand.acts()
    assert found[:2] == ["+serviceaccount/backup", "+job/backup"], found
    assert sorted(found[2:4]) == ["-configmap/settings", "-deployment/web"]
    assert found[4] == "+job/tell"
    assert sorted(found[5:]) == ["-job/backup", "-job/tell", "-serviceaccount/backup"]
    for kind, one in (("jobs", "backup"), ("jobs", "tell"), ("deployments", "web"), ("configmaps", "settings")):
        assert stand.uid(kind, one) == ""


async def test_a_failed_hook_before_an_end_leaves_everything_where_it_is(stand: Stand) -> None:
    """With its reason; declared again without it, the application is what it was."""
    stand.commit(job("backup", "fail", **{HELM: "pre-delete"}), config_map("settings", a="1"))
    async with stand.serving() as server:
        await stand.until(Phase.HEALTHY)
        uid = stand.uid("configmaps", "settings")
        stand.repository.remove("web")
        server.wake()
        held = await stand.until(Phase.HELD, 2)
        assert stand.uid("jobs", "backup") == ""
        plan = server.engine.current().world.live[KEY].plan
        assert plan is not None
        assert "nothing" in held.message or "removal" in held.message
        await Commands(server.engine).approve("web", "prod", plan.hash, "ada")
        failed = await stand.until(Phase.FAILED, 2)
        assert "the pre-removal hook Job/backup failed" in failed.message
        assert stand.uid("configmaps", "settings") == uid
        stand.commit(config_map("settings", a="1"))
        await stand.until(Phase.HEALTHY, 3)
        await asyncio.to_thread(stand.cluster.api.until_gone, stand.path("jobs", "backup"))
        assert stand.uid("configmaps", "settings") == uid


async def test_a_hook_without_a_name_of_its_own_gets_the_same_for_the_same_content(stand: Stand) -> None:
    """So that its object is found again, and does not pile up; another content leaves nothing of the one before."""

    def migrate(image: str) -> dict[str, Any]:
        made = job("x", **{ARGO: "PreSync"})
        del made["metadata"]["name"]
        made["metadata"]["generateName"] = "migrate-"
        made["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return made

    names = []
    async with stand.serving():
        for number, image in enumerate(("registry.test/m:1", "registry.test/m:1", "registry.test/m:2"), 1):
            stand.commit(migrate(image), config_map("settings", a=str(number)))
            await stand.until(Phase.HEALTHY, number)
            (one,) = stand.cluster.api.items(stand.path("jobs"))
            names.append((one["metadata"]["name"], one["metadata"]["uid"]))
    assert names[0][0] == names[1][0] != names[2][0]
    assert names[0][1] != names[1][1]
    assert all(name.startswith("migrate-") for name, _ in names)


async def test_what_is_wrong_in_a_hook_is_said_before_anything_is_done(stand: Stand) -> None:
    """A field that the server does not know, although an object of that name is there; a phase that does not exist."""
    stand.commit(job("smoke", **{ARGO: "PostSync"}), config_map("settings", a="1"))
    async with stand.serving():
        await stand.until(Phase.HEALTHY)
        wrong = job("smoke", **{ARGO: "PostSync"})
        wrong["spec"]["backOffLimit"] = 3
        stand.commit(wrong, config_map("settings", a="2"))
        assert "backOffLimit" in (await stand.until(Phase.FAILED, 2)).message
        stand.commit(job("smoke", **{ARGO: "AfterSync"}), config_map("settings", a="3"))
        assert '"aftersync" is not known' in (await stand.until(Phase.FAILED, 3)).message
        assert stand.cluster.api.get(stand.path("configmaps", "settings"))["data"] == {"a": "1"}


async def test_a_settled_application_costs_nothing_for_its_hooks(stand: Stand) -> None:
    """Neither a look nor a wish to look asks about them."""
    stand.commit(job("migrate", **{ARGO: "PreSync", ARGO_DELETE: "HookSucceeded"}), config_map("settings", a="1"))
    async with stand.serving() as server:
        await stand.until(Phase.HEALTHY)
        await asyncio.sleep(0.5)
        stand.faults.requests.clear()
        await Commands(server.engine).sync("web", "", "ada")
        await asyncio.sleep(1)
        assert [seen.path for seen in stand.faults.requests if "job" in seen.path and "watch=" not in seen.path] == []
        assert stand.acts() == []


@pytest.mark.parametrize("moment", range(4))
def test_a_server_that_is_killed_in_the_middle_runs_no_hook_twice(stand: Stand, moment: int) -> None:
    """kill -9 before, while and after a hook runs, and while another is to come: each is one object, and the release gets there."""
    stand.commit(
        job("migrate", "complete:700ms", **{ARGO: "PreSync"}),
        config_map("settings", a="1"),
        job("smoke", "complete:700ms", **{ARGO: "PostSync"}),
    )
    served = Served(stand.repository.path, stand.data)
    api = stand.cluster.api
    try:
        served.start()
        waits = [("jobs", "migrate"), ("jobs", "migrate"), ("configmaps", "settings"), ("jobs", "smoke")][moment]
        api.until(stand.path(*waits), lambda live: moment != 1 or live.get("status", {}).get("succeeded"))
        served.kill()
        seen = {name: stand.uid("jobs", name) for name in ("migrate", "smoke")}
        served.start()
        api.until(stand.path("jobs", "smoke"), lambda live: live.get("status", {}).get("succeeded"), 30)
    finally:
        served.down()
    for name, uid in seen.items():
        assert uid in ("", stand.uid("jobs", name))
    made = [act for act in stand.acts() if act.startswith("-job")]
    assert made == [], "none was made anew"
