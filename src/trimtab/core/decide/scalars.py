"""What a YAML scalar means to kubectl: text and tag in, JSON value out.

The rules are those of goyaml.v2, through which kubectl, Helm and the API server read YAML: YAML 1.1 booleans, C-like integers,
no sexagesimal numbers, dates stay text. They were checked against kubectl 1.32; tests/core/decide/kubectl_scalars.py is the table.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from decimal import Decimal
from typing import Final

Scalar = str | int | float | bool | None

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
}
_NOT_FINITE: Final = frozenset(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")) | {
    ".nan",
    ".NaN",
    ".NAN",
}
# A first character that no word and no number has: the text stands for itself.
_HINTS: Final = frozenset("+-.0123456789yYnNtTfFoO~")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|([1-9][0-9]*|0))", re.ASCII)
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_RESOLVED_TAGS: Final = frozenset(_TAG_PREFIX + name for name in ("bool", "int", "float", "null", "timestamp"))


class ScalarError(ValueError):
    """A scalar that JSON cannot hold or that its own tag forbids. The text says which and why."""


def plain(text: str) -> Scalar:
    """The value of an unquoted scalar without a tag. Raises ScalarError for infinities and NaN, which JSON cannot hold."""
    if text and text[0] not in _HINTS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text in _NOT_FINITE:
        raise ScalarError(f"{text} is not a number that JSON can hold")
    if text[0] in "yYnNtTfFoO~":
        return text
    return _number(text)


def tagged(tag: str, text: str) -> Scalar:
    """The value of a scalar with an explicit ``tag``; tags that nobody knows are ignored, and then the value is text."""
    if tag == _TAG_PREFIX + "binary":
        return _binary(text)
    if tag not in _RESOLVED_TAGS:
        return text
    value = plain(text)
    wanted = tag.removeprefix(_TAG_PREFIX)
    match wanted:
        case "null":
            right = value is None
        case "bool":
            right = isinstance(value, bool)
        case "int":
            right = (
                isinstance(value, int) and not isinstance(value, bool) and _INTEGER.fullmatch(text.replace("_", "")) is not None
            )
        case "float":
            right = isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            right = isinstance(value, str) and value[:4].isdigit()
    if not right:
        raise ScalarError(f"the tag !!{wanted} does not fit the value")
    return value


def key(value: Scalar) -> str:
    """The text that a key becomes in JSON: ``on:`` is "true", ``1:`` is "1". Raises ScalarError for null."""
    match value:
        case str():
            return value
        case None:
            raise ScalarError("a key is empty or null")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float_key(value)


def _number(text: str) -> Scalar:
    bare = text.replace("_", "") if "_" in text else text
    integer = _INTEGER.fullmatch(bare)
    if integer is not None:
        return _integer(integer, text)
    if _FLOAT.fullmatch(bare) is None:
        return text
    number = float(bare)
    return text if math.isinf(number) else _json_number(number)


def _integer(match: re.Match[str], text: str) -> Scalar:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    if decimal is not None and len(decimal) > 400:
        return text
    digits, base = next(
        (digits, base) for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10)) if digits is not None
    )
    if len(digits) > 400:
        return text
    number = int(digits, base)
    number = -number if sign == "-" else number
    if INT64_MIN <= number <= INT64_MAX:
        return number
    if base == 10 or (number > 0 and number < 2**64 and not sign):
        return float(number)
    # Too large for a C-like integer. Digits alone still are a number: "0777…" in decimal, as kubectl has it.
    bare = text.replace("_", "")
    return float(bare) if _FLOAT.fullmatch(bare) else text


def _json_number(number: float) -> int | float:
    """As it comes back from JSON written by Go: 1.0 and 1e3 are integers, 1e20 is not, since it does not fit 64 bits."""
    if not number.is_integer() or abs(number) >= 1e19:
        return number
    whole = int(Decimal(repr(number)))
    return whole if INT64_MIN <= whole <= INT64_MAX else number


def _float_key(number: float) -> str:
    """Go's FormatFloat(f, 'g', -1, 32), the way in which sigs.k8s.io/yaml writes a number that is a key."""
    if abs(number) > 3.4e38:
        raise ScalarError("a key is a number that is too large")
    wanted = struct.pack("f", number)
    digits = next(digits for digits in range(18) if digits == 17 or struct.pack("f", float(f"{number:.{digits}e}")) == wanted)
    mantissa, _, exponent = f"{number:.{digits}e}".partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        return f"{float(f'{mantissa}e{power}'):.{max(digits - power, 0)}f}"
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise ScalarError("the tag !!binary needs base64") from error
