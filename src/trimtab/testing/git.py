"""Repositories in memory. `FakeRemotes` is the world that people commit to; `FakeRepositories` is one machine's mirrors of it.

A mirror shows what was there at its last fetch that got through, and keeps every commit it has ever seen; it outlives the engine,
as a directory does. In: files as a mapping of path to content. Out: the Repositories port, over `MemoryTree`, with ids made from
the content and its history, so equal histories have equal ids.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.ports.git import Head
from trimtab.ports.hosting import Person

from .faults import Faults
from .trees import MemoryTree, Node
from .wakes import Wakes

ABBREVIATION_MIN = 4
URL = "/srv/git/configuration.git"


@dataclass(frozen=True)
class Commit:
    """``repository`` is only the name that its tree shows. A merge has ``merged`` besides its first parent."""

    revision: Revision
    files: Mapping[str, Node]
    parent: Commit | None
    repository: str
    message: str = ""
    merged: tuple[Commit, ...] = ()
    author: Person | None = None
    committer: Person | None = None

    @property
    def parents(self) -> tuple[Commit, ...]:
        return (self.parent, *self.merged) if self.parent is not None else self.merged

    @cached_property
    def tree(self) -> MemoryTree:
        return MemoryTree(self.files, repository=self.repository, revision=self.revision)


@dataclass
class FakeRemote:
    """One repository as others see it. ``refs`` maps full ref names to commits; ``broken`` says why it cannot be fetched."""

    url: str
    wakes: Wakes[None]
    default: str = "refs/heads/main"
    refs: dict[str, Commit] = field(default_factory=dict)
    notes: dict[Revision, tuple[str, ...]] = field(default_factory=dict)
    broken: str = ""
    read_only: bool = False
    local: bool = True
    commits: int = 0

    def commit(
        self, files: Mapping[str, Node | None], *, branch: str = "main", whole: bool = False, message: str = ""
    ) -> Revision:
        """A commit on a branch, which is made when it is missing. ``files`` is what changes (None removes); ``whole``: all there is."""
        return self._advance(self.refs.get(f"refs/heads/{branch}"), files, branch, whole=whole, message=message)

    def force_push(self, files: Mapping[str, Node | None], *, branch: str = "main", back: int = 1) -> Revision:
        """Take the newest ``back`` commits off a branch and put one with these changes there instead."""
        base: Commit | None = self.refs[f"refs/heads/{branch}"]
        for _ in range(back):
            base = base.parent if base else None
        return self._advance(base, files, branch, whole=False, message="rewritten")

    def set_branch(self, branch: str, revision: Revision) -> None:
        """Point a branch, old or new, at a commit that some ref can reach."""
        self.refs[f"refs/heads/{branch}"] = self._find(revision)
        self.wakes.send(None)

    def delete_branch(self, branch: str) -> None:
        del self.refs[f"refs/heads/{branch}"]
        self.wakes.send(None)

    def tag(self, name: str, revision: Revision) -> None:
        self.refs[f"refs/tags/{name}"] = self._find(revision)
        self.wakes.send(None)

    def vanish(self) -> None:
        self.broken = "there is no repository any more"

    def corrupt(self) -> None:
        self.broken = "its objects are corrupt"

    def repair(self) -> None:
        self.broken = ""
        self.wakes.send(None)

    def head(self, branch: str = "main") -> Revision:
        return self.refs[f"refs/heads/{branch}"].revision

    def _advance(
        self, base: Commit | None, changes: Mapping[str, Node | None], branch: str, *, whole: bool, message: str
    ) -> Revision:
        files = {} if base is None or whole else dict(base.files)
        for path, node in changes.items():
            files.pop(path, None)
            if node is not None:
                files[path] = node
        self.commits += 1
        revision = _commit_id(self.url, self.commits, base.revision if base else "", message)
        self.refs[f"refs/heads/{branch}"] = Commit(revision, files, base, self.url, message)
        self.wakes.send(None)
        return revision

    def _find(self, revision: Revision) -> Commit:
        return reachable(self.refs.values())[revision]


@dataclass
class FakeRemotes:
    """All remotes of a world, by URL."""

    faults: Faults = field(default_factory=Faults.none)
    made: dict[str, FakeRemote] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    """Whose key signed a commit, by its id."""

    def signature(self, revision: str, keys: SigningKeys) -> Signature:
        user = self.signed.get(revision, "")
        if not user:
            return Signature("unsigned")
        return Signature("good", user) if user in {name for name, _ in (*keys.ssh, *keys.openpgp)} else Signature("unknown")

    def get(self, url: str = URL) -> FakeRemote:
        """The remote at ``url``, made (empty) at the first call."""
        if url not in self.made:
            self.made[url] = FakeRemote(url, Wakes(self.faults, "git.wake"))
        return self.made[url]


@dataclass
class _Mirror:
    default: str
    refs: dict[str, Commit] = field(default_factory=dict)
    commits: dict[Revision, Commit] = field(default_factory=dict)
    notes: dict[Revision, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class FakeRepositories:
    """One machine's mirrors. ``fetches`` counts the calls of `fetch`."""

    remotes: FakeRemotes = field(default_factory=FakeRemotes)
    fetches: int = 0
    _mirrors: dict[str, _Mirror] = field(default_factory=dict)

    async def fetch(self, repository: str) -> bool:
        self.fetches += 1
        await self.remotes.faults.point("git.fetch:before", repository)
        remote = self.remotes.made.get(repository)
        if remote is None:
            raise UserError(f"fetch {repository}: there is no such repository", remedy="Check the path or URL")
        if remote.broken:
            raise TransientError(f"fetch {repository}: {remote.broken}")
        moved = self._update(repository, remote)
        await self.remotes.faults.point("git.fetch:after", repository)
        return moved

    async def resolve(self, repository: str, revision: str) -> Head:
        mirror = self._mirror(repository, "resolve")
        for ref in [f"refs/heads/{revision}", f"refs/tags/{revision}"] if revision else [mirror.default]:
            if ref in mirror.refs:
                return Head(mirror.refs[ref].revision, ref)
        if Revision(revision) in mirror.commits:
            return Head(Revision(revision))
        what = revision or mirror.default.removeprefix("refs/heads/")
        raise UserError(f"resolve {what} in {repository}: there is no such branch, tag or commit", remedy="Push it again")

    async def signature(self, repository: str, revision: Revision, keys: SigningKeys) -> Signature:
        """As `FakeRemotes.signed` says, if the signer has a key; the same on every machine."""
        self._commit(repository, revision)
        return self.remotes.signature(revision, keys)

    def tree(self, repository: str, revision: Revision) -> MemoryTree:
        return self._commit(repository, revision).tree

    async def changed_paths(
        self, repository: str, old: Revision, new: Revision, *, paths_max: int = 10_000
    ) -> frozenset[str] | None:
        commits = self._mirror(repository, "compare").commits
        if old not in commits or new not in commits:
            return None
        before, after = commits[old].files, commits[new].files
        differs = {path for path, node in after.items() if path not in before or before[path] != node}
        changed = frozenset(differs | (before.keys() - after.keys()))
        return changed if len(changed) <= paths_max else None

    async def contains(self, repository: str, ancestor: Revision, descendant: Revision) -> bool:
        commits = self._mirror(repository, "compare").commits
        start = commits.get(descendant)
        return start is not None and ancestor in reachable([start])

    async def expand(self, repository: str, abbreviation: str) -> Revision:
        mirror = self._mirror(repository, "look up")
        named = [mirror.refs[ref].revision for ref in _names(abbreviation) if ref in mirror.refs]
        long_enough = len(abbreviation) >= ABBREVIATION_MIN
        found = named or [revision for revision in mirror.commits if long_enough and revision.startswith(abbreviation)]
        if not found:
            raise UserError(f"look up {abbreviation} in {repository}: no such commit, branch or tag")
        if len(set(found)) > 1:
            raise UserError(f"look up {abbreviation} in {repository}: {len(found)} commits begin so", remedy="Give more of it")
        return found[0]

    async def note(self, repository: str, revision: Revision, lines: tuple[str, ...]) -> None:
        await self.remotes.faults.point("git.note:before", revision[:7])
        mirror = self._mirror(repository, "note")
        noted = mirror.notes.get(revision, ())
        mirror.notes[revision] = noted + tuple(line for line in lines if line not in noted)
        remote = self.remotes.made.get(repository)
        if remote is not None and not remote.read_only and not remote.broken:
            pushed = remote.notes.get(revision, ())
            remote.notes[revision] = pushed + tuple(line for line in mirror.notes[revision] if line not in pushed)
        await self.remotes.faults.point("git.note:after", revision[:7])

    async def propose(
        self, repository: str, branch: str, message: str, author: str, edits: Mapping[str, str | None], *, to: str = ""
    ) -> Revision:
        """``edits`` name trees and blobs of any commit that the mirror has."""
        await self.remotes.faults.point("git.propose:before", repository)
        remote = self.remotes.get(repository)
        ref = f"refs/heads/{branch}" if branch else remote.default
        if remote.read_only or ref not in remote.refs:
            raise UserError(f"commit to {ref} of {repository}: it is refused", remedy="Do it with git")
        files = dict(remote.refs[ref].files)
        known = _by_id(self._mirror(repository, "propose").commits.values())
        for path, id_ in edits.items():
            for name in [name for name in files if path in ("", name) or name.startswith(f"{path}/")]:
                del files[name]
            if id_ is not None and id_ not in known:
                raise UserError(f"commit {path} to {repository}: the mirror does not have {id_[:7]}")
            files |= {"/".join(part for part in (path, below) if part): node for below, node in known.get(id_ or "", {}).items()}
        if files == remote.refs[ref].files:
            return remote.refs[ref].revision
        if to:
            remote.refs.setdefault(f"refs/heads/{to}", remote.refs[ref])
        revision = remote.commit(files, branch=to or ref.removeprefix("refs/heads/"), whole=True, message=message)
        await self.remotes.faults.point("git.propose:after", repository)
        return revision

    async def watch(self, repository: str) -> AsyncIterator[None]:
        remote = self.remotes.made.get(repository)
        if remote is None or not remote.local:
            return
        async with aclosing(remote.wakes.watch()) as wakes:
            async for wake in wakes:
                yield wake

    def notes(self, repository: str, revision: Revision) -> tuple[str, ...]:
        """The lines of a commit's note in the mirror."""
        return self._mirror(repository, "read notes").notes.get(revision, ())

    def _update(self, repository: str, remote: FakeRemote) -> bool:
        mirror = self._mirrors.setdefault(repository, _Mirror(remote.default))
        moved = mirror.refs != remote.refs
        mirror.default = remote.default
        if moved:
            mirror.refs = dict(remote.refs)
            mirror.commits.update(reachable(remote.refs.values(), known=mirror.commits))
        return moved

    def _mirror(self, repository: str, act: str) -> _Mirror:
        if repository not in self._mirrors:
            raise UserError(f"{act} in {repository}: it has not been fetched yet")
        return self._mirrors[repository]

    def _commit(self, repository: str, revision: Revision) -> Commit:
        commits = self._mirror(repository, "read").commits
        if revision not in commits:
            raise UserError(f"read {repository} at {revision[:7]}: the mirror does not have that commit")
        return commits[revision]


def _by_id(commits: Iterable[Commit]) -> dict[str, dict[str, Node]]:
    """The files behind every tree and blob of some commits; a blob's own path is ""."""
    found: dict[str, dict[str, Node]] = {}
    for commit in commits:
        for path, node in commit.files.items():
            parts = path.split("/")
            for depth in range(len(parts) + 1):
                entry = commit.tree.entry("/".join(parts[:depth]))
                if entry is not None:
                    found.setdefault(entry.id, {})["/".join(parts[depth:])] = node
    return found


def _names(name: str) -> list[str]:
    return [f"refs/heads/{name}", f"refs/tags/{name}"]


def _commit_id(url: str, number: int, parent: str, message: str) -> Revision:
    return Revision(digest([url, number, parent, message]).removeprefix("sha256:")[:40])


def reachable(tips: Iterable[Commit], *, known: Mapping[Revision, Commit] | None = None) -> dict[Revision, Commit]:
    """All commits behind ``tips``; the walk stops at a known one."""
    found: dict[Revision, Commit] = {}
    pending = list(tips)
    while pending:
        step = pending.pop()
        if step.revision not in found and step.revision not in (known or {}):
            found[step.revision] = step
            pending += step.parents
    return found
