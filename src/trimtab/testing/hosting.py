"""Hosted repositories in memory: the port Hosting over the remotes of `git.py`, where ``hosted:NAME`` is the remote that mirrors follow.

`FakeHosting.push` is a developer with git: it asks a Receiver as the server does, and gives back what the terminal would show. Merges
are by whole files: two sides that changed one file differently are in conflict, nothing finer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.core.decide.signatures import SERVER
from trimtab.core.model.errors import NotFound, TransientError, TrimtabError, UserError
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.ports import hosting as port
from trimtab.ports.hosting import HOSTED, Accept, Conflict, Conflicts, HostedRepository, Merged, Person, Push, Receiver, RefUpdate

from .git import Commit, FakeRemote, FakeRemotes, reachable
from .trees import MemoryTree, Node
from .wakes import Wakes

Files = Mapping[str, Node]
SIGNER = "ssh-ed25519 AAAAthekeyoftheserver"
NOBODY = Person("Nobody", "nobody@example.org", datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Ann:
    """A Principal."""

    name: str = "ann"


@dataclass(frozen=True)
class Pushed:
    """What git shows: ``refused`` has the reason beside each ref that stays, ``lines`` what came as ``remote: …``."""

    refused: Mapping[str, str]
    lines: tuple[str, ...]
    moved: tuple[RefUpdate, ...] = ()


@dataclass
class _Repository:
    remote: FakeRemote
    commits: dict[Revision, Commit] = field(default_factory=dict)
    trees: dict[str, Files] = field(default_factory=dict)

    def add(self, commits: Iterable[Commit]) -> None:
        for commit in commits:
            self.commits[commit.revision] = commit
            self.keep(commit.files)

    def keep(self, files: Files) -> str:
        tree = MemoryTree(files).entry("")
        assert tree is not None
        self.trees[tree.id] = files
        return tree.id


@dataclass
class FakeHosting:
    """``remotes`` are shared with the `FakeRepositories` that mirror them; their faults strike here too."""

    remotes: FakeRemotes = field(default_factory=FakeRemotes)
    deleted: list[str] = field(default_factory=list)
    unsigning: str = ""
    """Why nothing can be signed."""
    _repositories: dict[str, _Repository] = field(default_factory=dict)
    _pushes: int = 0

    def __post_init__(self) -> None:
        self._wakes: Wakes[str] = Wakes(self.remotes.faults, "hosting.wake")

    # --- the port -------------------------------------------------------------------------------------------------------------

    async def create(self, name: str, *, default_branch: str = "main") -> HostedRepository:
        if not name or name.startswith((".", "-", "/")) or ".." in name or " " in name:
            raise UserError(f"create a repository {name!r}: this is no name for one", remedy="Choose another name")
        if name in self._repositories:
            raise UserError(f"create {name}: there is a repository of this name", remedy="Choose another name")
        remote = self.remotes.get(f"{HOSTED}{name}")
        remote.default = f"refs/heads/{default_branch}"
        self._repositories[name] = _Repository(remote)
        self._wakes.send(name)
        return await self.get(name)

    async def import_(self, name: str, source: str) -> HostedRepository:
        other = self.remotes.made.get(source)
        if other is None:
            raise UserError(f"fetch {source}: there is no such repository", remedy="Correct the path or URL")
        await self.create(name, default_branch=other.default.removeprefix("refs/heads/"))
        self._repositories[name].remote.refs = dict(other.refs)
        return await self.get(name)

    async def delete(self, name: str) -> Path:
        self._get(name)
        del self._repositories[name], self.remotes.made[f"{HOSTED}{name}"]
        self.deleted.append(name)
        self._wakes.send(name)
        return Path(f"/deleted/{name}.{self.deleted.count(name)}.git")

    async def list(self) -> list[HostedRepository]:
        return [await self.get(name) for name in sorted(self._repositories)]

    async def get(self, name: str) -> HostedRepository:
        remote = self._get(name).remote
        head = remote.refs.get(remote.default)
        size = sum(len(str(node)) for node in head.files.values()) if head else 0
        return HostedRepository(name, remote.default.removeprefix("refs/heads/"), head.revision if head else "", size)

    async def set_default_branch(self, name: str, branch: str) -> None:
        remote = self._get(name).remote
        if f"refs/heads/{branch}" not in remote.refs:
            raise UserError(f"{name}: there is no branch {branch} to be the default one", remedy="Push it first")
        remote.default = f"refs/heads/{branch}"

    def path(self, name: str) -> Path:
        return Path(self._get(name).remote.url)

    def history(self, name: str) -> FakeHistory:
        return FakeHistory(name, self._get(name))

    async def refs(self, name: str, prefix: str = "refs/") -> Mapping[str, str]:
        refs = self._get(name).remote.refs
        return {ref: refs[ref].revision for ref in sorted(refs) if ref.startswith(prefix)}

    async def update_refs(self, name: str, updates: Sequence[RefUpdate]) -> bool:
        await self.remotes.faults.point("hosting.update_refs:before", name)
        moved = self._move(name, updates)
        await self.remotes.faults.point("hosting.update_refs:after", name)
        return moved

    async def merge(self, name: str, ours: str, theirs: str) -> Merged | Conflicts:
        await self.remotes.faults.point("hosting.merge:before", name)
        history = self.history(name)
        one, other = history.find(ours), history.find(theirs)
        base = await history.base(ours, theirs)
        return self._merged(name, history.find(base).files if base else {}, one.files, other.files)

    async def combine(
        self,
        name: str,
        way: port.Way,
        *,
        onto: str,
        change: str,
        message: str,
        committer: Person,
        author: Person | None = None,
        sign: bool = False,
    ) -> port.Combined | Conflicts:
        if sign and self.unsigning:
            raise TransientError(f"sign a merge: {self.unsigning}")
        history = self.history(name)
        if way == "rebase":
            return await self._rebase(name, history, onto, change, message, committer, sign=sign)
        merged = await self.merge(name, onto, change)
        if isinstance(merged, Conflicts):
            return merged
        parents = [onto] if way == "squash" else [onto, change]
        who = author or committer
        revision = await self.commit(name, tree=merged.tree, parents=parents, message=message, author=who, committer=committer)
        return port.Combined(self._seal(revision) if sign else revision, merged.tree)

    def signer(self) -> port.Signer:
        return port.Signer(problem=self.unsigning) if self.unsigning else port.Signer(SIGNER)

    async def signature(self, name: str, revision: str, keys: SigningKeys) -> Signature:
        """As `FakeRemotes.signed` says."""
        return self.remotes.signature(self.history(name).find(revision).revision, keys)

    async def commit(
        self, name: str, *, tree: str, parents: Sequence[str], message: str, author: Person, committer: Person
    ) -> Revision:
        await self.remotes.faults.point("hosting.commit:before", name)
        repository, history = self._get(name), self.history(name)
        if tree not in repository.trees or any(not history.has(parent) for parent in parents):
            raise UserError("write a commit: its tree or one of its parents is not here", remedy="Push it first")
        if not message.strip():
            raise UserError("write a commit: its message is empty", remedy="Give it another message")
        text = message.strip("\n") + "\n"
        above = [history.find(parent) for parent in parents]
        made = [tree, *parents, text, author.name, str(author.at), committer.name, str(committer.at)]
        revision = Revision(digest(made).removeprefix("sha256:")[:40])
        first, others = (above[0] if above else None), tuple(above[1:])
        repository.add([Commit(revision, repository.trees[tree], first, repository.remote.url, text, others, author, committer)])
        return revision

    async def wakes(self) -> AsyncIterator[str]:
        async with aclosing(self._wakes.watch()) as wakes:
            async for name in wakes:
                yield name

    # --- a developer ------------------------------------------------------------------------------------------------------------

    def write(self, name: str, files: Files, *parents: str, message: str = "change", author: Person = NOBODY) -> Revision:
        """A commit in somebody's clone, which is in the repository only once it is pushed. ``files`` is all that there is."""
        history = self.history(name)
        above = [history.find(parent) for parent in parents]
        self._pushes += 1
        revision = Revision(digest([name, self._pushes, message, *parents]).removeprefix("sha256:")[:40])
        url = self._get(name).remote.url
        first = above[0] if above else None
        self._get(name).add([Commit(revision, dict(files), first, url, f"{message}\n", tuple(above[1:]), author, author)])
        return revision

    async def push(
        self, name: str, refs: Mapping[str, str], receiver: Receiver, *, who: Any = None, options: Sequence[str] = ()
    ) -> Pushed:
        """Push commits ("" deletes the ref), as stock git does without ``--force-with-lease`` and always forced."""
        now = await self.refs(name)
        updates = tuple(RefUpdate(ref, now.get(ref, ""), new) for ref, new in refs.items())
        self._pushes += 1
        push = Push(f"push-{self._pushes}", name, who or Ann(), updates, tuple(options), self.history(name))
        await self.remotes.faults.point("hosting.push:before", name)
        try:
            verdict = await receiver.judge(push)
        except TrimtabError as error:
            return Pushed({update.ref: error.message for update in updates}, (str(error),))
        refused = {u.ref: a.message for u, a in zip(updates, verdict.answers, strict=True) if isinstance(a, port.Refuse)}
        moves = [move for u, answer in zip(updates, verdict.answers, strict=True) if (move := _move(u, answer))]
        moved = (*moves, *verdict.also) if moves else ()
        if moved and not self._move(name, moved):
            return Pushed(dict.fromkeys(refs, "a ref moved meanwhile"), verdict.lines)
        await self.remotes.faults.point("hosting.push:moved", name)
        lines = [line async for line in receiver.received(push, moved)] if moved else []
        return Pushed(refused, (*verdict.lines, *lines), moved)

    # --- inside -----------------------------------------------------------------------------------------------------------------

    def _move(self, name: str, updates: Sequence[RefUpdate]) -> bool:
        repository, history = self._get(name), self.history(name)
        refs = repository.remote.refs
        targets = {update.ref: history.find(update.new) for update in updates if update.new}
        if any((refs[update.ref].revision if update.ref in refs else "") != update.old for update in updates):
            return False
        for update in updates:
            if update.new:
                refs[update.ref] = targets[update.ref]
            else:
                refs.pop(update.ref, None)
        repository.remote.wakes.send(None)
        self._wakes.send(name)
        return True

    async def _rebase(
        self, name: str, history: FakeHistory, onto: str, change: str, message: str, committer: Person, *, sign: bool
    ) -> port.Combined | Conflicts:
        line = (await history.log(change, without=[onto], commits_max=500))[::-1]
        top, files = onto, history.find(onto).files
        if any(len(taken.parents) > 1 for taken in line):
            raise UserError(f"rebase {change[:12]}: its history is not linear", remedy="Merge or squash it")
        for number, taken in enumerate(line, 1):
            before = history.find(taken.parents[0]).files if taken.parents else {}
            merged = self._merged(name, before, files, history.find(taken.revision).files)
            if isinstance(merged, Conflicts):
                return Conflicts(merged.conflicts, taken.revision)
            files = self._get(name).trees[merged.tree]
            text = message if number == len(line) and message else taken.message
            top = await self.commit(name, tree=merged.tree, parents=[top], message=text, author=taken.author, committer=committer)
            top = self._seal(Revision(top)) if sign else top
        return port.Combined(Revision(top), self._get(name).keep(files))

    def _seal(self, revision: Revision) -> Revision:
        """Signed by the server. Its id stays what it was: here a signature is not part of a commit."""
        self.remotes.signed[revision] = SERVER
        return revision

    def _merged(self, name: str, base: Files, ours: Files, theirs: Files) -> Merged | Conflicts:
        files, conflicts = dict(ours), []
        for path in sorted(base.keys() | theirs.keys() | ours.keys()):
            was, one, other = base.get(path), ours.get(path), theirs.get(path)
            if other in (was, one):
                continue
            if one != was:
                reason = "add/add" if was is None else "content" if one and other else "modify/delete"
                conflicts.append(Conflict(path, reason))
            elif other is None:
                del files[path]
            else:
                files[path] = other
        return Conflicts(tuple(conflicts)) if conflicts else Merged(self._get(name).keep(files))

    def _get(self, name: str) -> _Repository:
        if name not in self._repositories:
            raise NotFound(f"there is no hosted repository {name!r}", remedy="Create it first")
        repository = self._repositories[name]
        repository.add(reachable(repository.remote.refs.values(), known=repository.commits).values())
        return repository


