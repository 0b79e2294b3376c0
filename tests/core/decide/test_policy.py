"""What Policies of the target branch say of what a Change would do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from trimtab.core.decide.policy import Proposal, judge, wrong
from trimtab.core.model.change import Change, Check, PatchSet, Verdict
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef, Revision
from trimtab.core.model.plan import Action, FieldChange, Hold, Plan, Step
from trimtab.core.model.policy import Policy, PolicySpec

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
    assert verdicts(frozen, proposal()).message == "frozen"


def test_no_rule_sees_a_secret() -> None:
    secret = {"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}
    change = FieldChange("/data/password", "aHVudGVyMQ==", "aHVudGVyMg==")
    rule = policy("[object.data.password] + step.changes.map(c, string(c.to) + string(c.from))")
    check = verdicts(rule, proposal(step(secret, changes=(change,))))
    assert "aHVudGVy" not in msgspec.json.encode(check).decode()


def test_what_is_wrong_with_a_policy_is_said_when_it_is_read() -> None:
    found = {path[1]: message for path, message, _ in wrong(PolicySpec(rule="a +", timezone="Mars/Base"))}
    assert found["rule"].startswith("it is not CEL")
    assert found["timezone"] == "there is no such time zone"
    assert [path for path, *_ in wrong(PolicySpec())] == [("spec", "rule")]
    assert [path for path, *_ in wrong(PolicySpec(rule="true", command="conftest"))] == [("spec", "rule")]
    assert list(wrong(PolicySpec(rule="true"))) == []


def test_policies_are_judged_in_order_of_name_and_commands_are_left_to_others() -> None:
    rules = [policy("true", "b"), policy("true", "a"), Policy(Metadata("c"), PolicySpec(command="conftest"))]
    assert [check.name for check in judge(rules, proposal())] == ["policy/a", "policy/b"]
