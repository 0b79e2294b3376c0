"""A cluster whose kubeconfig is in a Secret of another cluster: found, followed when it changes, and never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import World, config_map, manifest, opened
from tests.kubernetes.test_projects import as_account

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.observed import Scope
from trimtab.targets.kubernetes import lent, requests, sources
from trimtab.targets.kubernetes.errors import Forbidden, Unauthorized

PAGE = (Path(__file__).parents[2] / "docs/howto/kubeconfig-in-a-secret.md").read_text(encoding="utf-8")


def put(cluster: Cluster, namespace: str, content: str, key: str = "kubeconfig") -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "second", "namespace": namespace}}
    cluster.api.apply(secret | {"data": {key: base64.b64encode(content.encode()).decode()}}, force=True)


def config_of(cluster: Cluster, token: str = "") -> str:
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    if token:
        config["users"][0]["user"] = {"token": token}
    return json.dumps(config)


def settings(namespace: str, **more: str) -> dict[str, Any]:
    return {"kubeconfigSecret": {"namespace": namespace, "name": "second", **more}}


async def test_the_secret_of_one_cluster_opens_another(
    cluster: Cluster, second_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """With no other right here than the documented one. What is applied is applied there, and nothing here."""
    found = re.search(r"^```yaml\n(apiVersion: rbac.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    for document in yaml.safe_load_all(found[1].replace("cluster-two", "second")):
        document["metadata"]["namespace"] = namespace
        for subject in document.get("subjects", ()):
            subject |= {"name": "default", "namespace": namespace}
        cluster.api.apply(document)
    put(cluster, namespace, config_of(second_cluster))
    home = second_cluster.namespace()
    async with opened(as_account(cluster, namespace, tmp_path / "kubeconfig"), home, **settings(namespace)) as target:
        await World(target).settle([manifest(config_map("one", key="a"))])
    assert second_cluster.api.get(f"/api/v1/namespaces/{home}/configmaps/one")["data"] == {"key": "a"}
    assert not cluster.api.exists(f"/api/v1/namespaces/{home}")


async def test_new_credentials_are_picked_up_when_the_old_ones_are_refused(
    cluster: Cluster, second_cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart; the request that met the refusal is carried out, and the watch goes on."""
    monkeypatch.setattr(lent, "READ_SECONDS_MIN", 0.0)
    home = second_cluster.namespace()
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "all", "namespace": home}, "rules": rules}
    binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": "all", "namespace": home}}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": home} for name in ("default", "next")]
    second_cluster.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "next", "namespace": home}})
    second_cluster.api.apply(role)
    second_cluster.api.apply(binding | {"roleRef": {"apiGroup": group, "kind": "Role", "name": "all"}, "subjects": subjects})
    put(cluster, namespace, config_of(second_cluster, second_cluster.token_for(home, seconds=600)))
    async with opened(cluster.kubeconfig, home, namespaces=[home], **settings(namespace)) as target:
        world = World(target)
        await world.settle([manifest(config_map("one", key="a"))])
        put(cluster, namespace, config_of(second_cluster, second_cluster.token_for(home, "next", seconds=600)))
        second_cluster.api.delete(f"/api/v1/namespaces/{home}/serviceaccounts/default")
        await _until_refused(second_cluster, target)
        await world.settle([manifest(config_map("one", key="b")), manifest(config_map("two"))])
        assert len(target.cluster.client.transport._open) == 2  # type: ignore[attr-defined]  # the old one serves its watch to the end
    assert second_cluster.api.get(f"/api/v1/namespaces/{home}/configmaps/one")["data"] == {"key": "b"}


async def _until_refused(cluster: Cluster, target: Any) -> None:
    """Until the server has noticed that the account of the token that is in use is gone."""
    carrier, resource = target.cluster.client.transport._lent.carrier, sources.SECRETS
    for _ in range(400):
        try:
            await carrier.send(requests.get(resource, target.cluster.namespace, "none"))
        except Forbidden:
            await asyncio.sleep(0.05)
        except Unauthorized:
            return
    raise AssertionError("the old token is still accepted")


async def test_another_server_is_followed_within_a_minute(
    cluster: Cluster, second_cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the Secret names another server, the next request after the time for it goes there."""
    monkeypatch.setattr(lent, "READ_SECONDS", 0.0)
    put(cluster, namespace, config_of(second_cluster))
    async with opened(cluster.kubeconfig, namespace, **settings(namespace)) as target:
        assert (await target.cluster.client.version()).major == "1"
        assert target.cluster.client.transport.server == second_cluster.server
        put(cluster, namespace, config_of(cluster))
        await target.cluster.client.version()
        assert target.cluster.client.transport.server == cluster.server
        put(cluster, namespace, "kind: Nonsense")
        await target.cluster.client.version()  # what it said before holds
        assert target.cluster.client.transport.server == cluster.server


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("token: hidden-word: [", "not YAML"),
        ("hidden-word", "no kubeconfig"),
        ('{"users": [{"name": "a", "user": {"exec": {"command": "hidden-word"}}}]}', "no context"),
        ("EXEC", "did not come from this machine"),
        ("FILE", "names a file"),
        ("SERVER", "not a URL"),
        ("KEY", "has no kubeconfig"),
        ("", "there is none|not found"),
    ],
)
async def test_what_is_wrong_with_the_secret_is_said_and_nothing_of_it_is_shown(
    cluster: Cluster, namespace: str, content: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The cluster does not answer then, which is never read as "nothing is there"; no program is run and no file is read."""
    config = json.loads(cluster.kubeconfig.read_text(encoding="utf-8"))
    if content == "EXEC":
        config["users"][0]["user"] = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "hidden-word"}}
    elif content == "FILE":
        config["users"][0]["user"] = {"tokenFile": "/etc/hidden-word"}
    elif content == "SERVER":
        config["clusters"][0]["cluster"]["server"] = "https://user:hidden-word@host"
    if content:
        whole = json.dumps(config) if content in ("EXEC", "FILE", "SERVER") else content
        put(cluster, namespace, whole, "other" if content == "KEY" else "kubeconfig")
    caplog.set_level(logging.DEBUG)
    async with opened(cluster.kubeconfig, namespace, **settings(namespace)) as target:
        with pytest.raises(TransientError, match=why) as caught:
            await target.observe(Scope("host"))
        with pytest.raises(TransientError, match=why):
            await target.preview([manifest(config_map())])
    assert f"{namespace}/second" in str(caught.value)
    assert "hidden-word" not in str(caught.value) + caplog.text


async def test_a_context_of_that_kubeconfig_can_be_chosen(
    cluster: Cluster, second_cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    config = json.loads(config_of(cluster))
    other = json.loads(config_of(second_cluster))
    config["clusters"].append({"name": "there", "cluster": other["clusters"][0]["cluster"]})
    config["users"].append({"name": "there", "user": other["users"][0]["user"]})
    config["contexts"].append({"name": "there", "context": {"cluster": "there", "user": "there"}})
    put(cluster, namespace, json.dumps(config), "value")
    async with opened(cluster.kubeconfig, namespace, **settings(namespace, context="there", key="value")) as target:
        await target.cluster.client.version()
        assert target.cluster.client.transport.server == second_cluster.server


async def test_half_a_name_is_an_error_before_anything_is_asked(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(UserError, match="needs a namespace and a name"):
        async with opened(cluster.kubeconfig, namespace, kubeconfigSecret={"name": "second"}):
            pass
