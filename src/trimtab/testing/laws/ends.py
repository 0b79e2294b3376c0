"""What is asked when the faults have stopped and the world was given time: it has come to rest, and nothing was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trimtab.core.model.deployment import Phase
from trimtab.core.model.names import Key
from trimtab.testing.worlds import ENDING

from .law import ENDS, law

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation


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
