"""A Review as people read it: a row of a list, and the whole of it. Values in, views out."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.core.lifecycle.review import Review
from trimtab.core.lifecycle.unmet import counted, missing
from trimtab.core.model.change import Approval, Check, Comment, EnvironmentPlan, Stage, approvers
from trimtab.core.model.changeviews import (
    ApprovalView,
    ChangeRow,
    ChangeView,
    CheckView,
    PatchSetView,
    RequirementView,
    TouchedView,
)
from trimtab.core.model.text import one_line
from trimtab.core.model.views import ProblemView
from trimtab.engine.hosted import GIT

REASONS_IN_A_ROW_MAX = 5


def row_of(review: Review) -> ChangeRow:
    change = review.change
    return ChangeRow(
        number=change.number,
        repository=change.repository,
        target=change.target,
        title=change.title,
        author=change.author,
        stage=change.stage,
        draft=change.draft,
        emergency=bool(change.emergency),
        wanted=review.wish is not None,
        environments=[plan.environment for plan in review.plans],
        missing=_missing(review)[:REASONS_IN_A_ROW_MAX],
        updated=change.ended or change.patch_sets[-1].time,
    )


def view_of(review: Review, comments: Iterable[Comment]) -> ChangeView:
    change, candidate, counting = review.change, review.candidate, counted(review)
    return ChangeView(
        number=change.number,
        repository=change.repository,
        path=f"{GIT}/{change.repository}.git",
        ref=f"refs/changes/{change.number}/{change.patch_sets[-1].number}",
        target=change.target,
        source=change.source,
        title=change.title,
        description=change.description,
        author=change.author,
        stage=change.stage,
        draft=change.draft,
        emergency=change.emergency,
        head=change.head,
        base=candidate.base if candidate is not None else "",
        merged=change.merged or "",
        created=change.created,
        ended=change.ended,
        ended_by=change.ended_by,
        patch_sets=[PatchSetView(one.number, one.head, one.who, one.time) for one in change.patch_sets],
        conflicts=list(candidate.conflicts) if candidate is not None else [],
        environments=[_touched(plan) for plan in review.plans],
        content=review.hashes[""],
        checks=[_check(check) for check in review.checks],
        requirements=[
            RequirementView(one.environment, one.by, one.count, list(approvers(one, review.approvals, review.hashes)))
            for one in review.requirements
        ],
        approvals=[_approval(one, counts=one in counting) for one in review.approvals],
        withdrawn=[_approval(one, counts=False) for one in review.withdrawn],
        wanted_by=review.wish.who if review.wish is not None else "",
        missing=_missing(review),
        unresolved=sum(one.number == one.thread and not one.resolved for one in comments),
        looked=review.looked,
    )


def _missing(review: Review) -> list[str]:
    """Of one that has ended nothing is missing any more."""
    return [one_line(reason) for reason in missing(review)] if review.change.stage == Stage.OPEN else []


def _touched(plan: EnvironmentPlan) -> TouchedView:
    return TouchedView(
        environment=plan.environment,
        hash=plan.hash,
        creates=plan.creates,
        updates=plan.updates,
        removals=plan.removals,
        others=plan.others,
        rules=any(not one.application for one in plan.planned),
        applications=[one.application for one in plan.planned if one.application],
        holds=list(plan.holds),
        blocked=list(plan.blocked),
    )


def _check(check: Check) -> CheckView:
    return CheckView(check.name, check.verdict, check.message, [ProblemView.of(one) for one in check.problems])


def _approval(approval: Approval, *, counts: bool) -> ApprovalView:
    return ApprovalView(approval.who, approval.environment, approval.hash, approval.time, approval.patch_set, counts)
