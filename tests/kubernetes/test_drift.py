"""The law of drift, on objects that went through a real server: whatever field of ours anybody changes or removes, the fingerprint
tells; and it tells nothing when only fields of others were changed. The judge is a dry-run of what we applied.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.cluster import Cluster, until
from tests.kubernetes.targets import config_map, manifest
from tests.kubernetes.test_ownership import crd, placed, service
from tests.kubernetes.test_target import deployment

from trimtab.core.model.observed import Owner
from trimtab.targets.kubernetes import fields
from trimtab.targets.kubernetes.client import MANAGER
from trimtab.targets.kubernetes.objects import Object
from trimtab.targets.kubernetes.ownership import stamped
from trimtab.targets.kubernetes.resources import Resource
from trimtab.targets.kubernetes.shape import shaped

EDITS = 30
ANY = Resource("", "v1", "things", "Thing", namespaced=True)
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


def stateful_set() -> dict[str, Any]:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    }
    body = deployment("db", replicas=0, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    spec = {**body["spec"], "serviceName": "db", "volumeClaimTemplates": [claim]}
    return {**body, "kind": "StatefulSet", "spec": spec}


def secret() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"a": "plain"},
        "data": {"b": "eA=="},
    }


def full_deployment() -> dict[str, Any]:
    body = deployment(
        replicas=0,
        ports=[{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80, "name": "http"}],
        env=[
            {"name": "A", "value": "a"},
            {"name": "B"},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        args=["x", "y"],
        resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}},
        readinessProbe={"httpGet": {"path": "/", "port": 80}},
        securityContext={},
    )
    pod = body["spec"]["template"]["spec"]
    pod |= {
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "nodeSelector": {"a": "b"},
    }
    body["metadata"] |= {"labels": {"app": "web"}, "annotations": {"note": "", "other": "x"}, "finalizers": ["test.example/a"]}
    return body


def thing() -> dict[str, Any]:
    spec = {
        "tags": ["a", "b"],
        "ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}, {"port": 80, "note": "x"}],
        "whole": {"a": 1, "b": [1, 2]},
        "plain": [{"x": 1}, {"x": 2}],
        "free": {"a": {"b": 1}, "list": [1, {"c": 2}]},
        "numbers": [1, 2],
    }
    return {"apiVersion": "test.example/v1", "kind": "Fixture", "metadata": {"name": "one"}, "spec": spec}


SCHEMA: dict[str, Any] = {
    "spec": {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "numbers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
            "ports": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"],
                "items": {
                    "type": "object",
                    "required": ["port"],
                    "properties": {
                        "port": {"type": "integer"},
                        "protocol": {"type": "string", "default": "TCP"},
                        "note": {"type": "string"},
                    },
                },
            },
            "whole": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "integer"}}},
            },
            "plain": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
}


def free() -> dict[str, Any]:
    """Of a kind of which the server knows no field at all."""
    spec = {
        "a": {"b": [1, {"c": "d"}], "empty": {}},
        "list": [{"name": "x", "value": 1}, {"name": "y"}],
        "flag": True,
        "text": "",
    }
    return {"apiVersion": "test.example/v1", "kind": "Free", "metadata": {"name": "one", "labels": {"x": "y"}}, "spec": spec}


def ingress() -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    rules = [{"host": "a.test", "http": {"paths": [path]}}, {"host": "b.test", "http": {"paths": [{**path, "path": "/b"}]}}]
    tls = [{"hosts": ["a.test"], "secretName": "tls"}]
    spec = {"rules": rules, "tls": tls, "ingressClassName": "some"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"}, "spec": spec}


def role() -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list"]}]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reads"}, "rules": rules}


BODIES = {
    "config map": lambda: config_map(a="1", b=""),
    "secret": secret,
    "service": service,
    "deployment": full_deployment,
    "stateful set": stateful_set,
    "ingress": ingress,
    "role": role,
    "custom": thing,
    "custom without a schema": free,
}


@pytest.fixture(scope="module")
def fixtures(cluster: Cluster) -> Iterator[str]:
    """The address of two custom kinds: one with sets, maps and wholes, one without any schema."""
    cluster.api.apply(crd("fixtures", SCHEMA))
    cluster.api.apply(crd("frees"))
    wanted, place = {"fixtures", "frees"}, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    cluster.api.until("/apis/test.example/v1", lambda found: wanted <= {one["name"] for one in found["resources"]})
    yield place
    for name in wanted:
        cluster.api.request("DELETE", f"{place}/{name}.test.example")


class Scene:
    """One object that we have applied."""

    def __init__(self, api: Api, body: dict[str, Any], namespace: str) -> None:
        self.api = api
        self.manifest = manifest(placed(body, namespace))
        owner = Owner("test", "host", "shop")
        self.body = stamped(self.manifest, owner, namespace=namespace, placed=False)
        self.path = api.path(self.body)
        self.typed = not self.body["apiVersion"].startswith("test.example/")
        self.verified: set[str] = set()

    def apply(self, *, dry_run: bool = False) -> Any:
        dry = "&dryRun=All" if dry_run else ""
        path = f"{self.path}?fieldManager={MANAGER}&force=true&fieldValidation=Strict{dry}"
        live = self.api.good("PATCH", path, self.body, "application/apply-patch+yaml")
        if not dry_run and fields.covers(entry(live), self.body):
            self.verified.add(fields.fingerprint(entry(live)))
        return live

    def healed(self) -> Any:
        """Applied again; anew where somebody has made of it what the server would not accept together with what we want."""
        try:
            return self.apply()
        except ApiError:
            self.api.merge(self.path, {"metadata": {"finalizers": None}})
            self.api.delete(self.path)
            return self.apply()

    def still(self) -> Any:
        """What is there, once controllers have written what they write."""
        live = self.api.get(self.path)
        while live.get("status", {}).get("observedGeneration", 0) < live["metadata"].get(
            "generation", 0
        ) and "replicas" in live.get("spec", {}):
            live = self.api.get(self.path)
        return live

    def covered(self, live: Any) -> bool:
        """As the target judges: by what our entry was after an apply of ours, or by itself where that can be told."""
        found = entry(live)
        return fields.fingerprint(found) in self.verified or fields.covers(found, self.body, whole=self.typed)

    def drifted(self, live: Any) -> bool:
        """What a full check says: an apply would change a value, or win a field back, or is not even possible any more."""
        try:
            after = self.apply(dry_run=True)
        except ApiError:
            return True
        return shaped(after) != shaped(live) or json.loads(entry(after)) != json.loads(entry(live) or b"{}")


def entry(live: Any) -> bytes:
    found = Object(ANY, json.dumps(live).encode())
    return next((bytes(one.fields) for one in found.managers() if one.manager == MANAGER and one.operation == "Apply"), b"")


@pytest.mark.parametrize("name", BODIES)
def test_what_was_applied_is_covered(cluster: Cluster, namespace: str, fixtures: str, name: str) -> None:
    """Right after the apply, and after a second one: no endless loop, whatever the server fills in."""
    scene = Scene(cluster.api, BODIES[name](), namespace)
    live = scene.apply()
    assert scene.covered(live)
    until(lambda: not scene.drifted(cluster.api.get(scene.path)))  # a controller may write between the two looks
    assert scene.covered(scene.apply())
    release(scene)


@pytest.mark.parametrize("name", BODIES)
def test_the_fingerprint_misses_nothing(cluster: Cluster, namespace: str, fixtures: str, name: str) -> None:
    """Seeded edits by several managers, one or a few before each look, of fields of ours and of theirs, by every way to write: covered
    exactly when a full check finds nothing.
    """
    chance = random.Random(f"{name}0")  # a seed that finds maps without a schema
    scene = Scene(cluster.api, BODIES[name](), namespace)
    scene.apply()
    told = {True: 0, False: 0}
    for number in range(EDITS):
        before = scene.still()
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            with contextlib.suppress(ApiError):  # the server would not have it: immutable, invalid
                random_edit(chance, scene.still(), scene)()
        live = scene.still()
        covered, drifted = scene.covered(live), scene.drifted(live)
        told[drifted] += 1
        assert covered is not drifted, (number, json.dumps(before), json.dumps(live), json.dumps(scene.body))
        if drifted and shaped(live) != shaped(before):
            assert fields.fingerprint(entry(live)) != fields.fingerprint(entry(before))
        if drifted:
            healed = scene.healed()
            assert scene.covered(healed)
            until(lambda: not scene.drifted(cluster.api.get(scene.path)))
    assert told[True] >= 3, told
    assert told[False] >= 1, told
    release(scene)


def release(scene: Scene) -> None:
    scene.api.merge(scene.path, {"metadata": {"finalizers": None}})


Path = tuple[str | int, ...]


def random_edit(chance: random.Random, live: dict[str, Any], scene: Scene) -> Any:
    """A write by somebody else: a way and a place. Who edits by hand may even call himself what we do."""
    who = chance.choice(("kubectl-edit", "kubectl-patch", "some-operator", MANAGER))
    ours = [path for path in leaves(scene.body) if path[0] not in ("apiVersion", "kind") and path[:2] not in UNNAMED]
    there = [path for path in leaves(live) if path[0] not in ("apiVersion", "kind", "status") and path[:2] not in UNNAMED]
    path = chance.choice([chance.choice(ours), chance.choice(there)])
    if chance.random() < 0.2:
        note = {"metadata": {"annotations": {f"foreign-{chance.randrange(3)}": str(chance.random())}}}
        return lambda: scene.api.good("PATCH", f"{scene.path}?fieldManager=stranger", note, MERGE)
    value = get(live, path)
    if value is MISSING:
        path = chance.choice(there)
        value = get(live, path)
    cut = chance.randrange(1, len(path) + 1) if chance.random() < 0.3 else len(path)
    match chance.randrange(5):
        case 0:
            return lambda: json_patch(scene, who, [{"op": "remove", "path": pointer(path[:cut])}])
        case 1:
            return lambda: json_patch(scene, who, [{"op": "replace", "path": pointer(path), "value": other(value)}])
        case 4 if scene.body["kind"] in ("Deployment", "StatefulSet"):
            scale = {"spec": {"replicas": chance.randrange(2)}}
            return lambda: scene.api.good("PATCH", f"{scene.path}/scale?fieldManager={who}", scale, MERGE)
        case 2:
            changed = put(live, path, other(value))
            changed["metadata"].pop("managedFields")
            return lambda: scene.api.good("PUT", f"{scene.path}?fieldManager={who}", changed)
        case _:
            rival = chance.choice(("rival", "another"))
            theirs = {**scene.body, "metadata": {"name": scene.body["metadata"]["name"]}}
            wanted = put(theirs, path, other(value)) if path[0] in theirs and get(theirs, path) is not MISSING else theirs
            return lambda: scene.api.good(
                "PATCH", f"{scene.path}?fieldManager={rival}&force=true", wanted, "application/apply-patch+yaml"
            )


UNNAMED = {
    ("metadata", name)
    for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
}
MISSING = object()


def json_patch(scene: Scene, who: str, change: list[Any]) -> Any:
    return scene.api.good("PATCH", f"{scene.path}?fieldManager={who}", change, PATCH)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for name, each in inner:
        empty = False
        yield from leaves(each, (*path, name))
    if empty and path:
        yield path


def get(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def put(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, list):
        return [put(each, path[1:], new) if index == path[0] else each for index, each in enumerate(value)]
    return {**value, path[0]: put(value[path[0]], path[1:], new)}


def pointer(path: Path) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return "eHg=" if value.endswith("=") else f"{value}x"
        case _:
            return value
