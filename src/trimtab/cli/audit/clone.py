"""What a clone says of itself: merges with their trailers, and the notes on them. Read with git alone; nothing is asked of a server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from trimtab.core.decide.trailers import approvers_of, merge_of, plans_of
from trimtab.core.model.changeviews import MergeView, OutcomeView
from trimtab.core.model.errors import UserError
from trimtab.core.model.text import one_line

GIT_SECONDS_MAX = 300.0
NOTES = "refs/notes/trimtab"
_FIELDS = ("%H", "%an <%ae>", "%cI", "%B", "%N")


@dataclass(frozen=True)
class _Commit:
    revision: str
    author: str
    time: datetime
    message: str
    note: str


def merges_in(path: str, revision: str) -> list[MergeView]:
    """Every Change that was merged into ``revision``, newest first."""
    found = []
    for commit in _commits(path, revision):
        change = merge_of(commit.message)
        if change is not None:
            outcomes = [one for one in map(_outcome, _lines(commit.note)) if one is not None]
            title = one_line(commit.message.partition("\n")[0])
            approved = [one_line(who) for who in approvers_of(commit.message)]
            plans = plans_of(commit.message)
            found.append(MergeView(change, commit.revision, title, commit.author, commit.time, approved, plans, outcomes))
    return found


def ends_in(path: str) -> list[tuple[str, str]]:
    """(trail, hash) of each end of a trail that the notes name."""
    lines = (line for commit in _commits(path, "--all") for line in _lines(commit.note))
    found = ((line.get("trail"), line.get("hash")) for line in lines)
    return [(trail, hash_) for trail, hash_ in found if isinstance(trail, str) and isinstance(hash_, str)]


def _commits(path: str, revision: str) -> Iterator[_Commit]:
    form = "--format=" + "%x00".join((*_FIELDS, ""))
    command = ["git", "-c", "log.showSignature=false", "-C", path, "log", "--no-notes", f"--notes={NOTES}", form, revision, "--"]
    if revision.startswith("-") and revision != "--all":
        raise UserError(f"read {path}: {revision} is no revision", remedy="Name a branch or a commit")
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"read {path}: git: {error}", remedy="Install git, or give it more time") from error
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace"))
        raise UserError(f"read {path}: {said}", remedy="Give a clone, and a revision that is in it")
    parts = done.stdout.decode(errors="replace").split("\0")
    for at in range(0, len(parts) - len(_FIELDS), len(_FIELDS)):
        revision_, author, time, message, note = parts[at : at + len(_FIELDS)]
        yield _Commit(revision_.strip(), one_line(author), datetime.fromisoformat(time), message, note)


def _lines(note: str) -> Iterator[dict[str, Any]]:
    """Each line that is an object; those of others in the same note are passed over."""
    for line in note.splitlines():
        try:
            found = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(found, dict):
            yield found


def _outcome(line: dict[str, Any]) -> OutcomeView | None:
    try:
        return msgspec.convert({"message": "", **line}, type=OutcomeView)
    except msgspec.ValidationError:
        return None
