"""A small company on a cluster that changes all the time, and what must be true of it however often Trimtab is killed meanwhile."""

from __future__ import annotations

import base64
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bench.clusters.contents import Body
from tests.kubernetes.cluster import Cluster

from trimtab.testing.served import Repository, Served

ROUND_SECONDS = 90.0
SLOTS = 8
"""How many objects there are to choose from in an application."""
KINDS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
}
Name = tuple[str, str]


def body(kind: str, name: str, version: int) -> Body:
    version_of: dict[str, Body] = {
        "ConfigMap": {"apiVersion": "v1", "data": {"version": str(version)}},
        "Secret": {"apiVersion": "v1", "stringData": {"version": str(version)}},
        "Service": {"apiVersion": "v1", "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 1000 + version}]}},
        "Deployment": {
            "apiVersion": "apps/v1",
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "web", "image": f"registry.test/web:{version}"}]},
                },
            },
        },
    }
    return {**version_of[kind], "kind": kind, "metadata": {"name": name}}


def version(live: Body) -> str:
    """What `body` has put there, as the server tells it."""
    match live:
        case {"data": {"version": found}}:
            return str(found)
        case {"spec": {"ports": [{"port": port}]}}:
            return str(port)
        case {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}:
            return str(image)
        case _:
            return "nothing"


