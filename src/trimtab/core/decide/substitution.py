"""`${name}` in texts of the configuration, replaced by what it stands for. There is no logic in it, and nothing is guessed.

A name that is not known, or that stands for nothing, is a mistake. A text that is one `${name}` and nothing else becomes the very
value, of whatever type; amid other text only words, numbers and truth values can stand. `$${` is how `${` itself is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from trimtab.core.model.text import escaped

from .positions import Path
from .strict import Finding, nearest, shown

Parameters = Mapping[str, Any]
"""By name; a value that is a mapping or a list can be entered by further names and numbers: `file.image.tag`, `path.segments.0`."""

_MARK: Final = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<name>[^{}]*)\}|(?P<open>\$\{)")
_ABSENT: Final = object()
NAMED_MAX = 12
"""Known names that a message lists."""


def fill(
    value: Any, parameters: Parameters, *, keep: Callable[[Path, str], bool] = lambda _, __: False
) -> tuple[Any, list[Finding]]:
    """``value`` with every text in it filled, and what is wrong with it. ``keep`` says of which names, at which place, nothing is meant yet."""
    findings: list[Finding] = []
    return _fill(value, parameters, keep, (), findings), findings


def is_filled(text: object) -> bool:
    """True when ``text`` has something to be replaced."""
    return isinstance(text, str) and _MARK.search(text) is not None


def _fill(value: Any, parameters: Parameters, keep: Callable[[Path, str], bool], path: Path, findings: list[Finding]) -> Any:
    match value:
        case dict():
            return {name: _fill(inner, parameters, keep, (*path, name), findings) for name, inner in value.items()}
        case list():
            return [_fill(inner, parameters, keep, (*path, index), findings) for index, inner in enumerate(value)]
        case str() if "${" in value:
            return _text(value, parameters, keep, path, findings)
        case _:
            return value


def _text(text: str, parameters: Parameters, keep: Callable[[Path, str], bool], path: Path, findings: list[Finding]) -> Any:
    whole = _MARK.fullmatch(text)
    if whole is not None and whole["name"] is not None and not keep(path, whole["name"]):
        found = _value(whole["name"], parameters, path, findings)
        return text if found is _ABSENT else found

    def put(mark: re.Match[str]) -> str:
        if mark["literal"]:
            return "${"
        if mark["open"]:
            findings.append(Finding("${ is not closed", path, "Write ${name}; $${ is a literal ${"))
        name = mark["name"]
        if name is None or keep(path, name):
            return mark[0]
        found = _value(name, parameters, path, findings)
        if isinstance(found, dict | list):
            text = f"${{{escaped(name)}}} is {shown(found)}, which cannot stand within a text"
            findings.append(Finding(text, path, "Let it stand alone, or name one of its fields"))
        return mark[0] if found is _ABSENT else _word(found)

    return _MARK.sub(put, text)


def _word(value: Any) -> str:
    """As YAML would have it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _value(name: str, parameters: Parameters, path: Path, findings: list[Finding]) -> Any:
    found = lookup(parameters, name)
    called = f"${{{escaped(name, characters_max=60)}}}"
    if found is _ABSENT:
        findings.append(Finding(f"{called} is not known here", path, _known(name, parameters)))
    elif found is None:
        findings.append(Finding(f"{called} stands for nothing", path, "Give it a value where it comes from"))
        return _ABSENT
    return found


def _known(name: str, parameters: Parameters) -> str:
    names = sorted(_names(parameters))
    if len(names) <= NAMED_MAX:
        return nearest(name, names) if names else "Nothing can be filled in here"
    close = nearest(name, names)
    return (
        close if close.startswith("Did you") else f"Known here: {', '.join(names[:NAMED_MAX])} and {len(names) - NAMED_MAX} more"
    )


def _names(parameters: Parameters) -> list[str]:
    names = []
    for name, value in parameters.items():
        inner = [f"{name}.{key}" for key in value] if isinstance(value, Mapping) else []
        names += inner or [name]
    return names


def lookup(value: Any, name: str) -> Any:
    """What ``name`` leads to; a key may itself have dots, and the longest one that fits is taken."""
    if isinstance(value, list):
        head, dot, rest = name.partition(".")
        if not head.isdecimal() or len(head) > 6 or int(head) >= len(value):
            return _ABSENT
        return lookup(value[int(head)], rest) if dot else value[int(head)]
    if not isinstance(value, Mapping):
        return _ABSENT
    if name in value:
        return value[name]
    at = len(name)
    while (at := name.rfind(".", 0, at)) > 0:
        if name[:at] in value:
            found = lookup(value[name[:at]], name[at + 1 :])
            if found is not _ABSENT:
                return found
    return _ABSENT
