"""The shapes of Changes and trails, as `views.py` has those of everything else. Extended, never bent; docs/reference/json.md describes each."""

from __future__ import annotations

from datetime import datetime

from .change import Comment
from .trail import Link
from .views import PlanView, ProblemView, StepView, View


class PatchSetView(View, frozen=True):
    number: int
    head: str
    who: str
    time: datetime


class ChangeRow(View, frozen=True):
    """``missing`` are sentences about what stands between it and its merge, ``environments`` those that it touches."""

    number: int
    repository: str
    target: str
    title: str
    author: str
    stage: str
    draft: bool
    emergency: bool
    wanted: bool
    environments: list[str]
    missing: list[str]
    updated: datetime


class ChangesView(View, frozen=True):
    """`trimtab change list`, newest first. ``next`` is the number to ask for what is older (0 at the end)."""

    changes: list[ChangeRow]
    next: int = 0


class TouchedView(View, frozen=True):
    """What a Change would do in one Environment, as counts. ``hash`` is what an approval is of."""

    environment: str
    hash: str
    creates: int
    updates: int
    removals: int
    others: int
    rules: bool
    applications: list[str]
    holds: list[str]
    blocked: list[str]


class CheckView(View, frozen=True):
    name: str
    verdict: str
    message: str
    problems: list[ProblemView]


class RequirementView(View, frozen=True):
    """``count`` approvals ``by`` these; ``given`` are those whose approval counts. ``environment`` "" is the content itself."""

    environment: str
    by: str
    count: int
    given: list[str]


class ApprovalView(View, frozen=True):
    who: str
    environment: str
    hash: str
    time: datetime
    patch_set: int
    counts: bool


class ChangeView(View, frozen=True):
    """`trimtab change show`. ``ref`` of the repository at ``path`` is what to fetch; ``wanted_by`` asked for its merge."""

    number: int
    repository: str
    path: str
    ref: str
    target: str
    source: str
    title: str
    description: str
    author: str
    stage: str
    draft: bool
    emergency: str
    head: str
    base: str
    merged: str
    created: datetime
    ended: datetime | None
    ended_by: str
    patch_sets: list[PatchSetView]
    conflicts: list[str]
    environments: list[TouchedView]
    content: str
    checks: list[CheckView]
    requirements: list[RequirementView]
    approvals: list[ApprovalView]
    withdrawn: list[ApprovalView]
    wanted_by: str
    missing: list[str]
    unresolved: int
    looked: datetime | None


class EnvironmentPlanView(View, frozen=True):
    """``since`` is the hash of the plan that was approved, when ``plan`` has only what differs from it; ``dropped`` are steps of that one
    that are in this one no more. ``unseen`` says why an Application's Environment was not asked.
    """

    environment: str
    hash: str
    plan: PlanView
    unseen: list[str]
    since: str
    dropped: list[StepView]


class ChangePlanView(View, frozen=True):
    """`trimtab change plan`."""

    change: int
    patch_set: int
    head: str
    base: str
    environments: list[EnvironmentPlanView]


class FileDiffView(View, frozen=True):
    """``diff`` is a unified one; "" where ``note`` says why there is none."""

    path: str
    status: str  # added | removed | changed
    note: str
    diff: str


class ChangeDiffView(View, frozen=True):
    """`trimtab change diff`. ``more`` is True when there are more files than are shown."""

    change: int
    patch_set: int
    base: str
    head: str
    files: list[FileDiffView]
    more: bool


class CommentsView(View, frozen=True):
    """`trimtab change comment`, and the threads of `trimtab change show`."""

    comments: list[Comment]


class TrailRow(View, frozen=True):
    """``links`` is how many there are, ``hash`` that of the last one."""

    trail: str
    links: int
    hash: str


class TrailsView(View, frozen=True):
    """`trimtab audit verify` begins with it."""

    trails: list[TrailRow]


class TrailView(View, frozen=True):
    """`trimtab audit show`: a page. ``next`` is the number after which the next page begins (0 at the end)."""

    links: list[Link]
    next: int = 0


class BrokenView(View, frozen=True):
    """One thing that is wrong with a trail, in words."""

    trail: str
    message: str


class VerifiedView(View, frozen=True):
    """`trimtab audit verify`."""

    ok: bool
    trails: list[TrailRow]
    broken: list[BrokenView]


class OutcomeView(View, frozen=True):
    """One line of a note."""

    application: str
    environment: str
    phase: str
    since: datetime
    message: str


class MergeView(View, frozen=True):
    """What a merge's own words in Git say of it, and the notes on it: who approved which plan, and what became of it."""

    change: int
    revision: str
    title: str
    author: str
    merged: datetime
    approved_by: list[str]
    plans: dict[str, str]
    outcomes: list[OutcomeView]


class RebuiltView(View, frozen=True):
    """`trimtab audit rebuild`."""

    merges: list[MergeView]
