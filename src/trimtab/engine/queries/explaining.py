"""Why something is done or not done in an Application, and who or what moves it on: of its sources, its content, its plan, its objects.

For an object that is not well the whole chain down to what is to blame is read from its target, at most of so many objects.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trimtab.core.lifecycle.draft import BACKOFF_SECONDS_MAX
from trimtab.core.lifecycle.occasion import occasion
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import Phase
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.plan import Step
from trimtab.core.model.text import without_credentials
from trimtab.core.model.tree import NO_TREE, Child, Tree
from trimtab.core.model.views import ExplainView, Reason
from trimtab.engine.engine import Session

from .looks import trees_of
from .reader import WELL, problems_of, row_of

MENDS = (
    "a commit that mends it, or a change of the target; until then the same is refused again,"
    f" and tried less and less often, at last every {BACKOFF_SECONDS_MAX / 60:.0f} minutes"
)
"""What moves on what a target has refused."""
CHAINS_MAX = 20
"""Objects whose chain is read; of the others the cause that is known is told."""


async def explained(session: Session, key: Key) -> ExplainView:
    state = session.world.states.get(key, Reconciliation())
    unwell = [
        (identity, health) for identity, health in sorted(session.world.live[key].health.items()) if health.status not in WELL
    ]
    owned = session.world.inventories[key.environment].of(key.application)
    trees = await trees_of(session, key, [owned[identity].ref for identity, _ in unwell[:CHAINS_MAX] if identity in owned])
    reasons = [
        *_explain_heads(session, key),
        *_explain_origin(session, key),
        *_explain_content(session, key, state),
        *_explain_plan(session, key, state),
        *(_explain_object(identity, health, trees.get(identity, NO_TREE), state) for identity, health in unwell),
        *_explain_left(session, key),
        *_explain_notes(session, key),
    ]
    row = row_of(session, key)
    summary = f"{key}: {row.sync}, {row.health}" + (f": {row.message}" if row.message else "")
    return ExplainView(key.application, key.environment, summary, reasons)


def _explain_heads(session: Session, key: Key) -> list[Reason]:
    head = session.declarer.head_of(key)
    if head is None or not head.problem:
        return []
    return [
        Reason(without_credentials(head.repository), "not followed", head.problem, head.remedy or "it is tried again by itself")
    ]


def _explain_origin(session: Session, key: Key) -> list[Reason]:
    configuration = session.world.configuration
    generated = configuration.generated.get(key.application)
    if generated is None:
        return []
    subject, document = f"generator {generated.generator}", f"Generator/{generated.generator}"
    if document not in configuration.doubtful:
        return [Reason(subject, "made it", f"of {generated.element}", "what it is made of, and the template, stand in Git")]
    origin = configuration.origins.get(document)
    problem = next((str(one) for one in configuration.problems if origin is not None and one.file == origin.file), "")
    return [
        Reason(subject, "in doubt", problem or "not all that it is made of could be read", "what it made before stays meanwhile")
    ]


def _explain_content(session: Session, key: Key, state: Reconciliation) -> list[Reason]:
    refused = {problem.message for problem in session.world.live[key].refused}
    reasons = [
        Reason(str(key), "refused", str(problem), f"what runs stays; {MENDS}")
        if problem.message in refused
        else Reason(str(key), "not rendered", str(problem), "what runs stays; a commit that mends it")
        for problem in problems_of(session, key)
    ]
    if state.pending is not None and state.pending.phase == Phase.PENDING:
        what = f"revision {state.pending.revision[:12]}"
        reasons.append(
            Reason(what, "pending", state.pending.message or "it starts in a moment", "it starts by itself when that is over")
        )
    reasons += _explain_way(state)
    if state.suspension is not None:
        until = f"at {state.suspension.until.isoformat()}" if state.suspension.until else "when somebody resumes it"
        reasons.append(Reason(str(key), "suspended", f"{state.suspension.who}: {state.suspension.reason}", until))
    return reasons


def _explain_way(state: Reconciliation) -> list[Reason]:
    """A Deployment that goes back, as long as it is not healthy, or waits to begin."""
    comes = state.current if state.occasion == "back" and not state.settled else None
    if state.pending is not None and state.pending.digest and occasion(state, state.pending.digest) == "back":
        comes = state.pending
    if comes is None:
        return []
    moves = "hooks for going back run with it, and those of an upgrade do not"
    return [Reason(f"revision {comes.revision[:12]}", "goes back", "its content was healthy here before", moves)]


def _explain_plan(session: Session, key: Key, state: Reconciliation) -> list[Reason]:
    live = session.world.live[key]
    reasons: list[Reason] = []
    if live.plan is not None and not live.refused:  # else it is a plan of what was before
        for hold in live.plan.holds:
            lifted = hold.lifted_by.replace("HASH", live.plan.hash)
            reasons.append(Reason(str(hold.object or key), "held", hold.reason, lifted))
        for step in live.plan.steps:
            following = _what_follows(step, state, session.workers.next_try(key))
            reasons.append(Reason(str(step.ref), f"to {step.action}", _why_not_yet(step, state), following))
    return reasons


def _what_follows(step: Step, state: Reconciliation, seconds: float | None) -> str:
    nobody = state.current is not None and state.current.object is None
    if state.attempt and state.lasting and (nobody or _is_to_blame(step, state)):
        return MENDS
    return f"the next look is in {seconds:.0f} s" if seconds is not None else "the next event"


def _why_not_yet(step: Step, state: Reconciliation) -> str:
    if state.retry_at is None:
        return "what comes before it is not done or not healthy yet"
    times = f"failed {state.attempt} time{'s' if state.attempt != 1 else ''}"
    if _is_to_blame(step, state) and state.current is not None:
        return f"it {times}: {state.current.message}"
    to_blame = state.current.object if state.current is not None else None
    return f"it waits for the next try: {to_blame} {times}" if to_blame is not None else f"it {times}"


def _is_to_blame(step: Step, state: Reconciliation) -> bool:
    to_blame = state.current.object if state.current is not None else None
    return to_blame is not None and to_blame.identity == step.ref.identity


def _explain_object(identity: Identity, health: Health, tree: Tree, state: Reconciliation) -> Reason:
    last = f"; last log line: {health.last_log_line}" if health.last_log_line else ""
    message = _cause(health, identity) + (health.message or str(health.status)) + last
    moves = "it is watched; a commit that mends it"
    if health.status == HealthStatus.PROGRESSING and state.deadline is not None and not state.settled:
        moves = f"it is watched; the Deployment fails at {state.deadline:%Y-%m-%d %H:%M:%SZ} unless it is healthy by then"
    return Reason(
        f"{identity[1]}/{identity[3]}", health.status, message, moves, [_link(child) for child in chain(tree, health.object)]
    )


def chain(tree: Tree, to: ObjectRef | None) -> tuple[Child, ...]:
    """From what stands below the object down to ``to``; where that is not there, to the first that is not well: pure."""
    return next(_paths(tree.children, to), None) or tuple(_unwell(tree.children))


def _paths(children: tuple[Child, ...], to: ObjectRef | None) -> Iterator[tuple[Child, ...]]:
    for child in children:
        if to is not None and child.object.identity == to.identity:
            yield (child,)
        yield from ((child, *below) for below in _paths(child.children, to))


def _unwell(children: tuple[Child, ...]) -> Iterator[Child]:
    """Children that are not well come first."""
    if children and children[0].health not in WELL:
        yield children[0]
        yield from _unwell(children[0].children)


def _link(child: Child) -> str:
    restarts = f"{child.restarts} restart{'s' if child.restarts != 1 else ''}" if child.restarts else ""
    counts = ", ".join(word for word in (child.ready and f"{child.ready} ready", restarts) if word)
    said = f": {child.message}" if child.message else ""
    return f"{child.object.kind}/{child.object.name} is {child.health}" + (f" ({counts})" if counts else "") + said


def _explain_left(session: Session, key: Key) -> list[Reason]:
    made = session.world.live[key].plan
    return [
        Reason(str(left.object), "left to others", f"{left.pointer}: to {left.to}", "nothing is done; it is as they set it")
        for left in (made.left if made is not None else ())
    ]


def _explain_notes(session: Session, key: Key) -> list[Reason]:
    made = session.world.live[key].plan
    return [
        Reason(str(key), "without effect", str(msgspec.structs.replace(note, remedy="")), note.remedy)
        for note in (made.notes if made is not None else ())
    ]


def _cause(health: Health, identity: Identity) -> str:
    """The object that is to blame, where that is another one."""
    return f"because of {health.object}: " if health.object is not None and health.object.identity != identity else ""
