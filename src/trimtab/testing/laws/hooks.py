"""What is asked of hooks at every mutation of a target: each runs once, in its phase, and those of an end when it has come."""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.testing.witness import Acting, Witness
from trimtab.testing.worlds import ENDING

from .law import ACTS, law
from .objects import content_of, may_go, wanted_by_others, well


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
    wanted = content_of(acting) or {}
    for identity, one in wanted.items():
        thing = acting.there.get(identity)
        run = acting.life.hooks[acting.key].get(("pre", identity))
        if "pre" in one.phases_at(state.occasion) and run is None:
            yield f"the pre hook {one.name} has not been run"
        elif run is not None and thing is not None and thing.uid == run.uid and not well(thing):
            yield f"the pre hook {one.name} has not succeeded"
        if mutation.hook == "post" and not one.hook and not well(thing):
            yield f"{one.name} is not there and well"


@law(ACTS)
def hooks_know_the_way(witness: Witness, acting: Acting) -> Iterator[str]:
    """A hook for going back runs where content that was healthy before others comes back, and a hook for an upgrade where none does."""
    mutation, state = acting.mutation, acting.state
    if mutation.action != "run" or acting.process != acting.holder or state is None or mutation.hook in ENDING:
        return
    one = (content_of(acting) or {}).get(mutation.ref.identity)
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
            if entered and thing is not None and may_go(thing, acting.key):
                yield f"{thing.ref} is still there"
    for identity, one in life.well[acting.key].items() if removes or mutation.hook == "post-removal" else ():
        run = life.hooks[acting.key].get(("pre-removal", identity))
        thing = acting.there.get(identity)
        if "pre-removal" not in one.phases or wanted_by_others(life, acting.key, acting.sequence, identity):
            continue
        if run is None:
            yield f"the pre-removal hook {one.name} has not been run"
        elif thing is not None and thing.uid == run.uid and not well(thing):
            yield f"the pre-removal hook {one.name} has not succeeded"
