"""The published JSON Schema says what the reader checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trimtab.core.decide.schema import json_schema, kinds
from trimtab.core.model.errors import UserError


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


@pytest.mark.parametrize("kind", kinds())
def test_every_field_is_described_and_nothing_else_allowed(kind: str) -> None:
    """Each kind has its constants; each object of a schema allows no other fields and describes each of its own."""
    schema = json_schema(kind)
    assert schema["properties"]["kind"]["const"] == kind
    assert schema["properties"]["apiVersion"]["const"] == "trimtab.dev/v1"
    assert schema["required"] == ["apiVersion", "kind", "metadata", *(["spec"] if kind in ("Grant", "Generator") else [])]
    for one in objects(schema):
        assert one["additionalProperties"] is False
        assert one["description"]
        assert [name for name, field in one["properties"].items() if not field.get("description")] == []


def test_a_kind_that_there_is_not() -> None:
    """An unknown kind leads to the nearest one."""
    with pytest.raises(UserError, match='Did you mean "Project"'):
        json_schema("Projects")
