"""The Judge on a real sandbox: what is wrong in the configuration is told where it stands, and expressions are evaluated once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from trimtab.core.decide.configuration import read
from trimtab.core.model.config import Configuration
from trimtab.ports.judge import Unsaid
from trimtab.wiring.adapters import SETTINGS
from trimtab.wiring.judge import SandboxJudge

RULES = """\
apiVersion: trimtab.dev/v1
kind: Environment
metadata: {name: production}
spec:
  target:
    kind: kubernetes
    health:
      - {group: a, kind: Good, cel: {healthy: status.ready}}
      - {group: a, kind: Bad, lua: "return {"}
"""
IGNORE = """\
apiVersion: trimtab.dev/v1
kind: Application
metadata: {name: shop}
spec:
  environments: [{name: production}]
  ignore:
    - {pointers: [/a], when: 'object.metadata.labels["scale"] == "auto"'}
    - {pointers: [/a], when: 'metadata.name == "x"'}
    - {kind: Deployment}
"""
SCALED = {"kind": "Deployment", "metadata": {"name": "web", "labels": {"scale": "auto"}}}


@pytest.fixture
async def judge() -> AsyncIterator[SandboxJudge]:
    made = SandboxJudge(seconds=0.5)
    yield made
    await made.close()


def declared(**files: str) -> Configuration:
    found = read({f".trimtab/{name}.yaml": text.encode() for name, text in files.items()}, Configuration(), adapters=SETTINGS)
    assert found.problems == ()
    return found


async def test_wrong_rules_are_told_at_their_document_and_field(judge: SandboxJudge) -> None:
    """Good ones are not; nor is anything told of a configuration without rules."""
    found = await judge.examine(declared(rules=RULES, shop=IGNORE))
    assert [(one.file, one.line, one.field) for one in found] == [
        (".trimtab/rules.yaml", 1, "spec.target.health[1]"),
        (".trimtab/shop.yaml", 1, "spec.ignore[1]"),
        (".trimtab/shop.yaml", 1, "spec.ignore[2]"),
    ]
    assert "a/Bad" in found[0].message
    assert "metadata" in found[1].message
    assert "names no field" in found[2].message
    assert list(await judge.examine(Configuration())) == []


async def test_an_expression_holds_where_it_is_true_and_not_where_its_fields_are_missing(judge: SandboxJudge) -> None:
    expression = 'object.metadata.labels["scale"] == "auto"'
    bodies: list[dict[str, Any]] = [SCALED, {"metadata": {"labels": {"scale": "no"}}}, {"metadata": {}}]
    assert await judge.holds([(expression, body) for body in bodies]) == [True, False, False]


async def test_one_that_runs_too_long_is_no_answer_and_holds_up_no_other(judge: SandboxJudge) -> None:
    """Neither true nor false: then nothing is overwritten."""
    numbers = str(list(range(30)))
    endless = f"{numbers}.exists(x, " * 7 + "x > 99" + ")" * 7
    slow, quick = await judge.holds([(endless, SCALED), ("true", SCALED)])
    assert isinstance(slow, str)
    assert "took longer" in slow
    assert quick is True


async def test_an_expression_that_makes_the_parser_panic_is_an_error_like_others(judge: SandboxJudge) -> None:
    (answer,) = await judge.holds([("(" * 9_000 + "1" + ")" * 9_000, SCALED)])
    assert isinstance(answer, str)
    assert await judge.holds([("true", SCALED)]) == [True]


POLICY = """\
apiVersion: trimtab.dev/v1
kind: Policy
metadata: {name: size}
spec: {rule: "size(change.files) <", timezone: Mars/Base}
"""


async def test_a_policy_that_is_no_expression_is_told_when_it_is_read(judge: SandboxJudge) -> None:
    found = await judge.examine(declared(policy=POLICY))
    assert [(one.field, one.message) for one in found][1] == ("spec.timezone", "there is no such time zone")
    assert (found[0].field, found[0].message[:24]) == ("spec.rule", "`size(change.files) <` is"[:24])


async def test_a_rule_that_does_not_end_is_stopped_and_the_next_one_is_answered(judge: SandboxJudge) -> None:
    many = list(range(1000))
    answers = await judge.answers(
        [("a.all(x, a.all(y, a.all(z, z >= 0)))", {"a": many}), ("size(a) == 1000", {"a": many}), ("b.c", {"b": {}})]
    )
    assert isinstance(answers[0], Unsaid)
    assert answers[1] is True
    assert answers[2] == Unsaid("there is no 'c'; ask with has() first")
