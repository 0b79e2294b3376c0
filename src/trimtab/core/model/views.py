"""The shapes that people and scripts read: what the API answers and ``--output json`` prints. Extended, never bent.

docs/reference/json.md describes each; a test compares the two. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from .deployment import Deployment, Phase
from .errors import Problem
from .event import Event
from .health import HealthStatus
from .manifest import Manifest
from .names import ObjectRef
from .plan import FieldChange, Plan
from .tree import Child


class View(msgspec.Struct, frozen=True, rename="camel"):
    """The base of them all."""


class ProblemView(View, frozen=True):
    file: str
    line: int
    field: str
    message: str
    remedy: str

    @classmethod
    def of(cls, problem: Problem) -> ProblemView:
        return cls(problem.file, problem.line, problem.field, problem.message, problem.remedy)


class SourceView(View, frozen=True):
    file: str
    line: int


class ManifestView(View, frozen=True):
    api_version: str
    kind: str
    namespace: str
    name: str
    source: SourceView
    object: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest, body: dict[str, Any]) -> ManifestView:
        """``body`` is the manifest's body, masked."""
        ref = manifest.ref
        return cls(ref.api_version, ref.kind, ref.namespace, ref.name, SourceView(manifest.file, manifest.line), body)


class RenderView(View, frozen=True):
    """`trimtab render`."""

    manifests: list[ManifestView]
    errors: list[ProblemView]


class ChartRow(View, frozen=True):
    """One chart of a chart repository. ``change`` is added, kept, changed or removed; ``before`` the version that a changed one had."""

    name: str
    repository: str
    version: str
    resolved: str
    digest: str
    change: str
    before: str = ""


class ChartsView(View, frozen=True):
    """`trimtab chart lock`."""

    file: str
    charts: list[ChartRow]


class StepView(View, frozen=True):
    action: str
    object: ObjectRef
    application: str
    environment: str
    changes: list[FieldChange]
    hook: str = ""


class HoldView(View, frozen=True):
    """``application``, ``environment``: the plan that holds; ``hash`` is what `app approve` takes ("" when approval can't lift it)."""

    object: ObjectRef | None
    reason: str
    lifted_by: str
    application: str = ""
    environment: str = ""
    hash: str = ""


class LeftView(View, frozen=True):
    """A field that Git names and that is left to somebody else: neither drift nor overwritten."""

    object: ObjectRef
    application: str
    environment: str
    pointer: str
    to: str


class PlanView(View, frozen=True):
    """`trimtab plan`, `trimtab app plan`. ``hash`` covers all plans in it; ``plans`` gives each one's own hash by ``app@environment``."""

    hash: str
    steps: list[StepView]
    holds: list[HoldView]
    errors: list[ProblemView]
    plans: dict[str, str] = {}
    left: list[LeftView] = []
    notes: list[ProblemView] = []

    @classmethod
    def of(cls, plans: list[Plan], errors: list[Problem], *, combined: str) -> PlanView:
        return cls(
            hash=plans[0].hash if len(plans) == 1 else combined,
            steps=[
                StepView(step.action, step.ref, step.application, step.environment, list(step.changes), step.hook)
                for plan in plans
                for step in plan.steps
            ],
            holds=[
                HoldView(
                    hold.object,
                    hold.reason,
                    hold.lifted_by.replace("HASH", plan.hash) if hold.approvable else hold.lifted_by,
                    plan.application,
                    plan.environment,
                    plan.hash if hold.approvable else "",
                )
                for plan in plans
                for hold in plan.holds
            ],
            errors=[ProblemView.of(problem) for problem in errors],
            plans={f"{plan.application}@{plan.environment}": plan.hash for plan in plans},
            left=[
                LeftView(left.object, plan.application, plan.environment, left.pointer, left.to)
                for plan in plans
                for left in plan.left
            ],
            notes=[ProblemView.of(note) for plan in plans for note in plan.notes],
        )


class DeploymentView(View, frozen=True):
    """``revision`` is the commit that started this Deployment; ``changed`` tells whether the commit asked about is that one."""

    application: str
    environment: str
    phase: Phase
    health: HealthStatus
    since: datetime
    message: str
    object: ObjectRef | None
    last_log_line: str
    superseded_by: str
    revision: str = ""
    changed: bool = False
    started: datetime | None = None

    @classmethod
    def of(cls, deployment: Deployment, *, changed: bool = False) -> DeploymentView:
        return cls(
            application=deployment.application,
            environment=deployment.environment,
            phase=deployment.phase,
            health=deployment.health,
            since=deployment.since,
            message=deployment.message,
            object=deployment.object,
            last_log_line=deployment.last_log_line,
            superseded_by=deployment.superseded_by,
            revision=deployment.revision,
            changed=changed,
            started=deployment.started,
        )


class StatusView(View, frozen=True):
    """`trimtab status [COMMIT]`. ``seen`` is None while the commit has not been seen at a head; ``errors`` are those of the
    configuration and of rendering at that commit. ``settled`` is True when no Deployment that the commit changed is still moving.
    """

    revision: str
    deployments: list[DeploymentView]
    seen: datetime | None = None
    settled: bool = False
    errors: list[ProblemView] = []


class ApplicationRow(View, frozen=True):
    """``origin`` says which Generator made it, and of what; "" for one that is written out."""

    name: str
    environment: str
    revision: str
    sync: str  # synced | drifted | held | failed | unknown
    health: HealthStatus
    message: str
    suspended: bool = False
    origin: str = ""


