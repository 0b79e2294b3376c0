"""The laws: what has to hold whatever fails, each a function whose first line is the law in one sentence.

Laws of acts are asked at every mutation of a target, laws of writes at every write of the store, laws of the end when the faults
have stopped and the world was given time. Each yields what speaks against it. None asks the engine; see `witness.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from trimtab.core.lifecycle.rollout import WELL
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.deployment import ENDED, Deployment, Phase
from trimtab.core.model.names import Identity, Key
from trimtab.core.model.observed import Owner
from trimtab.engine.following import Saved

from .faults import moment
from .objects import Thing, spec_of
from .witness import Acting, Life, Witness, Writing, started
from .worlds import ENDING, View, Wanted

if TYPE_CHECKING:
    from .simulation import Simulation

LEASE_SECONDS = 15.0
"""A process that lost the lease may still finish calls of this age; the engine notices the loss within it."""

IN_FLIGHT_SECONDS = 15.0
"""What was decided before somebody suspended another application may be on its way for so long."""

Act = Callable[[Witness, Acting], Iterator[str]]
Write = Callable[[Witness, Writing], Iterator[str]]
End = Callable[["Simulation"], Iterator[str]]

ACTS: dict[str, Act] = {}
WRITES: dict[str, Write] = {}
ENDS: dict[str, End] = {}

F = TypeVar("F", bound=Callable[..., Iterator[str]])


def law(book: dict[str, F]) -> Callable[[F], F]:
    def enter(check: F) -> F:
        book[check.__name__.replace("_", "-")] = check
        return check

    return enter


def sentences() -> dict[str, str]:
    """Every law by name, with its sentence."""
    return {name: (check.__doc__ or "").splitlines()[0] for book in (ACTS, WRITES, ENDS) for name, check in book.items()}


# --- at every mutation of a target ------------------------------------------------------------------------------------------


@law(ACTS)
def foreign_objects_stay(witness: Witness, acting: Acting) -> Iterator[str]:
    """What is not ours is never changed or removed, unless Git declares its adoption."""
    mutation = acting.mutation
    if mutation.verb == "created" or mutation.action == "adopt":
        if mutation.action == "adopt" and not _adoption_declared(acting):
            yield "its adoption is not declared"
        return
    owner = mutation.owner
    if owner is None:
        yield "it is nobody's"
    elif owner.installation != "test":
        yield f"it belongs to {owner.installation}"
    elif owner.environment != mutation.environment and (
        mutation.action not in ("handover", "run")
        or owner.environment not in witness.beside(mutation.environment, mutation.ref.identity)
    ):
        yield f"it belongs to environment {owner.environment}"
    elif owner.application != mutation.application and mutation.action not in ("handover", "run"):
        yield f"it belongs to application {owner.application}"


def _adoption_declared(acting: Acting) -> bool:
    for view in acting.life.views(acting.sequence):
        found = view.place(acting.key.application, acting.key.environment)
        wanted = (view.wants(acting.key.application, acting.key.environment) or {}).get(acting.mutation.ref.identity)
        # A document that is wrong now stands for what it said before.
        if view.home is None or view.home.doubtful(acting.key.application) or not view.known():
            return True
        if (found is not None and found[0].adopt) or (wanted is not None and wanted.adopt):
            return True
    return False


@law(ACTS)
def wanted_objects_stay(witness: Witness, acting: Acting) -> Iterator[str]:
    """Nothing is removed that Git wants at the revision acted on, by whichever application of the environment, or of another one at the same place; so a hand-over never shows as a removal."""
    if acting.mutation.verb != "removed" or acting.process != acting.holder or witness.granted(acting, doubted=True):
        return
    identity, environment = acting.mutation.ref.identity, acting.key.environment
    claimants: set[str] = set()
    for view in acting.life.views(acting.sequence):
        wanting = {
            name
            for name, wanted in view.applications(environment)
            if wanted is not None and identity in wanted and not (acting.mutation.hook and wanted[identity].hook)
        }
        wanting |= {
            f"{name}@{other}"
            for other in witness.beside(environment, identity)
            for name, _ in view.applications(other)
            if identity in view.written(name, other)
        }
        if not wanting:
            return
        claimants |= wanting
    yield f"it is wanted by {', '.join(sorted(claimants))}"


@law(ACTS)
def what_is_kept_elsewhere_is_not_taken(witness: Witness, acting: Acting) -> Iterator[str]:
    """An object of another environment at the same place is taken over only once Git lets it go there, surely, or somebody has approved that."""
    mutation, owner = acting.mutation, acting.mutation.owner
    if acting.process != acting.holder or owner is None or owner.environment == mutation.environment or witness.granted(acting):
        return
    wishes = [view.wants(owner.application, owner.environment) for view in acting.life.views(acting.sequence)]
    if all(wanted is None or mutation.ref.identity in wanted for wanted in wishes):
        yield f"{owner.application}@{owner.environment} has not let it go"


@law(ACTS)
def unknown_is_not_nothing(witness: Witness, acting: Acting) -> Iterator[str]:
    """Nothing is removed because something could not be read: of a revision whose configuration or rendering is broken, only an approved plan removes anything, and nothing goes of an application that cannot be rendered itself."""
    if acting.mutation.verb != "removed" or acting.process != acting.holder:
        return
    granted = witness.granted(acting)
    if acting.mutation.hook and (_is_a_hook(acting) or _was_run(acting)):
        return  # of this very content, which was read
    if not any(_told(view, acting.key, granted=granted) for view in acting.life.views(acting.sequence)):
        yield "it could not be told from Git whether it is still wanted"


def _was_run(acting: Acting) -> bool:
    """True for what a hook of this very deployment has left."""
    return any(run.uid == acting.mutation.uid for run in acting.life.hooks[acting.key].values())


def _is_a_hook(acting: Acting) -> bool:
    identity = acting.mutation.ref.identity
    wanted = _content_of(acting)
    return wanted is not None and identity in wanted and bool(wanted[identity].hook)


def _content_of(acting: Acting) -> dict[Identity, Wanted] | None:
    """What the Deployment that is acted for wants; None where it cannot be told any more."""
    digest = acting.state.current.digest if acting.state is not None and acting.state.current is not None else ""
    key = acting.key
    for view in acting.life.views(acting.sequence):
        if view.digest(key.application, key.environment) == digest:
            return view.wants(key.application, key.environment)
    return None


def _told(view: View, key: Key, *, granted: bool) -> bool:
    home = view.home
    if home is not None and granted and (home.doubtful(key.application) or home.garbled):
        return True  # what its document said before stands in for it, and somebody said yes to what follows
    if view.wants(key.application, key.environment) is None:
        return False
    return granted or (view.known() and all(wanted is not None for _, wanted in view.applications(key.environment)))


@law(ACTS)
def removals_keep_the_budget(witness: Witness, acting: Acting) -> Iterator[str]:
    """Past the environment's budget, for one application or for all together, nothing is removed without the approval of that very plan."""
    if acting.mutation.verb != "removed" or acting.process != acting.holder or witness.granted(acting) or acting.mutation.hook:
        return
    life, key, sequence = acting.life, acting.key, acting.sequence
    view = next(life.views(sequence))
    budget = view.home.environments.get(key.environment) if view.home is not None else None
    if budget is None:
        return
    mine = {removal.identity for removal in life.removals[key] if removal.sequence == sequence} | {acting.mutation.ref.identity}
    owned = len(life.owned_before.get(key, set()) | mine)
    if len(mine) > budget.objects and len(mine) * 100 > budget.percent * owned:
        yield f"{len(mine)} of {owned} objects of {key.application} are gone; {budget.percent} % and {budget.objects} objects may go"
    everywhere = set(mine)
    for other, removals in life.removals.items():
        if other.environment == key.environment:
            everywhere |= {removal.identity for removal in removals if removal.sequence == sequence}
    all_owned = len(life.owned_since[key.environment, sequence] | everywhere)
    if len(everywhere) > budget.objects and len(everywhere) * 100 > budget.percent * all_owned:
        yield f"{len(everywhere)} of {all_owned} objects of the environment are gone at one revision"


