"""What `trimtab doctor` says about a cluster."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import ENVIRONMENT, config_map, environment, installation_name, manifest, opened
from tests.kubernetes.test_confined import Bound, bound
from tests.kubernetes.test_loop import Repository
from tests.kubernetes.test_projects import deployer, teams

from trimtab.core.model.errors import TransientError
from trimtab.core.model.mandate import Mandate
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.views import Finding
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.targets.kubernetes.expiry import certificate_ends
from trimtab.targets.kubernetes.target import KubernetesTargets
from trimtab.wiring import offline_doctor

__all__ = ["bound", "teams"]

CONFIG_MAP, DEPLOYMENT = ObjectRef("v1", "ConfigMap", "", "a"), ObjectRef("apps/v1", "Deployment", "", "a")
CRON_JOB = ObjectRef("batch/v1", "CronJob", "", "a")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def test_an_administrator_s_cluster_is_well(cluster: Cluster, namespace: str) -> None:
    """Its version, the clock, the credentials and all rights; and the question leaves nothing behind."""
    async with opened(cluster.kubeconfig, namespace) as target:
        found = by_name(await target.check([CONFIG_MAP, DEPLOYMENT]))
    assert {name: finding.state for name, finding in found.items()} == dict.fromkeys(
        ["server", "clock", "credentials", "api groups", "rights"], "ok"
    )
    assert found["server"].message.startswith("Kubernetes v1.")
    assert found["rights"].message == "all that 2 kinds in use need"


async def test_missing_rights_are_named_with_the_rule_that_would_give_them(bound: Bound) -> None:
    """For the kinds in use, in the namespaces where they are used, and for no others."""
    async with opened(bound.kubeconfig, "", namespaces=bound.namespaces) as target:
        assert by_name(await target.check([CONFIG_MAP, DEPLOYMENT]))["rights"].state == "ok"
        policy = ObjectRef("policy/v1", "PodDisruptionBudget", bound.other, "a")
        rights = by_name(await target.check([CONFIG_MAP, policy]))["rights"]
    assert rights.state == "failed"
    verbs = "list, watch, get, create, patch, delete"
    assert rights.message == f"may not {verbs} poddisruptionbudgets.policy in {bound.other}"
    rule = f'{{apiGroups: ["policy"], resources: [poddisruptionbudgets], verbs: [{verbs}]}}'
    assert rights.remedy == f"Add to its Role in {bound.other}: {rule}"


async def test_a_bound_account_without_namespaces_may_not_watch_everywhere(bound: Bound) -> None:
    async with opened(bound.kubeconfig, bound.home) as target:
        rights = by_name(await target.check([CONFIG_MAP]))["rights"]
    assert rights.message == "may not list, watch configmaps"
    assert 'to its ClusterRole: {apiGroups: [""], resources: [configmaps], verbs: [list, watch]}' in rights.remedy


async def test_the_account_of_a_project_is_asked_about_what_it_would_do(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """And an account that Trimtab may not act as is said to be such."""
    first, second = teams
    async with opened(cluster.kubeconfig, namespace) as target:
        inside, outside = (ObjectRef("v1", "ConfigMap", name, "a") for name in teams)
        name = f"system:serviceaccount:{first}:deployer"
        found = by_name(await target.under(deployer(first)).check([inside]))
        assert {name: one.state for name, one in found.items()} == {
            f"rights to watch for {name}": "ok",
            f"rights of {name}": "ok",
        }
        found = by_name(await target.under(deployer(first)).check([outside]))
        assert found[f"rights to watch for {name}"].state == "ok"
        assert found[f"rights of {name}"].message == f"may not get, create, patch, delete configmaps in {second}"
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": cluster.token_for(namespace, seconds=600)}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    async with opened(tmp_path / "kubeconfig", namespace) as target:
        name = "system:serviceaccount:kube-system:default"
        found = by_name(await target.under(Mandate(name)).check([inside]))
        assert found[f"rights to watch for {name}"].state == "ok"
        assert "cannot impersonate" in found[f"rights of {name}"].message


async def test_credentials_that_end_soon_are_a_warning(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """With the time that they themselves name."""
    for seconds, state in ((600, "warning"), (30 * 86_400, "ok")):
        config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
        config["users"][0]["user"] = {"token": cluster.token_for(namespace, seconds=seconds)}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        async with opened(path, namespace) as target:
            found = by_name(await target.check([]))["credentials"]
        ends = SystemClock().now() + timedelta(seconds=seconds)
        assert found.state == state
        assert any(f"{ends + timedelta(minutes=minute):%Y-%m-%d %H:%M}" in found.message for minute in (-1, 0, 1))


async def test_a_client_certificate_s_end_is_read(cluster: Cluster, namespace: str) -> None:
    async with opened(cluster.kubeconfig_for("certificate"), namespace) as target:
        assert "client certificate ends at 20" in by_name(await target.check([]))["credentials"].message


def test_the_end_of_a_real_certificate_is_what_openssl_reads(cluster: Cluster) -> None:
    """The server's own, taken apart by both."""
    place = urlsplit(cluster.server)
    context = ssl.create_default_context(cafile=str(cluster.authority))
    with (
        socket.create_connection((place.hostname, place.port)) as plain,
        context.wrap_socket(plain, server_hostname=place.hostname) as secure,
    ):
        der, read = secure.getpeercert(binary_form=True), secure.getpeercert()
    assert der is not None
    assert read is not None
    ends = certificate_ends(ssl.DER_cert_to_PEM_cert(der).encode())
    assert ends is not None
    assert ends.timestamp() == ssl.cert_time_to_seconds(str(read["notAfter"]))


