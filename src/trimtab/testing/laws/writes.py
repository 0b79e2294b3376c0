"""What is asked at every write of the store: who writes, and that histories, gates and turns are kept."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trimtab.core.lifecycle.rollout import WELL
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import ENDED, Deployment, Phase
from trimtab.core.model.names import Key
from trimtab.engine.following import Saved
from trimtab.testing.witness import Witness, Writing, started
from trimtab.testing.worlds import ENDING, View

from .law import WRITES, law
from .objects import wanted_by_others


@law(WRITES)
def only_the_leader_writes(witness: Witness, writing: Writing) -> Iterator[str]:
    """A write of a process that does not hold the lease is never taken."""
    if writing.process != writing.holder:
        yield f"{writing.process} wrote while {writing.holder or 'nobody'} held the lease"


@law(WRITES)
def event_ids_ascend(witness: Witness, writing: Writing) -> Iterator[str]:
    """Every event has a higher id than all before it."""
    last = writing.life.event_id
    for event in writing.events:
        if event.id <= last:
            yield f"event {event.id} came after {last}"
        last = event.id


@law(WRITES)
def nothing_of_ours_breaks(witness: Witness, writing: Writing) -> Iterator[str]:
    """No error in Trimtab itself, whatever fails around it."""
    for event in writing.events:
        if event.kind == "reconcile.broken":
            yield event.message


@law(WRITES)
def history_moves_forward(witness: Witness, writing: Writing) -> Iterator[str]:
    """A head moves only to a descendant: a force-push or a deleted branch changes nothing until somebody accepts it."""
    for name, body in writing.writes.documents:
        if not name.startswith("head/") or body is None:
            continue
        saved = msgspec.json.decode(body, type=Saved)
        old = _followed(writing, saved.expression)
        if not old or witness.descends(saved.revision, old) or saved.revision in witness.accepted:
            continue
        if witness.contents[saved.revision].files() != witness.contents[old].files():
            yield f"{saved.expression or 'the default branch'} moved from {old[:7]} to {saved.revision[:7]}"


@law(WRITES)
def ends_are_complete(witness: Witness, writing: Writing) -> Iterator[str]:
    """An application is not forgotten before every hook of its end has run."""
    for key, after in writing.after.items():
        before, life = writing.before[key], writing.life
        if after is not None or before is None or before.current is None:
            continue
        for identity, one in life.well[key].items():
            for phase in sorted(one.phases & ENDING):
                ran = (phase, identity) in life.hooks[key]
                if not ran and not wanted_by_others(life, key, before.current.sequence, identity):
                    yield f"the {phase} hook {one.name} of {key} has not been run"


@law(WRITES)
def going_back_is_known(witness: Witness, writing: Writing) -> Iterator[str]:
    """A deployment is one that goes back where content that was healthy before others comes back, and nowhere else."""
    for key, after in writing.after.items():
        before = writing.before[key]
        if after is None or after.current is None or not started(before, after):
            continue
        if writing.life.goes_back(key, after.current.digest, before) != (after.occasion == "back"):
            yield f"{key} started at {after.current.revision[:7]} as {after.occasion or 'the first'} after {writing.life.line[key]}"


def _followed(writing: Writing, expression: str) -> str:
    """The Revision that has been followed without a break; "" when nothing was."""
    old = ""
    for head in writing.life.heads:
        if head.expression == expression:
            old = head.revision
        elif head.expression == "":
            content = writing.life.known[head.revision]
            if all(app.revision != expression for app in content.applications.values()):
                old = ""
    return old


@law(WRITES)
def gates_are_kept(witness: Witness, writing: Writing) -> Iterator[str]:
    """New content starts only once it was healthy in the environments that it comes after, and once what it depends on is healthy."""
    for key, after in writing.after.items():
        if not started(writing.before[key], after) or after is None or after.current is None or after.undeclared:
            continue
        # Each condition by itself: one may hold at this revision and another only at a later one.
        closed = [_closed(witness, view, key) for view in writing.life.views(after.current.sequence)]
        missing = set.intersection(*closed)
        if missing:
            yield f"{key} started at {after.current.revision[:7]} although it waits for {', '.join(sorted(missing))}"


def _closed(witness: Witness, view: View, key: Key) -> set[str]:
    found = view.place(key.application, key.environment)
    home = view.home
    if found is None or home is None or home.garbled or any(home.doubtful(name) for name in home.applications):
        return set()  # what is wrong in Git stands for what it was before
    app, place = found
    others = [Key(name, key.application) for name in place.after] + [Key.said(said, key.environment) for said in app.depends_on]
    return {str(other) for other in others if (other, view.digest(other.application, other.environment)) not in witness.healthy}


@law(WRITES)
def fleets_take_turns(witness: Witness, writing: Writing) -> Iterator[str]:
    """In a fleet, what is new begins in order, in one environment at a time, and in none while it failed in another."""
    for key, after in writing.after.items():
        before = writing.before[key]
        if after is None or after.current is None or after.undeclared or not started(before, after):
            continue
        # Whoever has come or gone since is no member in all of them.
        fleets = [view.fleet(key.application) for view in writing.life.views(after.current.sequence)]
        if any(key.environment not in members for members in fleets):
            continue
        for name in sorted(frozenset.intersection(*fleets) - {key.environment}):
            other = writing.life.states.get(Key(name, key.application))
            if reason := _out_of_turn(name < key.environment, other, before, after.current):
                yield f"{key} started at {after.current.revision[:7]}, and {name} {reason}"


def _out_of_turn(earlier: bool, other: Reconciliation | None, before: Reconciliation | None, current: Deployment) -> str:
    if other is None or other.current is None:
        return "comes first and has not run" if earlier else ""
    if earlier and other.pending is not None and other.behind <= current.sequence:
        return "comes first and has yet to begin"
    if other.current.since >= current.since:
        return ""  # it was not so when this was decided
    if other.pending is None and other.current.phase == Phase.FAILED:
        return "failed"
    unwell = before is not None and before.current is not None and before.current.phase != Phase.HEALTHY
    ill = before is not None and before.health.status not in WELL
    return "is still applying" if other.current.phase == Phase.APPLYING and not (unwell or ill) else ""


@law(WRITES)
def record_equals_state(witness: Witness, writing: Writing) -> Iterator[str]:
    """The newest deployments on record are those of the state, and every other one has ended."""
    for key, after in writing.after.items():
        rows = dict(writing.life.deployments[key])
        rows |= {row.sequence: row for row in writing.writes.deployments if row.key == key}
        slots = {
            slot.sequence: slot for slot in ((after.current, after.pending) if after is not None else ()) if slot is not None
        }
        for sequence, slot in slots.items():
            if rows.get(sequence) != slot:
                yield f"{key}: the deployment of {slot.revision[:7]} is {slot.phase} in the state and differs on record"
        if slots and max(rows) > max(slots):
            yield f"{key}: the record has a newer deployment than the state"
        for sequence, row in rows.items():
            if sequence not in slots and row.phase not in ENDED:
                yield f"{key}: the deployment of {row.revision[:7]} is {row.phase} on record, and nobody works on it"
