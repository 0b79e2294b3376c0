"""Nothing that stands in a Secret leaves the process, whatever becomes of it: made, changed, edited by hand, proposed, refused in every way that
a server has, quoted by a webhook. Everything that a real server answers, prints, records and notes is searched for it.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import yaml
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.targets import config_map
from tests.kubernetes.test_faults import webhook
from tests.kubernetes.test_loop import Repository
from tests.kubernetes.test_target import deployment

from trimtab.testing.served import Done, Served, until
from trimtab.wiring.offline import offline_plan, offline_render

COPY = "kubectl.kubernetes.io/last-applied-configuration"
WORDS = (
    "data-one", "text-one", "copy-one", "env-one", "env-copy", "wrong-base64", "mistyped", "too-large", "quoted-new", "quoted-old",
    "broken-yaml", "data-two", "text-two", "by-hand", "offline", "long-number",
)  # fmt: skip
VALUES = {word: f"kept-from-you-{word}-{index:02}" for index, word in enumerate(WORDS)} | {"long-number": "7351926480157"}


def encoded(word: str) -> str:
    return base64.b64encode(VALUES[word].encode()).decode()


def secret(name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **fields.pop("metadata", {})}, **fields}


def good(data: str, text: str) -> list[dict[str, Any]]:
    """A Secret with all that one can have, and a Deployment that has a password in its environment."""
    copy = json.dumps(secret("keys", stringData={"c": VALUES["copy-one"]}))
    env = [{"name": "DB_PASSWORD", "value": VALUES["env-one"]}]
    web = deployment("web", replicas=0, env=env)
    web["metadata"]["annotations"] = {COPY: json.dumps({"env": [{"name": "DB_PASSWORD", "value": VALUES["env-copy"]}]})}
    kept = {"annotations": {COPY: copy}}
    return [secret("keys", metadata=kept, data={"a": encoded(data)}, stringData={"b": VALUES[text]}), web]


BAD = {
    "base64": secret("base64", data={"a": f"{VALUES['wrong-base64']}!"}),
    "number": secret("number", stringData={"a": int(VALUES["long-number"])}),
    "mistyped": secret("mistyped", stringDat={"a": VALUES["mistyped"]}),
    "large": secret("large", stringData={"a": VALUES["too-large"] * 46_000}),
    "quoted": secret("quoted", metadata={"annotations": {"trimtab.dev/adopt": "true"}}, stringData={"a": VALUES["quoted-new"]}),
}


class Quoting(BaseHTTPRequestHandler):
    """Refuses whatever it is asked about, and quotes it, and what was there before."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        old, new = json.dumps(review["oldObject"]), json.dumps(review["object"])
        status = {"message": f"I do not like {new} in the place of {old}", "code": 403}
        response = {"uid": review["uid"], "allowed": False, "status": status}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def quoting(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The API server asks a webhook about the Secret `quoted`, which is there before anybody asks."""
    keys = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    keys.load_cert_chain(cluster.directory / "keys" / "server.crt", cluster.directory / "keys" / "server.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Quoting) as server:
        server.socket = keys.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = webhook(namespace, f"https://127.0.0.1:{server.server_address[1]}/")
        (hook,) = made["webhooks"]
        hook["clientConfig"]["caBundle"] = base64.b64encode(cluster.authority.read_bytes()).decode()
        hook["rules"][0]["resources"] = ["secrets"]
        hook["matchConditions"] = [{"name": "quoted", "expression": "request.name == 'quoted'"}]
        hook["timeoutSeconds"] = 5
        cluster.api.apply(made)
        try:
            path = f"/api/v1/namespaces/{namespace}/secrets/quoted"
            until(
                lambda: "I do not like" in cluster.api.request("PATCH", path, {"data": {}}, "application/merge-patch+json").text
            )
            yield
        finally:
            cluster.api.delete(f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{namespace}")
            server.shutdown()


class Collected:
    """Everything that a server has said, by where."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.said: dict[str, str] = {}

    def get(self, path: str) -> str:
        status, body = self.served.request("GET", path)
        return self.keep(f"GET {path} {status}", body.decode("utf-8", "replace"))

    def cli(self, *arguments: str) -> str:
        done = self.served.cli(*arguments)
        return self.command(" ".join(arguments), done)

    def command(self, called: str, done: Done) -> str:
        return self.keep(f"$ {called}", done.out + done.err)

    def keep(self, where: str, text: str) -> str:
        self.said[f"{where} ({len(self.said)})"] = text
        return text

    def application(self, name: str) -> None:
        for verb in ("", "/plan", "/explain", "/history", "/logs"):
            self.get(f"/applications/{name}{verb}")

    def at_rest(self) -> None:
        """What it has recorded and written."""
        for path in (
            "/events?limit=1000",
            "/status",
            "/applications",
            "/environments",
            "/environments/prod",
            "/repositories",
            "/doctor",
        ):
            self.get(path)
        # Not the difference of its files: whoever may see that may read the repository, and so the Secret.
        for verb in ("", "/plan", "/comments"):
            self.get(f"/changes/1{verb}")
        self.keep("log", self.served.logged())
        for path in self.served.data.glob("trimtab.db*"):
            self.keep(path.name, path.read_bytes().decode("latin-1"))
        hosted = self.served.data / "repositories"
        notes = [git(path, "log", "--all", "--format=%N", "--notes=trimtab").out for path in hosted.glob("*.git")]
        assert "deployment" in "".join(notes) or "phase" in "".join(notes), notes
        self.keep("notes", "".join(notes))

    def leaks(self) -> list[str]:
        looked_for = {shape: word for word in WORDS for shape in (VALUES[word], encoded(word)[:-4])}
        looked_for |= {"kept-from-you": "a part of one", encoded("data-one")[:16]: "a part of one in base64"}
        return [
            f"{where}: {word}: …{text[max(0, text.index(shape) - 120) :][:300]}…"
            for where, text in self.said.items()
            for shape, word in looked_for.items()
            if shape in text
        ]


def git(path: Path, *arguments: str) -> Done:
    done = subprocess.run(["git", "-C", str(path), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def test_no_value_of_a_secret_leaves_the_process(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Its keys, and that it changed, do."""
    repository = Repository(tmp_path / "repo", cluster.kubeconfig, namespace)
    cluster.api.apply(secret("quoted", metadata={"namespace": namespace}, data={"old": encoded("quoted-old")}))
    repository.application("good", *good("data-one", "text-one"))
    for name, body in BAD.items():
        repository.application(name, config_map(f"beside-{name}"), body)
    repository.application("broken", config_map("x"))
    broken = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\nstringData:\n  a: '{VALUES['broken-yaml']}\n b: [\n"
    (repository.path / "apps/broken/all.yaml").write_text(broken)
    repository.commit()
    served = Served("hosted:shop", tmp_path / "data", arguments=("--poll-seconds", "3600"))
    with quoting(cluster, namespace):
        try:
            _play(cluster, f"/api/v1/namespaces/{namespace}/secrets/keys", repository, Collected(served.start()))
        finally:
            served.down()


def _play(cluster: Cluster, path: str, repository: Repository, seen: Collected) -> None:
    token = (seen.served.data / "token").read_text().strip()
    url = f"{seen.served.url.replace('http://', f'http://operator:{token}@')}/git/shop.git"
    seen.command("git push", git(repository.path, "push", url, "HEAD:main"))
    until(lambda: cluster.api.exists(path), 30)
    for name in (*BAD, "broken"):
        until(lambda name=name: f"apps/{name}/" in seen.get(f"/applications/{name}"), 30, what=name)
        seen.application(name)
    assert "I do not like" in seen.cli("app", "explain", "quoted"), "the webhook was asked"
    seen.application("good")
    _drift(cluster, path, seen)
    repository.application("good", *good("data-two", "text-two"))
    repository.commit()
    pushed = seen.command("git push -o change", git(repository.path, "push", "-o", "change", url, "HEAD:refs/for/main"))
    assert "change 1" in pushed
    plan = seen.cli("change", "plan", "1")
    assert "data/a" in plan, plan
    assert "*** (changed)" in plan
    seen.cli("change", "merge", "1")
    cluster.api.until(path, lambda live: live["data"]["a"] == encoded("data-two"))
    seen.application("good")
    seen.at_rest()
    (repository.path / "apps/good/all.yaml").write_text(yaml.safe_dump_all(good("offline", "offline")))
    for name in (*BAD.keys() - {"number", "quoted"}, "broken"):
        (repository.path / ".trimtab" / f"{name}.yaml").unlink()
    for view in (offline_plan(str(repository.path), "prod"), offline_render(str(repository.path), "prod")):
        assert "keys" in seen.keep(type(view).__name__, msgspec.json.encode(view).decode())
    assert seen.leaks() == []


def _drift(cluster: Cluster, path: str, seen: Collected) -> None:
    """Somebody edits the Secret while nothing is put back; then it is."""
    assert seen.served.post("/applications/good/suspend", reason="to look", environment="prod")[0] == 202
    cluster.api.merge(path, {"data": {"a": encoded("by-hand")}})
    until(lambda: "data/a" in seen.get("/applications/good/plan"), what="the drift is seen")
    seen.application("good")
    assert "*** (changed)" in seen.cli("app", "plan", "good")
    assert seen.served.post("/applications/good/resume", environment="prod")[0] == 202
    cluster.api.until(path, lambda live: live["data"]["a"] == encoded("data-one"))
