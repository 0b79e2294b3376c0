"""A commit of ours on somebody's branch: paths set to objects that the history has already, pushed without force.

In go a branch, a message and edits (path to object id, or None to remove); out comes the Revision that was pushed. The mirror's
own branches are left alone: the next fetch sees the commit as it would see anybody's.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import pygit2

from trimtab.core.model.errors import TransientError, TrimtabError, UserError
from trimtab.core.model.names import Revision
from trimtab.plumbing.processes import Finished

from . import revisions
from .failures import failure
from .mirrors import Mirror
from .objects import BLOB, TREE, Child, Objects
from .text import last_words, shown

ATTEMPTS_MAX = 2
SEARCHED_COMMITS_MAX = 1000

_MOVED = re.compile(rb"non-fast-forward|fetch first|stale info|cannot lock ref|failed to update ref", re.I)
_REFUSED = re.compile(rb"\[remote rejected\]|pre-receive hook declined|denied|protected branch|read-only|checked out", re.I)
_AUTHOR = re.compile(r"\s*(?P<name>[^<>]*?)\s*(?:<(?P<email>[^<>\s]*)>)?\s*")

Edits = Mapping[str, str | None]


@dataclass(frozen=True)
class Proposal:
    """``branch`` is a branch's short name; "" is the default branch. ``author`` reads ``Name <email>``. ``to`` is the branch that the commit
    is pushed to, which may not be there yet; "" is ``branch``.
    """

    branch: str
    message: str
    author: str
    edits: Edits
    to: str = ""


async def propose(mirror: Mirror, proposal: Proposal) -> Revision:
    """Commit on top of the branch's head and push. Where nothing would change, the head itself is the answer.

    Raises UserError when the branch is not there, an edit is impossible, or the remote refuses; TransientError when it cannot be
    reached or the branch keeps moving.
    """
    doing = f"commit to {mirror.remote.name}"
    for _ in range(ATTEMPTS_MAX):
        await mirror.fetch()
        ref, head = _head(mirror, proposal.branch)
        commit = _build(mirror, head, proposal)
        if commit == head:
            return head
        if not mirror.may_push:
            raise _refusal(mirror, ref, head, proposal, "it belongs to another user of this machine")
        result = await _push(mirror, commit, f"refs/heads/{proposal.to}" if proposal.to else ref)
        if result.code == 0:
            return commit
        if not _MOVED.search(result.stderr):
            raise _error(mirror, ref, head, proposal, result)
    raise TransientError(f"{doing}: {shown(ref)} moved while we were at it", remedy="Try again")


def _head(mirror: Mirror, branch: str) -> tuple[str, Revision]:
    found = revisions.resolve(mirror, f"refs/heads/{branch}" if branch else "")
    if not found.ref:
        raise UserError(f"commit to {mirror.remote.name}: its HEAD is detached", remedy="Say which branch")
    return found.ref, found.revision


def _build(mirror: Mirror, head: Revision, proposal: Proposal) -> Revision:
    objects = mirror.objects
    root = objects.commit(head).tree
    tree = root
    for path, object_id in sorted(proposal.edits.items()):
        tree = _edited(objects, tree, path, object_id)
    if tree == root:
        return head
    author, committer = _signature(proposal.author), pygit2.Signature("Trimtab", "trimtab@localhost")
    message = proposal.message.rstrip("\n") + "\n"
    return Revision(objects.write_commit(None, tree, [head], message, author, committer))


def _edited(objects: Objects, root: str, path: str, object_id: str | None) -> str:
    """The root tree with one path set. A file keeps the mode that it has there now."""
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
        raise UserError(f"commit: {shown(path)} is not a path of a repository", remedy="Give a path relative to its root")
    kind = objects.kind(object_id) if object_id else None
    if object_id is not None and kind not in ("tree", "blob"):
        raise UserError(f"commit: there is no content with the id {shown(object_id)}", remedy="Name an object of this repository")
    if not parts:
        if object_id is None or kind != "tree":
            raise UserError("commit: the root of a repository can only become another directory", remedy="Name a tree")
        return object_id
    return _set(objects, root, parts, object_id, kind == "tree") or objects.write_tree({})


def _set(objects: Objects, tree_id: str | None, parts: list[str], object_id: str | None, is_tree: bool) -> str | None:
    """The new id of the tree; None when nothing is left in it."""
    children = dict(objects.tree(tree_id)) if tree_id else {}
    name, rest = parts[0], parts[1:]
    old = children.get(name)
    if rest:
        if old is not None and not old.is_tree:
            raise UserError(f"commit: {shown(name)} is a file, nothing can be below it", remedy="Correct the path")
        below = _set(objects, old.id if old else None, rest, object_id, is_tree)
        new = Child(TREE, below) if below else None
    elif object_id is None:
        new = None
    else:
        mode = TREE if is_tree else old.mode if old is not None and old.is_blob else BLOB
        new = Child(mode, object_id)
    children.pop(name, None)
    if new is not None:
        children[name] = new
    return objects.write_tree(children) if children else None


def _signature(author: str) -> pygit2.Signature:
    found = _AUTHOR.fullmatch(shown(" ".join(author.split())))
    name = (found["name"] if found else "") or "Trimtab"
    return pygit2.Signature(name, (found["email"] if found else "") or "trimtab@localhost")


async def _push(mirror: Mirror, commit: str, ref: str) -> Finished:
    seconds = mirror.git.settings.push_timeout_seconds
    return await mirror.git.remote(
        mirror.path, mirror.remote, "push", "--quiet", mirror.remote.url, f"{commit}:{ref}", timeout_seconds=seconds
    )


def _error(mirror: Mirror, ref: str, head: str, proposal: Proposal, result: Finished) -> TrimtabError:
    if not _REFUSED.search(result.stderr):
        return failure(f"commit to {mirror.remote.name}", result, known=True)
    if b"checked out" in result.stderr:
        return _refusal(mirror, ref, head, proposal, "the branch is checked out there")
    said = [line for line in result.stderr.splitlines() if b"[remote rejected]" in line or line.startswith(b"remote: ")]
    return _refusal(mirror, ref, head, proposal, last_words(said[-1] if said else result.stderr))


def _refusal(mirror: Mirror, ref: str, head: str, proposal: Proposal, reason: str) -> UserError:
    branch = ref.removeprefix("refs/heads/")
    commands = "\n".join(f"  {command}" for command in _by_hand(mirror, branch, head, proposal))
    return UserError(
        f"commit to {mirror.remote.name}: it does not accept a push to {shown(branch)}: {reason}",
        remedy=f"Do the same by hand:\n{commands}",
    )


def _by_hand(mirror: Mirror, branch: str, head: str, proposal: Proposal) -> list[str]:
    """The plain git commands for the same commit, in a work tree on that branch."""
    commands = [f"cd {_quoted(str(mirror.remote.path))}"] if mirror.remote.path else []
    commands.append(f"git switch {_quoted(branch)}")
    for path, object_id in sorted(proposal.edits.items()):
        place = _quoted(path or ".")
        origin = _origin(mirror.objects, head, path, object_id) if object_id else None
        if object_id is None:
            commands.append(f"git rm -r --quiet -- {place}")
        elif origin:
            commands.append(f"git restore --source={origin[:12]} --staged --worktree -- {place}")
        else:
            commands.append(f"git rm -r --quiet -- {place}; git read-tree -u --prefix={_quoted(path)} {object_id}")
    subject = proposal.message.splitlines()[0] if proposal.message else "Change by hand"
    return [*commands, f"git commit -m {_quoted(subject)}"]


def _origin(objects: Objects, head: str, path: str, object_id: str) -> str | None:
    """A commit in the history of ``head`` that has this very object there."""
    queue, seen = deque([head]), {head}
    while queue and len(seen) <= SEARCHED_COMMITS_MAX:
        commit = objects.commit(queue.popleft())
        for parent in commit.parents:
            if parent in seen or objects.kind(parent) != "commit":
                continue
            found = objects.at(objects.commit(parent).tree, path)
            if found is not None and found.id == object_id:
                return parent
            seen.add(parent)
            queue.append(parent)
    return None


def _quoted(word: str) -> str:
    clean = shown(word)
    return clean if re.fullmatch(r"[A-Za-z0-9_./:@%+=-]+", clean) else "'" + clean.replace("'", "'\\''") + "'"
