"""A Change in lines for a terminal that prints them behind `remote:`. What colours and tables there are is the reader's business."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.core.lifecycle.review import Review
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import EnvironmentPlan, Stage, Verdict
from trimtab.core.model.text import one_line

PROBLEMS_SHOWN_MAX = 5
HASH_CHARACTERS = 19  # sha256: and twelve more


def tell(review: Review) -> Iterator[str]:
    """What would happen, what the checks say, what is missing."""
    if review.change.stage != Stage.OPEN:
        yield f"  it is {review.change.stage}"
        return
    if review.looked_at_head and review.candidate is not None and not review.candidate.conflicts:
        yield from _plans(review)
    for check in review.checks:
        if check.verdict in (Verdict.FAILED, Verdict.WARNED):
            yield f"  {'✗' if check.verdict == Verdict.FAILED else '!'} {check.name}"
            for problem in check.problems[:PROBLEMS_SHOWN_MAX]:
                yield f"      {one_line(str(problem))}"
            if len(check.problems) > PROBLEMS_SHOWN_MAX:
                yield f"      and {len(check.problems) - PROBLEMS_SHOWN_MAX} more"
    reasons = missing(review)
    yield "  nothing is missing: it can be merged" if not reasons else "  still missing:"
    for reason in reasons:
        yield f"    - {one_line(reason)}"


def _plans(review: Review) -> Iterator[str]:
    if not review.plans:
        yield "  touches no environment"
    for plan in review.plans:
        yield f"  {plan.environment}: {summary(plan)}  {plan.hash[:HASH_CHARACTERS]}"
        for reason in plan.holds:
            yield f"      held until this plan is approved: {one_line(reason)}"


def summary(plan: EnvironmentPlan) -> str:
    """``2 created, 1 updated``."""
    counts = {"created": plan.creates, "updated": plan.updates, "removed": plan.removals, "otherwise": plan.others}
    said = [f"{count} {name}" for name, count in counts.items() if count]
    rules = any(not one.application for one in plan.planned)
    return ", ".join([*said, *(["its rules change"] if rules else [])]) or "nothing is changed"