@law(ACTS)
def emptied_applications_stay(witness: Witness, acting: Acting) -> Iterator[str]:
    """Where empty renders are held, nothing of an application of which nothing would be left is removed without approval."""
    if acting.mutation.verb != "removed" or acting.process != acting.holder or witness.granted(acting) or acting.mutation.hook:
        return
    held = []
    for view in acting.life.views(acting.sequence):
        budget = view.home.environments.get(acting.key.environment) if view.home is not None else None
        wanted = view.wants(acting.key.application, acting.key.environment)
        held.append(budget is not None and budget.empty_render == "hold" and wanted == {})
    if all(held):
        yield "nothing of the application would be left"


@law(ACTS)
def inventory_comes_first(witness: Witness, acting: Acting) -> Iterator[str]:
    """What we are about to write or remove stands in the inventory before the target changes, so nothing outside it is ever removed."""
    entry = acting.life.entries.get((acting.key.environment, acting.mutation.ref.identity))
    if acting.process != acting.holder:
        return
    if entry is None:
        yield "it is not in the inventory"
    elif entry.application != acting.key.application:
        yield f"the inventory says that it is {entry.application}'s"
    elif acting.mutation.verb == "removed" and entry.state != "removing":
        yield f"the inventory does not say that it is being removed, but {entry.state}"