@dataclass
class Company:
    """Applications in a repository, the server that keeps them, and strangers beside them whom nobody may touch."""

    cluster: Cluster
    root: Path
    namespace: str
    applications: dict[str, dict[Name, int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    uids: dict[Name, str] = field(default_factory=dict)
    strangers: Any = None
    usual_seconds: float = 1.0

    def __post_init__(self) -> None:
        self.repository = Repository(self.root / "repository")
        self.served = Served(self.repository.path, self.root / "data")
        target = {"kind": "kubernetes", "kubeconfig": str(self.cluster.kubeconfig), "namespace": self.namespace}
        removal = {"objects": 1000, "emptyRender": "allow"}
        self.repository.write({".trimtab/prod.yaml": document("Environment", "prod", {"target": target, "removal": removal})})

    # What happens

    def change(self, chance: random.Random) -> str:
        """A commit that installs, upgrades, prunes or moves something, most often several of these. Returns its id."""
        for _ in range(chance.randrange(1, 4)):
            verb = chance.choice(("install", "upgrade", "upgrade", "prune", "move", "drop"))
            self.changes[verb] += getattr(self, verb)(chance)
        return self.commit()

    def install(self, chance: random.Random) -> bool:
        name = f"app-{len(self.applications) + chance.randrange(1000):04}"
        slots = chance.sample(range(SLOTS), chance.randrange(2, SLOTS))
        self.applications[name] = {(list(KINDS)[slot % 4], f"{name}-{slot}"): 1 for slot in slots}
        return True

    def upgrade(self, chance: random.Random) -> bool:
        name = self._one(chance)
        if name:
            self.applications[name] = {each: number + chance.randrange(2) for each, number in self.applications[name].items()}
        return bool(name)

    def prune(self, chance: random.Random) -> bool:
        name = self._one(chance)
        if name and len(self.applications[name]) > 1:
            del self.applications[name][chance.choice(sorted(self.applications[name]))]
            return True
        return False

    def move(self, chance: random.Random) -> bool:
        one, other = self._one(chance), self._one(chance)
        if one == other or len(self.applications[one]) < 2:
            return False
        name = chance.choice(sorted(self.applications[one]))
        self.applications[other][name] = self.applications[one].pop(name)
        return True

    def drop(self, chance: random.Random) -> bool:
        if len(self.applications) < 4:
            return False
        del self.applications[self._one(chance)]
        return True

    def _one(self, chance: random.Random) -> str:
        return chance.choice(sorted(self.applications)) if self.applications else ""

    def commit(self) -> str:
        there = {path.stem for path in (self.repository.path / ".trimtab").glob("app-*.yaml")}
        files: dict[str, str | bytes | None] = {}
        for name in there - self.applications.keys():
            files |= {f".trimtab/{name}.yaml": None, f"apps/{name}/all.yaml": None}
        for name, objects in self.applications.items():
            spec = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}]}
            files[f".trimtab/{name}.yaml"] = document("Application", name, spec)
            files[f"apps/{name}/all.yaml"] = yaml.safe_dump_all([body(*each, number) for each, number in objects.items()])
        return self.repository.commit(files)

    def meet_strangers(self) -> None:
        """Objects that are nobody's, one with our labels copied onto it, and a field of somebody else's on one of ours."""
        (copied, *_) = self.cluster.api.items(
            KINDS["ConfigMap"].format(self.namespace) + "?labelSelector=trimtab.dev/application"
        )
        labels = copied["metadata"]["labels"]
        for name, marks in (("strange-plain", {}), ("strange-copy", labels)):
            made = {"metadata": {"name": name, "labels": marks}, "data": {"theirs": "yes"}}
            self.cluster.api.good("POST", KINDS["ConfigMap"].format(self.namespace), made)
        self.strangers = self._strangers()

    # What must be true

    def check(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.wrong.append(f"{what}: {found}, wanted {wanted}")

    def check_all(self, what: str) -> None:
        """By a list of our own: what is there is what Git says, and the same objects as before; strangers are as they were."""
        owned = {
            (kind, one["metadata"]["name"]): one
            for kind, path in KINDS.items()
            for one in self.cluster.api.items(path.format(self.namespace))
            if "trimtab.dev/object" in one["metadata"].get("annotations", {})
        }
        wanted = {each: (name, number) for name, objects in self.applications.items() for each, number in objects.items()}
        self.check(f"{what}: objects", sorted(owned), sorted(wanted))
        for each, (name, number) in wanted.items():
            live = owned.get(each)
            if live is None:
                continue
            self.check(f"{what}: {each} is of", live["metadata"]["labels"]["trimtab.dev/application"], name)
            self.check(f"{what}: {each}", version(live), version(stored(body(*each, number))))
            self.check(f"{what}: the uid of {each}", live["metadata"]["uid"], self.uids.get(each, live["metadata"]["uid"]))
        self.uids = {each: owned[each]["metadata"]["uid"] for each in wanted if each in owned}
        if self.strangers is not None:
            self.check(f"{what}: strangers", self._strangers(), self.strangers)

    def check_record(self) -> None:
        events = self.served.events()
        for kind in ("deployment.failed", "deployment.held", "reconcile.broken", "render.failed"):
            self.check(kind, [event["message"] for event in events if event["kind"] == kind], [])
        ids = [event["id"] for event in events]
        self.check("ids of events ascend", ids, sorted(set(ids)))

    def _strangers(self) -> list[tuple[str, str, Any]]:
        found = self.cluster.api.items(KINDS["ConfigMap"].format(self.namespace))
        return [
            (one["metadata"]["name"], one["metadata"]["resourceVersion"], one["data"])
            for one in found
            if "trimtab.dev/object" not in one["metadata"].get("annotations", {})
        ]


def stored(wanted: Body) -> Body:
    """A Secret's texts are stored in base64."""
    texts = wanted.get("stringData")
    return {"data": {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}} if texts else wanted


def document(kind: str, name: str, spec: Body) -> str:
    return yaml.safe_dump({"apiVersion": "trimtab.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def shoot(company: Company, times: int, chance: random.Random) -> None:
    """First one round in peace, to know how long one takes; then a kill at a random moment of each."""
    for _ in range(3):
        company.install(chance)
    company.served.start().healthy(company.commit(), ROUND_SECONDS)
    company.check_all("installed")
    company.meet_strangers()
    began = time.monotonic()
    company.served.healthy(company.change(chance), ROUND_SECONDS)
    company.usual_seconds = time.monotonic() - began
    killed = 0
    while killed < times:
        revision = company.change(chance)
        for _ in range(1 if chance.random() < 0.75 else 2):
            time.sleep(chance.uniform(0, company.usual_seconds * 1.2))
            company.served.kill()
            killed += 1
            time.sleep(chance.choice((0, 0, 0.2)))
            company.served.start()
        company.served.healthy(revision, ROUND_SECONDS)
        company.check_all(f"kill {killed} at {revision[:12]}")
    company.check_record()
