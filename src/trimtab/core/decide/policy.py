"""What the Policies of the target branch say of what a Change would do: questions first, then, with their answers, verdicts.

Pure: `questions` makes what each rule is asked about, somebody else evaluates the expressions where they can be stopped, and `verdicts`
reads the answers. A rule that cannot be evaluated complains: one that nobody can read must not let everything through. Values of secrets
are masked before a rule sees them, so no message can carry one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from trimtab.core.model.change import Change, Check, Verdict
from trimtab.core.model.config import Application, Environment
from trimtab.core.model.errors import Problem
from trimtab.core.model.plan import Action, Plan, Step
from trimtab.core.model.policy import Policy
from trimtab.core.model.text import one_line

from .limits import glob
from .mask import mask, mask_changes

COMPLAINTS_MAX = 100
"""Of one Policy; the rest is the same mistake again."""
MESSAGE_CHARACTERS_MAX = 500
SUBJECTS_MAX = 10_000
"""Of one Policy."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All that a Policy may ask about. ``plans`` are of every Application that the Change touches, unmasked; ``groups`` those of the
    author; ``files`` the paths that it changes, ``approvals`` who has approved for which Environment so far.
    """

    change: Change
    plans: tuple[Plan, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    now: datetime
    environments: Mapping[str, Environment] = field(default_factory=dict)
    applications: Mapping[str, Application] = field(default_factory=dict)
    approvals: tuple[tuple[str, str], ...] = ()
    times: Mapping[str, datetime] = field(default_factory=dict)
    """``now`` in the zones of the Policies."""


@dataclass(frozen=True)
class Subject:
    """One thing that a rule is asked about: the ``values`` that it sees, and the step where it is about one."""

    values: Mapping[str, Any]
    step: Step | None = None
    environment: str = ""


@dataclass(frozen=True)
class Question:
    """One ``policy`` about one ``subject``."""

    policy: Policy
    subject: Subject


@dataclass(frozen=True)
class Unreadable:
    """The answer to a question that has none, and why."""

    reason: str


def questions(policies: Iterable[Policy], proposal: Proposal) -> list[Question]:
    """All that is to be asked, Policies in order of name."""
    asked = sorted(policies, key=lambda one: one.name)
    return [Question(policy, subject) for policy in asked for subject in islice(subjects(policy, proposal), SUBJECTS_MAX)]


def verdicts(policies: Iterable[Policy], answers: Iterable[tuple[Question, Any]]) -> tuple[Check, ...]:
    """A Check for each Policy with a rule, in order of name. An answer is what the rule came to, or `Unreadable`."""
    problems: dict[str, list[Problem]] = {policy.name: [] for policy in sorted(policies, key=lambda one: one.name)}
    by_name = {policy.name: policy for policy in policies}
    for question, answer in answers:
        said = _said(question.policy, answer)
        problems[question.policy.name] += (_problem(question.policy, question.subject, text) for text in said)
    return tuple(checked(by_name[name], found) for name, found in problems.items())


def subjects(policy: Policy, proposal: Proposal) -> Iterator[Subject]:
    """What ``policy`` is asked about, with all that its rule may name; an external checker reads the same."""
    spec = policy.spec
    common = _common(policy, proposal)
    if spec.each == "change":
        yield Subject({**common, "plans": [_plan(one) for one in proposal.plans]})
        return
    chosen = [
        one for one in proposal.plans if _any(spec.environments, one.environment) and _any(spec.applications, one.application)
    ]
    if spec.each == "plan":
        for environment in dict.fromkeys(one.environment for one in chosen):
            steps = [step for one in chosen if one.environment == environment for step in _steps(one)]
            place = _environment(proposal, environment)
            yield Subject({**common, "environment": place, "plan": _summary(environment, steps)}, environment=environment)
        return
    for plan in chosen:
        place, application = _environment(proposal, plan.environment), _application(proposal, plan.application)
        for step in _steps(plan):
            if not _any_kind(spec.kinds, step) or (spec.each == "object" and step.manifest is None):
                continue
            values = {**common, "environment": place, "application": application, "step": _step(step), "object": _object(step)}
            yield Subject(values, step, plan.environment)


def checked(policy: Policy, problems: Iterable[Problem]) -> Check:
    """The verdict of ``policy`` when ``problems`` are its complaints."""
    found = tuple(problems)
    kind = "external" if policy.spec.command else "policy"
    if not found:
        return Check(f"{kind}/{policy.name}", Verdict.PASSED)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    verdict = Verdict.FAILED if policy.spec.level == "deny" else Verdict.WARNED
    return Check(f"{kind}/{policy.name}", verdict, f"{found[0].message}{more}", found[:COMPLAINTS_MAX])


def wrong(spec: Any) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What is wrong with a PolicySpec as it stands in Git, apart from its expression: field, message, remedy."""
    if bool(spec.rule) == bool(spec.command):
        yield ("spec", "rule"), "a Policy has either a rule or a command", "Write one of the two"


