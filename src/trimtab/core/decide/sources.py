"""The text of a YAML or JSON file before it is read: may it be read at all, where its documents begin, what libyaml's complaint means.

Bytes in; a Problem, prepared bytes or pieces of them out. Shared by the reading of values and by the finding of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import Limits
from trimtab.core.model.text import one_line

_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = bytes(code for code in range(32) if code not in b"\t\n\r") + b"\x7f"
_START: Final = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_SURROGATES: Final = re.compile(rb"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_INDENTATION_REMEDY: Final = "Check the indentation, the colons and the quotes on this line and the one before"
_REMEDIES: Final = {
    "cannot start any token": "Put the value in quotes if it begins with a special character",
    "mapping values are not allowed": "Put a text with a colon in quotes, or check the indentation",
    "could not find expected ':'": "Add the colon after the key, or check the indentation",
    "undefined alias": "Define the anchor before it is used",
}


def unreadable(data: bytes, file: str, limits: Limits) -> Problem | None:
    """What keeps the file from being text at all."""
    if len(data) > limits.file_bytes:
        text = f"the file has {len(data)} bytes; at most {limits.file_bytes} are read"
        return Problem(text, file, remedy="Split the file, or keep generated data out of the manifests")
    if len(data.translate(None, _CONTROL)) != len(data):
        at = next(index for index, code in enumerate(data) if code in _CONTROL)
        text = f"the control character \\x{data[at]:02x} is not allowed"
        return Problem(text, file, line_at(data, at), remedy="Remove it, or write it as an escape inside double quotes")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"not UTF-8: the byte \\x{data[error.start]:02x}"
        return Problem(text, file, line_at(data, error.start), remedy="Save the file as UTF-8")
    return None


def prepared(data: bytes, file: str) -> bytes:
    data = data.removeprefix(_BOM)
    # JSON writes characters beyond the basic plane as two escapes, which YAML does not know.
    return _SURROGATES.sub(_joined, data) if file.endswith(".json") and b"\\u" in data else data


def _joined(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        return match[0]
    return bytes.fromhex((match[1] + match[2]).decode()).decode("utf-16-be").encode()


def pieces(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The file cut before each ``---``, with the number of lines before each piece."""
    starts = [match.start() for match in _START.finditer(data)]
    line, last = 0, 0
    for at in [*starts, len(data)]:
        if at > last or at == len(data):
            piece = data[last:at]
            yield piece, line
            line += piece.count(b"\n")
            last = at


def complaint(error: yaml.YAMLError, piece: bytes, line: int, file: str) -> Problem:
    """What libyaml says, in one line, at the right line, with a remedy."""
    if isinstance(error, yaml.reader.ReaderError):
        at = line + line_at(piece, int(error.position))
        return Problem(f"unreadable text: {one_line(str(error.reason))}", file, at, remedy="Remove the character from this line")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(f"not YAML: {one_line(str(error))}", file, line + 1, remedy=_INDENTATION_REMEDY)
    mark = error.problem_mark or error.context_mark
    at = mark.line if mark is not None else 0
    rows = piece.split(b"\n", at + 1)
    row = rows[at] if at < len(rows) else b""
    if b"\t" in row[: len(row) - len(row.lstrip())]:
        return Problem("not YAML: a tab where only spaces may indent", file, line + at + 1, remedy="Use spaces for indentation")
    text = one_line(": ".join(part for part in (error.context, error.problem) if part))
    remedy = next((remedy for words, remedy in _REMEDIES.items() if words in text), _INDENTATION_REMEDY)
    return Problem(f"not YAML: {text}", file, line + at + 1, remedy=remedy)


def line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