class Wrong(SystemClock):
    def now(self) -> datetime:
        return super().now() - timedelta(seconds=90)


async def test_a_clock_that_is_wrong_is_a_warning(cluster: Cluster, namespace: str) -> None:
    """Against the server's own word for the time."""
    targets = KubernetesTargets(installation=installation_name(), clock=Wrong(), chance=SystemChance())
    try:
        found = by_name(await targets.get(ENVIRONMENT, environment(cluster.kubeconfig, namespace)).check([]))["clock"]
    finally:
        await targets.close()
    assert found.state == "warning"
    assert "s ahead of this machine's" in found.message


@pytest.fixture
def orphan(cluster: Cluster) -> Iterator[str]:
    """An aggregated API whose server is not there."""
    name = "v1.orphans.test"
    spec: dict[str, Any] = {"group": "orphans.test", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}
    service = {"service": {"name": "none", "namespace": "default"}, "insecureSkipTLSVerify": True}
    body = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name}, "spec": spec | service}
    cluster.api.apply(body)
    yield "orphans.test/v1"
    cluster.api.delete(f"/apis/apiregistration.k8s.io/v1/apiservices/{name}")


async def test_an_api_that_does_not_answer_is_named(cluster: Cluster, namespace: str, orphan: str) -> None:
    async with opened(cluster.kubeconfig, namespace) as target:
        for _ in range(100):
            found = by_name(await target.check([]))["api groups"]
            if found.state == "warning":
                break
    assert orphan in found.message
    assert found.remedy


async def test_a_server_that_is_away_is_no_finding_but_an_error(own_cluster: Cluster, namespace: str) -> None:
    """Which the doctor tells as such, for that environment."""
    async with opened(own_cluster.kubeconfig, namespace) as target:
        await target.preview([manifest(config_map())])
        own_cluster.kill("apiserver")
        with pytest.raises(TransientError, match="no answer"):
            await target.check([])


async def test_without_a_server_the_same_is_asked_for_what_stands_in_a_directory(
    cluster: Cluster, namespace: str, teams: tuple[str, str], tmp_path: Path
) -> None:
    """From the machine where it is typed; the findings are those of the environment, one account after the other."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    account = deployer(teams[0]).account
    repository.declare("team", "Project", "team", {"account": account})
    repository.application("web", config_map("one"))
    repository.declare(
        "web", "Application", "web", {"project": "team", "source": {"path": "apps/web"}, "environments": [{"name": "prod"}]}
    )
    view = await asyncio.to_thread(offline_doctor, str(repository.path), "prod")
    found = by_name(view.findings)
    assert found["environment prod"].state == found["environment prod: server"].state == "ok"
    assert (
        found[f"environment prod: rights of {account}"].message == f"may not get, create, patch, delete configmaps in {namespace}"
    )
