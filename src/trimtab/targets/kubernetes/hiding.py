"""Secrets taken out of what a server says about an object that we sent it: pure.

A server, and any webhook behind it, may quote what it does not like: a value, or the whole object, in whatever notation. So every value
that is not to be seen is looked for as it is, in base64, decoded and escaped; of longer ones every piece, since quotes are cut. What is
said about a Secret may quote the one that is there, too, which we did not send: the data that is named as such is taken out by its shape.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from trimtab.core.decide.mask import MASK, hidden, mask_text

WHOLE_MIN = 4
"""A value of fewer characters would take words apart that it has nothing to do with."""
PIECE = 8
PIECES_CHARACTERS_MAX = 256 * 1024
"""So much of all values together, from the beginning of each, is looked for piece by piece."""
PRINTED_BYTES_MAX = 4096
TEXT_CHARACTERS_MAX = 16 * 1024
_SECRETS = re.compile(r"/secrets(?:/|\?|$)")
_DATA = re.compile(r'("?\b(?:data|stringData)\\*"?\s*[:=]\s*)(?:\{[^{}]*\}?|map\[[^\]]*\]\S*(?:\{[^{}]*\}?)?)', re.IGNORECASE)


def hiding(path: str, body: bytes) -> Callable[[str], str]:
    """What to put every text of an answer through, for a request with this path and body."""
    secret = _SECRETS.search(path) is not None
    found = sorted(_values(body, secret=secret), key=len, reverse=True)
    if not found and not secret:
        return mask_text

    def hide(text: str) -> str:
        for value in found:
            text = text.replace(value, MASK)
        text = _without_pieces(text[:TEXT_CHARACTERS_MAX], found)
        return mask_text(_DATA.sub(rf"\1{MASK}", text) if secret else text)

    return hide


def _values(body: bytes, *, secret: bool) -> set[str]:
    try:
        sent: Any = msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        return set()
    patches = sent if isinstance(sent, list) else [sent]
    parts = [one.get("value", one) if isinstance(sent, list) else one for one in patches if isinstance(one, dict)]
    objects = [{**one, "kind": "Secret"} if secret else one for one in parts if isinstance(one, dict)]
    return {shape for one in objects for value in hidden(one) for shape in _shapes(value) if len(shape) >= WHOLE_MIN}


def _shapes(value: str) -> Iterator[str]:
    """How a value may stand in a text."""
    yield from _escaped(value)
    yield base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return
    yield from _escaped(decoded.decode("utf-8", "ignore"))
    if len(decoded) <= PRINTED_BYTES_MAX:
        yield " ".join(str(byte) for byte in decoded)  # as Go prints bytes


def _escaped(value: str) -> Iterator[str]:
    once = json.dumps(value, ensure_ascii=False)[1:-1]
    yield from (value, once, json.dumps(once, ensure_ascii=False)[1:-1])


def _without_pieces(text: str, values: list[str]) -> str:
    """A run of `PIECE` characters and more that stands in a value is taken out, wherever the quote begins and ends."""
    at: dict[str, list[int]] = {}
    for start in range(len(text) - PIECE + 1):
        at.setdefault(text[start : start + PIECE], []).append(start)
    out = bytearray(len(text))
    share = PIECES_CHARACTERS_MAX // max(1, len(values))
    for value in values if at else ():
        for start in range(min(len(value), share) - PIECE + 1):
            for place in at.get(value[start : start + PIECE], ()):
                out[place : place + PIECE] = b"\1" * PIECE
    return "".join(_runs(text, out)) if any(out) else text


def _runs(text: str, out: bytearray) -> Iterator[str]:
    for place, letter in enumerate(text):
        if not out[place]:
            yield letter
        elif not place or not out[place - 1]:
            yield MASK
