"""How Changes look on a screen. Lines are short: what is long stands on a line of its own, or is cut, and whole in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from trimtab.cli.output import BAD, GOOD, QUIET, WAITING, Out, short
from trimtab.cli.plans import tell_plan, tell_step
from trimtab.cli.times import ago
from trimtab.core.model.change import Comment
from trimtab.core.model.changeviews import (
    ChangeDiffView,
    ChangePlanView,
    ChangesView,
    ChangeView,
    EnvironmentPlanView,
    RequirementView,
    TouchedView,
)
from trimtab.core.model.text import one_line

HASH_CHARACTERS = 19
"""sha256: and twelve more."""
TITLE_CHARACTERS_MAX = 50
REASON_CHARACTERS_MAX = 60
DESCRIPTION_LINES_MAX = 30
PROBLEMS_SHOWN_MAX = 10
MARKS = {"passed": ("✓", GOOD), "warned": ("!", WAITING), "failed": ("✗", BAD), "pending": ("…", WAITING)}
STAGES = {"merged": GOOD, "closed": QUIET, "open": WAITING}


def tell_list(out: Out, view: ChangesView) -> None:
    if not view.changes:
        out.line("No changes.")
        return
    rows = []
    for row in view.changes:
        stage = "draft" if row.draft and row.stage == "open" else row.stage
        state = _cut(row.missing[0], REASON_CHARACTERS_MAX) if row.missing else "ready" if row.stage == "open" else ""
        title = _cut(("EMERGENCY " if row.emergency else "") + row.title, TITLE_CHARACTERS_MAX)
        rows.append([str(row.number), title, row.author, stage, " ".join(row.environments), state])
    out.table(["change", "title", "author", "stage", "environments", "missing"], rows)
    if view.next:
        out.line(f"older ones: --before {view.next}")


def tell_change(out: Out, view: ChangeView, comments: Sequence[Comment], now: datetime) -> None:
    out.line(f"change {view.number}: {one_line(view.title)}")
    last = view.patch_sets[-1]
    stage = "draft" if view.draft and view.stage == "open" else view.stage
    source = f"{one_line(view.source)} → " if view.source else ""
    out.parts("  ", (stage, STAGES.get(view.stage, "")), f", {source}{one_line(view.target)} of {one_line(view.repository)}")
    out.line(f"  by {one_line(view.author)}, patch set {last.number} by {one_line(last.who)} {ago(last.time, now)}")
    if view.emergency:
        out.parts("  ", (f"EMERGENCY, pushed past review: {one_line(view.emergency)}", BAD))
    if view.merged:
        out.line(f"  merged as {short(view.merged)}" + (f" by {one_line(view.ended_by)}" if view.ended_by else ""))
    tell_description(out, view.description)
    out.line()
    for touched in view.environments:
        tell_touched(out, touched, [one for one in view.requirements if one.environment == touched.environment])
    if not view.environments:
        out.line("  touches no environment")
    for requirement in (one for one in view.requirements if not one.environment):
        tell_requirement(out, requirement)
    tell_checks(out, view)
    for one in view.withdrawn:
        out.line(f"  {one_line(one.who)} approved another plan for {one_line(one.environment) or 'the content'}; it is withdrawn")
    tell_threads(out, comments, now)
    tell_missing(out, view)


def tell_description(out: Out, text: str) -> None:
    if not text:
        return
    out.line()
    lines = text.splitlines()
    for line in lines[:DESCRIPTION_LINES_MAX]:
        out.line(f"    {line}".rstrip())
    if len(lines) > DESCRIPTION_LINES_MAX:
        out.line(f"    … and {len(lines) - DESCRIPTION_LINES_MAX} more lines")


def tell_touched(out: Out, view: TouchedView, requirements: Sequence[RequirementView]) -> None:
    counts = {"created": view.creates, "updated": view.updates, "removed": view.removals, "otherwise": view.others}
    said = [f"{count} {name}" for name, count in counts.items() if count] + (["its rules change"] if view.rules else [])
    out.parts(
        f"  {one_line(view.environment)}: {', '.join(said) or 'nothing is changed'}  ", (view.hash[:HASH_CHARACTERS], QUIET)
    )
    for reason in view.holds:
        out.line(f"      held until this plan is approved: {one_line(reason)}")
    for reason in view.blocked:
        out.parts("      ", ("held", WAITING), f": {one_line(reason)}")
    for requirement in requirements:
        tell_requirement(out, requirement)


def tell_requirement(out: Out, view: RequirementView) -> None:
    met = len(view.given) >= view.count
    given = f": {', '.join(map(one_line, view.given))}" if view.given else ""
    what = "" if view.environment else "of the content, "
    out.parts(
        "      ",
        ("✓" if met else "-", GOOD if met else WAITING),
        f" {what}{len(view.given)} of {view.count} by {one_line(view.by)}{given}",
    )


def tell_checks(out: Out, view: ChangeView) -> None:
    for check in view.checks:
        mark, colour = MARKS.get(check.verdict, ("?", ""))
        out.parts("  ", (mark, colour), f" {one_line(check.name)}")
        out.problems(check.problems[:PROBLEMS_SHOWN_MAX])
        if len(check.problems) > PROBLEMS_SHOWN_MAX:
            out.line(f"      … and {len(check.problems) - PROBLEMS_SHOWN_MAX} more")
    for path in view.conflicts:
        out.parts("  ", ("✗", BAD), f" conflicts with {one_line(view.target)}: {one_line(path)}")


def tell_threads(out: Out, comments: Sequence[Comment], now: datetime) -> None:
    for first in (one for one in comments if one.number == one.thread):
        at = f"{first.file}:{first.line}" if first.line else first.file
        at = at or " in ".join(part for part in (first.object, first.environment) if part)
        state = ("resolved", QUIET) if first.resolved else ("open", WAITING)
        out.line()
        out.parts(f"  thread {first.number}", f" at {one_line(at)}" if at else "", ", ", state)
        for one in (one for one in comments if one.thread == first.number):
            out.line(f"    {one_line(one.who)}, {ago(one.time, now)}:")
            for line in one.text.splitlines():
                out.line(f"      {line}".rstrip())


def tell_missing(out: Out, view: ChangeView) -> None:
    if view.stage != "open":
        return
    out.line()
    wanted = f"{one_line(view.wanted_by)} wants it merged; " if view.wanted_by else ""
    if not view.missing:
        out.parts("  ", wanted, ("nothing is missing: it can be merged", GOOD))
        return
    out.line(f"  {wanted}still missing:")
    for reason in view.missing:
        out.line(f"    - {one_line(reason)}")


def tell_plans(out: Out, view: ChangePlanView) -> None:
    if not view.environments:
        out.line("It touches no environment that you may read.")
    for number, one in enumerate(view.environments):
        if number:
            out.line()
        tell_environment(out, one)


def tell_environment(out: Out, view: EnvironmentPlanView) -> None:
    since = f", since you approved {view.since[:HASH_CHARACTERS]}" if view.since else ""
    out.line(f"{one_line(view.environment)}{since}")
    for reason in view.unseen:
        out.line(f"  not asked: {one_line(reason)}")
    if view.dropped:
        out.line("  no more:")
        for step in view.dropped:
            tell_step(out, step)
    if view.since and not (view.dropped or view.plan.steps or view.plan.holds):
        out.line("  the same steps as you approved; what they start from, or what they are, is different now")
        out.line(f"plan {view.hash}")
        return
    tell_plan(out, view.plan, together=True)


def tell_diff(out: Out, view: ChangeDiffView) -> None:
    for file in view.files:
        if not file.diff:
            out.line(f"{file.status} {one_line(file.path)}: {one_line(file.note)}")
        elif not out.colours:
            out.verbatim(file.diff)
        else:
            for line in file.diff.splitlines():
                out.parts((line, _colour(line)))
    if not view.files:
        out.line("Nothing differs.")
    if view.more:
        out.line("… and more files; --path shows some of them")


def _colour(line: str) -> str:
    if line.startswith(("+++", "---")):
        return QUIET
    return {"+": GOOD, "-": BAD, "@": WAITING}.get(line[:1], "")


def _cut(text: str, characters: int) -> str:
    text = one_line(text)
    return text if len(text) <= characters else text[: characters - 1] + "…"
