"""Merges and commits without a work tree: trees are merged in memory, and written to the object database, where no ref names them.

In go commits by id; out comes a tree or a commit, or every conflict by its path. The merging is libgit2's, in this process, so the
same two commits give the same tree under every version of git that may be installed (a Plan's hash depends on it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pygit2
from pygit2.enums import MergeFlag, SortMode

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.git.objects import Objects
from trimtab.ports.hosting import Combined, Conflict, Conflicts, Merged, Person, Way

from .history import parsed

CONFLICTS_MAX = 500
REBASED_MAX = 500
SNIFFED_BYTES = 8000
MESSAGE_BYTES_MAX = 256 * 1024

# What refs will name is on the disk before they do: a loss of power must not leave a branch whose commit is an empty file.
pygit2.settings.enable_fsync_gitdir(True)


class Signs(Protocol):
    def sign(self, content: bytes) -> str:
        """An armoured signature. Called from a thread. Raises TransientError."""
        ...


@dataclass(frozen=True)
class Combination:
    """``signs`` signs every commit that is written; None for none."""

    way: Way
    onto: Revision
    change: Revision
    message: str
    committer: Person
    author: Person
    signs: Signs | None = None


def merge(objects: Objects, ours: Revision, theirs: Revision) -> Merged | Conflicts:
    """The tree that a merge of ``theirs`` into ``ours`` has."""
    base = _base(objects, ours, theirs)
    return _merged(objects, base, objects.commit(ours).tree, objects.commit(theirs).tree)


def combine(objects: Objects, wanted: Combination) -> Combined | Conflicts:
    """Raises UserError where ``rebase`` is asked for and the history has merges in it, or is too long."""
    if wanted.way == "rebase":
        return _rebase(objects, wanted)
    merged = merge(objects, wanted.onto, wanted.change)
    if isinstance(merged, Conflicts):
        return merged
    parents = [wanted.onto] if wanted.way == "squash" else [wanted.onto, wanted.change]
    revision = commit(objects, merged.tree, parents, wanted.message, wanted.author, wanted.committer, wanted.signs)
    return Combined(revision, merged.tree)


def commit(
    objects: Objects,
    tree: str,
    parents: Sequence[str],
    message: str,
    author: Person,
    committer: Person,
    signs: Signs | None = None,
) -> Revision:
    """Raises UserError when the tree or a parent is not there, or the message is no text."""
    if objects.kind(tree) != "tree" or any(objects.kind(parent) != "commit" for parent in parents):
        raise UserError("write a commit: its tree or one of its parents is not here", remedy="Push it first")
    if "\0" in message or not message.strip() or len(message.encode("utf-8", "replace")) > MESSAGE_BYTES_MAX:
        raise UserError("write a commit: its message is empty, too long or no text", remedy="Give it another message")
    text = message.strip("\n") + "\n"
    who = _signature(author), _signature(committer)
    if signs is None:
        return Revision(objects.write_commit(None, tree, list(parents), text, *who))
    return Revision(objects.write_signed(tree, list(parents), text, *who, sign=signs.sign))


def _rebase(objects: Objects, wanted: Combination) -> Combined | Conflicts:
    """Each commit of the change that ``onto`` lacks, on top of the one before. What is there already in effect is left out."""
    top, tree = wanted.onto, objects.commit(wanted.onto).tree
    line = _line(objects, wanted)
    for number, revision in enumerate(line, 1):
        taken = parsed(revision, objects)
        parent_tree = objects.commit(taken.parents[0]).tree if taken.parents else None
        merged = _merged(objects, parent_tree, tree, taken.tree)
        if isinstance(merged, Conflicts):
            return Conflicts(merged.conflicts, revision)
        last = number == len(line)
        if merged.tree == tree and not last:
            continue
        message = wanted.message if last and wanted.message else taken.message
        top = commit(objects, merged.tree, [top], message, taken.author, wanted.committer, wanted.signs)
        tree = merged.tree
    return Combined(top, tree)


def _line(objects: Objects, wanted: Combination) -> list[Revision]:
    """The commits to take, oldest first."""
    with objects.held() as repository:
        walker = repository.walk(pygit2.Oid(hex=wanted.change), SortMode.TOPOLOGICAL)
        walker.hide(pygit2.Oid(hex=wanted.onto))
        found: list[Revision] = []
        for each in walker:
            if len(each.parent_ids) > 1:
                raise UserError(
                    f"rebase {wanted.change[:12]}: {str(each.id)[:12]} is a merge, so its history is not linear",
                    remedy="Merge or squash it, or rebase it by hand: git rebase",
                )
            if len(found) >= REBASED_MAX:
                raise UserError(
                    f"rebase {wanted.change[:12]}: it has more than {REBASED_MAX} commits", remedy="Squash or merge it"
                )
            found.append(Revision(str(each.id)))
    return found[::-1]


def _base(objects: Objects, one: str, other: str) -> str | None:
    with objects.held() as repository:
        base = repository.merge_base(pygit2.Oid(hex=one), pygit2.Oid(hex=other))
    return objects.commit(str(base)).tree if base is not None else None


def _merged(objects: Objects, base: str | None, ours: str, theirs: str) -> Merged | Conflicts:
    if theirs in (base, ours):
        return Merged(ours)
    if base == ours:
        return Merged(theirs)
    with objects.held() as repository:
        ancestor = pygit2.Oid(hex=base or objects.write_tree({}))
        try:
            index = repository.merge_trees(
                ancestor, pygit2.Oid(hex=ours), pygit2.Oid(hex=theirs), flags=MergeFlag.FIND_RENAMES | MergeFlag.SKIP_REUC
            )
            if index.conflicts is not None:
                return Conflicts(_conflicts(repository, index))
            return Merged(str(index.write_tree(repository)))
        except (pygit2.GitError, OSError, ValueError) as error:
            raise TransientError(f"merge {ours[:12]} and {theirs[:12]}: {error}", remedy="Look at the disk") from error


def _conflicts(repository: pygit2.Repository, index: pygit2.Index) -> tuple[Conflict, ...]:
    found: dict[str, str] = {}
    for ancestor, ours, theirs in index.conflicts:
        path = next(entry.path for entry in (ours, theirs, ancestor) if entry is not None)
        found.setdefault(path, _reason(repository, ancestor, ours, theirs))
        if len(found) >= CONFLICTS_MAX:
            break
    return tuple(Conflict(path, reason) for path, reason in sorted(found.items()))


def _reason(
    repository: pygit2.Repository,
    ancestor: pygit2.IndexEntry | None,
    ours: pygit2.IndexEntry | None,
    theirs: pygit2.IndexEntry | None,
) -> str:
    if ours is None or theirs is None:
        return "modify/delete" if ancestor is not None else "file/directory"
    if ours.mode != theirs.mode and (ours.mode & 0o170000) != (theirs.mode & 0o170000):
        return "distinct types"
    if any(_binary(repository, entry) for entry in (ours, theirs)):
        return "binary"
    return "content" if ancestor is not None else "add/add"


def _binary(repository: pygit2.Repository, entry: pygit2.IndexEntry) -> bool:
    found = repository.get(entry.id)
    return isinstance(found, pygit2.Blob) and b"\0" in memoryview(found)[:SNIFFED_BYTES].tobytes()


def _signature(person: Person) -> pygit2.Signature:
    """Angle brackets and line breaks would end the field."""
    name, email = (" ".join("".join(" " if c in "<>\0" else c for c in text).split()) for text in (person.name, person.email))
    offset = person.at.utcoffset()
    minutes = int(offset.total_seconds()) // 60 if offset is not None else 0
    return pygit2.Signature(name or "unknown", email or "unknown", int(person.at.timestamp()), minutes, "utf-8")
