"""How a Plan looks to people: a sign for each object, its fields below, then what is held and by whom it can be lifted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trimtab.cli.output import BAD, COLOURS, GOOD, QUIET, WAITING, Out
from trimtab.cli.session import DIFFERENT, DONE, FAILED
from trimtab.core.model.plan import FieldChange
from trimtab.core.model.text import one_line
from trimtab.core.model.views import HoldView, LeftView, PlanView, StepView

SIGNS = {"run": "▷", "create": "+", "update": "~", "replace": "±", "remove": "-", "adopt": "⊕", "handover": "→"}
HOOKS = {
    "pre": "hook, before the rest",
    "main": "hook, beside the rest",
    "post": "hook, after the rest",
    "failed": "hook, because it failed",
    "pre-removal": "hook, before anything is removed",
    "post-removal": "hook, when everything is removed",
    "over": "a hook has left it",
}
VALUE_CHARACTERS_MAX = 120
CHANGES_SHOWN_MAX = 40
LEFT_SHOWN_MAX = 20


def exit_code(view: PlanView) -> int:
    if view.errors:
        return FAILED
    return DIFFERENT if view.steps or view.holds else DONE


def tell_plan(out: Out, view: PlanView, *, together: bool = False) -> None:
    """``together``: what is held for the same reason is told at once, for where one word lifts all of it."""
    if view.errors:
        of_git = any(error.file for error in view.errors)
        out.line("What stands in Git is wrong; nothing would be applied where it is:" if of_git else "This cannot be planned:")
        out.problems(view.errors)
    where = ("", "")
    for step in view.steps:
        if (step.application, step.environment) != where:
            where = (step.application, step.environment)
            out.line(f"{step.application} in {step.environment}")
        tell_step(out, step)
    if together:
        tell_holds(out, view.holds)
    else:
        for hold in view.holds:
            tell_hold(out, hold)
    tell_left(out, view.left)
    if view.notes:
        out.line("Without effect, and no reason to hold anything:")
        out.problems(view.notes)
    out.line(_summary(view))
    if view.steps or view.holds:
        out.line(f"plan {view.hash}")


def tell_step(out: Out, step: StepView) -> None:
    when = f" ({HOOKS[step.hook]})" if step.hook in HOOKS else ""
    out.parts("  ", (f"{SIGNS.get(step.action, '?')} {step.action} {step.object}{when}", COLOURS.get(step.action, "")))
    if step.action in ("create", "remove", "run"):
        return
    for change in step.changes[:CHANGES_SHOWN_MAX]:
        tell_change(out, change)
    if len(step.changes) > CHANGES_SHOWN_MAX:
        out.line(f"      … and {len(step.changes) - CHANGES_SHOWN_MAX} more fields; --output json shows them all")


def tell_change(out: Out, change: FieldChange) -> None:
    path = one_line(change.path)
    if change.from_ is None:
        out.parts("      ", (f"+ {path}: {_value(change.to)}", GOOD))
    elif change.to is None:
        out.parts("      ", (f"- {path}: {_value(change.from_)}", BAD))
    else:
        out.parts("      ", (f"~ {path}: {_value(change.from_)} → {_value(change.to)}", WAITING))


def tell_hold(out: Out, hold: HoldView) -> None:
    subject = f"{hold.object} " if hold.object else ""
    out.parts("  ", ("held ", WAITING), f"{subject}in {hold.application}@{hold.environment}: {one_line(hold.reason)}")
    if hold.hash:
        out.line(f"      lifted by: trimtab app approve {hold.application} {hold.hash} --environment {hold.environment}")
    else:
        out.line(f"      lifted by: {one_line(hold.lifted_by)}")


def tell_holds(out: Out, holds: Sequence[HoldView]) -> None:
    for reason, lifted_by in dict.fromkeys((hold.reason, hold.lifted_by) for hold in holds):
        out.parts("  ", ("held", WAITING), f": {one_line(reason)}")
        for hold in holds:
            if (hold.reason, hold.lifted_by) == (reason, lifted_by) and hold.object:
                out.line(f"      {hold.object} of {hold.application}")
        out.line(f"    lifted by: {one_line(lifted_by)}")


def tell_left(out: Out, left: Sequence[LeftView]) -> None:
    for one in left[:LEFT_SHOWN_MAX]:
        out.parts(
            ("  left ", QUIET),
            f"{one.object} {one_line(one.pointer)} in {one.application}@{one.environment}: to {one_line(one.to)}",
        )
    if len(left) > LEFT_SHOWN_MAX:
        out.line(f"  … and {len(left) - LEFT_SHOWN_MAX} more fields are left to others; --output json shows them all")


def _summary(view: PlanView) -> str:
    if not view.steps and not view.holds:
        return "Nothing would change." if not view.errors else "Nothing else would change."
    counts = {action: sum(step.action == action for step in view.steps) for action in SIGNS}
    parts = [f"{count} to {'hand over' if action == 'handover' else action}" for action, count in counts.items() if count]
    if view.holds:
        parts.append(f"{len(view.holds)} held")
    return ", ".join(parts) + "."


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), characters_max=VALUE_CHARACTERS_MAX)
