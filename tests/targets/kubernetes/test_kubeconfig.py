"""Kubeconfigs are read as kubectl reads them; what is refused is refused with the reason."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.errors import UserError
from trimtab.targets.kubernetes import kubeconfig
from trimtab.targets.kubernetes.connection import Cluster, Connection, Impersonation, Plugin, User

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
DATA = base64.b64encode(PEM).decode()


def config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": "https://k:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        **more,
    }


def parse(document: dict[str, Any], **more: Any) -> Connection:
    return kubeconfig.parse(msgspec.json.encode(document), origin="test", **more)


def write(path: Path, document: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(document))
    return path


def test_a_context_joins_a_cluster_a_user_and_a_namespace() -> None:
    document = config(
        {
            "certificate-authority-data": DATA,
            "tls-server-name": "kubernetes",
            "proxy-url": "http://proxy:3128",
            "disable-compression": True,
        },
        {"token": "t0ken", "as": "robot", "as-groups": ["ops"], "as-uid": "7", "as-user-extra": {"team": ["a", "b"]}},
        contexts=[{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    )
    assert parse(document) == Connection(
        cluster=Cluster(
            server="https://k:6443", authority=PEM, server_name="kubernetes", proxy="http://proxy:3128", compress=False
        ),
        user=User(token="t0ken", impersonation=Impersonation(user="robot", groups=("ops",), uid="7", extra={"team": ("a", "b")})),
        namespace="shop",
        name="main",
    )


def test_yaml_is_read_by_the_rules_of_kubectl() -> None:
    text = """
