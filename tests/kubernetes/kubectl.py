"""The few commands of kubectl that our pages use, for machines that have none; the kubeconfig is that of a test cluster.

kubectl get|delete|scale KIND/NAME… [--namespace N] [--output jsonpath={.a.b}] [--replicas N] [--wait=false]
kubectl apply --filename FILE
kubectl create configmap NAME [--namespace N] --from-literal K=V
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.kubernetes.api import Api

VERSIONS = {"deployment": "apps/v1"}
KINDS = {"configmap": "ConfigMap", "deployment": "Deployment", "namespace": "Namespace", "service": "Service"}


def main() -> None:
    parser = argparse.ArgumentParser("kubectl")
    parser.add_argument("verb", choices=["apply", "create", "delete", "get", "scale"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--output", default="")
    parser.add_argument("--replicas", type=int)
    parser.add_argument("--wait", default="true")
    parser.add_argument("--filename")
    parser.add_argument("--from-literal", default="")
    asked = parser.parse_intermixed_args()
    api = _api()
    if asked.verb == "apply":
        for body in yaml.safe_load_all(Path(asked.filename).read_text(encoding="utf-8")):
            api.apply(body, "kubectl")
            print(f"{_called(body)} serverside-applied")
    elif asked.verb == "create":
        key, _, value = asked.from_literal.partition("=")
        body = _body(*asked.names, asked.namespace) | {"data": {key: value}}
        api.good("POST", api.path(body).rpartition("/")[0] + "?fieldManager=kubectl-create", body)
        print(f"{_called(body)} created")
    else:
        for kind, name in (each.split("/") for each in asked.names):
            _one(api, asked, _body(kind, name, asked.namespace))


def _one(api: Api, asked: argparse.Namespace, body: dict[str, Any]) -> None:
    path = api.path(body)
    match asked.verb:
        case "get":
            value = api.get(path)
            for field in asked.output.removeprefix("jsonpath={.").removesuffix("}").split("."):
                value = value[field]
            print(value if isinstance(value, str | int) else json.dumps(value, separators=(",", ":")), end="")
        case "delete":
            api.delete(path)
            print(f'{body["kind"].lower()} "{body["metadata"]["name"]}" deleted')
        case "scale":
            api.merge(f"{path}/scale", {"spec": {"replicas": asked.replicas}})
            print(f"{_called(body)} scaled")


def _body(kind: str, name: str, namespace: str) -> dict[str, Any]:
    return {"apiVersion": VERSIONS.get(kind, "v1"), "kind": KINDS[kind], "metadata": {"name": name, "namespace": namespace}}


def _called(body: dict[str, Any]) -> str:
    group = f".{body['apiVersion'].partition('/')[0]}" if "/" in body["apiVersion"] else ""
    return f"{body['kind'].lower()}{group}/{body['metadata']['name']}"


def _api() -> Api:
    path = os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config"
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Api(cluster["server"], user["token"], ssl.create_default_context(cadata=authority))


if __name__ == "__main__":
    sys.exit(main())
