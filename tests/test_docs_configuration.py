"""docs/reference/configuration.md has a row for each field of each kind, as the code describes it, and none that there is not.

DOCS_WRITE=1 writes the tables anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect, to_builtins

from trimtab.core.model.config import DEFAULT_ENVIRONMENT, DEFAULT_PROJECT, KINDS
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.manifest import ADOPT_ANNOTATION, KEEP_ANNOTATIONS, WAVE_ANNOTATIONS
from trimtab.wiring.adapters import SETTINGS

PATH = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"
PAGE = PATH.read_text(encoding="utf-8")
TARGETS = "Targets"
HEAD = "| field | type | default | meaning |\n|---|---|---|---|\n"


def rows(section: str) -> list[str]:
    """The table of a section, row by row."""
    if section == TARGETS:
        return [row for kind, settings in sorted(SETTINGS.items()) for row in _rows(settings, f"{kind}: ")]
    return _rows(KINDS[section], "")


def _rows(type_: Any, prefix: str) -> list[str]:
    found = inspect.type_info(type_)
    assert isinstance(found, inspect.StructType)
    return [f"| `{path}` | {type_} | {default} | {text} |" for path, type_, default, text in _fields(found, prefix)]


def _fields(struct: inspect.StructType, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for field in struct.fields:
        path, type_, text = prefix + field.encode_name, field.type, ""
        while isinstance(type_, inspect.Metadata):
            text = text or str((type_.extra_json_schema or {}).get("description", ""))
            type_ = type_.type
        yield path, _type(type_), _default(field), text.replace("|", "\\|")
        type_ = _said(type_)
        inner = _bare(type_.item_type) if isinstance(type_, inspect.ListType) else type_
        if isinstance(inner, inspect.StructType):
            yield from _fields(inner, f"{path}[]." if isinstance(type_, inspect.ListType) else f"{path}.")


def _bare(type_: inspect.Type) -> inspect.Type:
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_


def _said(type_: inspect.Type) -> inspect.Type:
    """What may be left out with null, without that."""
    types = [one for one in type_.types if not isinstance(one, inspect.NoneType)] if isinstance(type_, inspect.UnionType) else []
    return _bare(types[0]) if len(types) == 1 else type_


def _type(type_: inspect.Type) -> str:
    match _said(_bare(type_)):
        case inspect.StructType():
            return "object"
        case inspect.ListType(item_type=item):
            return f"list of {_type(item)}"
        case inspect.DictType(value_type=value):
            return f"map of {_type(value)}"
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{json.dumps(value)}`" for value in values)
        case inspect.UnionType(types=types):
            return " or ".join(sorted(_type(one) for one in types))
        case other:
            name = type(other).__name__.removesuffix("Type").lower()
            return {"str": "string", "int": "number", "float": "number", "bool": "boolean"}.get(name, name)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    if isinstance(_said(_bare(field.type)), inspect.StructType):
        return ""
    value: Any = field.default if field.default_factory is inspect.NODEFAULT else field.default_factory()
    return f"`{json.dumps(_brief(to_builtins(value)))}`"


def _brief(value: Any) -> Any:
    """Without the fields that say nothing."""
    if isinstance(value, list):
        return [_brief(one) for one in value]
    return {name: inner for name, inner in value.items() if inner} if isinstance(value, dict) else value


def _section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no section {title}"
    return found[1]


@pytest.mark.parametrize("kind", [*KINDS, TARGETS])
def test_the_table_of_a_section_is_that_of_the_code(kind: str) -> None:
    wanted = rows(kind)
    if os.environ.get("DOCS_WRITE") == "1":
        _write(kind, wanted)
        return
    assert re.findall(r"^\| `.*$", _section(kind), flags=re.MULTILINE) == wanted


def _write(kind: str, wanted: list[str]) -> None:
    page = PATH.read_text(encoding="utf-8")
    pattern = re.compile(rf"(^## {kind}\n[\s\S]*?){re.escape(HEAD)}(?:^\|.*\n)*", flags=re.MULTILINE)
    assert pattern.search(page), f"{kind} has no table"
    PATH.write_text(pattern.sub(lambda found: found[1] + HEAD + "\n".join(wanted) + "\n", page), encoding="utf-8")


def test_every_annotation_is_explained() -> None:
    names = [*WAVE_ANNOTATIONS, ADOPT_ANNOTATION, *KEEP_ANNOTATIONS]
    assert [name for name in names if f"`{name}" not in _section("Annotations")] == []


def test_every_limit_has_its_row_with_its_value() -> None:
    found = dict(re.findall(r"^\| `(\w+)` \| ([\d,. ]+(?:MiB)?) \|", _section("Limits"), flags=re.MULTILINE))
    assert found.keys() == {field.name for field in fields(DEFAULT)}
    for name, text in found.items():
        number = float(re.sub(r"[^\d.]", "", text)) * (1024 * 1024 if "MiB" in text else 1)
        assert number == getattr(DEFAULT, name), name


def test_what_is_always_there_is_named() -> None:
    assert f"Environment `{DEFAULT_ENVIRONMENT}`" in PAGE
    assert f"Project `{DEFAULT_PROJECT}`" in PAGE
