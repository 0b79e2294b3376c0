"""`make demo-kubernetes`: the loop on a real API server, in a terminal, with what it took; each claim is checked, the first untrue one ends it.

The repository is that of examples/10-overlays with a migration before each release. The cluster is the one of the tests: etcd, API server,
controllers and scheduler are the real programs, and a node says of each Pod what a kubelet would say. What is claimed is looked up there
with a client of its own. Everything is in a temporary directory, and ends and goes with the demo.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.program import kustomize

from trimtab.cli.demo.checks import Checks, Untrue, milliseconds
from trimtab.cli.demo.screen import Screen
from trimtab.testing.served import Done, Repository, Served

EXAMPLE = Path(__file__).parents[2] / "examples" / "10-overlays"
PATIENCE_SECONDS = 60.0
WAIT = ("--wait", "healthy", "--timeout", "60s")
STAGING, PRODUCTION = "overlaid-staging", "overlaid-production"
MIGRATION = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - {name: migrate, image: "busybox:1.37", command: [sh, -c, "echo the tables are there"]}
"""
MISTAKE = """\
patches:
  - target: {kind: Deployment, name: greeter}
    patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: greeter}
      spec:
        template:
          metadata:
            annotations: {node.test/behaviour: crashloop, node.test/log: "panic: no such table: greetings"}
"""


def nothing(moment: str, story: Story) -> None:
    """Nobody meddles."""


Meddle = Callable[[str, "Story"], None]


