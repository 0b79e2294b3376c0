"""Hostile text made safe to show: from repositories, programs and logs in, something that a terminal or a page may print out.

Two ways, for two needs: `printable` takes out what would act on a terminal and keeps the words; `escaped` shows every such
character by its number, so that a name can still be recognised.
"""

from __future__ import annotations

import re

# ECMA-48: control sequences (CSI), strings (OSC, DCS, SOS, PM, APC) with their terminator, and two-character escapes.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# C0 and C1 controls but for tab and newline; direction marks and overrides (CVE-2021-42574); joiners and blanks without width;
# line separators; halves of surrogate pairs.
_UNSAFE_CLASS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_UNSAFE = re.compile(f"[{_UNSAFE_CLASS}]")
_UNSAFE_IN_LINE = re.compile(f"[\t\n{_UNSAFE_CLASS}]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")
_BREAKS = re.compile(r"[\t\r\n\u2028\u2029]+")


def printable(text: str, *, characters_max: int = 10_000) -> str:
    """``text`` without terminal escapes, control characters (tab and newline stay) and direction overrides, cut to a bound."""
    kept = _UNSAFE.sub("", _SEQUENCES.sub("", text[: 2 * characters_max]))
    return kept if len(kept) <= characters_max and len(text) <= 2 * characters_max else kept[:characters_max] + "…"


def one_line(text: str, *, characters_max: int = 500) -> str:
    """As `printable`, with every line break and tab turned into one blank."""
    return printable(_BREAKS.sub(" ", text[: 2 * characters_max + 1]), characters_max=characters_max).strip()


def escaped(text: str, *, characters_max: int = 200) -> str:
    """``text`` with each unsafe character as ``\\x1b`` or ``\\u202e``; bytes of a name that are not UTF-8 as ``\\xff``."""
    shown = _UNSAFE_IN_LINE.sub(lambda match: _number(match[0]), text[: characters_max + 1])
    return shown if len(text) <= characters_max else shown[:characters_max] + "…"


def without_credentials(text: str) -> str:
    """``text`` with user and password of every URL in it as ``***``: what a repository is called on the record and to people."""
    return _CREDENTIALS.sub("***@", text)


def is_safe_line(text: str) -> bool:
    """True when ``text`` is one line that `escaped` would leave as it is."""
    return _UNSAFE_IN_LINE.search(text) is None


def _number(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's "surrogateescape": a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
