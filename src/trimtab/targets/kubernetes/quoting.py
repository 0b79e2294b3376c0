"""What a server says about a value of the wrong type, without that value: pure.

Server-side apply prints the value as Go has it: `expected string, got &value.valueUnstructured{Value:5}`. Whatever is a secret in it is
looked for in every text (`hiding`), but for what is too short to be looked for; and to people it is of use only what kind of value it was.
"""

from __future__ import annotations

import re

_DUMP = re.compile(r"got &(?:value\.\w+)?\{(?:Value:)?(.*?)\}(?=\n\s*\.|\s*\Z)", re.DOTALL)
_NUMBER = re.compile(r"-?[\d.]+(?:[eE][+-]?\d+)?")


def without_dumps(text: str) -> str:
    """Values of a wrong type as what they are, and not as what they say."""
    return _DUMP.sub(lambda found: f"got {_what(found[1])}", text)


def _what(value: str) -> str:
    if value.startswith("map["):
        return "a map"
    if value.startswith("[]"):
        return "a list"
    if value in ("true", "false"):
        return "a boolean"
    if value in ("", "<nil>", "interface {}(nil)"):
        return "nothing"
    return "a number" if _NUMBER.fullmatch(value) else "a text"
