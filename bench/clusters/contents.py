"""What is installed, and the repository that says so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgSign=false", "-c", "gc.auto=0"]
Body = dict[str, Any]


def application(name: str, *, image: int = 1, replicas: int = 0) -> list[Body]:
    meta = {"name": name, "labels": {"app": name}}
    container = {
        "name": "web",
        "image": f"registry.example/web:{image}",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": "REGION", "value": "eu-1"}, {"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}}
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": f"{name}.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        },
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}},
    ]


def config_maps(count: int) -> list[Body]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"map-{number:05}"},
            "data": {"number": str(number), "text": "some words of a setting"},
        }
        for number in range(count)
    ]


def contents(applications: int, maps: int) -> dict[str, list[Body]]:
    """The objects of each application: many small ones, or one of ConfigMaps."""
    if maps:
        return {"maps": config_maps(maps)}
    return {f"app-{number:05}": application(f"app-{number:05}") for number in range(applications)}


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, kubeconfig: Path, namespace: str, wanted: dict[str, list[Body]]) -> None:
        target = {"kind": "kubernetes", "kubeconfig": str(kubeconfig), "namespace": namespace}
        documents: list[Body] = [
            {"apiVersion": "trimtab.dev/v1", "kind": "Environment", "metadata": {"name": "prod"}, "spec": {"target": target}}
        ]
        for name, bodies in wanted.items():
            spec = {"source": {"path": f"apps/{name}"}, "environments": [{"name": "prod"}]}
            documents.append({"apiVersion": "trimtab.dev/v1", "kind": "Application", "metadata": {"name": name}, "spec": spec})
            self.write(name, bodies)
        (self.path / ".trimtab").mkdir()
        (self.path / ".trimtab" / "all.yaml").write_text(yaml.safe_dump_all(documents))
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("all of it")

    def write(self, name: str, bodies: list[Body]) -> None:
        folder = self.path / "apps" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "all.yaml").write_text(yaml.safe_dump_all(bodies))

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        done = subprocess.run([*GIT, "-C", str(self.path), *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()
