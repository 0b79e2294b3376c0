"""Repositories that live here: what the engine asks of them (`Hosting`), and what they ask of the engine when somebody pushes
(`Receiver`). One implementation, `trimtab.git.hosting`; one fake.

A push goes: pack received and checked, in quarantine → `Receiver.judge` → the refs move, all in one transaction → `Receiver.received`.
Ids are full hexadecimal object ids; "" where there is none. A hosted repository is called ``hosted:NAME`` wherever a repository may be
a path or a URL, so that it cannot be taken for either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys

from .git import Tree

HOSTED = "hosted:"
"""What the name of a hosted repository begins with where paths and URLs may stand too: ``hosted:shop``."""

Right = Literal["read", "write"]
Way = Literal["merge", "squash", "rebase"]


# --- who asks -----------------------------------------------------------------------------------------------------------------


class Principal(Protocol):
    """Who has shown who they are. Passed through from `Entry.authenticate` to `Entry.permit` and to the `Receiver`, and never looked into."""

    @property
    def name(self) -> str: ...


class Denied(msgspec.Struct, frozen=True):
    """No entrance: ``message`` is shown to whoever asked. ``retry_seconds`` over 0: too many failed logins, wait that long."""

    message: str
    retry_seconds: int = 0


class Entry(Protocol):
    """Who may come in. Everything is denied unless this says otherwise."""

    async def authenticate(self, headers: Mapping[str, str], address: str) -> Principal | Denied:
        """``headers`` have lower-case names; ``address`` is the client's ("" over a unix socket). git sends what it has as HTTP
        Basic, with the token as the password; Bearer is for scripts."""
        ...

    async def permit(self, principal: Principal, repository: str, right: Right) -> Denied | None:
        """None when ``principal`` may do that in the repository of this name, which need not exist."""
        ...


# --- what is there ------------------------------------------------------------------------------------------------------------


class Person(msgspec.Struct, frozen=True):
    """As a commit names an author: ``at`` has its zone."""

    name: str
    email: str
    at: datetime


class Commit(msgspec.Struct, frozen=True):
    """``message`` is whole, as it was written. ``signed`` says that there is a signature, not that it is good."""

    revision: Revision
    tree: str
    parents: tuple[Revision, ...]
    author: Person
    committer: Person
    message: str
    signed: bool = False

    @property
    def subject(self) -> str:
        return self.message.lstrip("\n").partition("\n")[0]


class History(Protocol):
    """Reading one repository's objects; during a push also those that are in quarantine. A commit may be named by a tag object that
    leads to it. What is not there raises UserError, what cannot be read TransientError."""

    def has(self, object_id: str) -> bool: ...

    def peel(self, object_id: str) -> Revision | None:
        """The commit that an id leads to, through tags; None when it leads to none."""
        ...

    def commit(self, revision: str) -> Commit: ...

    def tree(self, object_id: str) -> Tree:
        """The files of a commit, or of a tree such as `Merged.tree`."""
        ...

    async def log(self, head: str, *, without: Sequence[str] = (), commits_max: int = 100) -> list[Commit]:
        """Commits that are reachable from ``head`` and from none of ``without``, children before parents, at most so many."""
        ...

    async def contains(self, ancestor: str, descendant: str) -> bool:
        """True when ``ancestor`` is reachable from ``descendant``, or is it."""
        ...

    async def base(self, one: str, other: str) -> Revision | None:
        """The best common ancestor; None when the histories share nothing."""
        ...

    async def changed_paths(self, old: str, new: str, *, paths_max: int = 10_000) -> frozenset[str] | None:
        """Paths of files that differ between two commits or trees ("" = nothing at all); None when there are more."""
        ...


class RefUpdate(msgspec.Struct, frozen=True):
    """``ref`` from ``old`` ("" = it is not there) to ``new`` ("" = it goes)."""

    ref: str
    old: str
    new: str


class HostedRepository(msgspec.Struct, frozen=True):
    """``head`` is where the default branch is, "" while it has no commit."""

    name: str
    default_branch: str
    head: str
    bytes: int


# --- a push -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Push:
    """One push, as it was sent. ``id`` is different for each; ``options`` are the ``-o`` of git push, one line each, cleaned.
    ``history`` reads what is there and what came, and is only good until `Receiver.judge` returns; after that use `Hosting.history`.
    """

    id: str
    repository: str
    principal: Principal
    updates: tuple[RefUpdate, ...]
    options: tuple[str, ...]
    history: History


class Accept(msgspec.Struct, frozen=True, tag=True):
    """The ref moves as it was asked."""


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """The ref stays. ``message`` is what git prints beside it: one short line; longer advice goes into `Verdict.lines`."""

    message: str


class Redirect(msgspec.Struct, frozen=True, tag=True):
    """What was pushed goes to another ref, which must be at ``old`` ("" = not there): refs/for/main becomes refs/changes/12/1."""

    ref: str
    old: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """``answers`` has one for each of `Push.updates`, in their order. ``also`` are refs that move in the same transaction.
    ``lines`` are printed on the pusher's terminal before the outcome; anything in them that would act on a terminal is taken out.
    """

    answers: tuple[Accept | Refuse | Redirect, ...]
    also: tuple[RefUpdate, ...] = ()
    lines: tuple[str, ...] = ()


class Receiver(Protocol):
    """What the engine makes of a push. There is no other way for a client to move a ref."""

    async def judge(self, push: Push) -> Verdict:
        """Asked once the objects are here and sound, before anything is visible. A TrimtabError refuses all, with its words; so does
        any other exception, without them. May be followed by no move at all: the client may have gone, or a ref moved meanwhile.
        """
        ...

    def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        """After refs have moved, redirected and additional ones under their own names: lines for the pusher's terminal, printed as
        they come, until the end, a time limit, or the client's leaving (the iterator is closed). It is not called after a crash,
        so what must happen follows from the refs."""
        ...


# --- what the engine does -----------------------------------------------------------------------------------------------------


class Conflict(msgspec.Struct, frozen=True):
    """``reason`` as git names it: "content", "modify/delete", "binary", "add/add" …"""

    path: str
    reason: str


class Conflicts(msgspec.Struct, frozen=True):
    """Nothing was made. ``revision`` is the commit that could not be put on top of the others ("" for a merge)."""

    conflicts: tuple[Conflict, ...]
    revision: str = ""


class Merged(msgspec.Struct, frozen=True):
    """A tree of files, in the object database and in no commit yet."""

    tree: str


class Combined(msgspec.Struct, frozen=True):
    """A commit in the object database that no ref names yet."""

    revision: Revision
    tree: str


class Signer(msgspec.Struct, frozen=True):
    """What `Hosting.combine` signs with: ``key`` is an SSH public key (type and key, no comment), "" where it cannot sign, for the reason
    that ``problem`` tells."""

    key: str = ""
    problem: str = ""


class Hosting(Protocol):
    """The repositories that live here. All methods raise NotFound for an unknown name, TransientError for a disk that is full or
    read-only (nothing has changed then)."""

    async def create(self, name: str, *, default_branch: str = "main") -> HostedRepository:
        """Raises UserError for a name that is taken or not allowed (letters, digits, ``.-_``, at most 100, in up to four parts)."""
        ...

    async def import_(self, name: str, source: str) -> HostedRepository:
        """A new repository with branches, tags and notes of another, by URL or path. It appears whole or not at all."""
        ...

    async def delete(self, name: str) -> Path:
        """Take it out of service. Its data is moved aside to the path that is returned, and stays there until somebody removes it."""
        ...

    async def list(self) -> list[HostedRepository]:
        """By name."""
        ...

    async def get(self, name: str) -> HostedRepository: ...

    async def set_default_branch(self, name: str, branch: str) -> None: ...

    def path(self, name: str) -> Path:
        """Where it is on this disk, for mirrors of it; to be read only."""
        ...

    def history(self, name: str) -> History: ...

    async def refs(self, name: str, prefix: str = "refs/") -> Mapping[str, str]:
        """Full names to ids, sorted by name."""
        ...

    async def update_refs(self, name: str, updates: Sequence[RefUpdate]) -> bool:
        """Move all of them, or none: False when any is not at its ``old``. The `Receiver` is not asked. Durable on return."""
        ...

    async def merge(self, name: str, ours: str, theirs: str) -> Merged | Conflicts:
        """The tree that a merge of two commits would have. Of conflicts all are named."""
        ...

    async def combine(
        self,
        name: str,
        way: Way,
        *,
        onto: str,
        change: str,
        message: str,
        committer: Person,
        author: Person | None = None,
        sign: bool = False,
    ) -> Combined | Conflicts:
        """The commit that brings ``change`` to ``onto``: a merge commit, one commit with all of it, or its commits one after the other
        on top (their authors and messages kept; ``message`` stands in place of the last one's unless it is ""). Moves no ref.
        ``sign``: each commit that is written carries a signature of `signer`; TransientError where it cannot.
        Raises UserError for a rebase of a history that is not linear."""
        ...

    def signer(self) -> Signer:
        """Nothing but what `combine` is told to sign is ever signed with it."""
        ...

    async def signature(self, name: str, revision: str, keys: SigningKeys) -> Signature:
        """As `Repositories.signature`, of any commit that is here, whether or not a ref names it."""
        ...

    async def commit(
        self, name: str, *, tree: str, parents: Sequence[str], message: str, author: Person, committer: Person
    ) -> Revision:
        """Write a commit. Moves no ref."""
        ...

    def wakes(self) -> AsyncIterator[str]:
        """The name of a repository whose refs may have moved, each time, until closed."""
        ...
