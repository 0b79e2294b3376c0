"""What is asked at every mutation of a target: whose it is, whether Git wants it, and whether it may be done now."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.core.model.names import Identity, Key
from trimtab.core.model.observed import Owner
from trimtab.testing.faults import moment
from trimtab.testing.objects import Thing, spec_of
from trimtab.testing.witness import Acting, Life, Witness
from trimtab.testing.worlds import View, Wanted

from .law import ACTS, IN_FLIGHT_SECONDS, LEASE_SECONDS, law


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
    wanted = content_of(acting)
    return wanted is not None and identity in wanted and bool(wanted[identity].hook)


def content_of(acting: Acting) -> dict[Identity, Wanted] | None:
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
    wanted = content_of(acting) or {}
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
    wanted = (content_of(acting) or {}).get(acting.mutation.ref.identity)
    if acting.mutation.action == "replace" and wanted is not None and not wanted.replaces:
        yield "Git does not say that it may be made anew"


def may_go(thing: Thing, key: Key) -> bool:
    annotations = (thing.body.get("metadata") or {}).get("annotations") or {}
    return thing.owner == Owner("test", key.environment, key.application) and "trimtab.dev/prune" not in annotations


def wanted_by_others(life: Life, key: Key, sequence: int, identity: Identity) -> bool:
    """True when another application declares the hook, or may do so: then that one's it is."""
    return any(
        name != key.application and (wanted is None or identity in wanted)
        for view in life.views(sequence)
        for name, wanted in view.applications(key.environment)
    )


def well(thing: Thing | None) -> bool:
    return thing is not None and thing.ready and not thing.trouble


@law(ACTS)
def only_the_leader_acts(witness: Witness, acting: Acting) -> Iterator[str]:
    """Two replicas never both lead: who lost the lease changes nothing, but for calls that were on their way."""
    last = acting.life.led.get(acting.process)
    if acting.process != acting.holder and (last is None or moment() - last > 2 * LEASE_SECONDS):
        yield f"{acting.holder or 'nobody'} leads, and {acting.process} acts"
