"""The manifests of deploy/kubernetes: they keep to our own Policies, to the documented rights, and to what the server can be told."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml

from trimtab.cli.serve import serve
from trimtab.core.decide.policy import Proposal
from trimtab.core.model.change import Change, PatchSet, Verdict
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef, Revision
from trimtab.core.model.plan import Action, Plan, Step
from trimtab.core.model.policy import Policy
from trimtab.engine.changes.checking import NoCheckers
from trimtab.engine.changes.policing import Policing
from trimtab.testing.judge import DirectJudge
from trimtab.web.guard import OPEN

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
MONDAY = datetime(2030, 1, 7, 9, tzinfo=UTC)


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def page_examples(name: str) -> list[dict[str, Any]]:
    """The documents of every yaml block of a reference page."""
    text = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    return [
        one for block in re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for one in yaml.safe_load_all(block)
    ]


KUBERNETES = BASE.parent
REHEARSAL, REPAIR = documents(KUBERNETES / "itself" / "rehearsal.yaml"), documents(KUBERNETES / "repair" / "pod.yaml")
SHIPPED = [one for path in sorted(BASE.glob("*.yaml")) for one in documents(path) if one["kind"] != "Kustomization"]
DEPLOYMENT = next(one for one in SHIPPED if one["kind"] == "Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
POLICIES = [
    msgspec.convert({key: one[key] for key in ("metadata", "spec")}, Policy)
    for one in page_examples("policies.md")
    if one.get("kind") == "Policy"
]


def step(body: dict[str, Any]) -> Step:
    ref = ObjectRef(body["apiVersion"], body["kind"], "", body["metadata"]["name"])
    return Step(Action.CREATE, ref, "trimtab", "production", manifest=Manifest(ref, body, "deploy.yaml", 1))


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
async def test_what_is_shipped_keeps_to_each_policy_that_we_show(policy: Policy) -> None:
    change = Change(1, "trimtab", "main", "more", "Trimtab", "ada", (PatchSet(1, Revision("a" * 40), "ada", MONDAY),), MONDAY)
    plan = Plan("trimtab", "production", tuple(step(body) for body in (*SHIPPED, *REHEARSAL)))
    approvals = (("sue", "production"),)
    proposal = Proposal(change=change, plans=(plan,), files=("a",), groups=(), now=MONDAY, approvals=approvals)
    (check,) = await Policing(DirectJudge(), NoCheckers()).judge([policy], proposal)
    assert (check.verdict, check.problems) == (Verdict.PASSED, ())


def test_the_rights_are_those_of_the_page() -> None:
    documented = [
        one for one in page_examples("kubernetes.md") if one["metadata"]["name"] == "trimtab" and "Cluster" in one["kind"]
    ]
    assert documents(BASE / "rights.yaml") == documented


def test_the_rights_to_keep_itself_are_no_more_than_its_own_kinds_and_no_right_to_escalate() -> None:
    role, binding = documents(KUBERNETES / "itself" / "rights.yaml")
    (rule,) = role["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["rbac.authorization.k8s.io"], ["clusterroles", "clusterrolebindings"])
    assert not {"escalate", "bind", "*"} & set(rule["verbs"])
    assert binding["subjects"] == documents(BASE / "rights.yaml")[1]["subjects"]


def test_every_file_of_the_base_is_part_of_it() -> None:
    (kustomization,) = documents(BASE / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(
        path.name for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml"
    )


def test_the_server_understands_what_it_is_told() -> None:
    given = serve.make_context("serve", [*CONTAINER["args"][1:], "--data", "/data/trimtab"]).params
    assert CONTAINER["args"][0] == "serve"
    assert given["reachable"]
    assert given["listen"].rpartition(":")[2] == str(CONTAINER["ports"][0]["containerPort"])
    service = next(one for one in SHIPPED if one["kind"] == "Service")
    assert given["allowed_hosts"] == (f"{service['metadata']['name']}.trimtab.svc",)
    known = {option.envvar for option in serve.params if isinstance(option, click.Option)}
    names = {one["name"] for one in CONTAINER["env"]} | {
        one["name"]
        for patch in documents(KUBERNETES / "example" / "server.yaml")
        for one in patch["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert names - known == {"REPOSITORY"}


def test_probes_ask_what_is_open_to_everybody_by_a_name_that_is_answered_to() -> None:
    probes = [CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {probe["path"] for probe in probes} == OPEN
    assert {probe["port"] for probe in probes} == {CONTAINER["ports"][0]["name"]}
    assert [probe["httpHeaders"] for probe in probes] == [[{"name": "Host", "value": "localhost"}]] * 3


def test_one_server_at_a_time_uses_the_data_and_the_data_outlives_a_commit() -> None:
    assert (DEPLOYMENT["spec"]["replicas"], DEPLOYMENT["spec"]["strategy"]) == (1, {"type": "Recreate"})
    kept = [one["kind"] for one in SHIPPED if one["metadata"].get("annotations", {}).get("trimtab.dev/prune") == "disabled"]
    assert kept == ["PersistentVolumeClaim", "Namespace"]


def test_it_runs_without_privileges_on_a_read_only_file_system() -> None:
    context = CONTAINER["securityContext"]
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["runAsUser"] > 0
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {mount["mountPath"] for mount in CONTAINER["volumeMounts"]} == {"/data", "/tmp"}


def test_the_rehearsal_is_run_before_a_release_as_the_server_itself_would_be() -> None:
    """Same image, user and limits of privileges, so that what starts there starts here; without the data and the account."""
    (job,) = REHEARSAL
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert job["metadata"]["annotations"] == {"trimtab.dev/hook": "pre"}
    assert (container["image"], container["securityContext"]) == (CONTAINER["image"], CONTAINER["securityContext"])
    assert pod["securityContext"].items() <= POD["securityContext"].items()
    assert (pod["nodeSelector"], pod["automountServiceAccountToken"]) == (POD["nodeSelector"], False)
    assert "volumeMounts" not in container


def test_the_pod_for_repairs_is_the_servers_with_another_command() -> None:
    """It reads and writes the data as the server does, and has not got its account."""
    (pod,) = REPAIR
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"] == POD["securityContext"]
    assert pod["spec"]["volumes"] == POD["volumes"]
    assert [container[one] for one in ("image", "securityContext", "volumeMounts")] == [
        CONTAINER[one] for one in ("image", "securityContext", "volumeMounts")
    ]
    assert not pod["spec"]["automountServiceAccountToken"]


def test_the_cluster_makes_no_variables_of_the_service() -> None:
    """Those of a Service named `trimtab` would begin with TRIMTAB_, as our settings do."""
    assert POD["enableServiceLinks"] is False


def test_the_image_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert CONTAINER["image"] == f"trimtab:{version}"
    (example,) = documents(KUBERNETES / "example" / "kustomization.yaml")
    assert example["images"][0]["newTag"] == version
