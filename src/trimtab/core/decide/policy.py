"""``judge(policies, proposal) -> complaints``: what the Policies of the target branch say of what a Change would do.

A Policy whose rule cannot be evaluated complains: a rule that nobody can read must not let everything through. Values of secrets are
masked before a rule sees them, so no message can carry one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from trimtab.core.model.change import Change, Check, Verdict
from trimtab.core.model.config import Application, Environment
from trimtab.core.model.errors import Problem
from trimtab.core.model.plan import Action, Plan, Step
from trimtab.core.model.policy import Policy
from trimtab.core.model.text import one_line

from .expressions import WrongExpressionError, compiled, evaluate
from .limits import glob
from .mask import mask, mask_changes

COMPLAINTS_MAX = 100
"""Of one Policy; the rest is the same mistake again."""
MESSAGE_CHARACTERS_MAX = 500


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


@dataclass(frozen=True)
class Subject:
    """One thing that a rule is asked about: the ``values`` that it sees, and the step where it is about one."""

    values: Mapping[str, Any]
    step: Step | None = None
    environment: str = ""


def judge(policies: Iterable[Policy], proposal: Proposal) -> tuple[Check, ...]:
    """A Check for each Policy that says something about this Change, in order of name; those with a command are not asked here."""
    asked = (policy for policy in sorted(policies, key=lambda one: one.name) if policy.spec.rule)
    return tuple(_judged(policy, proposal) for policy in asked)


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
    """What is wrong with a PolicySpec as it stands in Git: field, message, remedy."""
    if bool(spec.rule) == bool(spec.command):
        yield ("spec", "rule"), "a Policy has either a rule or a command", "Write one of the two"
    if spec.rule:
        try:
            compiled(spec.rule)
        except WrongExpressionError as error:
            yield ("spec", "rule"), str(error), "Correct the expression; docs: reference/policies.md"
    if _zone(spec.timezone) is None:
        yield ("spec", "timezone"), "there is no such time zone", "Write a name of the IANA database, as Europe/Berlin"


def _judged(policy: Policy, proposal: Proposal) -> Check:
    problems: list[Problem] = []
    for subject in subjects(policy, proposal):
        problems += (_problem(policy, subject, said) for said in _said(policy, subject))
        if len(problems) > COMPLAINTS_MAX:
            break
    return checked(policy, problems)


def _said(policy: Policy, subject: Subject) -> Iterator[str]:
    spec = policy.spec
    try:
        found = evaluate(spec.rule, subject.values)
    except WrongExpressionError as error:
        yield f"the rule could not be evaluated: {error}"
        return
    if isinstance(found, bool):
        if not found:
            yield spec.message or spec.description or f"policy {policy.name} says no"
    elif isinstance(found, str):
        yield from filter(None, (found,))
    elif isinstance(found, list) and all(isinstance(one, str) for one in found):
        yield from filter(None, found)
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
        "time": _time(proposal.now, policy.spec.timezone),
    }


def _time(now: datetime, zone: str) -> dict[str, Any]:
    there = now.astimezone(_zone(zone))
    return {
        "now": now,
        "date": there.date().isoformat(),
        "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[there.weekday()],
        "hour": there.hour,
        "minute": there.minute,
    }


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


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