current-context: on
contexts: [{name: on, context: {cluster: c}}]
clusters: [{name: c, cluster: {server: "https://k", insecure-skip-tls-verify: yes}}]
"""
    with pytest.raises(UserError, match=r"current-context is not text\. Put it in quotes"):
        kubeconfig.parse(text.replace("name: on", "name: 'on'").encode(), origin="x")
    made = kubeconfig.parse(text.replace(" on", " 'on'").encode(), origin="x")
    assert made == Connection(cluster=Cluster(server="https://k", insecure=True), name="on")


def test_another_context_can_be_asked_for() -> None:
    document = config(contexts=[{"name": "main", "context": {"cluster": "c"}}, {"name": "b", "context": {"cluster": "d"}}])
    document["clusters"].append({"name": "d", "cluster": {"server": "d.example.org/prefix/"}})
    assert parse(document, context="b").cluster.server == "https://d.example.org/prefix"
    assert kubeconfig.contexts(msgspec.json.encode(document), origin="test") == ("main", "b")


def test_of_several_files_the_first_that_names_something_wins_and_paths_belong_to_their_file(tmp_path: Path) -> None:
    first = write(
        tmp_path / "one" / "config",
        {
            "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "first"}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        },
    )
    second = write(tmp_path / "two" / "config", config({"certificate-authority": "keys/ca.crt"}, {"token": "second"}))
    files = os.pathsep.join([str(first), str(tmp_path / "missing"), "", str(second)])
    assert kubeconfig.load({"KUBECONFIG": files}) == Connection(
        cluster=Cluster(server="https://k:6443", authority=tmp_path / "two" / "keys" / "ca.crt"),
        user=User(token_file=tmp_path / "one" / "token"),
        namespace="first",
        name="main",
    )


def test_without_kubeconfig_the_one_in_the_home_directory_counts(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", config())
    assert kubeconfig.load({"HOME": str(tmp_path)}).cluster.server == "https://k:6443"


def test_in_a_pod_the_account_counts_and_its_files_are_named_not_read(tmp_path: Path) -> None:
    for name, text in {"token": "t", "ca.crt": "c", "namespace": "shop\n"}.items():
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    assert kubeconfig.in_cluster(environment, account=tmp_path) == Connection(
        cluster=Cluster(server="https://[fd00::1]:443", authority=tmp_path / "ca.crt"),
        user=User(token_file=tmp_path / "token"),
        namespace="shop",
        name="in-cluster",
    )


def test_where_there_is_nothing_the_places_that_were_looked_at_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no kubeconfig at .*/\.kube/config"):
        kubeconfig.load({"HOME": str(tmp_path)})
    with pytest.raises(UserError, match="No such file"):
        kubeconfig.load({}, path=tmp_path / "none")


PLUGIN = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "./bin/login",
    "args": ["--cluster", "shop"],
    "env": [{"name": "REGION", "value": "north"}],
    "installHint": "Install login",
    "provideClusterInfo": True,
    "interactiveMode": "IfAvailable",
}


def test_a_plugin_is_found_beside_its_kubeconfig_and_told_what_the_cluster_says_for_it(tmp_path: Path) -> None:
    extension = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}, {"name": "other", "extension": 1}]
    made = kubeconfig.load({}, path=write(tmp_path / "config", config({"extensions": extension}, {"exec": PLUGIN})))
    assert made.cluster.plugin_config == {"audience": "x"}
    assert made.user.plugin == Plugin(
        command=str(tmp_path / "bin/login"),
        version="v1",
        arguments=("--cluster", "shop"),
        environment={"REGION": "north"},
        tells_cluster=True,
        install_hint="Install login",
    )


def test_a_plugin_on_the_path_stays_a_bare_name(tmp_path: Path) -> None:
    made = kubeconfig.load({}, path=write(tmp_path / "config", config(user={"exec": {**PLUGIN, "command": "login"}})))
    assert made.user.plugin is not None
    assert made.user.plugin.command == "login"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (config(user={"username": "a", "password": "b"}), "basic authentication is not supported"),
        (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
        (config(user={"client-certificate-data": DATA}), "need each other"),
        (config(user={"as-groups": ["x"]}), "need as"),
        (config(user={"token": "two\nlines"}), "a header cannot carry"),
        (config(user={"token": 5}), "token is not text"),
        (config(user={"client-key-data": "%%%", "client-certificate-data": DATA}), "client-key-data is not base64"),
        (config({"insecure-skip-tls-verify": True, "certificate-authority-data": DATA}), "exclude each other"),
        (config({"insecure-skip-tls-verify": "yes"}), "neither true nor false"),
        (config({"proxy-url": "socks5://user:secret@proxy"}), "proxy-url is neither http nor https: proxy"),
        (config({"server": "ftp://k"}), "not a URL of an API server"),
        (config({"server": ""}), "not a URL of an API server"),
        (config({"server": "https://user:pass@k"}), "not a URL of an API server"),
        (config(contexts=[]), "there is no context main. There is none at all"),
        (config(clusters=[]), "there is no cluster c"),
        (config(users=[]), "there is no user u"),
        (config(**{"current-context": ""}), "no context is named"),
        (config(users=[{"name": "u"}, {"name": "u"}]), "names u twice"),
        (config(clusters={"c": {}}), "clusters is not a list"),
        (config(clusters=["c"]), "an entry of clusters"),
        (config(kind="Secret"), "no kubeconfig"),
        (config(user={"exec": {**PLUGIN, "apiVersion": "client.authentication.k8s.io/v1alpha1"}}), "v1alpha1' is not known"),
        (config(user={"exec": {**PLUGIN, "interactiveMode": "Always"}}), "nobody is there"),
        (config(user={"exec": {**PLUGIN, "command": ""}}), "there is no command"),
    ],
)
def test_what_is_refused_is_refused_with_the_reason(document: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(document, local=True)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({}, {"exec": PLUGIN}),
        ({}, {"tokenFile": "/etc/shadow"}),
        ({"certificate-authority": "/etc/shadow"}, {}),
        ({}, {"client-certificate": "/a", "client-key": "/b"}),
    ],
)
def test_a_kubeconfig_from_elsewhere_neither_starts_programs_nor_names_files(
    cluster: dict[str, Any], user: dict[str, Any]
) -> None:
    assert parse(config(cluster, user), local=True)
    with pytest.raises(UserError, match=r"did not come from this machine|from elsewhere"):
        parse(config(cluster, user))


def test_a_fixed_token_goes_before_a_plugin_as_in_kubectl() -> None:
    assert parse(config(user={"token": "t", "exec": PLUGIN}), local=True).user == User(token="t")


def test_secrets_do_not_show() -> None:
    assert "t0ken" not in repr(parse(config(user={"token": "t0ken"})))


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "clusters",
                        "users",
                        "contexts",
                        "current-context",
                        "name",
                        "cluster",
                        "user",
                        "context",
                        "server",
                        "token",
                        "exec",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    ).map(msgspec.json.encode)
)
def test_whatever_the_bytes_are_there_is_a_connection_or_a_reason(data: bytes) -> None:
    reason = ""
    try:
        kubeconfig.parse(data, origin="test")
    except UserError as error:
        reason = str(error)
    assert not reason or reason.startswith("test")
