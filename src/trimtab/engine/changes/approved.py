"""What people saw when they approved: the plan of an Environment, masked, kept while its Change is open.

Whose approval is withdrawn, because the plan is another one now, is shown what is different and not all of it again. Without what is kept
here the whole plan is shown, so nothing depends on it: what is too large is not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from trimtab.core.model.changeviews import EnvironmentPlanView
from trimtab.core.model.views import PlanView, StepView
from trimtab.engine.journal import Journal
from trimtab.ports.store import Writes

APPROVED = "approved/"
PLAN_BYTES_MAX = 1024 * 1024


class Snapshot(msgspec.Struct, frozen=True):
    hash: str
    plan: PlanView


class ApprovedPlans:
    """``still`` tells whether a Change is open; what belongs to others is dropped at the start and with every new approval."""

    def __init__(self, journal: Journal, documents: Mapping[str, bytes], still: Callable[[int], bool]) -> None:
        self._journal, self._still = journal, still
        self._kept = {name: body for name, body in documents.items() if name.startswith(APPROVED)}

    async def keep(self, change: int, who: str, plan: EnvironmentPlanView) -> None:
        """Raises TransientError when it cannot be stored."""
        body = msgspec.json.encode(Snapshot(plan.hash, plan.plan))
        over = [name for name in self._kept if not self._still(int(name.split("/")[1]))]
        documents: list[tuple[str, bytes | None]] = [(name, None) for name in over]
        if len(body) <= PLAN_BYTES_MAX:
            documents.append((_name(change, plan.environment, who), body))
        await self._journal.write(Writes(documents=tuple(documents)))
        for name, kept in documents:
            if kept is None:
                self._kept.pop(name, None)
            else:
                self._kept[name] = kept

    def of(self, change: int, environment: str, who: str) -> Snapshot | None:
        """What ``who`` approved last there."""
        body = self._kept.get(_name(change, environment, who))
        return msgspec.json.decode(body, type=Snapshot) if body is not None else None


def since(plan: EnvironmentPlanView, approved: Snapshot) -> EnvironmentPlanView:
    """Only what is in one of the two and not in the other. What is masked is compared as it is shown."""
    before = {_subject(step): step for step in approved.plan.steps}
    now = {_subject(step): step for step in plan.plan.steps}
    steps = [step for subject, step in now.items() if before.get(subject) != step]
    dropped = [step for subject, step in before.items() if subject not in now]
    known = {(hold.object, hold.reason) for hold in approved.plan.holds}
    holds = [hold for hold in plan.plan.holds if (hold.object, hold.reason) not in known]
    left = msgspec.structs.replace(plan.plan, steps=steps, holds=holds, left=[], notes=[])
    return msgspec.structs.replace(plan, plan=left, since=approved.hash, dropped=dropped)


def _subject(step: StepView) -> tuple[object, ...]:
    return step.application, step.object, step.action, step.hook


def _name(change: int, environment: str, who: str) -> str:
    return f"{APPROVED}{change}/{environment}/{who}"
