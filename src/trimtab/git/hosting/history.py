"""Reading one repository that lives here: commits, trees, and how commits are related. With a quarantine, what came with a push too.

Objects are read through libgit2; walks through history are git's own, in a process that can be ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.git import differences
from trimtab.git.failures import failure
from trimtab.git.objects import Objects
from trimtab.git.text import shown
from trimtab.git.tree import GitTree
from trimtab.ports.git import Tree
from trimtab.ports.hosting import Commit, Person

from .places import Place

ID = re.compile(r"[0-9a-f]{40}")
COMMITS_MAX = 10_000
COMMIT_BYTES_MAX = 1024 * 1024
_PERSON = re.compile(
    r"(?P<name>[^<>]*?) ?<(?P<email>[^<>]*)> (?P<seconds>-?\d{1,12}) (?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d)"
)


class GitHistory:
    """``objects`` may read more than the repository has: then ``quarantine`` is where that is."""

    def __init__(self, place: Place, objects: Objects, quarantine: Path | None = None) -> None:
        self._place, self._objects, self._quarantine = place, objects, quarantine

    def has(self, object_id: str) -> bool:
        return bool(ID.fullmatch(object_id)) and self._objects.kind(object_id) is not None

    def peel(self, object_id: str) -> Revision | None:
        if not self.has(object_id):
            return None
        found = self._objects.peeled(object_id)
        return None if found is None else Revision(found)

    def commit(self, revision: str) -> Commit:
        return parsed(self._commit(revision), self._objects)

    def tree(self, object_id: str) -> Tree:
        if self.has(object_id) and self._objects.kind(object_id) == "tree":
            return GitTree(self._place.title, Revision(object_id), object_id, self._objects)
        revision = self._commit(object_id)
        return GitTree(self._place.title, revision, self._objects.commit(revision).tree, self._objects)

    async def log(self, head: str, *, without: Sequence[str] = (), commits_max: int = 100) -> list[Commit]:
        wanted = [self._commit(head), *(f"^{self._commit(other)}" for other in without)]
        arguments = ("rev-list", "--topo-order", f"--max-count={min(commits_max, COMMITS_MAX)}", "--stdin")
        lines = await self._git(*arguments, stdin="".join(f"{line}\n" for line in wanted).encode())
        return [parsed(Revision(line), self._objects) for line in lines]

    async def contains(self, ancestor: str, descendant: str) -> bool:
        old, new = self._commit(ancestor), self._commit(descendant)
        return old == new or not await self._git("rev-list", "--max-count=1", old, f"^{new}")

    async def base(self, one: str, other: str) -> Revision | None:
        lines = await self._git("merge-base", self._commit(one), self._commit(other), none_code=1)
        return Revision(lines[0]) if lines else None

    async def changed_paths(self, old: str, new: str, *, paths_max: int = 10_000) -> frozenset[str] | None:
        before, after = (self._tree(object_id) for object_id in (old, new))
        return differences.changed_paths(self._objects, before, after, paths_max=paths_max)

    def _tree(self, object_id: str) -> str:
        entry = self.tree(object_id).entry("") if object_id else None
        return entry.id if entry else ""

    def _commit(self, object_id: str) -> Revision:
        found = self.peel(object_id)
        if found is None:
            raise UserError(f"{self._place.title}: there is no commit {shown(object_id[:40])} here", remedy="Push it first")
        return found

    async def _git(self, *arguments: str, stdin: bytes = b"", none_code: int = 0) -> list[str]:
        result = await self._place.git.local(self._place.path, *arguments, stdin=stdin, environment=self._environment())
        if result.code and result.code != none_code:
            raise failure(f"read the history of {self._place.title}", result, known=True)
        return result.stdout.decode("ascii", "replace").split()

    def _environment(self) -> Mapping[str, str]:
        return {} if self._quarantine is None else quarantined(self._place.path, self._quarantine)


def quarantined(repository: Path, quarantine: Path) -> dict[str, str]:
    """For a git that sees the quarantine and the repository, writes to the first, and may move no ref."""
    return {
        "GIT_OBJECT_DIRECTORY": str(quarantine),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(repository / "objects"),
        "GIT_QUARANTINE_PATH": str(quarantine),
    }


def parsed(revision: Revision, objects: Objects) -> Commit:
    """Raises UserError for a commit larger than anybody means it to be."""
    if objects.size(revision) > COMMIT_BYTES_MAX:
        raise UserError(f"commit {revision[:12]} is larger than {COMMIT_BYTES_MAX} bytes", remedy="Write a shorter message")
    header, _, message = objects.raw(revision, "commit").partition(b"\n\n")
    fields = _fields(header.decode("utf-8", "replace"))
    return Commit(
        revision,
        fields["tree"][0],
        tuple(Revision(parent) for parent in fields.get("parent", ())),
        _person(fields.get("author", [""])[0]),
        _person(fields.get("committer", [""])[0]),
        message.decode("utf-8", "replace"),
        "gpgsig" in fields or "gpgsig-sha256" in fields,
    )


def _fields(header: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for line in header.split("\n"):
        name, _, value = line.partition(" ")
        if name:  # a line that begins with a blank goes on with the field before it
            fields.setdefault(name, []).append(value)
    if "tree" not in fields:
        raise TransientError("a commit without a tree")
    return fields


def _person(text: str) -> Person:
    found = _PERSON.fullmatch(text)
    if found is None:
        return Person(text.partition("<")[0].strip(), "", datetime.fromtimestamp(0, UTC))
    sign = -1 if found["sign"] == "-" else 1
    zone = timezone(sign * timedelta(hours=min(int(found["hours"]), 23), minutes=min(int(found["minutes"]), 59)))
    try:
        at = datetime.fromtimestamp(int(found["seconds"]), zone)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, zone)
    return Person(found["name"], found["email"], at)
