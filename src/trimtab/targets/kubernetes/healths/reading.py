"""Reading objects of unknown shape, and saying what was found.

Objects come from a server that may run any controller, so nothing about their shape is taken for granted: each reader gives back
a value of its type, or the nothing of that type. What controllers write is hostile text: `progressing` and the others take out
terminal escapes and cut it to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import Body
from trimtab.core.model.text import one_line

Rule = Callable[[Body], Health]
"""Reads one object. Deletion and an unseen generation have been dealt with before a rule is asked."""

Table = Mapping[str, Mapping[str, Rule]]
"""Rules by API group ("" is the core group) and kind. Kind "*" stands for all that the group does not name."""

Condition = Mapping[str, Any]

CONDITIONS_MAX = 200
MESSAGE_CHARACTERS_MAX = 500
NONE: Mapping[str, Any] = {}


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path; None where the path leads nowhere."""
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """The object under ``name``; an empty one where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else NONE


def listing(value: Any, name: str) -> list[Any]:
    """The list under ``name``; an empty one where there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def text(value: Any, path: str) -> str:
    """The text at a dotted path; "" where there is none. Numbers and booleans are no text."""
    found = at(value, path)
    return found if isinstance(found, str) else ""


def number(value: Any, name: str, default: int = 0) -> int:
    """The whole number under ``name``. Text that is a number counts: some controllers write their counters so."""
    found = value.get(name) if isinstance(value, dict) else None
    if isinstance(found, bool):
        return default
    if isinstance(found, int):
        return found
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= 18:
        return int(found)
    return default


def conditions(value: Any) -> dict[str, Condition]:
    """``conditions`` of an object's status (or of any part of it) by type."""
    found: dict[str, Condition] = {}
    for each in listing(value, "conditions")[:CONDITIONS_MAX]:
        if isinstance(each, dict) and isinstance(name := each.get("type"), str):
            found[name] = each
    return found


def of(obj: Body) -> dict[str, Condition]:
    """``status.conditions`` by type."""
    return conditions(obj.get("status"))


def is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.get("status") in ("True", "true", True)


def is_false(condition: Condition | None) -> bool:
    return condition is not None and condition.get("status") in ("False", "false", False)


def said(condition: Condition | None) -> str:
    """What a condition says for people: its reason and message, or as much of them as there is."""
    if condition is None:
        return ""
    reason, message = condition.get("reason"), condition.get("message")
    parts = [part for part in (reason, message) if isinstance(part, str) and part]
    return ": ".join(dict.fromkeys(parts))


def first(*messages: str) -> str:
    """The first that says anything."""
    return next((message for message in messages if message), "")


def progressing(message: str) -> Health:
    return Health(HealthStatus.PROGRESSING, _clean(message))


def degraded(message: str) -> Health:
    return Health(HealthStatus.DEGRADED, _clean(message))


def suspended(message: str) -> Health:
    return Health(HealthStatus.SUSPENDED, _clean(message))


def unknown(message: str) -> Health:
    return Health(HealthStatus.UNKNOWN, _clean(message))


def _clean(message: str) -> str:
    """One safe line. Most messages are plain letters: for those the look at each character is spared."""
    if message.isascii() and message.isprintable() and len(message) <= MESSAGE_CHARACTERS_MAX:
        return message.strip()
    return one_line(message, characters_max=MESSAGE_CHARACTERS_MAX)


def always(_: Body) -> Health:
    """For kinds that only hold settings: to be stored is all that they do."""
    return HEALTHY


def same(rule: Rule, kinds: str) -> dict[str, Rule]:
    """One rule for several kinds, written as words."""
    return dict.fromkeys(kinds.split(), rule)


def merged(*tables: Table) -> dict[str, dict[str, Rule]]:
    """All of them as one. A kind that two of them name is a mistake of ours."""
    found: dict[str, dict[str, Rule]] = {}
    for table in tables:
        for group, kinds in table.items():
            rules = found.setdefault(group, {})
            assert not rules.keys() & kinds.keys(), f"{group}: {sorted(rules.keys() & kinds.keys())} in two tables"
            rules.update(kinds)
    return found
