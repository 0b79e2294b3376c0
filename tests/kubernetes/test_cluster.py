"""The test cluster is a real one, and it misbehaves when it is told to and only then."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.cluster import TOKENS, Cluster, until
from tests.kubernetes.faults import FaultProxy
from tests.kubernetes.program import SURROUNDINGS

MIB = 1 << 20


def config_map(namespace: str, name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def template(behaviour: str = "", *, log: str | None = None, **spec: Any) -> dict[str, Any]:
    annotations = {"node.test/behaviour": behaviour} | ({} if log is None else {"node.test/log": log})
    containers = [{"name": "web", "image": "registry.test/web:1"}]
    return {"metadata": {"labels": {"app": "web"}, "annotations": annotations}, "spec": {"containers": containers, **spec}}


def deployment(namespace: str, behaviour: str = "", replicas: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(behaviour, **more)},
    }


def pod(namespace: str, behaviour: str = "", name: str = "web", **more: Any) -> dict[str, Any]:
    made = template(behaviour, **more)
    made["metadata"] |= {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", **made}


def job(namespace: str, behaviour: str = "", **spec: Any) -> dict[str, Any]:
    body = {"template": template(behaviour, restartPolicy="Never"), **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work", "namespace": namespace}, "spec": body}


def condition(live: dict[str, Any], kind: str) -> str:
    found = [each["status"] for each in live.get("status", {}).get("conditions", []) if each["type"] == kind]
    return found[0] if found else "absent"


def container(live: dict[str, Any]) -> dict[str, Any]:
    found = live.get("status", {}).get("containerStatuses", [])
    return found[0] if found else {"state": {}}


def waits_with(reason: str) -> Any:
    return lambda live: container(live)["state"].get("waiting", {}).get("reason") == reason


def events(api: Api, namespace: str) -> list[str]:
    return [f"{event['reason']}: {event['message']}" for event in api.items(f"/api/v1/namespaces/{namespace}/events")]


# It is a cluster


def test_it_says_that_it_is_ready_and_which_version_it_is(cluster: Cluster) -> None:
    """The API server answers, with the version that go.mod names."""
    assert cluster.api.get("/readyz") == "ok"
    required = (Path(__file__).parent.parent / "controlplane" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {cluster.api.get('/version')['gitVersion'].partition('-')[0].partition('+')[0]}\n" in required


def test_every_part_runs_in_reasonable_memory(cluster: Cluster) -> None:
    """No part of a quiet cluster is out of bounds; a leak would show here first."""
    used = cluster.resident_bytes()
    assert set(used) == {"etcd", "apiserver", "controllers", "scheduler", "node"}
    assert sum(used.values()) < 1500 * MIB, used


def test_server_side_apply_creates_changes_and_says_who_owns_what(cluster: Cluster, namespace: str) -> None:
    """Apply works as in any cluster: fields have managers, and a conflict names the other one."""
    made = cluster.api.apply(config_map(namespace, a="1"))
    assert made["data"] == {"a": "1"}
    assert [entry["manager"] for entry in made["metadata"]["managedFields"]] == ["test"]
    with pytest.raises(ApiError, match=r'conflict with \\"test\\".*data\.a') as refused:
        cluster.api.apply(config_map(namespace, a="2"), manager="other")
    assert refused.value.answer.status == 409
    assert cluster.api.apply(config_map(namespace, a="2"), manager="other", force=True)["data"] == {"a": "2"}


def test_requests_are_judged_by_who_makes_them(cluster: Cluster, namespace: str) -> None:
    """RBAC is on: a user without rights is refused, an unknown one is not let in, a certificate is as good as a token."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert cluster.api_as(TOKENS["nobody"]).request("GET", path).status == 403
    assert cluster.api_as("unknown").request("GET", path).status == 401
    assert json.loads(cluster.kubeconfig.read_text())["users"][0]["user"] == {"token": cluster.token}
    trust = ssl.create_default_context(cafile=str(cluster.authority))
    trust.load_cert_chain(cluster.directory / "keys" / "admin.crt", cluster.directory / "keys" / "admin.key")
    with urlopen(Request(cluster.server + path), context=trust) as answer:
        assert answer.status == 200