class ApplicationsView(View, frozen=True):
    """`trimtab app list`. ``next`` is the cursor of the next page ("" at the end)."""

    applications: list[ApplicationRow]
    next: str = ""


class ChildView(View, frozen=True):
    """What stands behind an object on its target: a replica set, a pod, an instance of a process."""

    object: ObjectRef
    health: HealthStatus
    message: str
    ready: str
    restarts: int
    since: datetime | None
    children: list[ChildView]
    more: int
    folded: int

    @classmethod
    def of(cls, child: Child) -> ChildView:
        children = [cls.of(one) for one in child.children]
        return cls(
            *(child.object, child.health, child.message, child.ready, child.restarts, child.since),
            *(children, child.more, child.folded),
        )


class ObjectView(View, frozen=True):
    """One object of an Application: wanted by Git, owned, or both."""

    object: ObjectRef
    sync: str  # synced | missing | changed | removing | hook | unknown
    health: HealthStatus
    message: str
    file: str
    line: int
    wave: int
    last_log_line: str = ""
    status: dict[str, Any] = {}
    children: list[ChildView] = []
    more: int = 0
    folded: int = 0


class SuspensionView(View, frozen=True):
    reason: str
    until: datetime | None


class ApplicationView(View, frozen=True):
    """`trimtab app show`, for one Environment."""

    name: str
    environment: str
    revision: str
    sync: str
    health: HealthStatus
    message: str
    project: str
    repository: str
    path: str
    deployment: DeploymentView | None
    suspension: SuspensionView | None
    objects: list[ObjectView]
    holds: list[HoldView]
    plan_hash: str
    errors: list[ProblemView]
    next_try: datetime | None


class ApplicationDetails(View, frozen=True):
    applications: list[ApplicationView]


class HistoryView(View, frozen=True):
    """`trimtab app history`, newest first."""

    deployments: list[DeploymentView]


class Reason(View, frozen=True):
    """One line of `trimtab app explain`: what is (not) being done, why, and who or what moves it on.

    ``chain`` leads from an object that is not well down to what is to blame, one sentence for each link.
    """

    subject: str
    state: str
    reason: str
    next: str
    chain: list[str] = []


class ExplainView(View, frozen=True):
    application: str
    environment: str
    summary: str
    reasons: list[Reason]


class EnvironmentRow(View, frozen=True):
    name: str
    target: str
    applications: int
    objects: int
    healthy: int
    health: HealthStatus
    message: str


class EnvironmentsView(View, frozen=True):
    environments: list[EnvironmentRow]


class EnvironmentView(View, frozen=True):
    name: str
    target: str
    spec: dict[str, Any]
    origin: SourceView | None
    applications: list[ApplicationRow]


class RepositoryRow(View, frozen=True):
    """A followed head. ``message`` is why it does not move; ``rewritten`` is the Revision of a rewritten history that waits."""

    repository: str
    revision_expression: str
    revision: str
    seen: datetime | None
    message: str
    remedy: str
    rewritten: str


class HostedView(View, frozen=True):
    """`trimtab repository show`: one that lives here. ``head`` is where the default branch is, "" while it has no commit. ``signer`` is
    a line for git's file of allowed signers that knows the merges of this server, "" where it signs none."""

    repository: str
    path: str
    default_branch: str
    head: str
    bytes: int
    signer: str = ""


class RepositoriesView(View, frozen=True):
    """`trimtab repository list`."""

    repositories: list[RepositoryRow]
    hosted: list[HostedView] = []


class EventsView(View, frozen=True):
    events: list[Event]


class Finding(View, frozen=True):
    """One line of `trimtab doctor`."""

    check: str
    state: str  # ok | warning | failed
    message: str
    remedy: str = ""


class DoctorView(View, frozen=True):
    findings: list[Finding]


class DemoCheckView(View, frozen=True):
    """``measured`` says what was measured, or, when ``ok`` is False, what was seen instead."""

    claim: str
    ok: bool
    measured: str


class DemoView(View, frozen=True):
    """`trimtab demo`. ``directory`` is "" when nothing of it is left."""

    ok: bool
    seconds: float
    directory: str
    checks: list[DemoCheckView]


class Accepted(View, frozen=True):
    """A command was taken. ``message`` says what happens now."""

    message: str


class ErrorView(View, frozen=True):
    """What the API answers with a status of 400 or more."""

    message: str
    remedy: str = ""
    errors: list[ProblemView] = []


def combined_hash(plans: list[Plan]) -> str:
    from .manifest import digest

    return digest(sorted((plan.environment, plan.application, plan.hash) for plan in plans))


class TokenView(View, frozen=True):
    """A token, without its secret. ``ended`` says why it is not good any more."""

    id: str
    user: str
    description: str
    created: datetime
    expires: datetime
    by: str
    actions: list[str]
    projects: list[str]
    environments: list[str]
    repositories: list[str]
    used: datetime | None = None
    ended: str = ""


class TokensView(View, frozen=True):
    """`trimtab token list`."""

    tokens: list[TokenView]


class NewTokenView(View, frozen=True):
    """`trimtab token create`: the only time that ``secret`` is shown."""

    secret: str
    token: TokenView


class GrantedView(View, frozen=True):
    """A Grant that the asker has, by name or by a Group."""

    grant: str
    role: str
    emergency: bool
    scope: dict[str, list[str]]


class WhoView(View, frozen=True):
    """`trimtab whoami`."""

    user: str
    name: str
    operator: bool
    groups: list[str]
    grants: list[GrantedView]
    token: TokenView | None = None
