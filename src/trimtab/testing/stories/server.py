"""What befalls the server: clocks that jump, kills, restarts, a lost store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .content import change
from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


@operation(3)
async def jump(world: Simulation) -> str:
    """The wall clock of a machine is set."""
    replica = world.chance.choice(world.replicas)
    seconds = world.chance.choice((-86_400, -60, 20, 60, 3_600, 86_400))
    replica.clock.jump(seconds)
    said = f"the clock of {replica.name} jumps by {seconds} s"
    if seconds < 0 or world.chance.random() < 0.5:
        return said
    await asyncio.sleep(world.chance.uniform(0, 3))
    return f"{said}; {await change(world)}"


@operation(4)
async def kill(world: Simulation) -> str:
    """A server is killed, at no particular line."""
    replica = world.chance.choice(world.replicas)
    world.faults.crash(replica.process)
    return f"kill {replica.process}"


@operation(2)
async def restart(world: Simulation) -> str:
    """A server ends cleanly and is started again."""
    replica = world.chance.choice(world.replicas)
    await replica.restart()
    return f"restart {replica.name}"


@operation(3)
async def lose_store(world: Simulation) -> str:
    """The record is lost with the servers that used it; what runs goes on."""
    await world.lose_store()
    return "the store is lost"
