"""The lifecycle of a Change: ``step(review, happening, now) -> Decision``. One instance per Change.

Theory. It is reconciled like an Application: *look, decide, act, look*. A look makes everything anew that a merge depends on: the
candidate on the target branch as it is now, the plans against the world as it is now, the checks, who may approve. So a lost or
doubled event costs a look and never a wrong state, and nothing is merged on the word of an older look: a merge names the candidate
that was looked at, and the target branch is moved only from that candidate's base.

    happening       guard                              next
    Pushed          open                               new patch set; what waited to merge waits no more; Look
    Edited                                             title and description; Rest
    Drafted         open                               draft or not; Look
    Moved           open                               Look
    Looked          of an older patch set              Look
    Looked          nothing is missing, merge wanted   Merge that candidate
    Looked          else                               approvals of other plans are withdrawn; Rest
    Approved        of the plan that was shown last    count it; Look
    Approved        of another plan                    refused, nothing changes
    Unapproved      open                               take it back; Look
    MergeAsked      open                               remember the wish; Look
    MergeTakenBack                                     forget the wish
    Merged          of the candidate that was sent     merged: the end
    NotMerged       the target moved                   Look
    NotMerged       else                               the wish is forgotten, the reason told
    Landed          open                               the target has the head by another way: merged
    Closed          its merge is unanswered            refused: it may be merged already; Look
    Closed          open                               closed: the end, unless reopened
    Reopened        closed                             open; approvals are gone; Look
    Stumbled                                           back off, then Look

What is stored with a step is stored before its act is performed. A crash between the act Merge and its answer is answered by the next
look: it finds the candidate on the target branch (Merged) or it does not (Looked).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from trimtab.core.model.change import Approval, Change, PatchSet, Stage
from trimtab.core.model.event import Event
from trimtab.core.model.names import Revision

from .review import (
    Approved,
    Closed,
    Decision,
    Drafted,
    Edited,
    Happening,
    Landed,
    Look,
    Looked,
    Merge,
    MergeAsked,
    Merged,
    MergeTakenBack,
    Moved,
    NotMerged,
    Pushed,
    Reopened,
    Rest,
    Review,
    Stumbled,
    Unapproved,
    Wish,
)
from .unmet import counted, missing

BACKOFF_SECONDS_FIRST = 1.0
BACKOFF_SECONDS_MAX = 300.0
LOOK_AGAIN_SECONDS = 300.0
"""An open Change is looked at this often even if nothing tells us that something moved."""


def step(review: Review, happening: Happening, now: datetime) -> Decision:
    """The next state and what to do. Total: every happening is answered in every state."""
    if review.change.stage != Stage.OPEN:
        return _ended(review, happening, now)
    match happening:
        case Pushed():
            return _pushed(review, happening, now)
        case Edited():
            change = msgspec.structs.replace(review.change, title=happening.title, description=happening.description)
            told = _event(review, now, "change.edited", f"{happening.who} calls it: {happening.title}", who=happening.who)
            return Decision(_with(review, change=change), _rest(now), (told,))
        case Drafted():
            change = msgspec.structs.replace(review.change, draft=happening.draft)
            said = "marked it as a draft" if happening.draft else "marked it as ready"
            told = _event(review, now, "change.edited", f"{happening.who} {said}", who=happening.who)
            return Decision(_with(review, change=change), Look(), (told,))
        case Moved() | Reopened():
            return Decision(review, Look())
        case Looked():
            return _looked(review, happening, now)
        case Approved():
            return _approved(review, happening, now)
        case Unapproved():
            return _unapproved(review, happening, now)
        case MergeAsked():
            wish = Wish(happening.who, now, review.change.head)
            told = _event(review, now, "change.queued", f"{happening.who} wants it merged", who=happening.who)
            return Decision(_with(review, wish=wish), Look(), (told,))
        case MergeTakenBack():
            return Decision(_with(review, wish=None), _rest(now))
        case Merged():
            return _merged(review, happening.revision, now)
        case NotMerged():
            return _not_merged(review, happening, now)
        case Landed():
            return _landed(review, happening.revision, now)
        case Closed():
            return _closed(review, happening, now)
        case Stumbled():
            attempt = review.attempt + 1
            due = now + timedelta(seconds=backoff_seconds(attempt))
            return Decision(_with(review, attempt=attempt, message=happening.message), Rest(due))


def opened(change: Change, now: datetime) -> Decision:
    """A Change begins."""
    review = Review(change)
    told = _event(review, now, "change.opened", f"{change.author} proposes: {change.title}", who=change.author)
    return Decision(review, Look(), (told,))


def backoff_seconds(attempt: int) -> float:
    """How long to wait after the ``attempt``-th failed look in a row (from 1): doubling, bounded."""
    return float(min(BACKOFF_SECONDS_FIRST * 2 ** min(attempt - 1, 30), BACKOFF_SECONDS_MAX))


# --- people -----------------------------------------------------------------------------------------------------------------


def _pushed(review: Review, pushed: Pushed, now: datetime) -> Decision:
    change = review.change
    if pushed.head == change.head:
        return Decision(review, Look())
    patch_set = PatchSet(change.patch_sets[-1].number + 1, pushed.head, pushed.who, now)
    change = msgspec.structs.replace(change, patch_sets=(*change.patch_sets, patch_set), after=pushed.after)
    told = _event(review, now, "change.updated", f"{pushed.who} pushed patch set {patch_set.number}", who=pushed.who)
    return Decision(_with(review, change=change, wish=None, message=""), Look(), (told,))


def _approved(review: Review, approved: Approved, now: datetime) -> Decision:
    """Of what was shown: of another plan than that of the last look, or of an older head, it is refused."""
    shown = review.hashes.get(approved.environment)
    if shown is None or not review.looked_at_head:
        return Decision(review, Look(), refused=f"there is no plan for {approved.environment or 'the content'} to approve now")
    if shown != approved.hash:
        return Decision(
            review, Look(), refused=f"the plan for {approved.environment} is {shown} now; it has changed since you looked"
        )
    number = review.change.patch_sets[-1].number
    approval = Approval(approved.who, approved.environment, approved.hash, now, number)
    others = tuple(one for one in review.approvals if (one.who, one.environment) != (approved.who, approved.environment))
    message = f"{approved.who} approved the plan for {approved.environment}: {approved.hash}"
    told = _event(review, now, "change.approved", message, who=approved.who, hash=approved.hash, environment=approved.environment)
    return Decision(_with(review, approvals=(*others, approval)), Look(), (told,))


def _unapproved(review: Review, unapproved: Unapproved, now: datetime) -> Decision:
    where = ("", *review.hashes) if not unapproved.environment else (unapproved.environment,)
    left = tuple(one for one in review.approvals if one.who != unapproved.who or one.environment not in where)
    if left == review.approvals:
        return Decision(review, _rest(now), refused=f"{unapproved.who} has approved nothing of it that counts")
    told = _event(review, now, "change.unapproved", f"{unapproved.who} took an approval back", who=unapproved.who)
    return Decision(_with(review, approvals=left), Look(), (told,))


def _closed(review: Review, closed: Closed, now: datetime) -> Decision:
    if review.merging is not None:
        # It may stand in Git already: who forgets that now merges it once more when it is opened again.
        return Decision(review, Look(), refused="it is being merged, and whether it has been shows in a moment")
    change = msgspec.structs.replace(review.change, stage=Stage.CLOSED, ended=now, ended_by=closed.who)
    message = f"{closed.who} closed it" + (f": {closed.reason}" if closed.reason else "")
    told = _event(review, now, "change.closed", message, who=closed.who)
    return Decision(_with(review, change=change, wish=None, merging=None), Rest(), (told,))


def _ended(review: Review, happening: Happening, now: datetime) -> Decision:
    """Only a closed one can go on, and it begins without approvals."""
    change = review.change
    if change.stage == Stage.CLOSED and isinstance(happening, Reopened):
        change = msgspec.structs.replace(change, stage=Stage.OPEN, ended=None, ended_by="")
        told = _event(review, now, "change.reopened", f"{happening.who} reopened it", who=happening.who)
        return Decision(_with(review, change=change, approvals=(), candidate=None), Look(), (told,))
    if change.stage == Stage.CLOSED and isinstance(happening, Merged):
        # It was closed while its merge was under way, and the merge was quicker: what stands in Git is what holds.
        return _merged(review, happening.revision, now)
    quiet = isinstance(happening, Moved | Looked | Stumbled | NotMerged | Merged | Landed)
    return Decision(review, Rest(), refused="" if quiet else f"the change is {change.stage}")


# --- we looked, we merged ---------------------------------------------------------------------------------------------------


def _looked(review: Review, looked: Looked, now: datetime) -> Decision:
    if looked.candidate.head != review.change.head:
        return Decision(review, Look())
    before = review
    review = _with(
        review,
        candidate=looked.candidate,
        plans=looked.plans,
        checks=looked.checks,
        requirements=looked.requirements,
        blockers=looked.blockers,
        merging=None,
        looked=now,
        message="",
        attempt=0,
    )
    review, events = _withdraw(before, review, now)
    wish = review.wish
    if wish is None or missing(review):
        return Decision(review, _rest(now), events)
    act = Merge(looked.candidate, wish.who, review.plans, counted(review))
    return Decision(_with(review, merging=looked.candidate), act, events)


def _withdraw(before: Review, review: Review, now: datetime) -> tuple[Review, tuple[Event, ...]]:
    """An approval counts for its plan alone: those of another plan than the one that was found are undone, and said so."""
    hashes = review.hashes
    gone = tuple(one for one in review.approvals if hashes.get(one.environment) != one.hash)
    if not gone:
        return review, ()
    left = tuple(one for one in review.approvals if one not in gone)
    replaced = {(one.who, one.environment) for one in gone}
    older = tuple(one for one in before.withdrawn if (one.who, one.environment) not in replaced)
    events = tuple(
        _event(
            review,
            now,
            "change.approval-withdrawn",
            f"the plan for {one.environment} is not the one that {one.who} approved any more",
            who=one.who,
            environment=one.environment,
            hash=one.hash,
            plan=hashes.get(one.environment, ""),
        )
        for one in gone
    )
    return _with(review, approvals=left, withdrawn=(*older, *gone)), events


def _merged(review: Review, revision: Revision, now: datetime) -> Decision:
    who = review.wish.who if review.wish is not None else review.change.ended_by
    change = msgspec.structs.replace(review.change, stage=Stage.MERGED, merged=revision, ended=now, ended_by=who)
    told = _event(review, now, "change.merged", f"merged into {change.target} as {revision[:12]}", revision, who=who)
    return Decision(_with(review, change=change, wish=None, merging=None), Rest(), (told,))


def _landed(review: Review, revision: Revision, now: datetime) -> Decision:
    change = msgspec.structs.replace(review.change, stage=Stage.MERGED, merged=revision, ended=now)
    told = _event(review, now, "change.merged", f"{change.target} has it by another way", revision)
    return Decision(_with(review, change=change, wish=None, merging=None), Rest(), (told,))


def _not_merged(review: Review, failed: NotMerged, now: datetime) -> Decision:
    if failed.moved:
        return Decision(_with(review, merging=None), Look())
    told = _event(review, now, "change.merge-failed", failed.reason)
    return Decision(_with(review, merging=None, wish=None, message=failed.reason), _rest(now), (told,))


# --- small things -----------------------------------------------------------------------------------------------------------


def _rest(now: datetime) -> Rest:
    return Rest(now + timedelta(seconds=LOOK_AGAIN_SECONDS))


def _with(review: Review, **fields: Any) -> Review:
    return msgspec.structs.replace(review, **fields)


def _event(review: Review, now: datetime, kind: str, message: str, revision: str = "", **data: Any) -> Event:
    change = review.change
    environment = str(data.get("environment", ""))
    data = {"change": change.number, "repository": change.repository, **data}
    return Event(kind, now, message, environment=environment, revision=revision or change.head, data=data)
