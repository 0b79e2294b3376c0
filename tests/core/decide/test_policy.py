"""What Policies of the target branch say of what a Change would do."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from trimtab.core.decide.policy import Proposal, subjects, wrong
from trimtab.core.model.change import Change, Check, PatchSet, Verdict
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef, Revision
from trimtab.core.model.plan import Action, FieldChange, Hold, Plan, Step
from trimtab.core.model.policy import Policy, PolicySpec
from trimtab.engine.changes.checking import NoCheckers
from trimtab.engine.changes.policing import Policing
from trimtab.testing.judge import DirectJudge

NOW = datetime(2030, 1, 4, 16, 30, tzinfo=UTC)  # a Friday
CHANGE = Change(7, "shop", "main", "more", "Three", "ada", (PatchSet(1, Revision("a" * 40), "ada", NOW),), NOW)


def policy(rule: str, name: str = "rule", **spec: Any) -> Policy:
    return Policy(Metadata(name), PolicySpec(rule=rule, **spec))


def step(body: dict[str, Any], action: Action = Action.UPDATE, environment: str = "production", **fields: Any) -> Step:
    metadata = body.get("metadata", {})
    ref = ObjectRef(body.get("apiVersion", "v1"), body["kind"], metadata.get("namespace", ""), metadata.get("name", "web"))
    manifest = None if action == Action.REMOVE else Manifest(ref, body, "shop/web.yaml", 3)
    return Step(action, ref, "shop", environment, manifest=manifest, **fields)


def proposal(*steps: Step, **fields: Any) -> Proposal:
    environment = steps[0].environment if steps else "production"
    made = {
        "change": CHANGE,
        "plans": (Plan("shop", environment, steps),),
        "files": ("shop/web.yaml",),
        "groups": ("dev",),
        "now": NOW,
    }
    return Proposal(**{**made, **fields})


def judge(rules: list[Policy], about: Proposal) -> list[Check]:
    return asyncio.run(Policing(DirectJudge(), NoCheckers()).judge(rules, about))


def verdicts(rule: Policy, about: Proposal) -> Check:
    (check,) = judge([rule], about)
    return check


LATEST = policy("!object.spec.image.endsWith(':latest')", message="pin the image", kinds=["Process"])


def test_a_rule_that_is_true_lets_it_pass() -> None:
    about = proposal(step({"kind": "Process", "spec": {"image": "web:1"}}))
    assert verdicts(LATEST, about) == Check("policy/rule", Verdict.PASSED)


def test_a_rule_that_is_false_names_object_file_and_line() -> None:
    check = verdicts(LATEST, proposal(step({"kind": "Process", "spec": {"image": "web:latest"}})))
    assert check.verdict == Verdict.FAILED
    assert str(check.problems[0]) == "shop/web.yaml:3: Process/web in production: pin the image"


def test_a_warning_is_only_said() -> None:
    rule = policy("false", level="warn", message="consider it")
    assert verdicts(rule, proposal(step({"kind": "Process"}))).verdict == Verdict.WARNED


def test_a_rule_may_answer_with_texts() -> None:
    rule = policy("object.spec.ports.filter(p, p < 1024).map(p, 'port ' + string(p) + ' is for root')")
    check = verdicts(rule, proposal(step({"kind": "Process", "spec": {"ports": [80, 8080, 443]}})))
    assert [problem.message.partition(": ")[2] for problem in check.problems] == ["port 80 is for root", "port 443 is for root"]


@pytest.mark.parametrize("rule", ["object.spec.missing == 1", "1 / 0 == 1", "nowhere", "1 + 1"])
def test_a_rule_that_cannot_be_evaluated_denies(rule: str) -> None:
    check = verdicts(policy(rule), proposal(step({"kind": "Process", "spec": {}})))
    assert check.verdict == Verdict.FAILED
    assert "the rule" in check.message


def test_environments_applications_and_kinds_choose() -> None:
    about = proposal(step({"kind": "Process"}))
    for chosen in ({"environments": ["staging"]}, {"applications": ["api*"]}, {"kinds": ["apps/*"]}):
        assert verdicts(policy("false", **chosen), about).verdict == Verdict.PASSED
    assert (
        verdicts(policy("false", environments=["prod*"], applications=["shop"], kinds=["Proc*"]), about).verdict == Verdict.FAILED
    )


def test_removals_are_steps_and_not_objects() -> None:
    gone = proposal(step({"kind": "StatefulSet", "apiVersion": "apps/v1"}, Action.REMOVE))
    assert verdicts(policy("false"), gone).verdict == Verdict.PASSED
    rule = policy("step.action != 'remove' || step.kind != 'StatefulSet'", each="step", message="stateful things stay")
    assert verdicts(rule, gone).message == "StatefulSet/web in production: stateful things stay"


def test_a_removal_that_is_held_is_still_meant() -> None:
    gone = step({"kind": "StatefulSet"}, Action.REMOVE)
    plans = (Plan("shop", "production", (), (Hold(gone.ref, "too much", "approval", True, gone),)),)
    rule = policy("step.action != 'remove'", each="step")
    assert verdicts(rule, proposal(plans=plans)).verdict == Verdict.FAILED


def test_a_plan_is_asked_about_once_for_each_environment() -> None:
    one, two = step({"kind": "Process"}, Action.REMOVE), step({"kind": "File"}, Action.REMOVE)
    plans = (Plan("shop", "production", (one,)), Plan("blog", "production", (two,)), Plan("shop", "staging", (one,)))
    check = verdicts(policy("plan.removals < 2", each="plan", message="too many removals"), proposal(plans=plans))
    assert [problem.message for problem in check.problems] == ["production: too many removals"]


def test_the_change_its_author_and_the_time_can_be_asked() -> None:
    about = proposal(step({"kind": "Process"}))
    rules = [
        "size(change.files) <= 20 && change.target == 'main' && change.number == 7",
        "'dev' in author.groups && author.name == 'ada'",
        "!(time.weekday == 'Friday' && time.hour >= 17)",
        "plans.all(p, p.creates == 0 && p.updates == 1)",
        "change.files.all(f, f.startsWith('shop/'))",
    ]
    assert {verdicts(policy(rule, each="change"), about).verdict for rule in rules} == {Verdict.PASSED}


def test_time_is_that_of_the_policys_zone() -> None:
    frozen = policy("!(time.weekday == 'Friday' && time.hour >= 17)", each="change", timezone="Europe/Berlin", message="frozen")
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    assert verdicts(frozen, proposal(times={"Europe/Berlin": berlin})).message == "frozen"


def test_no_rule_sees_a_secret() -> None:
    secret = {"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}
    change = FieldChange("/data/password", "aHVudGVyMQ==", "aHVudGVyMg==")
    rule = policy("[object.data.password] + step.changes.map(c, string(c.to) + string(c.from))")
    check = verdicts(rule, proposal(step(secret, changes=(change,))))
    assert "aHVudGVy" not in msgspec.json.encode(check).decode()


def test_what_is_wrong_with_a_policy_is_said_when_it_is_read() -> None:
    assert [path for path, *_ in wrong(PolicySpec())] == [("spec", "rule")]
    assert [path for path, *_ in wrong(PolicySpec(rule="true", command="conftest"))] == [("spec", "rule")]
    assert list(wrong(PolicySpec(rule="true"))) == []


def test_policies_are_judged_in_order_of_name_and_a_checker_that_is_not_there_denies() -> None:
    rules = [policy("true", "b"), policy("true", "a"), Policy(Metadata("c"), PolicySpec(command="conftest", each="change"))]
    checks = judge(rules, proposal())
    assert [check.name for check in checks] == ["policy/a", "policy/b", "external/c"]
    assert checks[2].message == "this server has no checker called conftest"


PAGE = Path(__file__).parents[3] / "docs" / "reference" / "policies.md"
EXAMPLES = {
    document["metadata"]["name"]: msgspec.convert({key: document[key] for key in ("metadata", "spec")}, Policy)
    for document in yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0])
}


def deployment(**container: Any) -> Step:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"template": {"spec": {"containers": [{"name": "web", **container}]}}},
    }
    return step(body)


GOOD = deployment(image="web:1", resources={"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("pinned-images", proposal(deployment(image="web:latest"))),
        ("pinned-images", proposal(deployment(image="web"))),
        ("resources", proposal(deployment(image="web:1"))),
        ("unprivileged", proposal(deployment(image="web:1", securityContext={"privileged": True}))),
        ("keep-data", proposal(step({"apiVersion": "apps/v1", "kind": "StatefulSet"}, Action.REMOVE))),
        ("freeze", proposal(GOOD, now=NOW)),
        ("four-eyes", proposal(GOOD, approvals=(("ada", "production"),))),
        ("size", proposal(GOOD, files=tuple(f"{number}" for number in range(51)))),
    ],
)
def test_each_policy_of_the_page_says_no_to_what_it_is_against(name: str, bad: Proposal) -> None:
    assert list(wrong(EXAMPLES[name].spec)) == []
    assert verdicts(EXAMPLES[name], bad).verdict in (Verdict.FAILED, Verdict.WARNED)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_each_policy_of_the_page_lets_the_good_pass(name: str) -> None:
    monday = datetime(2030, 1, 7, 9, tzinfo=UTC)
    about = proposal(GOOD, now=monday, approvals=(("sue", "production"),))
    assert verdicts(EXAMPLES[name], about).verdict == Verdict.PASSED


def test_the_page_names_all_that_a_rule_sees() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for each in ("object", "step", "plan", "change"):
        for subject in subjects(policy("true", each=each), proposal(GOOD)):
            for name, value in subject.values.items():
                assert f"| `{name}` |" in text
                row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
                keys = value if isinstance(value, dict) and name != "object" else {}
                assert [key for key in keys if f"`{key}`" not in row and key != "removes"] == []
