"""The record in Git: lines appended to a commit's note in refs/notes/trimtab, pushed where the remote permits.

A note is written to the mirror at once and pushed after; several notes share one push. When somebody else has pushed notes
meanwhile, both are kept: for each commit their lines, then ours that they do not have. A remote that refuses is left in peace
for a while; what it has not got goes along with a later push. Notes lie in a tree by the commit's id, fanned out by its first
two digits as git does; any fan-out is read (git-notes(1)).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping

import pygit2

from trimtab.core.model.errors import TransientError, TrimtabError
from trimtab.core.model.names import Revision

from . import refs
from .mirrors import NOTES, REMOTE_NOTES, Mirror
from .objects import BLOB, TREE, Child, Objects
from .turns import Turns

PUSH_ATTEMPTS_MAX = 5
REFUSED_SECONDS = 300.0
UNREACHABLE_SECONDS = 30.0
NOTE_BYTES_MAX = 1024 * 1024

_MOVED = re.compile(
    rb"non-fast-forward|fetch first|stale info|cannot lock ref|reference already exists|failed to update ref", re.I
)
_SIGNATURE = ("Trimtab", "trimtab@localhost")
_PREFIXES = ("refs/notes/", "refs/remote/notes/")


class Notes:
    """The notes of one mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._turns = Turns(self._push)
        self._pushed = ""
        self._quiet_until = 0.0

    async def add(self, revision: Revision, lines: tuple[str, ...]) -> None:
        """Append the ``lines`` that the note does not have; then see that the remote gets them. Raises TransientError for our own
        disk only.
        """
        encoded = [" ".join(line.splitlines()).encode("utf-8", "surrogateescape") for line in lines]
        self._mirror.objects.commit(revision)
        self._take_in(self._tip(REMOTE_NOTES))
        self._append(revision, encoded)
        if self._tip(NOTES) != self._pushed:
            await self._turns.run()

    def _append(self, revision: Revision, lines: list[bytes]) -> None:
        objects = self._mirror.objects
        tip = self._tip(NOTES)
        root = objects.commit(tip).tree if tip else ""
        notes = objects.tree(root) if root else {}
        before = _find(objects, notes, revision)
        old = objects.blob(before) if before else b""
        known = set(old.split(b"\n"))
        fresh = b"".join(line + b"\n" for line in dict.fromkeys(lines) if line not in known)
        if not fresh or len(old) + len(fresh) > NOTE_BYTES_MAX:
            return
        blob = objects.write("blob", (old if not old or old.endswith(b"\n") else old + b"\n") + fresh)
        self._commit(_with(objects, notes, {revision: blob}), f"Notes: {revision[:12]}", [tip] if tip else [])

    def _take_in(self, theirs: str) -> None:
        try:
            self._merge(theirs)
        except pygit2.GitError as error:
            raise TransientError(f"notes of {self._mirror.remote.name}: could not write to the mirror: {error}") from error

    def _merge(self, theirs: str) -> None:
        """Make our notes contain theirs. Fast-forward where possible; else line by line."""
        ours = self._tip(NOTES)
        if not theirs or ours == theirs:
            return
        objects = self._mirror.objects
        repository = objects.repository
        if ours and repository.descendant_of(ours, theirs):
            return
        if not ours or repository.descendant_of(theirs, ours):
            repository.references.create(NOTES, theirs, force=True)
            return
        mine, other = (dict(_all(objects, objects.commit(tip).tree)) for tip in (ours, theirs))
        differing = {name: blob for name, blob in mine.items() if other.get(name) != blob}
        merged = {name: _union(objects, other.get(name), blob) for name, blob in differing.items()}
        tree = _with(objects, objects.tree(objects.commit(theirs).tree), merged)
        self._commit(tree, "Notes: merge", [ours, theirs])

    def _commit(self, tree: str, message: str, parents: list[str]) -> None:
        signature = pygit2.Signature(*_SIGNATURE)
        self._mirror.objects.write_commit(NOTES, tree, parents, message, signature, signature)

    async def _push(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(PUSH_ATTEMPTS_MAX):
            tip = self._tip(NOTES)
            if tip == self._pushed or loop.time() < self._quiet_until or not self._mirror.may_push:
                return
            try:
                if await self._push_once(tip):
                    self._pushed = tip
            except TrimtabError:
                self._quiet_until = loop.time() + UNREACHABLE_SECONDS
        # Somebody pushes notes all the time: ours go along with the next one.

    async def _push_once(self, tip: str) -> bool:
        """False when it may be tried again at once."""
        mirror = self._mirror
        seconds = mirror.git.settings.push_timeout_seconds
        result = await mirror.git.remote(
            mirror.path, mirror.remote, "push", "--quiet", mirror.remote.url, f"{tip}:{NOTES}", timeout_seconds=seconds
        )
        if result.code == 0:
            return True
        if not _MOVED.search(result.stderr):
            self._quiet_until = asyncio.get_running_loop().time() + REFUSED_SECONDS
            return False
        theirs = "refs/remote/notes-now"  # of its own: a fetch may be writing the others
        await mirror.git.remote(
            mirror.path,
            mirror.remote,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", mirror.remote.url, f"+{NOTES}:{theirs}"),
            timeout_seconds=seconds,
        )
        self._take_in(self._tip(theirs))
        return False

    def _tip(self, name: str) -> str:
        found = refs.read(self._mirror.path, ("refs/notes/", "refs/remote/"))
        return found.ids.get(name, "") if found else ""


def _find(objects: Objects, notes: Mapping[str, Child], name: str) -> str | None:
    """The blob of a note, at any fan-out."""
    exact = notes.get(name)
    if exact is not None and exact.is_blob:
        return exact.id
    below = notes.get(name[:2])
    return _find(objects, objects.tree(below.id), name[2:]) if below is not None and below.is_tree and len(name) > 2 else None


def _all(objects: Objects, tree_id: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every note as (commit id, blob id). What is not named like one is passed over."""
    if len(prefix) >= 40:
        return
    for name, child in objects.tree(tree_id).items():
        if child.is_tree:
            yield from _all(objects, child.id, prefix + name)
        elif child.is_blob and refs.ID.fullmatch(prefix + name):
            yield prefix + name, child.id


def _with(objects: Objects, notes: Mapping[str, Child], changed: Mapping[str, str]) -> str:
    """The tree with these notes set. New ones go one level down, where git looks for them whatever the others do."""
    children = dict(notes)
    by_head: dict[str, dict[str, str]] = {}
    for name, blob in changed.items():
        children.pop(name, None)  # a flat one moves down
        by_head.setdefault(name[:2], {})[name[2:]] = blob
    for head, rest in by_head.items():
        below = children.get(head)
        entries = dict(objects.tree(below.id)) if below is not None and below.is_tree else {}
        children[head] = Child(TREE, _leaves(objects, entries, rest))
    return objects.write_tree(children)


def _leaves(objects: Objects, entries: dict[str, Child], rest: Mapping[str, str]) -> str:
    deeper = {name: blob for name, blob in rest.items() if name[:2] in entries and entries[name[:2]].is_tree}
    flat = {name: Child(BLOB, blob) for name, blob in rest.items() if name not in deeper}
    if not deeper:
        return objects.write_tree({**entries, **flat})
    return _with(objects, {**entries, **flat}, deeper)


def _union(objects: Objects, theirs: str | None, ours: str) -> str:
    if theirs is None:
        return ours
    first, second = objects.blob(theirs).splitlines(), objects.blob(ours).splitlines()
    known = set(first)
    lines = [*first, *(line for line in second if line not in known)]
    return objects.write("blob", b"".join(line + b"\n" for line in lines))
