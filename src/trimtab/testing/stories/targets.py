"""What befalls targets: edits, deletions, strangers and outages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trimtab.core.model.names import ObjectRef
from trimtab.core.model.observed import Owner
from trimtab.testing.faults import Fault
from trimtab.testing.objects import Thing
from trimtab.testing.worlds import KINDS

from .content import plant, remove
from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


def _ours(world: Simulation) -> tuple[str, Thing] | None:
    things = [
        (name, thing)
        for name, target in sorted(world.targets.made.items())
        for thing in target.objects.there.values()
        if thing.owner
    ]
    return world.chance.choice(things) if things else None


@operation(5)
async def drift(world: Simulation) -> str:
    """Somebody edits an object by hand."""
    found = _ours(world)
    if found is None:
        return ""
    environment, thing = found
    world.targets.get(environment).drift(thing.ref.identity, {**thing.body, "spec": {"by": "hand"}})
    return f"drift of {thing.ref} in {environment}"


@operation(4)
async def delete(world: Simulation) -> str:
    """Somebody deletes an object by hand, and perhaps makes another one of that name."""
    found = _ours(world)
    if found is None:
        return ""
    environment, thing = found
    target = world.targets.get(environment)
    target.delete(thing.ref.identity)
    if world.chance.random() < 0.3:
        target.put_foreign(thing.ref, {**thing.body, "spec": {"by": "hand"}})
        return f"{thing.ref} in {environment} is deleted, and made anew by somebody"
    return f"{thing.ref} in {environment} is deleted"


@operation(4)
async def foreign(world: Simulation) -> str:
    """An object of somebody else appears, under a name that Git wants or may want."""
    environment = world.chance.choice(sorted(world.branches["main"].environments))
    target = world.targets.get(environment)
    wanted = [one.manifest for objects in world.branches["main"].directories.values() for one in objects.values()]
    number = world.number() + world.chance.randint(1, 2)
    guesses = [ObjectRef("host.trimtab.dev/v1", kind, "", f"{what}-{number}") for kind in KINDS for what in ("new", "other")]
    refs = [ref for ref in [*(one.ref for one in wanted), *guesses, *guesses] if ref.identity not in target.objects.there]
    if not refs:
        return ""
    ref = world.chance.choice(refs)
    plant(world, environment, ref)
    if world.chance.random() < 0.3:
        target.objects.there[ref.identity].owner = Owner("another", environment, "theirs")
    return f"a foreign {ref} in {environment}"


@operation(6)
async def snatch(world: Simulation) -> str:
    """While objects are about to be removed, somebody puts others of the same names there."""
    said = await world.approve(world.chance)
    if not said:
        said = await remove(world)
    for _ in range(100):
        if any(entry.state == "removing" for entry in world.witness.life.entries.values()):
            break
        await asyncio.sleep(0.02)
    snatched = []
    for environment, target in sorted(world.targets.made.items()):
        leaving = [
            entry.ref
            for (place, _), entry in world.witness.life.entries.items()
            if place == environment and entry.state == "removing"
        ]
        for ref in [ref for ref in leaving if ref.identity in target.objects.there]:
            target.delete(ref.identity)
            plant(world, environment, ref)
            snatched.append(f"{ref} in {environment}")
    return f"{said}; others take the place of {', '.join(snatched) or 'nothing'}"


@operation(2)
async def set_back(world: Simulation) -> str:
    """An object cannot be put right for a while, and meanwhile the clocks are set back by a day."""
    said = await drift(world)
    for _ in range(6 if said else 0):
        world.faults.plan("target.apply:before", Fault.FAILED)
    await asyncio.sleep(world.chance.uniform(3, 8))
    for replica in world.replicas:
        replica.clock.jump(-86_400)
    return f"{said}, applying fails, and all clocks are set back by a day"


@operation(2)
async def outage(world: Simulation) -> str:
    """A target does not answer for a while."""
    environment = world.chance.choice(sorted(world.branches["main"].environments))
    target = world.targets.get(environment)
    target.down = not target.down
    return f"{environment} is {'down' if target.down else 'up'}"
