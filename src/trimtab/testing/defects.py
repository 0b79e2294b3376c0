"""Deliberate defects: proof that the simulation can fail. Each breaks one thing that the engine, the core or a target must not get wrong.

A defect is a name, a sentence, and what to put in the place of the right code for the length of a run. `hunt` runs the seed that is
known to catch it, then those from 0 up, until a law does.

    python -m trimtab.testing.defects          a table: defect, law that caught it, seed; exit code 1 when one gets away
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import msgspec

from trimtab.core.decide import configuration
from trimtab.core.decide import hooks as deciding_hooks
from trimtab.core.decide import plan as planning
from trimtab.core.decide.abroad import Abroad
from trimtab.core.decide.hooks import Waits
from trimtab.core.decide.order import next_stage
from trimtab.core.lifecycle import change, draft, reconcile, unmet
from trimtab.core.lifecycle import hooks as lifecycle_hooks
from trimtab.core.lifecycle.gates import gates
from trimtab.core.lifecycle.occasion import occasion
from trimtab.core.lifecycle.review import Happening, Merge, Merged, NotMerged, Review
from trimtab.core.lifecycle.rollout import Turn
from trimtab.core.lifecycle.state import Decision, Looked, Reconciliation
from trimtab.core.model.change import Approval, Requirement
from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.hook import HookPhase, HookRun
from trimtab.core.model.manifest import digest
from trimtab.core.model.plan import Plan
from trimtab.engine import configuring, following, looking, neighbours, workers, world
from trimtab.engine.changes.merging import Made, Merger
from trimtab.ports.hosting import RefUpdate
from trimtab.ports.renderer import Rendered

from . import targets
from .changes import simulation as changes
from .play import Result
from .render import FakeRenderer
from .simulation import simulate
from .store import MemoryStore

SEEDS_MAX = 300


@dataclass(frozen=True)
class Defect:
    """``install`` makes it hold while its context lasts; ``run`` is the simulation that has to catch it, and did so at ``seed``."""

    name: str
    sentence: str
    install: Callable[[], AbstractContextManager[Any]]
    run: Callable[[int], Result] = simulate
    seed: int = 0


@dataclass(frozen=True)
class Caught:
    """Which law caught a defect at which seed; ``seed`` is -1 when none did."""

    defect: Defect
    law: str
    seed: int


DEFECTS: dict[str, Defect] = {}


def defect(
    sentence: str, run: Callable[[int], Result] = simulate, *, seed: int = 0
) -> Callable[[Callable[[], AbstractContextManager[Any]]], Callable[[], AbstractContextManager[Any]]]:
    def enter(install: Callable[[], AbstractContextManager[Any]]) -> Callable[[], AbstractContextManager[Any]]:
        name = install.__name__.replace("_", "-")
        DEFECTS[name] = Defect(name, sentence, install, run, seed)
        return install

    return enter


def hunt(found: Defect, *, seeds: int = SEEDS_MAX) -> Caught:
    """Run seeds with the defect in place, the known one first, until a law does not hold. A seed that has been dealt anew costs time,
    nothing else.
    """
    with found.install():
        for seed in dict.fromkeys((found.seed, *range(seeds))):
            result = found.run(seed)
            if result.violations:
                return Caught(found, result.violations[0].law, seed)
    return Caught(found, "", -1)


# --- ownership --------------------------------------------------------------------------------------------------------------


@defect("The inventory is written after the target, not before.")
def inventory_after_the_write() -> AbstractContextManager[Any]:
    right = reconcile._take

    def wrong(*arguments: Any) -> Decision:
        return msgspec.structs.replace(right(*arguments), entries=())

    return patch.object(reconcile, "_take", wrong)


@defect("State and record are saved after the act, not before.")
def saved_after_the_act() -> AbstractContextManager[Any]:
    right = workers.Workers._store

    async def wrong(self: Any, key: Any, gathered: Any) -> None:
        if not any(entry.state in ("intended", "removing") for entry in gathered.entries.values()):
            await right(self, key, gathered)

    return patch.object(workers.Workers, "_store", wrong)


@defect("After a loss of the store, nobody asks the target what is ours.", seed=26)
def ownership_is_not_rebuilt() -> AbstractContextManager[Any]:
    async def wrong(self: Any, environment: str) -> frozenset[str]:
        return frozenset()

    return patch.object(looking.Hands, "rebuild", wrong)


@defect("What is there already is adopted although nobody declared it.", seed=7)
def everything_is_adopted() -> AbstractContextManager[Any]:
    return _situation(adopt=lambda situation: True)


@defect("An object is removed by its name, whatever its uid is now.")
def removal_without_uid() -> AbstractContextManager[Any]:
    right = targets.FakeTarget.remove

    async def wrong(self: Any, step: Any) -> Any:
        await self.world.faults.point("target.remove:before", str(step.ref))
        found = self.objects.there.get(step.ref.identity)
        return await right(self, msgspec.structs.replace(step, uid=found.uid if found is not None else ""))

    return patch.object(targets.FakeTarget, "remove", wrong)


# --- what must not be removed -----------------------------------------------------------------------------------------------


@defect("The removal budget is not asked.")
def budget_ignored() -> AbstractContextManager[Any]:
    return patch.object(planning, "held_because", lambda *arguments, **named: "")


@defect("What a revision adds counts as if it had been there before, so that renaming everything seems to remove half.", seed=31)
def budget_counts_what_is_new() -> AbstractContextManager[Any]:
    return _situation(owned=lambda situation: None)


@defect("An approval holds for whatever the plan has become.", seed=128)
def approval_survives_a_changed_plan() -> AbstractContextManager[Any]:
    class Anything(frozenset[str]):
        def __contains__(self, hash_: object) -> bool:
            return len(self) > 0

    return _situation(approved=lambda situation: Anything(situation.approved))


@defect("An approval covers the plan's first stage only.")
def approval_forgotten_between_stages() -> AbstractContextManager[Any]:
    return _situation(granted=lambda situation: frozenset())


@defect("A rendering that failed is taken for an empty one.")
def failed_render_is_empty() -> AbstractContextManager[Any]:
    right = FakeRenderer.render

    async def wrong(self: Any, request: Any, tree: Any) -> Rendered:
        try:
            return await right(self, request, tree)
        except UserError:
            return Rendered((), ((request.path, ""),), digest([]))

    return patch.object(FakeRenderer, "render", wrong)


@defect("A document that cannot be read is taken for one that is gone.", seed=53)
def broken_document_is_gone() -> AbstractContextManager[Any]:
    right = configuration.configured

    def wrong(*arguments: Any, **named: Any) -> Any:
        found = right(*arguments, **named)
        kept = {name: one for name, one in found.applications.items() if f"Application/{name}" not in found.doubtful}
        return msgspec.structs.replace(found, applications=kept, doubtful=(), complete=True)

    return patch.object(configuring, "configured", wrong)


@defect("It is not doubted that Git lets an object go, although some of Git could not be read.", seed=19)
def doubts_ignored() -> AbstractContextManager[Any]:
    return patch.object(world.World, "doubts", lambda self, environment: ())


@defect("An object that another application of the environment declares now is removed by the one that had it.", seed=18)
def handover_forgotten() -> AbstractContextManager[Any]:
    return _situation(claims=lambda situation: {})


@defect("An object that another environment of the same place declares now is removed by the one that had it.", seed=51)
def neighbours_forgotten() -> AbstractContextManager[Any]:
    return patch.object(neighbours.Neighbours, "_claims", lambda self, identity: Abroad())


@defect("It is not doubted that an object goes that may stand in what another environment cannot render.", seed=51)
def doubts_elsewhere_ignored() -> AbstractContextManager[Any]:
    return patch.object(neighbours.Neighbours, "_unread", lambda self, identity: iter(()))


@defect("An object of another environment of the same place is taken over, whether it is let go there or not.")
def taken_from_neighbours() -> AbstractContextManager[Any]:
    return patch.object(neighbours, "stance", lambda owning: ("lets-go", ""))


@defect("An annotation that keeps an object from removal is not seen.")
def opt_out_ignored() -> AbstractContextManager[Any]:
    return patch.object(planning, "_opted_out", lambda *arguments: False)


# --- looking ----------------------------------------------------------------------------------------------------------------


@defect("An answer that got lost is read as: there is nothing.")
def lost_answer_is_absent() -> AbstractContextManager[Any]:
    right = targets.FakeTarget.observe

    async def wrong(self: Any, scope: Any) -> Any:
        try:
            return await right(self, scope)
        except TransientError:
            return {}

    return patch.object(targets.FakeTarget, "observe", wrong)


@defect("A wake carries state: what was found well once is not looked at again.", seed=5)
def wake_carries_state() -> AbstractContextManager[Any]:
    right = looking.Hands.look

    async def wrong(self: Any, key: Any, state: Reconciliation) -> Any:
        known: dict[Any, Any] = self.__dict__.setdefault("known", {})
        place = (key, state.current.digest if state.current is not None else "")
        if place not in known:
            found = await right(self, key, state)
            if not isinstance(found, Looked) or not found.plan.empty or not state.settled:
                return found
            known[place] = found
        return known[place]

    return patch.object(looking.Hands, "look", wrong)


@defect("What is settled is looked at only when a wake says so, and wakes get lost.", seed=11)
def no_look_without_a_wake() -> AbstractContextManager[Any]:
    return patch.object(reconcile, "RESYNC_SECONDS", 1e9)


# --- order and leave --------------------------------------------------------------------------------------------------------


@defect("Promotion and dependencies are not waited for.")
def gates_ignored() -> AbstractContextManager[Any]:
    return patch.object(workers, "gates", lambda *arguments, **named: ())


@defect("Environments that were selected together do not take turns.", seed=10)
def turns_ignored() -> AbstractContextManager[Any]:
    return patch.object(workers, "turn", lambda *arguments, **named: Turn())


@defect("A gate asks only what waits now: it forgets content that was replaced while it waited.", seed=70)
def gates_forget_what_waited() -> AbstractContextManager[Any]:
    right = gates

    def wrong(*arguments: Any, states: Any, **named: Any) -> Any:
        seen = {
            key: msgspec.structs.replace(state, behind=state.pending.sequence) if state.pending is not None else state
            for key, state in states.items()
        }
        return right(*arguments, states=seen, **named)

    return patch.object(workers, "gates", wrong)


@defect("Waves are not kept apart, and removals do not wait for what takes their place.")
def waves_ignored() -> AbstractContextManager[Any]:
    def wrong(plan: Plan, **named: Any) -> Any:
        return plan.steps

    return patch.object(reconcile, "next_stage", wrong)


@defect("What comes after an object that is held is done as if it were not wanted.")
def held_objects_are_passed_by() -> AbstractContextManager[Any]:
    def wrong(plan: Plan, **named: Any) -> Any:
        return next_stage(plan, **{**named, "settled": True})

    return patch.object(reconcile, "next_stage", wrong)


@defect("What cannot be changed in place is made anew, whether Git says so or not.")
def made_anew_unasked() -> AbstractContextManager[Any]:
    def fixed(situation: Any) -> Any:
        return {it: msgspec.structs.replace(one, replaces=True) for it, one in situation.fixed.items()}

    return _situation(fixed=fixed)


@defect("A suspended application is worked on.", seed=163)
def suspension_ignored() -> AbstractContextManager[Any]:
    right = reconcile.step

    def wrong(key: Any, state: Reconciliation, happening: Any, now: Any) -> Decision:
        if not isinstance(happening, Looked):
            return right(key, state, happening, now)
        decision = right(key, msgspec.structs.replace(state, suspension=None), happening, now)
        return msgspec.structs.replace(decision, state=msgspec.structs.replace(decision.state, suspension=state.suspension))

    return patch.object(workers, "step", wrong)


@defect("A rewritten history is followed like any other.")
def force_push_followed() -> AbstractContextManager[Any]:
    async def wrong(self: Any, head: Any, found: Any) -> bool:
        return True

    return patch.object(following.Follower, "_follows", wrong)


# --- hooks ------------------------------------------------------------------------------------------------------------------


@defect("A hook whose object is gone is run again, although it has been run.")
def hook_without_object_runs_again() -> AbstractContextManager[Any]:
    right = deciding_hooks.by_place

    def wrong(runs: Any) -> Any:
        return {place: msgspec.structs.replace(run, state="begun", uid="") for place, run in right(runs).items()}

    return patch.object(planning, "by_place", wrong)


@defect(
    "The run of a hook is known by its answer alone: neither the record nor a mark on the object tells of it before.", seed=17
)
@contextmanager
def hook_known_by_its_answer_alone() -> Iterator[None]:
    begin, made = lifecycle_hooks.begin, lifecycle_hooks.made
    numbers = iter(range(1_000_000))

    def wrong_begin(draft_: Any, stage: Any) -> Any:
        before = draft_.state.runs
        marked = begin(draft_, stage)
        draft_.change(runs=before)
        return marked

    def wrong_made(draft_: Any, taken: Any, outcome: Any) -> None:
        if taken.action == "run":
            run = HookRun(HookPhase(taken.hook), taken.ref, "", "there", outcome.uid)
            draft_.change(runs=(*draft_.state.runs, run))
        made(draft_, taken, outcome)

    with (
        patch.object(lifecycle_hooks, "begin", wrong_begin),
        patch.object(lifecycle_hooks, "made", wrong_made),
        patch.object(lifecycle_hooks, "mark_of", lambda *arguments: str(next(numbers))),
    ):
        yield


@defect("A release does not wait for the hooks before it.")
def pre_hooks_not_waited_for() -> AbstractContextManager[Any]:
    right = lifecycle_hooks.first

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return None if isinstance(found, Waits) and not found.ended else found

    return patch.object(lifecycle_hooks, "first", wrong)


@defect("An application that ends does not wait for the hooks before its removals.")
def ending_hooks_not_waited_for() -> AbstractContextManager[Any]:
    right = lifecycle_hooks.first

    def wrong(draft_: Any, looked: Any) -> Any:
        found = right(draft_, looked)
        return None if draft_.state.undeclared and isinstance(found, Waits) and not found.ended else found

    return patch.object(lifecycle_hooks, "first", wrong)


@defect("The hooks of an ending are forgotten with the content that had them.")
def ending_hooks_forgotten() -> AbstractContextManager[Any]:
    return patch.object(looking, "at_its_end", lambda *arguments: ())


@defect("Going back to what was healthy before is taken for one more upgrade.")
def going_back_not_noticed() -> AbstractContextManager[Any]:
    right = occasion

    def wrong(*arguments: Any) -> Any:
        found = right(*arguments)
        return "later" if found == "back" else found

    return patch.object(reconcile, "occasion", wrong)


@defect("The hooks after a release run as soon as it is applied, well or not.")
def post_hooks_run_early() -> AbstractContextManager[Any]:
    return patch.object(lifecycle_hooks, "main_of", lambda plan: plan)


# --- the record and who keeps it --------------------------------------------------------------------------------------------


@defect("The store takes writes of a process that has lost the lease.")
def lease_ignored() -> AbstractContextManager[Any]:
    right = MemoryStore.write

    async def wrong(self: Any, writes: Any, *, epoch: int) -> Any:
        return await right(self, writes, epoch=self._lease.epoch)

    return patch.object(MemoryStore, "write", wrong)


@defect("A deployment that never got its turn is left open on the record.")
def superseded_without_a_trace() -> AbstractContextManager[Any]:
    return patch.object(reconcile, "_supersede_pending", lambda *arguments: None)


@defect("A retry that is due at a time of the wall clock waits for it, even when the clock was set back by a day.", seed=20)
def clock_set_back_stops_retries() -> AbstractContextManager[Any]:
    def wrong(self: Any) -> bool:
        return self.state.retry_at is None or self.now >= self.state.retry_at

    return patch.object(draft.Draft, "may_try", wrong)


@defect("An approval of a Change counts for whatever its plan has become.", changes.simulate)
def approval_of_a_change_outlives_its_plan() -> AbstractContextManager[Any]:
    def wrong(requirement: Requirement, approvals: tuple[Approval, ...], hashes: Mapping[str, str]) -> tuple[str, ...]:
        counting = {one.who for one in approvals if one.environment == requirement.environment}
        return tuple(sorted(counting & requirement.eligible))

    stack = ExitStack()
    stack.enter_context(patch.object(unmet, "approvers", wrong))
    stack.enter_context(patch.object(change, "_withdraw", lambda before, review, now: (review, ())))
    return stack


@defect("A Change is merged onto what the branch is by then, which nobody has looked at.", changes.simulate)
def merged_without_looking_again() -> AbstractContextManager[Any]:
    async def wrong(self: Any, review: Review, act: Merge) -> Happening:
        repository, ref = review.change.repository, f"refs/heads/{review.change.target}"
        base = (await self._hosting.refs(repository))[ref]
        made = await self.make(review, act, onto=base)
        if not isinstance(made, Made):
            return NotMerged(str(made))
        await self._hosting.update_refs(repository, [RefUpdate(ref, base, made.revision)])
        return Merged(made.revision)

    return patch.object(Merger, "merge", wrong)


@contextmanager
def _situation(**wrong: Callable[[planning.Situation], Any]) -> Iterator[None]:
    """Plans are made of a situation in which some fields are not what they should be."""
    right = planning.plan

    def mistaken(situation: planning.Situation) -> Plan:
        return right(dataclasses.replace(situation, **{name: make(situation) for name, make in wrong.items()}))

    with patch.object(looking, "plan", mistaken):
        yield


def main() -> int:
    """0: every defect was caught. 1: one got away."""
    missed = 0
    for found in DEFECTS.values():
        began = time.monotonic()
        caught = hunt(found)
        missed += caught.seed < 0
        what = f"{caught.law} at seed {caught.seed}" if caught.seed >= 0 else f"NOT caught within {SEEDS_MAX} seeds"
        sys.stdout.write(f"{found.name:36} {what:50} {time.monotonic() - began:6.1f} s\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
