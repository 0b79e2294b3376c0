"""The health of real objects, kind by kind, from data files that name where each project documents its status."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import yaml

from trimtab.core.model.health import Health
from trimtab.targets.kubernetes import health
from trimtab.targets.kubernetes.healths.conditions import convention
from trimtab.targets.kubernetes.healths.reading import Rule, always

CASES = Path(__file__).parent / "cases"
DOCUMENTS = [
    (path.stem, document) for path in sorted(CASES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text("utf-8"))
]


def _object(document: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    rest = {name: case[name] for name in ("spec", "status") if name in case}
    metadata = {"name": "it", **case.get("metadata", {})}
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata, **rest}


@pytest.mark.parametrize("document", [pytest.param(document, id=f"{file}: {document['kind']}") for file, document in DOCUMENTS])
def test_a_documented_status_gives_the_expected_health(document: dict[str, Any]) -> None:
    for case in document["cases"]:
        found = health.assess(_object(document, case))
        right = found.status == case["expect"] and case.get("says", "") in found.message
        assert right, f"{case['name']}: {found}"
        assert bool(found.message) == ("says" in case), f"{case['name']}: {found}"


def test_each_document_names_its_source() -> None:
    assert [document["kind"] for _, document in DOCUMENTS if not document["source"].startswith("https://")] == []


def test_each_rule_that_is_code_is_seen_both_well_and_not_well() -> None:
    seen: dict[Rule, set[bool]] = {}
    for _, document in DOCUMENTS:
        for case in document["cases"]:
            obj = _object(document, case)
            seen.setdefault(health.rule_of(obj), set()).add(_well(health.assess(obj)))
    tables = [rule for kinds in health._TABLE.values() for rule in kinds.values()] + list(health._FAMILIES.values())
    plain = {rule for rule in tables if isinstance(rule, FunctionType) and "<locals>" not in rule.__qualname__} - {
        always,
        convention,
    }
    assert sorted(rule.__qualname__ for rule in plain if seen.get(rule, set()) != {True, False}) == []


def test_more_than_a_hundred_custom_kinds_have_cases() -> None:
    custom = {(document["apiVersion"], document["kind"]) for file, document in DOCUMENTS if file.startswith("custom")}
    assert len(custom) > 100


def _well(found: Health) -> bool:
    return found.status == "healthy"
