"""The kinds of the configuration as JSON Schema (draft 2020-12), so that editors complete and check them as people type.

Made from the types of `core/model/config.py`, which are what `configuration` checks against: the two cannot disagree.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.core.model.config import API_VERSION, KINDS
from trimtab.core.model.errors import UserError
from trimtab.core.model.text import escaped

from .strict import nearest

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def kinds() -> tuple[str, ...]:
    """The kinds that there are, sorted."""
    return tuple(sorted(KINDS))


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of one kind. Raises UserError for a kind that there is not."""
    if kind not in KINDS:
        raise UserError(f"there is no kind {escaped(kind)}", remedy=nearest(kind, KINDS))
    return document_schema(kind, API_VERSION, KINDS[kind])


def document_schema(kind: str, api_version: str, read_by: type[Any]) -> dict[str, Any]:
    """The schema of a whole document: that of the type that reads it, with apiVersion and kind, which say what a document is."""
    made = msgspec.json.schema(read_by)
    definitions: dict[str, Any] = made["$defs"]
    top = definitions.pop(made["$ref"].rpartition("/")[2])
    header = {
        "apiVersion": {"const": api_version, "description": "The version of this format."},
        "kind": {"const": kind, "description": "What is declared."},
    }
    group, _, version = api_version.partition("/")
    return {
        "$schema": DRAFT,
        "$id": f"https://{group}/schema/{version}/{kind}.json",
        "title": kind,
        "description": top.get("description", ""),
        "type": "object",
        "properties": header | top["properties"] | header,
        "required": ["apiVersion", "kind", *(name for name in top["required"] if name not in header)],
        "additionalProperties": False,
        "$defs": definitions,
    }