def _said(policy: Policy, answer: Any) -> Iterator[str]:
    spec = policy.spec
    if isinstance(answer, Unreadable):
        yield f"the rule could not be evaluated: {answer.reason}"
    elif isinstance(answer, bool):
        if not answer:
            yield spec.message or spec.description or f"policy {policy.name} says no"
    elif isinstance(answer, str):
        yield from filter(None, (answer,))
    elif isinstance(answer, list) and all(isinstance(one, str) for one in answer):
        yield from filter(None, answer)
    else:
        yield "the rule comes to neither true, false, a text nor a list of texts"


def _problem(policy: Policy, subject: Subject, said: str) -> Problem:
    about = f"{subject.step.ref} in {subject.environment}: " if subject.step is not None else f"{subject.environment}: "
    text = (about if subject.environment else "") + one_line(said, characters_max=MESSAGE_CHARACTERS_MAX)
    manifest = subject.step.manifest if subject.step is not None else None
    if manifest is None:
        return Problem(text, remedy=policy.spec.remedy)
    return Problem(text, manifest.file, manifest.line, remedy=policy.spec.remedy)


# --- what a rule sees -------------------------------------------------------------------------------------------------------


def _common(policy: Policy, proposal: Proposal) -> dict[str, Any]:
    change = proposal.change
    return {
        "change": {
            "number": change.number,
            "title": change.title,
            "description": change.description,
            "target": change.target,
            "draft": change.draft,
            "emergency": change.emergency,
            "files": list(proposal.files),
            "pushers": sorted({one.who for one in change.patch_sets}),
        },
        "author": {"name": change.author, "groups": list(proposal.groups)},
        "approvals": [{"who": who, "environment": environment} for who, environment in proposal.approvals],
        "time": _time(proposal, policy.spec.timezone),
    }


def _time(proposal: Proposal, zone: str) -> dict[str, Any]:
    there = proposal.times.get(zone, proposal.now)
    return {
        "now": proposal.now.isoformat(),
        "date": there.date().isoformat(),
        "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[there.weekday()],
        "hour": there.hour,
        "minute": there.minute,
    }


def _environment(proposal: Proposal, name: str) -> dict[str, Any]:
    found = proposal.environments.get(name)
    return {"name": name, "labels": dict(found.metadata.labels) if found is not None else {}}


def _application(proposal: Proposal, name: str) -> dict[str, Any]:
    found = proposal.applications.get(name)
    if found is None:
        return {"name": name, "labels": {}, "project": ""}
    return {"name": name, "labels": dict(found.metadata.labels), "project": found.spec.project}


def _steps(plan: Plan) -> list[Step]:
    """Every step, held or not: a rule speaks of what is meant to happen."""
    return [*plan.steps, *(hold.step for hold in plan.holds if hold.step is not None)]


def _plan(plan: Plan) -> dict[str, Any]:
    return {"application": plan.application, **_summary(plan.environment, _steps(plan))}


def _summary(environment: str, steps: list[Step]) -> dict[str, Any]:
    counts = {f"{action}s": sum(step.action == action for step in steps) for action in Action}
    return {"environment": environment, **counts, "removals": counts["removes"], "steps": [_step(step) for step in steps]}


def _step(step: Step) -> dict[str, Any]:
    return {
        "action": str(step.action),
        "application": step.application,
        "environment": step.environment,
        "group": step.ref.group,
        "kind": step.ref.kind,
        "namespace": step.ref.namespace,
        "name": step.ref.name,
        "wave": step.wave,
        "changes": [msgspec.to_builtins(change) for change in mask_changes(step.ref, step.changes)],
    }


def _object(step: Step) -> Any:
    return mask(step.manifest.body) if step.manifest is not None else {"kind": step.ref.kind, "metadata": {"name": step.ref.name}}


def _any(patterns: list[str], name: str) -> bool:
    return not patterns or any(glob(pattern, name) for pattern in patterns)


def _any_kind(patterns: list[str], step: Step) -> bool:
    full = f"{step.ref.group}/{step.ref.kind}"
    return not patterns or any(glob(pattern, full if "/" in pattern else step.ref.kind) for pattern in patterns)