@law(ACTS)
def suspended_applications_rest(witness: Witness, acting: Acting) -> Iterator[str]:
    """A suspended application is not changed, and nothing is taken from it."""
    owner = acting.mutation.owner
    keys = {acting.key} | ({Key(owner.environment, owner.application)} if owner is not None else set())
    for key in sorted(keys) if acting.process == acting.holder else ():
        state = acting.life.states.get(key)
        just_now = key != acting.key and moment() - acting.life.suspended.get(key, 0.0) < IN_FLIGHT_SECONDS
        if state is not None and state.suspension is not None and not just_now:
            yield f"{key} is suspended"


@law(ACTS)
def opted_out_objects_stay(witness: Witness, acting: Acting) -> Iterator[str]:
    """An object that is annotated to be kept is never removed."""
    thing = acting.there.get(acting.mutation.ref.identity)
    if acting.mutation.verb == "removed" and thing is not None:
        annotations = (thing.body.get("metadata") or {}).get("annotations") or {}
        if annotations.get("trimtab.dev/prune") == "disabled":
            yield "it is annotated to be kept"


@law(ACTS)
def stages_keep_their_order(witness: Witness, acting: Acting) -> Iterator[str]:
    """A wave is applied, and a removal carried out, only after everything that the deployment changed in lower waves got healthy."""
    entry = acting.life.entries.get((acting.key.environment, acting.mutation.ref.identity))
    if acting.process != acting.holder or entry is None or acting.mutation.hook not in ("", "main"):
        return
    for identity, (wave, sequence) in acting.life.changed[acting.key].items():
        thing = acting.there.get(identity)
        waits = thing is not None and not thing.ready and sequence == acting.sequence
        elsewhere = thing is not None and thing.owner is not None and thing.owner.environment != acting.key.environment
        if waits and not elsewhere and (acting.mutation.verb == "removed" or wave < entry.wave):
            yield f"{identity[3]} of a lower wave is not ready yet"


@law(ACTS)
def what_is_held_is_built_on_by_nothing(witness: Witness, acting: Acting) -> Iterator[str]:
    """While an object cannot become what a release wants, nothing of that release is done in a later wave, and no removal either."""
    mutation, state = acting.mutation, acting.state
    if acting.process != acting.holder or state is None or state.settled or mutation.hook or mutation.action not in _RELEASES:
        return
    wanted = _content_of(acting) or {}
    mine = wanted.get(mutation.ref.identity)
    for identity, one in wanted.items():
        thing = acting.there.get(identity)
        ours = thing is not None and thing.owner == Owner("test", mutation.environment, mutation.application)
        if thing is None or not ours or one.hook or one.replaces or one.fixed == spec_of(thing.body).get("fixed", 0):
            continue
        if mutation.action == "remove" or (mine is not None and mine.wave > one.wave):
            yield f"{one.name} of wave {one.wave} is held"


_RELEASES = ("create", "update", "replace", "adopt", "handover", "remove")