def test_a_service_account_gets_a_token_that_works(cluster: Cluster, namespace: str) -> None:
    """Tokens are signed and accepted, and have no rights until they are bound to some."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    made = cluster.api.good("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", asked)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    answer = cluster.api_as(made["status"]["token"]).request("GET", path)
    assert answer.status == 403
    assert f"system:serviceaccount:{namespace}:default" in answer.json["message"]


def test_a_token_can_expire_while_a_test_looks(cluster: Cluster, namespace: str) -> None:
    """One that is still good is accepted; one that has expired is not."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert cluster.api_as(cluster.token_for(namespace, seconds=30)).request("GET", path).status == 403
    assert cluster.api_as(cluster.token_for(namespace, seconds=-1)).request("GET", path).status == 401


def test_a_deployment_becomes_ready_pods_and_goes_with_them(cluster: Cluster, namespace: str) -> None:
    """Controllers, scheduler and node work together, and what belongs to a removed owner is collected."""
    path = cluster.api.path(deployment(namespace))
    cluster.api.apply(deployment(namespace, replicas=3))
    live = cluster.api.until(path, lambda live: live.get("status", {}).get("readyReplicas") == 3)
    assert condition(live, "Available") == "True"
    pods = cluster.api.items(f"/api/v1/namespaces/{namespace}/pods")
    assert [each["status"]["phase"] for each in pods] == ["Running"] * 3
    assert len({each["status"]["podIP"] for each in pods}) == 3
    cluster.api.delete(path, propagationPolicy="Foreground")
    cluster.api.until_gone(path)
    assert cluster.api.items(f"/api/v1/namespaces/{namespace}/pods") == []


def test_a_service_finds_its_pods(cluster: Cluster, namespace: str) -> None:
    """Endpoints follow readiness."""
    cluster.api.apply(pod(namespace))
    ports = [{"port": 80}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    cluster.api.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": spec})
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    def ready() -> bool:
        found = [endpoint for each in cluster.api.items(slices) for endpoint in each["endpoints"] or ()]
        return [endpoint["conditions"]["ready"] for endpoint in found] == [True]

    until(ready)


def test_a_namespace_goes_with_everything_in_it(cluster: Cluster) -> None:
    """A removed namespace is emptied, pods too, and is gone."""
    name = cluster.namespace()
    cluster.api.apply(deployment(name))
    cluster.api.apply(config_map(name))
    cluster.api.until(cluster.api.path(deployment(name)), lambda live: live.get("status", {}).get("readyReplicas") == 1)
    cluster.api.delete(f"/api/v1/namespaces/{name}")
    cluster.api.until_gone(f"/api/v1/namespaces/{name}", 30)


# Pods behave as they are told


def test_a_crash_loop_looks_like_one(cluster: Cluster, namespace: str) -> None:
    """Restarts are counted, the last end and its code are shown, and an event tells of the pause."""
    cluster.api.apply(pod(namespace, "crashloop", log="no route to database"))
    path = cluster.api.path(pod(namespace))
    live = cluster.api.until(path, waits_with("CrashLoopBackOff"))
    shown = container(live)
    assert shown["restartCount"] == 1
    assert shown["lastState"]["terminated"]["exitCode"] == 1
    assert "restarting failed container=web" in shown["state"]["waiting"]["message"]
    assert condition(live, "Ready") == "False"
    assert condition(live, "PodScheduled") == "True"
    until(lambda: any("BackOff: Back-off restarting failed container web" in event for event in events(cluster.api, namespace)))
    assert cluster.api.get(path + "/log?previous=true") == "no route to database\n"
    cluster.api.until(path, lambda live: container(live)["restartCount"] >= 2)


def test_an_image_that_is_not_there_cannot_be_pulled(cluster: Cluster, namespace: str) -> None:
    """First the failed pull, then the pause, with the image named; and there is no log to be had."""
    cluster.api.apply(pod(namespace, "imagepull"))
    path = cluster.api.path(pod(namespace))
    live = cluster.api.until(path, waits_with("ImagePullBackOff"))
    assert "registry.test/web:1" in container(live)["state"]["waiting"]["message"]
    assert live["status"]["phase"] == "Pending"
    until(lambda: any("Failed to pull image" in event for event in events(cluster.api, namespace)))
    refused = cluster.api.request("GET", path + "/log")
    assert (refused.status, "waiting to start" in refused.text) == (400, True)


def test_an_unready_pod_runs_and_is_not_ready(cluster: Cluster, namespace: str) -> None:
    """A probe that fails keeps the Deployment from being available, and an event says which probe."""
    cluster.api.apply(deployment(namespace, "unready"))
    path = cluster.api.path(deployment(namespace))
    live = cluster.api.until(
        path, lambda live: live.get("status", {}).get("unavailableReplicas") == 1 and live["status"].get("replicas")
    )
    assert condition(live, "Available") == "False"
    until(lambda: any("Readiness probe failed" in event for event in events(cluster.api, namespace)))
    [only] = cluster.api.items(f"/api/v1/namespaces/{namespace}/pods")
    assert only["status"]["phase"] == "Running"
    assert condition(only, "Ready") == "False"


def test_a_pod_can_fall_ill_and_recover(cluster: Cluster, namespace: str) -> None:
    """Another behaviour of the same pod is taken up at once."""
    cluster.api.apply(pod(namespace))
    path = cluster.api.path(pod(namespace))
    cluster.api.until(path, lambda live: condition(live, "Ready") == "True")
    for behaviour, ready in (("unready", "False"), ("", "True"), ("crashloop", "False")):
        cluster.api.merge(path, {"metadata": {"annotations": {"node.test/behaviour": behaviour}}})
        live = cluster.api.until(path, lambda live, ready=ready: condition(live, "Ready") == ready)
        [shown] = [each for each in live["status"]["conditions"] if each["type"] == "Ready"]
        assert shown.get("reason") == (None if ready == "True" else "ContainersNotReady")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("configerror", "CreateContainerConfigError"), ("stuck", "ContainerCreating"), ("oom", "CrashLoopBackOff")],
)
def test_other_troubles_show_their_reason(cluster: Cluster, namespace: str, behaviour: str, reason: str) -> None:
    """A missing Secret, a container that is never made, and one that takes too much memory."""
    cluster.api.apply(pod(namespace, behaviour))
    live = cluster.api.until(cluster.api.path(pod(namespace)), waits_with(reason))
    last = container(live).get("lastState", {}).get("terminated", {}).get("reason")
    assert last == ("OOMKilled" if behaviour == "oom" else None)


