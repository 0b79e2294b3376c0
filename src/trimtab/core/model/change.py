"""A Change: a proposal to move a branch, from the first push to its merge or its end. A merge request, a pull request.

    open ──▶ merged
      │ ▲
      ▼ │ reopened
    closed

What a Change would do is a *candidate* (the tree that its merge would make), one plan for each Environment that it touches, and
*checks*. What it needs are *requirements*: so many approvals, by these people, of this very plan. All of them are made again whenever
the branch, the target branch, the rules or the world move; nothing here is believed for longer than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from .errors import Problem
from .manifest import digest
from .names import Revision

TRAILER_CHANGE = "Change"
TRAILER_APPROVED = "Approved-by"
TRAILER_SIGNED = "Signed-for"
TRAILER_PLAN = "Plan-"
"""Followed by the name of an Environment: ``Plan-production: sha256:…``."""


class Stage(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class PatchSet(msgspec.Struct, frozen=True, rename="camel"):
    """What was pushed at one time. ``number`` counts from 1."""

    number: int
    head: Revision
    who: str
    time: datetime


class Change(msgspec.Struct, frozen=True, rename="camel"):
    """What people propose and say of it. ``number`` ascends within an installation and is never given twice.

    ``repository`` is the name of the hosted Repository, ``target`` the branch to be moved, ``source`` the branch that it was pushed
    to ("" when it was pushed for the target itself). ``after`` are the Changes that it is stacked on. ``emergency`` marks one that
    was opened for a push that had gone to the target already, with its reason.
    """

    number: int
    repository: str
    target: str
    source: str
    title: str
    author: str
    patch_sets: tuple[PatchSet, ...]
    created: datetime
    description: str = ""
    draft: bool = False
    stage: Stage = Stage.OPEN
    after: tuple[int, ...] = ()
    emergency: str = ""
    merged: Revision | None = None
    ended: datetime | None = None
    ended_by: str = ""

    @property
    def address(self) -> str:
        """How rights and configuration call the hosted Repository."""
        return f"hosted:{self.repository}"

    @property
    def head(self) -> Revision:
        return self.patch_sets[-1].head

    @property
    def last_pusher(self) -> str:
        return self.patch_sets[-1].who


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    """What the merge would make of ``head`` on ``base``: a ``tree``, or the paths that are in ``conflicts``."""

    base: Revision
    head: Revision
    tree: str = ""
    conflicts: tuple[str, ...] = ()


class Planned(msgspec.Struct, frozen=True, rename="camel"):
    """What one Application would do: the ``digest`` of its content and the ``hash`` of its plan."""

    application: str
    digest: str
    hash: str


class EnvironmentPlan(msgspec.Struct, frozen=True, rename="camel"):
    """What a Change would do in one Environment, as counts; the plan itself is kept beside it under its hash.

    ``holds`` are the reasons of Holds that an approval of this plan lifts, ``blocked`` of those that it does not.
    """

    environment: str
    planned: tuple[Planned, ...]
    creates: int = 0
    updates: int = 0
    removals: int = 0
    others: int = 0
    holds: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """``sha256:…`` over the plans of all its Applications: what people approve."""
        return digest([self.environment, *sorted([one.application, one.hash] for one in self.planned)])


class Verdict(StrEnum):
    PENDING = "pending"
    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """A named verdict on the candidate: ``merge``, ``render``, ``plan``, ``policy/NAME``, ``external/NAME``."""

    name: str
    verdict: Verdict
    message: str = ""
    problems: tuple[Problem, ...] = ()


class Requirement(msgspec.Struct, frozen=True, rename="camel"):
    """So many approvals of the plan for ``environment`` by people of ``eligible``, who are named as ``by`` to those who read it.

    The author and the last pusher are left out of ``eligible`` already where the rule says so.
    """

    environment: str
    by: str
    count: int
    eligible: frozenset[str]


class Approval(msgspec.Struct, frozen=True, rename="camel"):
    """Of one Environment's plan, by its ``hash``. It counts for that hash and for no other."""

    who: str
    environment: str
    hash: str
    time: datetime
    patch_set: int = 0


def approvers(requirement: Requirement, approvals: tuple[Approval, ...], hashes: Mapping[str, str]) -> tuple[str, ...]:
    """Those whose approval counts for ``requirement`` now, each person once; ``hashes`` are the plans' by Environment."""
    wanted = hashes.get(requirement.environment)
    counting = (one.who for one in approvals if one.environment == requirement.environment and one.hash == wanted)
    return tuple(sorted(frozenset(counting) & requirement.eligible))


class Comment(msgspec.Struct, frozen=True, rename="camel"):
    """What somebody says of a Change. ``number`` counts within the Change from 1; ``thread`` is the number of the comment that began it.

    It may stand at a line of a file (``file``, ``line``, of ``patch_set``) or at a step of a plan (``environment``, ``object``). ``resolved``
    holds for the thread and stands on its first comment.
    """

    change: int
    number: int
    thread: int
    who: str
    time: datetime
    text: str
    patch_set: int = 0
    file: str = ""
    line: int = 0
    environment: str = ""
    object: str = ""
    resolved: bool = False
