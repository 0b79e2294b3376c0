"""docs/reference/host.md names every field of every kind and of every record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from trimtab.targets.host.kinds import KINDS
from trimtab.targets.host.records import InstanceRecord, ObjectRecord, TaskRun
from trimtab.targets.host.supervisor import KEPT

TEXT = (Path(__file__).parents[3] / "docs/reference/host.md").read_text()


def fields(kind: type[Any]) -> set[str]:
    """The names of all fields, at every depth."""
    schemas = msgspec.json.schema(kind)["$defs"].values()
    return {name for each in schemas for name in each.get("properties", {})}


@pytest.mark.parametrize("kind", [*KINDS.values(), ObjectRecord, InstanceRecord, TaskRun], ids=lambda kind: kind.__name__)
def test_every_field_is_in_the_reference(kind: type[Any]) -> None:
    """A field that is added is described with it."""
    assert [name for name in sorted(fields(kind)) if f"`{name}`" not in TEXT and f"{name}:" not in TEXT] == []


def test_every_kept_variable_is_in_the_reference() -> None:
    """What processes are given from the host's environment."""
    assert [name for name in KEPT if f"`{name}`" not in TEXT] == []
