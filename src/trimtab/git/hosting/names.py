"""What a repository and a ref may be called here. Words come in, the reason against them comes out ("" = none). Pure.

Repository names become paths below the data directory, ref names become paths in a repository and arguments of git; so the rules are
those of git (git-check-ref-format(1)) and some more: nothing that a shell, an option parser or a terminal could take for something else.
"""

from __future__ import annotations

import re

PARTS_MAX = 4
NAME_MAX = 100

# What the system keeps for itself in a repository: read by all who may read, moved by nobody's push.
PROTECTED = ("refs/changes/", "refs/trimtab/", "refs/notes/trimtab")
HIDDEN = ("refs/trimtab/",)
MAGIC = "refs/for/"
PUSHED = ("refs/heads/", "refs/tags/", "refs/notes/", MAGIC)

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_FORBIDDEN = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\<>|;&$`\"'!(){}#%\u0080-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def wrong_name(name: str) -> str:
    """Why no repository may have this name."""
    parts = name.split("/")
    if not 0 < len(name) <= NAME_MAX:
        return f"it needs between one and {NAME_MAX} characters"
    if len(parts) > PARTS_MAX:
        return f"it has more than {PARTS_MAX} parts"
    if not all(_PART.fullmatch(part) for part in parts):
        return "each part takes letters, digits, and . - _ inside, and begins with a letter or digit"
    if any(".." in part or part.lower().endswith((".git", ".lock")) for part in parts):
        return "no part may hold two dots in a row, or end in .git or .lock"
    return ""


def wrong_ref(ref: str, *, bytes_max: int = 255) -> str:
    """Why no ref may have this full name."""
    parts = ref.split("/")
    if len(ref.encode("utf-8", "surrogateescape")) > bytes_max:
        return f"the name is longer than {bytes_max} bytes"
    if len(parts) < 3 or parts[0] != "refs" or not all(parts):
        return "a name begins with refs/heads/, refs/tags/ or the like and has no empty part"
    if _FORBIDDEN.search(ref) or "@{" in ref:
        return "the name has a character that is not allowed"
    if any(part.startswith((".", "-")) or part.endswith((".", ".lock")) or ".." in part or part == "@" for part in parts):
        return "no part may begin with a dot or a dash, end in a dot or .lock, or hold two dots in a row"
    return ""


def not_pushed(ref: str, *, bytes_max: int = 255) -> str:
    """Why no client may push to this ref, whoever it is and whatever the rules are."""
    if wrong := wrong_ref(ref, bytes_max=bytes_max):
        return wrong
    if ref.startswith(PROTECTED):
        return "it is kept by the server; push to a branch"
    if not ref.startswith(PUSHED):
        return "push to refs/heads/, refs/tags/ or refs/for/"
    if ref == "refs/heads/HEAD":
        return "no branch may be called HEAD"
    return ""
