"""The kinds that targets read, with their types, for `trimtab schema`."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.core.decide.schema import json_schema
from trimtab.core.model.config import DEFAULT_TARGET
from trimtab.targets.host import kinds as host

from .adapters import SETTINGS


def target_kinds() -> dict[str, tuple[str, type[Any]]]:
    """Name of a kind -> its apiVersion and the type that reads a whole document of it."""
    return {name: (host.API_VERSION, read_by) for name, read_by in host.KINDS.items()}


def configuration_schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of the configuration, with the settings of every target in that of Environment."""
    made = json_schema(kind)
    if kind == "Environment":
        target = made["$defs"]["EnvironmentSpec"]["properties"]["target"]
        target["anyOf"] = [_target(name, settings, made["$defs"]) for name, settings in sorted(SETTINGS.items())]
    return made


def _target(name: str, settings: type[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The settings as a schema; what they are made of is put among ``definitions``."""
    schema = msgspec.json.schema(settings)
    own = schema["$ref"].rpartition("/")[2]
    found = schema["$defs"].pop(own)
    definitions.update(schema["$defs"])
    kind = {"const": name, "description": "The adapter."}
    required = found["required"] + ([] if name == DEFAULT_TARGET else ["kind"])
    return {
        "description": found.get("description", ""),
        "type": "object",
        "properties": {"kind": kind, **found["properties"]},
        "required": required,
        "additionalProperties": False,
    }
