"""A value against a type of ours, strictly: every single thing that is wrong, with its place and what to write instead.

`msgspec.convert` stops at the first; people would rather correct all of a document at once. The types are the ones of
`core/model/config.py`; in comes what YAML read, out come a copy that converts and the Findings (none: it surely converts).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from msgspec import inspect

from trimtab.core.model.config import NAME_OR_NOT_PATTERN, NAME_PATTERN, SHARE_PATTERN
from trimtab.core.model.text import escaped, printable

from .positions import Path

_QUOTES_REMEDY: Final = "Put the value in quotes"
_PATTERN_REMEDIES: Final = {
    NAME_PATTERN: "Use lower-case letters, digits and dashes, at most 63 characters, a letter or digit at both ends",
    NAME_OR_NOT_PATTERN: "Use lower-case letters, digits and dashes, at most 63 characters, a letter or digit at both ends",
    SHARE_PATTERN: 'Write a number, or a share such as "25%"',
    r"^/": "Begin it with a slash, as in /spec/replicas (RFC 6901)",
}


class Finding(NamedTuple):
    message: str
    path: Path
    remedy: str


def check(value: Any, wanted: type) -> tuple[Any, list[Finding]]:
    """``value`` without the nulls that mean "not said", and what is wrong with it."""
    findings: list[Finding] = []
    return _check(value, _type_info(wanted), (), findings), findings


def nearest(word: object, known: Iterable[str]) -> str:
    """A sentence that leads from a wrong word to the right one."""
    known = sorted(known)
    close = difflib.get_close_matches(str(word)[:100], known, 1, 0.6)
    return f'Did you mean "{close[0]}"?' if close else f"Known here: {', '.join(known)}"


def shown(value: object) -> str:
    """What stands there, for a message: short, on one line, as YAML would have it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{escaped(value, characters_max=60)}"'
        case int() | float():
            return str(value)[:60]
        case list():
            return "a list"
        case _:
            return "a mapping"


@lru_cache(maxsize=64)
def _type_info(wanted: type) -> inspect.Type:
    return inspect.type_info(wanted)


def _check(value: Any, wanted: inspect.Type, path: Path, findings: list[Finding]) -> Any:
    match wanted:
        case inspect.Metadata():
            return _check(value, wanted.type, path, findings)
        case inspect.StructType():
            return _struct(value, wanted, path, findings)
        case inspect.ListType():
            return _list(value, wanted, path, findings)
        case inspect.DictType():
            return _dict(value, wanted, path, findings)
        case inspect.UnionType():
            return _union(value, wanted, path, findings)
        case _:
            finding = _scalar(value, wanted)
            if finding is not None:
                findings.append(Finding(finding[0], path, finding[1]))
            return value


def _struct(value: Any, wanted: inspect.StructType, path: Path, findings: list[Finding]) -> Any:
    if not isinstance(value, dict):
        findings.append(
            Finding(f"a mapping is wanted here, not {shown(value)}", path, f"Write fields below it: {_fields(wanted)}")
        )
        return value
    fields = {field.encode_name: field for field in wanted.fields}
    clean: dict[str, Any] = {}
    for name, inner in value.items():
        field = fields.get(name)
        if field is None:
            findings.append(
                Finding(f'there is no field "{escaped(name, characters_max=60)}" here', (*path, name), nearest(name, fields))
            )
        elif inner is not None:
            clean[name] = _check(inner, field.type, (*path, name), findings)
    for name, field in fields.items():
        if field.required and name not in clean:
            findings.append(Finding(f'the field "{name}" is missing', (*path, name), f'Add "{name}"'))
    return clean


def _fields(wanted: inspect.StructType) -> str:
    return ", ".join(field.encode_name for field in wanted.fields)


def _list(value: Any, wanted: inspect.ListType, path: Path, findings: list[Finding]) -> Any:
    if not isinstance(value, list):
        findings.append(
            Finding(f"a list is wanted here, not {shown(value)}", path, 'Write each entry on a line that begins with "- "')
        )
        return value
    if len(value) < (wanted.min_length or 0):
        findings.append(Finding("the list is empty", path, "Add an entry, or leave the field out"))
    return [_check(inner, wanted.item_type, (*path, index), findings) for index, inner in enumerate(value)]


def _dict(value: Any, wanted: inspect.DictType, path: Path, findings: list[Finding]) -> Any:
    if not isinstance(value, dict):
        findings.append(Finding(f"a mapping is wanted here, not {shown(value)}", path, 'Write "name: value" lines below it'))
        return value
    return {name: _check(inner, wanted.value_type, (*path, name), findings) for name, inner in value.items()}


def _union(value: Any, wanted: inspect.UnionType, path: Path, findings: list[Finding]) -> Any:
    """One of several types; what is wrong is told as of the one that comes closest, which here is the last."""
    wrong: list[Finding] = []
    for type_ in wanted.types:
        if not isinstance(type_, inspect.NoneType):
            wrong = []
            clean = _check(value, type_, path, wrong)
            if not wrong:
                return clean
    findings += wrong
    return value


def _scalar(value: Any, wanted: inspect.Type) -> tuple[str, str] | None:
    """(message, remedy) when ``value`` does not fit."""
    match wanted:
        case inspect.StrType():
            return _wrong_text(value, wanted.pattern)
        case inspect.IntType():
            return _wrong_number(value, wanted.ge, wanted.le)
        case inspect.BoolType():
            return (
                None if isinstance(value, bool) else (f"true or false is wanted here, not {shown(value)}", "Write true or false")
            )
        case inspect.LiteralType(values=values):
            if isinstance(value, str) and value in values:
                return None
            return f"{shown(value)} is not known here", nearest(value, [str(one) for one in values if one])
        case _:
            return None


def _wrong_text(value: Any, pattern: str | None) -> tuple[str, str] | None:
    if not isinstance(value, str):
        remedy = _QUOTES_REMEDY if isinstance(value, bool | int | float) else "Write one value"
        return f"text is wanted here, not {shown(value)}", remedy
    if pattern is not None and ("\n" in value or not re.search(pattern, value)):
        return f"{shown(value)} does not fit", _PATTERN_REMEDIES.get(pattern, f"Allowed is what matches {pattern}")
    if printable(value, characters_max=len(value) + 1) != value:
        return f"{shown(value)} has control characters", "Remove them"
    return None


def _wrong_number(value: Any, least: int | None, most: int | None) -> tuple[str, str] | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"a whole number is wanted here, not {shown(value)}", "Write digits, without quotes"
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = " and ".join(
            words
            for words in (f"at least {least}" if least is not None else "", f"at most {most}" if most is not None else "")
            if words
        )
        return f"{value} is out of bounds", f"Write a number of {bounds}"
    return None
