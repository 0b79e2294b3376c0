"""Which new objects are alike: laws of `similar`, and what must never count as alike. The real server's word is in tests/kubernetes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes.similar import likeness

NAMES = st.from_regex(r"[a-z](-?[a-z0-9]){1,6}", fullmatch=True)


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": "registry.test/web:1", "env": [{"name": "A", "value": "b"}], "args": ["--x"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "serviceAccountName": name}}
    whole = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": json.loads(json.dumps(whole))}


def like(body: dict[str, Any], namespace: str = "shop") -> bytes | None:
    group = body["apiVersion"].rpartition("/")[0]
    return likeness(group, body["kind"], namespace, body)


@given(NAMES, NAMES)
def test_a_name_that_is_changed_everywhere_changes_nothing(one: str, other: str) -> None:
    """As long as it does not fall together with another name of the object."""
    same = [name in ("main",) for name in (one, other)]
    assert (like(deployment(one)) == like(deployment(other))) == (same[0] == same[1])


def changed(path: str, value: Any) -> dict[str, Any]:
    body = deployment()
    *way, last = path.split("/")
    place: Any = body
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/selector/matchLabels/app", "other"),
        ("spec/template/metadata/labels/app", "other"),
        ("spec/replicas", 2),
        ("spec/replicas", "1"),
        ("spec/replica", 1),
        ("spec/template/spec/restartPolicy", "Never"),
        ("spec/template/spec/containers/0/imagePullPolicy", "Sometimes"),
        ("spec/template/spec/containers/0/image", " web"),
        ("spec/template/spec/containers/0/name", "Main"),
        ("spec/template/spec/containers/0/env/0/value", 5),
        ("spec/template/spec/containers/0/args", "--x"),
        ("metadata/name", "web.test"),
        ("metadata/name", "w" * 60),
        ("metadata/name", "w--b"),
        ("metadata/name", "1"),
        ("apiVersion", "apps/v2"),
    ],
)
def test_what_a_server_may_judge_otherwise_is_not_alike(path: str, value: Any) -> None:
    """A word, a number, a type, a field, a form or a length that differs."""
    assert like(changed(path, value)) != like(deployment())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/template/spec/containers/0/env/0/value", "any text"),
        ("spec/template/spec/containers/0/args", ["-v"]),
        ("spec/template/spec/containers/0/image", "registry.test/db:2"),
        ("status", {"replicas": 3}),
    ],
)
def test_free_text_is_no_difference(path: str, value: Any) -> None:
    assert like(changed(path, value)) == like(deployment())


def test_two_of_a_name_are_not_like_two_of_two_names() -> None:
    """A server refuses the first: what must differ differs in both or in neither."""
    one, other = deployment(), deployment()
    containers = [copy.deepcopy(one["spec"]["template"]["spec"]["containers"][0]) for _ in range(2)]
    one["spec"]["template"]["spec"]["containers"] = copy.deepcopy(containers)
    containers[1]["name"] = "side"
    other["spec"]["template"]["spec"]["containers"] = containers
    assert like(one) != like(other)


def test_maps_of_texts_are_alike_whatever_they_say() -> None:
    """But not those with a key that no server takes, nor Secrets whose values are not base64, nor those of a type with rules."""

    def data(kind: str = "ConfigMap", kept: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "one"}, "data": kept or {}, **more}

    assert like(data(kept={"a": "b"})) == like(data(kept={"c": "d", "e": "f"}))
    assert like(data(kept={"a/b": "c"})) != like(data(kept={"a": "c"}))
    assert like(data(kept={"..a": "c"})) != like(data(kept={"a": "c"}))
    assert like(data(kept={"a": 1})) != like(data(kept={"a": "c"}))
    assert like(data("Secret", {"a": "YQ=="})) == like(data("Secret", {"b": "Yg=="}))
    assert like(data("Secret", {"a": "?"})) != like(data("Secret", {"a": "YQ=="}))
    tls = "kubernetes.io/tls"
    assert like(data("Secret", {"tls.crt": "YQ=="}, type=tls)) != like(data("Secret", {"tls.crt": "Yg=="}, type=tls))
    assert like(data(kept={"a": "x" * 300_000})) is None


def test_what_is_like_no_other() -> None:
    """Kinds whose acceptance hangs on other objects, and values that must be unique."""
    ports = [{"port": 80, "nodePort": 30080}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": ports}}
    assert like(service) is None
    assert like({**service, "spec": {"clusterIP": "10.0.0.9"}}) is None
    assert like({**service, "spec": {"clusterIP": "None"}}) is not None
    assert like({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}) is None
    assert like({"apiVersion": "example.org/v1", "kind": "Deployment", "metadata": {"name": "a"}}) is None


def test_annotations_are_text_unless_the_server_reads_them() -> None:
    def noted(key: str, value: str) -> bytes | None:
        return like(changed("metadata/annotations", {key: value}))

    assert noted("example.org/why", "one thing") == noted("example.org/why", "another thing")
    assert noted("ingress.kubernetes.io/x", "one thing") != noted("ingress.kubernetes.io/x", "another thing")
    assert noted("container.apparmor.security.beta.kubernetes.io/main", "runtime/default") is None


def test_another_namespace_is_another_question() -> None:
    assert like(deployment(), "a") != like(deployment(), "b")
