"""Requests are what the Kubernetes API documents, and say themselves whether they may be sent twice."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes import requests
from trimtab.targets.kubernetes.requests import Request, Selector
from trimtab.targets.kubernetes.resources import Resource, root, split

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
BODY = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


def query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}


def path(request: Request) -> str:
    return urlsplit(request.target).path


def body(request: Request) -> Any:
    return msgspec.json.decode(request.body)


def test_objects_and_collections_have_their_paths() -> None:
    assert DEPLOYMENTS.path("shop", "web") == "/apis/apps/v1/namespaces/shop/deployments/web"
    assert DEPLOYMENTS.path("shop", "web", "status") == "/apis/apps/v1/namespaces/shop/deployments/web/status"
    assert DEPLOYMENTS.path("shop") == "/apis/apps/v1/namespaces/shop/deployments"
    assert DEPLOYMENTS.path() == "/apis/apps/v1/deployments"
    assert NODES.path("ignored", "n1") == "/api/v1/nodes/n1"
    assert (DEPLOYMENTS.api_version, NODES.api_version) == ("apps/v1", "v1")


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_leaves_its_place_in_a_path(namespace: str, name: str) -> None:
    try:
        parts = DEPLOYMENTS.path(namespace, name).split("/")
    except UnicodeEncodeError:
        return  # half of a surrogate pair has no bytes
    assert [unquote(part) for part in parts] == ["", "apis", "apps", "v1", "namespaces", namespace, "deployments", name]


@pytest.mark.parametrize("api_version", ["v1", "apps/v1", "a.b.c/v2beta1"])
def test_a_version_is_split_and_joined(api_version: str) -> None:
    group, version = split(api_version)
    assert root(group, version) == ("/api/" if api_version == "v1" else "/apis/") + api_version


def test_an_apply_is_strict_and_json() -> None:
    request = requests.apply(DEPLOYMENTS, "shop", "web", BODY, manager="trimtab", force=True, dry_run=True)
    assert (request.method, path(request)) == ("PATCH", DEPLOYMENTS.path("shop", "web"))
    assert query(request) == {"fieldManager": "trimtab", "force": "true", "fieldValidation": "Strict", "dryRun": "All"}
    assert (request.content_type, body(request)) == ("application/apply-patch+yaml", BODY)
    assert request.doing == "preview deployments.apps shop/web"


def test_a_removal_is_of_one_uid_only() -> None:
    request = requests.delete(DEPLOYMENTS, "shop", "web", uid="u1", resource_version="7", propagation="Foreground", dry_run=True)
    assert body(request) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u1", "resourceVersion": "7"},
        "propagationPolicy": "Foreground",
        "dryRun": ["All"],
    }
    with pytest.raises(ValueError, match="without a uid"):
        requests.delete(DEPLOYMENTS, "shop", "web", uid="")


def test_a_replacement_is_pinned_to_the_version_that_was_read() -> None:
    request = requests.replace(DEPLOYMENTS, "shop", "web", BODY, manager="m", resource_version="7")
    assert body(request)["metadata"] == {"name": "web", "resourceVersion": "7"}


def test_a_patch_is_a_merge_or_a_list_of_operations() -> None:
    merge = requests.patch(DEPLOYMENTS, "shop", "web", {"spec": {}}, manager="m")
    operations = requests.patch(DEPLOYMENTS, "shop", "web", [{"op": "remove", "path": "/x"}], manager="m")
    assert merge.content_type == "application/merge-patch+json"
    assert operations.content_type == "application/json-patch+json"


def test_lists_and_watches_select_on_the_server() -> None:
    select = Selector("shop", labels="a=b,c in (d,e)", fields="metadata.name=x")
    listed = requests.page(DEPLOYMENTS, select, limit=5, more="token==")
    assert query(listed) == {
        "labelSelector": "a=b,c in (d,e)",
        "fieldSelector": "metadata.name=x",
        "limit": "5",
        "continue": "token==",
    }
    watched = requests.watch(DEPLOYMENTS, select, resource_version="9", seconds=61.7)
    assert query(watched)["resourceVersion"] == "9"
    assert (query(watched)["allowWatchBookmarks"], query(watched)["timeoutSeconds"]) == ("true", "61")


def test_logs_have_their_parameters() -> None:
    request = requests.logs(
        "shop", "web-1", container="app", follow=True, tail=0, previous=True, since_seconds=5, timestamps=True
    )
    assert path(request) == "/api/v1/namespaces/shop/pods/web-1/log"
    assert query(request) == {
        "container": "app",
        "follow": "true",
        "tailLines": "0",
        "previous": "true",
        "sinceSeconds": "5",
        "timestamps": "true",
    }


def test_only_what_may_be_carried_out_twice_may_be_sent_twice() -> None:
    made = [
        requests.get(NODES, "", "n"),
        requests.page(NODES),
        requests.apply(DEPLOYMENTS, "s", "n", BODY, manager="m", force=False),
        requests.replace(DEPLOYMENTS, "s", "n", BODY, manager="m", resource_version="1"),
        requests.delete(DEPLOYMENTS, "s", "n", uid="u"),
        requests.create(DEPLOYMENTS, "s", BODY, manager="m"),
        requests.patch(DEPLOYMENTS, "s", "n", [], manager="m"),
    ]
    assert [request.repeatable for request in made] == [True, True, True, True, True, False, False]