class FakeHistory:
    def __init__(self, name: str, repository: _Repository) -> None:
        self._name, self._repository = name, repository

    def has(self, object_id: str) -> bool:
        return object_id in self._repository.commits or object_id in self._repository.trees

    def peel(self, object_id: str) -> Revision | None:
        return Revision(object_id) if object_id in self._repository.commits else None

    def find(self, revision: str) -> Commit:
        found = self._repository.commits.get(Revision(revision))
        if found is None:
            raise UserError(f"{self._name}: there is no commit {revision[:12]} here", remedy="Push it first")
        return found

    def commit(self, revision: str) -> port.Commit:
        found = self.find(revision)
        parents = tuple(parent.revision for parent in found.parents)
        author = found.author or NOBODY
        return port.Commit(
            found.revision,
            self._repository.keep(found.files),
            parents,
            author,
            found.committer or author,
            found.message or "change\n",
        )

    def tree(self, object_id: str) -> MemoryTree:
        if object_id in self._repository.trees:
            return MemoryTree(self._repository.trees[object_id], repository=self._repository.remote.url, revision=object_id)
        return self.find(object_id).tree

    async def log(self, head: str, *, without: Sequence[str] = (), commits_max: int = 100) -> list[port.Commit]:
        hidden = reachable([self.find(other) for other in without])
        found = reachable([self.find(head)], known=hidden)
        return [self.commit(revision) for revision in _children_first(found)[:commits_max]]

    async def contains(self, ancestor: str, descendant: str) -> bool:
        self.find(ancestor)
        return Revision(ancestor) in reachable([self.find(descendant)])

    async def base(self, one: str, other: str) -> Revision | None:
        common = reachable([self.find(one)]).keys() & reachable([self.find(other)]).keys()
        below = {parent for revision in common for parent in reachable(self.find(revision).parents)}
        return min(common - below, default=None)

    async def changed_paths(self, old: str, new: str, *, paths_max: int = 10_000) -> frozenset[str] | None:
        before, after = (self._files(object_id) for object_id in (old, new))
        changed = frozenset(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        return changed if len(changed) <= paths_max else None

    def _files(self, object_id: str) -> Files:
        if not object_id:
            return {}
        return self._repository.trees.get(object_id) or self.find(object_id).files


def _children_first(found: Mapping[Revision, Commit]) -> list[Revision]:
    waiting = dict.fromkeys(found, 0)
    for commit in found.values():
        for parent in commit.parents:
            if parent.revision in waiting:
                waiting[parent.revision] += 1
    ready = [revision for revision, children in waiting.items() if not children]
    order: list[Revision] = []
    while ready:
        order.append(ready.pop(0))
        for parent in found[order[-1]].parents:
            if parent.revision in waiting:
                waiting[parent.revision] -= 1
                if not waiting[parent.revision]:
                    ready.append(parent.revision)
    return order


def _move(update: RefUpdate, answer: Accept | port.Refuse | port.Redirect) -> RefUpdate | None:
    match answer:
        case port.Redirect(ref, old):
            return RefUpdate(ref, old, update.new)
        case Accept():
            return update
        case _:
            return None
