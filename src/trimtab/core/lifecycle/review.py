"""The state of a Change, what may happen to it, and what is done then: the words of its lifecycle, which `change.py` decides with."""

from __future__ import annotations

from datetime import datetime

import msgspec

from trimtab.core.model.change import Approval, Candidate, Change, Check, EnvironmentPlan, Requirement
from trimtab.core.model.event import Event
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Revision


class Wish(msgspec.Struct, frozen=True):
    """Somebody wants it merged, as soon as nothing is missing. ``head`` is what they saw: a new push ends the wish."""

    who: str
    time: datetime
    head: Revision


class Review(msgspec.Struct, frozen=True):
    """The state, stored whole with every step. ``candidate``, ``plans``, ``checks``, ``requirements`` and ``blockers`` are of the last look.

    ``merging`` is the candidate that was sent to be merged and is not answered yet. ``withdrawn`` are approvals that a new plan has
    undone, the newest of each person and Environment, so that a re-approval can show the difference since.
    """

    change: Change
    candidate: Candidate | None = None
    plans: tuple[EnvironmentPlan, ...] = ()
    checks: tuple[Check, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    blockers: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    withdrawn: tuple[Approval, ...] = ()
    wish: Wish | None = None
    merging: Candidate | None = None
    looked: datetime | None = None
    message: str = ""
    attempt: int = 0

    @property
    def hashes(self) -> dict[str, str]:
        """What an approval is of, by Environment; "" is the content itself, which every push makes another."""
        return {"": digest(["content", self.change.head]), **{plan.environment: plan.hash for plan in self.plans}}

    @property
    def looked_at_head(self) -> bool:
        return self.candidate is not None and self.candidate.head == self.change.head


# --- what may happen --------------------------------------------------------------------------------------------------------


class Pushed(msgspec.Struct, frozen=True):
    head: Revision
    who: str
    after: tuple[int, ...] = ()


class Edited(msgspec.Struct, frozen=True):
    title: str
    description: str
    who: str = ""


class Drafted(msgspec.Struct, frozen=True):
    draft: bool
    who: str


class Moved(msgspec.Struct, frozen=True):
    """Something that the last look depended on may have moved. Says no more than that."""


class Looked(msgspec.Struct, frozen=True):
    """``blockers`` are sentences about whatever else stands in the way: a Change that this one is stacked on, threads that are open."""

    candidate: Candidate
    plans: tuple[EnvironmentPlan, ...] = ()
    checks: tuple[Check, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    blockers: tuple[str, ...] = ()


class Approved(msgspec.Struct, frozen=True):
    who: str
    environment: str
    hash: str


class Unapproved(msgspec.Struct, frozen=True):
    """``environment`` "" is every one."""

    who: str
    environment: str = ""


class MergeAsked(msgspec.Struct, frozen=True):
    who: str


class MergeTakenBack(msgspec.Struct, frozen=True):
    who: str


class Merged(msgspec.Struct, frozen=True):
    revision: Revision


class NotMerged(msgspec.Struct, frozen=True):
    """``moved``: the target branch is not where the candidate was looked at; nothing is wrong with the Change."""

    reason: str
    moved: bool = False


class Landed(msgspec.Struct, frozen=True):
    """The target branch has the head, and it was not us who merged it."""

    revision: Revision


class Closed(msgspec.Struct, frozen=True):
    who: str
    reason: str = ""


class Reopened(msgspec.Struct, frozen=True):
    who: str


class Stumbled(msgspec.Struct, frozen=True):
    message: str


Happening = (
    Pushed
    | Edited
    | Drafted
    | Moved
    | Looked
    | Approved
    | Unapproved
    | MergeAsked
    | MergeTakenBack
    | Merged
    | NotMerged
    | Landed
    | Closed
    | Reopened
    | Stumbled
)


# --- what follows -----------------------------------------------------------------------------------------------------------


class Look(msgspec.Struct, frozen=True):
    """Make candidate, plans, checks and requirements anew."""


class Merge(msgspec.Struct, frozen=True):
    """Move the target branch from ``candidate.base`` to a commit of ``candidate.tree``, and from nowhere else.

    ``clears`` are the plans that the merge stands for, ``approvals`` those that count.
    """

    candidate: Candidate
    who: str
    clears: tuple[EnvironmentPlan, ...]
    approvals: tuple[Approval, ...]


class Rest(msgspec.Struct, frozen=True):
    due: datetime | None = None


Act = Look | Merge | Rest


class Decision(msgspec.Struct, frozen=True):
    """The next state, what is recorded with it, and what to do then. ``refused``: the happening was not taken, and why."""

    review: Review
    act: Act = Rest()
    events: tuple[Event, ...] = ()
    refused: str = ""