def test_a_failing_init_container_keeps_the_others_from_starting(cluster: Cluster, namespace: str) -> None:
    """The trouble is on the init container; the pod is not initialized."""
    made = pod(namespace, "initcrash")
    made["spec"]["initContainers"] = [{"name": "migrate", "image": "registry.test/migrate:1"}]
    cluster.api.apply(made)

    def stuck(live: dict[str, Any]) -> bool:
        [init] = live["status"].get("initContainerStatuses", [{"state": {}}])
        return bool(init["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")

    live = cluster.api.until(cluster.api.path(made), stuck)
    assert container(live)["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(live, "Initialized") == "False"


def test_a_slow_pod_is_ready_later(cluster: Cluster, namespace: str) -> None:
    """It runs at once and is ready when it said it would be."""
    cluster.api.apply(pod(namespace, "slow:1s"))
    path = cluster.api.path(pod(namespace))
    live = cluster.api.until(path, lambda live: live["status"]["phase"] == "Running")
    assert condition(live, "Ready") == "False"
    cluster.api.until(path, lambda live: condition(live, "Ready") == "True")


def test_jobs_complete_and_fail(cluster: Cluster, namespace: str) -> None:
    """The pods of a Job end, well or badly, and the Job says so."""
    cluster.api.apply(job(namespace))
    path = cluster.api.path(job(namespace))
    cluster.api.until(path, lambda live: condition(live, "Complete") == "True")
    cluster.api.delete(path, propagationPolicy="Foreground")
    cluster.api.until_gone(path)
    cluster.api.apply(job(namespace, "fail", backoffLimit=0))
    live = cluster.api.until(path, lambda live: condition(live, "Failed") == "True")
    assert [each["reason"] for each in live["status"]["conditions"] if each["type"] == "Failed"] == ["BackoffLimitExceeded"]


def test_a_pod_that_fits_nowhere_is_left_unscheduled_with_the_reason(cluster: Cluster, namespace: str) -> None:
    """The real scheduler says why."""
    made = pod(namespace, nodeSelector={"disk": "none"})
    cluster.api.apply(made)
    live = cluster.api.until(cluster.api.path(made), lambda live: condition(live, "PodScheduled") == "False")
    assert "didn't match Pod's node affinity/selector" in live["status"]["conditions"][0]["message"]


def test_a_pod_takes_the_time_to_stop_that_it_asked_for(cluster: Cluster, namespace: str) -> None:
    """It is still there while it stops, and gone afterwards."""
    made = pod(namespace)
    made["metadata"]["annotations"]["node.test/stop"] = "2s"
    cluster.api.apply(made)
    path = cluster.api.path(made)
    cluster.api.until(path, lambda live: condition(live, "Ready") == "True")
    cluster.api.delete(path)
    assert "deletionTimestamp" in cluster.api.get(path)["metadata"]
    cluster.api.until_gone(path)


def test_logs_come_through_the_api_server(cluster: Cluster, namespace: str) -> None:
    """The whole, its end, and with times; and a follower is let go when the pod goes."""
    cluster.api.apply(pod(namespace, log="one\ntwo\nthree\n"))
    path = cluster.api.path(pod(namespace))
    cluster.api.until(path, lambda live: condition(live, "Ready") == "True")
    assert cluster.api.get(path + "/log") == "one\ntwo\nthree\n"
    assert cluster.api.get(path + "/log?tailLines=2&container=web") == "two\nthree\n"
    assert cluster.api.get(path + "/log?tailLines=1&timestamps=true").endswith("Z three\n")
    trust = ssl.create_default_context(cafile=str(cluster.authority))
    asked = Request(f"{cluster.server}{path}/log?follow=true", headers={"Authorization": f"Bearer {cluster.token}"})
    with urlopen(asked, context=trust, timeout=10) as answer:
        assert [answer.readline() for _ in range(3)] == [b"one\n", b"two\n", b"three\n"]
        cluster.api.delete(path)
        assert answer.read() == b""


# More than one, and broken ones


def test_a_second_cluster_is_another_one(cluster: Cluster, second_cluster: Cluster, namespace: str) -> None:
    """What is in one is not in the other, and neither lets the other's tokens' owner or certificates pass for its own."""
    assert cluster.server != second_cluster.server
    assert second_cluster.api.request("GET", f"/api/v1/namespaces/{namespace}").status == 404
    mistaken = Api(second_cluster.server, cluster.token, ssl.create_default_context(cafile=str(cluster.authority)))
    with pytest.raises(ssl.SSLCertVerificationError):
        mistaken.get("/api")


def test_a_killed_api_server_is_away_and_then_has_everything(own_cluster: Cluster) -> None:
    """After kill -9 nobody answers; started again, at the same address, it has what was there and goes on working."""
    space = own_cluster.namespace()
    own_cluster.api.apply(config_map(space, a="1"))
    with own_cluster.without("apiserver"), pytest.raises(ConnectionRefusedError):
        own_cluster.api.get("/readyz")
    assert own_cluster.api.get(own_cluster.api.path(config_map(space)))["data"] == {"a": "1"}
    own_cluster.api.apply(deployment(space))
    own_cluster.api.until(
        own_cluster.api.path(deployment(space)), lambda live: live.get("status", {}).get("readyReplicas") == 1, 30
    )


def test_etcd_can_be_lost_for_a_while_and_the_whole_cluster_started_again(own_cluster: Cluster) -> None:
    """Without etcd the API server is not ready; a cluster that is started anew on its directory is the same one."""
    space = own_cluster.namespace()
    own_cluster.api.apply(config_map(space, a="1"))
    with own_cluster.without("etcd"):
        end = time.monotonic() + 30
        while own_cluster.api.request("GET", "/readyz").status != 500:
            assert time.monotonic() < end, "the API server does not notice that etcd is gone"
            time.sleep(0.1)
    assert own_cluster.api.get(own_cluster.api.path(config_map(space)))["data"] == {"a": "1"}
    address = own_cluster.server
    own_cluster.down()
    own_cluster.up()
    assert own_cluster.server == address
    assert own_cluster.api.get(own_cluster.api.path(config_map(space)))["data"] == {"a": "1"}


def test_a_paused_api_server_holds_its_clients(cluster: Cluster) -> None:
    """Paused, it neither answers nor refuses; resumed, it goes on."""
    cluster.pause("apiserver")
    try:
        with pytest.raises(TimeoutError):
            cluster.api.request("GET", "/readyz", seconds=0.3)
    finally:
        cluster.resume("apiserver")
    assert cluster.api.get("/readyz") == "ok"


def test_nothing_of_a_cluster_outlives_a_test_run_that_is_killed() -> None:
    """A run that has no time to clean up takes its cluster with it all the same, processes and files."""
    script = (
        "import json, sys, time\nfrom tests.kubernetes.cluster import Cluster\n"
        "made = Cluster('killed', parts=('etcd',)).up()\n"
        "print(json.dumps([made.pids['etcd'], str(made.directory)]), flush=True)\ntime.sleep(1000)\n"
    )
    root = Path(__file__).parent.parent.parent
    home = {name: value for name, value in SURROUNDINGS.items() if name in ("HOME", "XDG_CACHE_HOME")}  # where the program is
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=root, env={**os.environ, **home}, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, directory = json.loads(run.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        run.kill()
    until(lambda: not Path(f"/proc/{pid}").exists() and not Path(directory).exists())


# The proxy that misbehaves


def through(faults: FaultProxy, cluster: Cluster) -> Api:
    return Api(faults.server, cluster.token, ssl.create_default_context(cafile=str(cluster.authority)))


def test_without_a_rule_the_proxy_changes_nothing(faults: FaultProxy, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Writes, lists and failures pass as they are, and are counted."""
    api = through(faults, cluster)
    api.apply(config_map(namespace, a="1"))
    assert [each["metadata"]["name"] for each in api.items(f"/api/v1/namespaces/{namespace}/configmaps?limit=500")][-1] == "one"
    assert api.request("GET", "/apis/absent").status == 404
    assert [(seen.method, seen.status) for seen in faults.requests if namespace in seen.path] == [("PATCH", 201), ("GET", 200)]
    assert faults.count("PATCH") == 1
    assert faults.server in faults.kubeconfig(cluster.kubeconfig, tmp_path / "kubeconfig").read_text()


def test_failures_come_as_often_as_asked(faults: FaultProxy, cluster: Cluster) -> None:
    """Some pass, some fail, and then all is well; only those that the rule is about."""
    api = through(faults, cluster)
    faults.fail(503, path="/version", skip=1, times=2)
    faults.fail(429, retry_after=1, path="/readyz", times=1)
    assert [api.request("GET", "/version").status for _ in range(4)] == [200, 503, 503, 200]
    limited = api.request("GET", "/readyz")
    assert (limited.status, limited.headers["retry-after"], limited.json["reason"]) == (429, "1", "TooManyRequests")
    assert api.request("GET", "/readyz").status == 200


def test_a_cut_request_does_nothing_and_a_lost_answer_hides_what_was_done(
    faults: FaultProxy, cluster: Cluster, namespace: str
) -> None:
    """To the client both look the same; on the server they are not."""
    api = through(faults, cluster)
    path = api.path(config_map(namespace))
    faults.cut(method="PATCH", times=1)
    faults.lose_answer(method="PATCH", times=1)
    for done in (False, True):
        with pytest.raises((HTTPException, OSError)):
            api.apply(config_map(namespace, a="1"))
        assert cluster.api.exists(path) == done


def test_an_answer_can_be_slow_or_end_half_way(faults: FaultProxy, cluster: Cluster) -> None:
    """A client's patience runs out, or it gets less than it was promised."""
    api = through(faults, cluster)
    faults.slow(5.0, path="/version", times=1)
    with pytest.raises(TimeoutError):
        api.request("GET", "/version", seconds=0.3)
    faults.cut_answer(after_bytes=100, path="/apis/apps/v1", times=1)
    with pytest.raises((HTTPException, OSError)):
        api.get("/apis/apps/v1")
    assert api.get("/apis/apps/v1")["kind"] == "APIResourceList"


def test_watches_are_cut_or_go_silent(faults: FaultProxy, cluster: Cluster, namespace: str) -> None:
    """An open watch ends when it is cut; a muted one stays open and tells nothing."""
    api = through(faults, cluster)
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=20"
    ended: list[str] = []

    def watch() -> None:
        try:
            ended.append(api.request("GET", path, seconds=20).text)
        except (HTTPException, OSError) as fault:
            ended.append(type(fault).__name__)

    watcher = threading.Thread(target=watch)
    watcher.start()
    until(lambda: faults.requests and faults.requests[-1].status == 200)
    time.sleep(0.1)
    assert faults.cut_streams() == 1
    watcher.join(5)
    assert ended
    assert not ended[0].startswith("{")
    faults.mute(path="watch=1", times=1)
    cluster.api.apply(config_map(namespace, a="1"))
    with pytest.raises(TimeoutError):
        api.request("GET", path, seconds=0.5)


def test_a_server_can_be_away_and_come_back_at_the_same_address(faults: FaultProxy, cluster: Cluster) -> None:
    """Refused connections are refused by the kernel, as when no process listens."""
    api = through(faults, cluster)
    address = faults.server
    faults.refuse()
    with pytest.raises(ConnectionRefusedError):
        api.get("/version")
    faults.accept()
    assert faults.server == address
    assert api.get("/version")["major"] == "1"