@law(ACTS)
def nothing_is_made_anew_unasked(witness: Witness, acting: Acting) -> Iterator[str]:
    """An object is only replaced where Git says so."""
    wanted = (_content_of(acting) or {}).get(acting.mutation.ref.identity)
    if acting.mutation.action == "replace" and wanted is not None and not wanted.replaces:
        yield "Git does not say that it may be made anew"


@law(ACTS)
def hooks_run_once(witness: Witness, acting: Acting) -> Iterator[str]:
    """A hook is run once for each deployment, and once more for each wish to try again what failed; never again because its object is gone."""
    mutation, state = acting.mutation, acting.state
    before = acting.life.hooks[acting.key].get((mutation.hook, mutation.ref.identity))
    if mutation.action != "run" or acting.process != acting.holder or before is None or state is None:
        return
    if before.tries != state.tries:
        return
    there = acting.there.get(mutation.ref.identity)
    if before.answered:
        yield "it was run before, and the record knew of it"
    elif there is not None and there.uid == before.uid:
        yield "it was run before, and is there"


@law(ACTS)
def hooks_keep_their_phase(witness: Witness, acting: Acting) -> Iterator[str]:
    """Nothing of a release is changed before its `pre` hooks have succeeded, and no `post` hook runs before everything of it is there and well."""
    mutation, state = acting.mutation, acting.state
    if acting.process != acting.holder or state is None or state.settled or mutation.hook not in ("", "main", "post"):
        return
    if state.occasion == "found":
        if witness.lives == 1:
            yield "it was taken for a release of a lost record, and no record was lost"
        return
    wanted = _content_of(acting) or {}
    for identity, one in wanted.items():
        thing = acting.there.get(identity)
        run = acting.life.hooks[acting.key].get(("pre", identity))
        if "pre" in one.phases_at(state.occasion) and run is None:
            yield f"the pre hook {one.name} has not been run"
        elif run is not None and thing is not None and thing.uid == run.uid and not _well(thing):
            yield f"the pre hook {one.name} has not succeeded"
        if mutation.hook == "post" and not one.hook and not _well(thing):
            yield f"{one.name} is not there and well"


@law(ACTS)
def hooks_know_the_way(witness: Witness, acting: Acting) -> Iterator[str]:
    """A hook for going back runs where content that was healthy before others comes back, and a hook for an upgrade where none does."""
    mutation, state = acting.mutation, acting.state
    if mutation.action != "run" or acting.process != acting.holder or state is None or mutation.hook in ENDING:
        return
    one = (_content_of(acting) or {}).get(mutation.ref.identity)
    back = acting.life.back.get(acting.key, False)
    named = set(one.when.split(",")) if one is not None and one.when else {"first", "later", "back"}
    if not (named & {"back"} if back else named - {"back"}):
        yield f"it is for {', '.join(sorted(named))}, and the deployment {'goes' if back else 'does not go'} back"


@law(ACTS)
def endings_keep_their_hooks(witness: Witness, acting: Acting) -> Iterator[str]:
    """Nothing of an application that ends is removed before its `pre-removal` hooks have succeeded, and no `post-removal` hook runs before all of it has gone."""
    mutation, state, life = acting.mutation, acting.state, acting.life
    if acting.process != acting.holder or state is None or not state.undeclared or state.pending is not None:
        return
    removes = mutation.verb == "removed" and not mutation.hook
    if mutation.action == "run" and mutation.hook == "post-removal":
        for (environment, identity), entry in life.entries.items():
            thing = acting.there.get(identity)
            entered = (environment, entry.application) == (acting.key.environment, acting.key.application) and not entry.hook
            if entered and thing is not None and _may_go(thing, acting.key):
                yield f"{thing.ref} is still there"
    for identity, one in life.well[acting.key].items() if removes or mutation.hook == "post-removal" else ():
        run = life.hooks[acting.key].get(("pre-removal", identity))
        thing = acting.there.get(identity)
        if "pre-removal" not in one.phases or _wanted_by_others(life, acting.key, acting.sequence, identity):
            continue
        if run is None:
            yield f"the pre-removal hook {one.name} has not been run"
        elif thing is not None and thing.uid == run.uid and not _well(thing):
            yield f"the pre-removal hook {one.name} has not succeeded"


def _may_go(thing: Thing, key: Key) -> bool:
    annotations = (thing.body.get("metadata") or {}).get("annotations") or {}
    return thing.owner == Owner("test", key.environment, key.application) and "trimtab.dev/prune" not in annotations