class Story:
    """The acts, in order. ``meddle`` is called with the name of a moment: tests make something untrue there."""

    def __init__(self, place: Path, cluster: Cluster, screen: Screen, checks: Checks, meddle: Meddle = nothing) -> None:
        self.api, self.screen, self.checks, self.meddle = cluster.api, screen, checks, meddle
        self.repository = Repository(place / "greeter")
        tool = kustomize()
        (place / "bin").mkdir()
        (place / "bin" / ("kubectl" if tool.name == "kubectl" else "kustomize")).symlink_to(tool)
        path = f"{place / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(place), "PATH": path}
        self.served = Served(self.repository.path, place / "data", environment=environment)
        self.committed = 0.0

    def play(self) -> None:
        """Raises Untrue at the first thing that is not as it is told."""
        self.install()
        self.change()
        self.trouble()
        self.drift()
        self.removal()

    def close(self) -> None:
        if self.served.process is not None:
            self.served.down()

    def install(self) -> None:
        self.screen.act(
            "A repository says what should run on a cluster",
            "Kustomize overlays for two Environments, which are two namespaces here. Before each release a migration runs: a Job with "
            "an annotation of Argo CD. Production follows once staging is healthy.",
        )
        shutil.copytree(EXAMPLE, self.repository.path, dirs_exist_ok=True)
        self.replace("greeter/base/kustomization.yaml", "[greeter.yaml]", "[greeter.yaml, migrate.yaml]")
        self.repository.write({"greeter/base/migrate.yaml": MIGRATION})
        place = "metadata: {name: production}\nspec:\n"
        self.replace(".trimtab/environments.yaml", place, place + "  removal: {percent: 20, objects: 1}\n")
        self.screen.command("cat .trimtab/greeter.yaml")
        self.screen.output((self.repository.path / ".trimtab" / "greeter.yaml").read_text(), words=False)
        self.commit("A greeter with two overlays")
        self.served.start()
        self.trimtab("status", "HEAD", *WAIT)
        took = time.monotonic() - self.committed
        self.meddle("installed", self)
        for namespace, replicas in ((STAGING, 1), (PRODUCTION, 3)):
            seen = self.available(namespace)
            self.checks.check(f"the API server has {replicas} available in {namespace}", seen == replicas, seen=seen)
        self.checks.check("installed in two namespaces, from the commit on", took < PATIENCE_SECONDS, measured=milliseconds(took))
        steps = [one["message"] for one in self.served.events(kind="step.applied") if one["environment"] == "staging"]
        first = next((step for step in steps if "Namespace" not in step), "")
        self.checks.check("the migration ran before the rest", first == "run Job/migrate", seen=steps)

    def change(self) -> None:
        self.screen.act(
            "A commit goes live",
            "Four replicas in production. Staging renders to the same as before, and nothing is asked of it.",
        )
        self.replace("greeter/production/kustomization.yaml", "count: 3", "count: 4")
        self.commit("Four in production")
        path = f"/apis/apps/v1/namespaces/{PRODUCTION}/deployments/greeter"
        live = self.checks.wait("production has four", lambda: self.api.get(path), lambda found: found["spec"]["replicas"] == 4)
        took = time.monotonic() - self.committed
        self.checks.check("committed, noticed and applied", live["spec"]["replicas"] == 4, measured=milliseconds(took))
        self.trimtab("status", "HEAD", *WAIT)
        self.checks.check("all four are available", self.available(PRODUCTION) == 4, seen=self.available(PRODUCTION))

    def trouble(self) -> None:
        self.screen.act(
            "A bad release stops in staging, and says why",
            "Its Pods crash. From the Deployment the way leads to the Pod, its container, and the last line that it wrote.",
        )
        name = "greeter/staging/kustomization.yaml"
        before = (self.repository.path / name).read_text()
        self.repository.write({name: before + MISTAKE})
        self.commit("A release that crashes")
        done = self.trimtab("status", "HEAD", *WAIT)
        self.checks.check("the exit code says that it failed", done.code == 1, seen=done)
        told = self.checks.wait("the cause is known", self.causes, lambda seen: "no such table" in seen)
        self.trimtab("app", "explain", "greeter", "--environment", "staging")
        named = all(word in told for word in ("ReplicaSet/", "Pod/", "container web", "panic: no such table: greetings"))
        self.checks.check("the Pod is named, with its last log line", named, seen=told)
        self.checks.check("production never saw it", self.available(PRODUCTION) == 4, seen=self.available(PRODUCTION))
        self.screen.command("git revert HEAD")
        self.repository.git("revert", "--no-edit", "HEAD")
        self.committed = time.monotonic()
        self.trimtab("status", "HEAD", *WAIT)
        self.checks.check(
            "a revert mends it", self.available(STAGING) == 1, measured=milliseconds(time.monotonic() - self.committed)
        )

    def drift(self) -> None:
        self.screen.act(
            "What somebody changes is put back", "Nine replicas by hand in production, and a Service that is deleted in staging."
        )
        scaled = f"/apis/apps/v1/namespaces/{PRODUCTION}/deployments/greeter"
        self.screen.command(f"kubectl scale deployment/greeter --namespace {PRODUCTION} --replicas 9")
        self.healed(
            "replicas are back",
            lambda: self.api.merge(scaled, {"spec": {"replicas": 9}}),
            lambda: self.api.get(scaled)["spec"]["replicas"] == 4,
        )
        service = f"/api/v1/namespaces/{STAGING}/services/greeter"
        self.screen.command(f"kubectl delete service/greeter --namespace {STAGING}")
        uid = self.api.get(service)["metadata"]["uid"]
        self.healed("the Service is back", lambda: self.api.delete(service), lambda: self.there_anew(service, uid))

    def removal(self) -> None:
        self.screen.act(
            "A commit that would remove too much waits for somebody",
            "The base is left out of production, as a slip would do it. Nothing goes before a person has approved that very plan.",
        )
        self.replace("greeter/production/kustomization.yaml", "[namespace.yaml, ../base]", "[namespace.yaml]")
        self.replace("greeter/production/kustomization.yaml", "replicas:\n  - {name: greeter, count: 4}\n", "")
        self.commit("Too much left out")
        done = self.trimtab("status", "HEAD", *WAIT)
        self.checks.check("it is held", done.code == 3, seen=done)
        self.checks.check("nothing has gone", self.available(PRODUCTION) == 4, seen=self.available(PRODUCTION))
        shown = self.served.json("app", "show", "greeter", "--environment", "production")
        digest = shown["applications"][0]["planHash"]
        self.meddle("held", self)
        self.trimtab("app", "approve", "greeter", digest, "--environment", "production")
        path = f"/apis/apps/v1/namespaces/{PRODUCTION}/deployments/greeter"
        self.checks.wait("it goes once it is approved", lambda: self.api.exists(path), lambda there: not there)
        self.checks.check("what was approved has gone", not self.api.exists(path))
        left = self.api.exists(f"/api/v1/namespaces/{PRODUCTION}")
        self.checks.check("the Namespace, which Git still wants, is there", left)

    # --- what the acts are made of

    def commit(self, message: str) -> None:
        self.screen.command(f"git commit --all --message '{message}'")
        self.repository.commit(message=message)
        self.committed = time.monotonic()

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.repository.path / path).read_text()
        assert old in text, (path, old)
        self.repository.write({path: text.replace(old, new)})

    def trimtab(self, *arguments: str) -> Done:
        self.screen.command("trimtab " + " ".join(arguments))
        done = self.served.cli(*arguments, directory=self.repository.path)
        self.screen.output(done.out + done.err, wrap=True)
        return done

    def available(self, namespace: str) -> int:
        answer = self.api.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/greeter")
        return int(answer.json["status"].get("availableReplicas", 0)) if answer.status == 200 else 0

    def causes(self) -> str:
        (view,) = self.served.json("app", "explain", "greeter", "--environment", "staging")
        return str(view["reasons"])

    def healed(self, claim: str, act: Callable[[], Any], holds: Callable[[], bool]) -> None:
        began = time.monotonic()
        act()
        self.checks.wait(claim, holds, bool)
        self.checks.check(claim, True, measured=milliseconds(time.monotonic() - began))

    def there_anew(self, path: str, uid: str) -> bool:
        answer = self.api.request("GET", path)
        return answer.status == 200 and answer.json["metadata"]["uid"] != uid


def play(*, silent: bool = False, meddle: Meddle = nothing, patience_seconds: float = PATIENCE_SECONDS) -> Checks:
    """All of it, on a cluster of its own, which is gone afterwards. The last of the checks is the untrue one, where there is one."""
    screen = Screen(silent=silent)
    checks = Checks(screen, patience_seconds=patience_seconds)
    place, cluster = Path(tempfile.mkdtemp(prefix="demo-")), Cluster("demo")
    try:
        cluster.up()
        screen.say(f"A control plane is up: {cluster.server}, in {screen.seconds:.1f} s.")
        story = Story(place, cluster, screen, checks, meddle)
        try:
            story.play()
        except Untrue as untrue:
            checks.untrue(untrue)
            screen.cross(f"NOT TRUE: {untrue.claim}", untrue.seen)
        finally:
            story.close()
    finally:
        cluster.close()
        shutil.rmtree(place, ignore_errors=True)
    screen.heading(f"Shown and checked in {screen.seconds:.0f} s; everything that ran has ended")
    for check in checks.summary():
        if check.ok:
            screen.tick(check.claim, check.measured)
    return checks


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return 0 if all(check.ok for check in play().done) else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
