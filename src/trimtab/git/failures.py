"""What a failed git call means: whose move it is, in one line.

Git's exit code and standard error come in; a UserError or a TransientError goes out. What had worked before (``known``) is never
the user's mistake now: the remote is gone, closed or broken for the time being, and trying again may help.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trimtab.core.model.errors import TransientError, TrimtabError, UserError
from trimtab.plumbing.processes import Finished

from .text import last_words


@dataclass(frozen=True)
class _Kind:
    pattern: re.Pattern[str]
    remedy: str
    lasting: bool = False  # no use to try again, even where it had worked before
    passing: bool = False  # worth trying again, even where it had never worked


def _kind(pattern: str, remedy: str, *, lasting: bool = False, passing: bool = False) -> _Kind:
    return _Kind(re.compile(pattern, re.IGNORECASE | re.MULTILINE), remedy, lasting, passing)


_KINDS = (
    _kind(
        r"mismatched algorithms|unknown object format|object-format",
        "Repositories with SHA-256 ids are not supported",
        lasting=True,
    ),
    _kind(r"unknown repository extension|repository version|refstorage", "This repository format is not supported", lasting=True),
    _kind(
        r"transport .* not allowed|protocol .* not (?:allowed|supported)", "Use a path, file, http, https or ssh", lasting=True
    ),
    _kind(
        r"Authentication failed|could not read (?:Username|Password)|terminal prompts disabled|Permission denied \(|\b401\b",
        "Give credentials that may read it",
    ),
    _kind(
        r"^ssh: |could ?n.t (?:resolve|connect)|could not resolve|Connection (?:refused|reset|timed out|closed)|timed out",
        "",
        passing=True,
    ),
    _kind(
        r"insufficient permission for adding|unable to (?:create|write|append)|cannot (?:lock|update) ref|No space left|Read-only file",
        "Look at the disk, and at the permissions of Trimtab's data directory",
        passing=True,
    ),
    _kind(r"Host key verification failed", "Add the host's key to the known hosts of the user that runs Trimtab"),
    _kind(r"Permission denied|\b403\b|access denied", "Let the user that runs Trimtab read it"),
    _kind(
        r"does not appear to be a git repository|not a git repository|repository .* not found|no such (?:file|repo)|\b404\b",
        "Correct the path or URL",
    ),
)

_FSCK = re.compile(r"fsck error|error in object|error: object [0-9a-f]{40}: ([A-Za-z]+)", re.IGNORECASE)
_OBJECT = re.compile(r"(?:object|in tree|in) ([0-9a-f]{40})(?::? ([A-Za-z]+): ([^\r\n]{1,120}))?")
_DAMAGE = re.compile(
    r"bad object|corrupt|unable to (?:read|parse|find)|missing (?:blob|tree|commit|object)|not a git repository|inflate"
    r"|invalid sha1 pointer|reference broken|bad config|bad (?:numeric|boolean) config|packfile|did not send all necessary objects"
    r"|is empty|unable to unpack|cannot (?:open|read)|unresolved deltas|hash mismatch|bad (?:index|tree|signature)|lacks|(?:unterminated|unexpected) line in",
    re.IGNORECASE,
)


_LOCKED = re.compile(rb"\.lock': File exists")


def locked(result: Finished) -> bool:
    """True when a lock file stood in the way: another git is at work, or one was killed."""
    return bool(_LOCKED.search(result.stderr))


def failure(doing: str, result: Finished, *, known: bool) -> TrimtabError:
    """The error for ``doing`` ("fetch https://…"). ``known``: it has worked before."""
    text = result.stderr.decode("utf-8", "replace")
    if _FSCK.search(text):
        return _refused_object(doing, text, result)
    words = last_words(result.stderr) or f"git ended with code {result.code}"
    for kind in _KINDS:
        if kind.pattern.search(text):
            matched = last_words(_line(kind.pattern, text).encode()) or words
            error = UserError if kind.lasting or not (known or kind.passing) else TransientError
            return error(f"{doing}: {matched}", remedy=kind.remedy)
    return TransientError(f"{doing}: {words}")


def damaged(result: Finished) -> bool:
    """True when the words fit a damaged repository, ours or the remote's: worth a look at ours."""
    return result.code < 0 or bool(_DAMAGE.search(result.stderr.decode("utf-8", "replace")))


def _refused_object(doing: str, text: str, result: Finished) -> TrimtabError:
    found = _OBJECT.search(text)
    detail = f"object {found.group(1)}: {found.group(3) or found.group(2) or 'broken'}" if found else last_words(result.stderr)
    return UserError(
        f"{doing}: git refuses what the repository holds: {last_words(detail.encode())}",
        remedy="Run `git fsck` there and take the object out of its history",
    )


def _line(pattern: re.Pattern[str], text: str) -> str:
    return next((line for line in re.split(r"[\r\n]+", text) if pattern.search(line)), "")