def _wanted_by_others(life: Life, key: Key, sequence: int, identity: Identity) -> bool:
    """True when another application declares the hook, or may do so: then that one's it is."""
    return any(
        name != key.application and (wanted is None or identity in wanted)
        for view in life.views(sequence)
        for name, wanted in view.applications(key.environment)
    )


def _well(thing: Thing | None) -> bool:
    return thing is not None and thing.ready and not thing.trouble


@law(ACTS)
def only_the_leader_acts(witness: Witness, acting: Acting) -> Iterator[str]:
    """Two replicas never both lead: who lost the lease changes nothing, but for calls that were on their way."""
    last = acting.life.led.get(acting.process)
    if acting.process != acting.holder and (last is None or moment() - last > 2 * LEASE_SECONDS):
        yield f"{acting.holder or 'nobody'} leads, and {acting.process} acts"


# --- at every write of the store --------------------------------------------------------------------------------------------


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
                if not ran and not _wanted_by_others(life, key, before.current.sequence, identity):
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


# --- when the faults have stopped -------------------------------------------------------------------------------------------


@law(ENDS)
def it_converges(simulation: Simulation) -> Iterator[str]:
    """Once the faults stop, what runs becomes what Git says within bounded time."""
    yield from simulation.differences()


@law(ENDS)
def hooks_have_run(simulation: Simulation) -> Iterator[str]:
    """What has become healthy has had every hook of its run, unless a lost record only found it as it was."""
    for environment in simulation.view.home.environments if simulation.view.home is not None else ():
        for application, wanted in simulation.view.applications(environment):
            key = Key(environment, application)
            state = simulation.witness.life.states.get(key)
            if state is None or state.current is None or state.pending is not None or state.occasion == "found":
                continue
            if state.current.phase != Phase.HEALTHY or state.current.digest != simulation.view.digest(application, environment):
                continue
            runs = simulation.witness.life.hooks[key]
            for identity, one in (wanted or {}).items():
                for phase in sorted(one.phases_at(state.occasion) - {"failed"} - ENDING):
                    if (phase, identity) not in runs:
                        yield f"{key}: the {phase} hook {one.name} was not run"


@law(ENDS)
def one_approval_is_enough(simulation: Simulation) -> Iterator[str]:
    """A plan that was approved is carried out to its end; nobody is asked again for what was approved."""
    for grant in simulation.asked_again:
        yield f"{grant.key} was held again for removals that had been approved"


@law(ENDS)
def it_stays_quiet(simulation: Simulation) -> Iterator[str]:
    """When nothing happens, nothing is changed, nothing is recorded, and the target is asked no more than each resync needs."""
    yield from simulation.unrest()


@law(ENDS)
def the_record_is_complete(simulation: Simulation) -> Iterator[str]:
    """Every deployment on record has come to a phase that stands: none is left pending or applying."""
    if simulation.left_held:
        return
    for key, rows in simulation.witness.life.deployments.items():
        for row in rows.values():
            if row.phase in (Phase.PENDING, Phase.APPLYING):
                yield f"{key} at {row.revision[:7]} is still {row.phase}"


@law(ENDS)
def ownership_is_never_lost(simulation: Simulation) -> Iterator[str]:
    """What is ours on the targets stands in the inventory, and the other way round, even after the store was lost."""
    life = simulation.witness.life
    for environment, target in simulation.targets.made.items():
        for identity, thing in target.objects.there.items():
            entry = life.entries.get((environment, identity))
            ours = thing.owner is not None and (thing.owner.installation, thing.owner.environment) == ("test", environment)
            on_its_way = (
                simulation.left_held and entry is not None and entry.state == "intended"
            )  # a hand-over that something holds
            if (
                ours
                and not on_its_way
                and thing.owner is not None
                and (entry is None or entry.application != thing.owner.application)
            ):
                yield f"{thing.ref} in {environment} is {thing.owner.application}'s, and the inventory does not know"
        for (place, identity), entry in life.entries.items():
            if place == environment and identity not in target.objects.there and not simulation.left_held:
                yield f"{entry.ref} in {environment} stands in the inventory and is not there"
