"""What stands between a Change and its merge, as it was looked at last, and whose approvals count. Both are read off its Review."""

from __future__ import annotations

from trimtab.core.model.change import Approval, Check, Requirement, Stage, Verdict, approvers

from .review import Review


def missing(review: Review) -> tuple[str, ...]:
    """A sentence for everything that stands between a Change and its merge; empty when it may be merged as it was looked at last."""
    change = review.change
    if change.stage != Stage.OPEN:
        return (f"it is {change.stage}",)
    if not review.looked_at_head:
        return (review.message or "its newest push has not been looked at yet",)
    assert review.candidate is not None, "it was looked at"
    reasons = ["it is a draft"] if change.draft else []
    if review.candidate.conflicts:
        reasons.append(f"it conflicts with {change.target} in {_listed(review.candidate.conflicts)}")
    reasons += [f"check {check.name}: {check.message or check.verdict}" for check in review.checks if _stops(check)]
    reasons += [f"{plan.environment}: {reason}" for plan in review.plans for reason in plan.blocked]
    reasons += [_unmet(review, one) for one in review.requirements if _lacking(review, one) > 0]
    return (*reasons, *review.blockers)


def counted(review: Review) -> tuple[Approval, ...]:
    """The approvals that a requirement counts now."""
    counting = {(one.environment, who) for one in review.requirements for who in approvers(one, review.approvals, review.hashes)}
    return tuple(one for one in review.approvals if (one.environment, one.who) in counting)


def _stops(check: Check) -> bool:
    return check.verdict in (Verdict.FAILED, Verdict.PENDING)


def _lacking(review: Review, requirement: Requirement) -> int:
    return requirement.count - len(approvers(requirement, review.approvals, review.hashes))


def _unmet(review: Review, requirement: Requirement) -> str:
    lacking = _lacking(review, requirement)
    who = f"{lacking} more approval{'s' if lacking > 1 else ''} by {requirement.by}"
    possible = len(requirement.eligible.difference(approvers(requirement, review.approvals, review.hashes)))
    impossible = "; nobody can give it" if possible < lacking else ""
    return f"{requirement.environment or 'the content'} asks for {who}{impossible}"


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
