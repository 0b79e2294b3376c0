"""`trimtab schema KIND`: the JSON Schema of a kind, made from the same types that read the documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from trimtab.cli.session import DONE, current
from trimtab.core.model.config import API_VERSION, KINDS
from trimtab.core.model.errors import UserError

Known = dict[str, tuple[str, type[Any]]]
"""Name of a kind -> its apiVersion and the type that reads it."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [kind for kind in kinds() if kind.lower().startswith(incomplete.lower())]


@click.command()
@click.argument("kind", shell_complete=_complete)
@click.option("--output", type=click.Choice(["json"]), default="json", expose_value=False, help="A schema is always JSON.")
def schema(kind: str) -> int:
    """Print the JSON Schema (2020-12) of a kind: Application, Environment or Project, or Process, File or Task of the host.

    \b
    Example:
      trimtab schema Application > .trimtab/application.schema.json
    """
    current().out.document(published(kind))
    return DONE


def kinds() -> Known:
    """Every kind that has a schema -> its apiVersion and the type that reads it."""
    from trimtab.wiring.kinds import target_kinds

    found: Known = {kind: (API_VERSION, read_by) for kind, read_by in KINDS.items()}
    return found | dict(target_kinds())


def published(kind: str) -> dict[str, Any]:
    """The schema of a whole document. Raises UserError for a kind that there is not; case does not matter."""
    known: Known = {name: (API_VERSION, read_by) for name, read_by in KINDS.items()}
    if kind.lower() not in map(str.lower, known):
        known = kinds()  # slower: it asks every target
    name = {one.lower(): one for one in known}.get(kind.lower())
    if name is None:
        raise UserError(f"there is no kind {kind!r}", remedy=f"The kinds are {', '.join(known)}")
    api_version, read_by = known[name]
    return document_schema(name, api_version, read_by)


def document_schema(kind: str, api_version: str, read_by: type[Any]) -> dict[str, Any]:
    """That of ``read_by``, with apiVersion and kind, which say what a document is and are read before it."""
    made = msgspec.json.schema(read_by)
    definitions: dict[str, Any] = dict(made.get("$defs", {}))
    body: Mapping[str, Any] = definitions.pop(read_by.__name__, made)
    properties = {"apiVersion": {"const": api_version}, "kind": {"const": kind}, **body["properties"]}
    properties |= {"apiVersion": {"const": api_version}, "kind": {"const": kind}}
    required = ["apiVersion", "kind", *(name for name in body.get("required", []) if name not in ("apiVersion", "kind"))]
    return {
        "$schema": DIALECT,
        "title": kind,
        **({"description": body["description"]} if "description" in body else {}),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "$defs": definitions,
    }
