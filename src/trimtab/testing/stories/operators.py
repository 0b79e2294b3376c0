"""What operators ask for: approvals, also of what was held once, suspensions, syncs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from trimtab.core.lifecycle.state import Approved, Happening
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Plan
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Session

from .content import remove, renew
from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


@operation(9)
async def approve(world: Simulation) -> str:
    """Somebody approves what is held now; sometimes Git moves at the same moment."""
    said = await world.approve(world.chance)
    if said and world.chance.random() < 0.3:
        return f"{said}; {await remove(world)}"
    return said


@operation(8)
async def approve_outgrown(world: Simulation) -> str:
    """Somebody approves what is held, and while the answer is on its way another commit makes it remove more."""
    held = [
        (key, state.current)
        for key, state in world.witness.life.states.items()
        if state.current and state.current.phase == "held"
    ]
    engine = world.leader()
    if engine is None or engine.session is None or not held:
        return ""
    key, current = world.chance.choice(held)
    plan = engine.session.world.live[key].plan
    found = world.view.place(key.application, key.environment)
    content = world.branches["main"].copy()
    path = (found[1].path or found[0].path) if found is not None else ""
    if plan is None or not content.directories.get(path):
        return ""
    del content.directories[path][world.chance.choice(sorted(content.directories[path]))]
    said = world.commit("main", content, f"remove one more from {path}")
    await asyncio.sleep(world.chance.uniform(0, 15))
    return f"{said}; {await _approve_by_hash(world, key, plan, current.sequence)}"


@operation(4)
async def approve_stale(world: Simulation) -> str:
    """Somebody approves a plan that was held once, by its hash; the lifecycle gets it although it may have changed since."""
    return await _approve_by_hash(world, *world.chance.choice(world.held_once)) if world.held_once else ""


async def _approve_by_hash(world: Simulation, key: Key, plan: Plan, sequence: int) -> str:
    engine = world.leader()
    if engine is None or engine.session is None or key not in engine.session.world.states:
        return ""
    world.witness.grant(key, plan, sequence=sequence)
    await world.ask(_post(engine.session, key, Approved(plan.hash, "ada")))
    return f"approve {plan.hash[:14]} of {key}, which was held once"


async def _post(session: Session, key: Key, happening: Happening) -> None:
    session.workers.post(key, happening)


@operation(6)
async def suspend(world: Simulation) -> str:
    """Somebody suspends an application."""
    key = _some_key(world)
    engine = world.leader()
    if key is None or engine is None:
        return ""
    until = engine.parts.clock.now() + timedelta(seconds=world.chance.choice((20, 200))) if world.chance.random() < 0.5 else None
    await world.ask(Commands(engine).suspend(key.application, key.environment, "hands off", until, "ada"))
    said = f"suspend {key} until {until}"
    found = world.view.place(key.application, key.environment)
    content = world.branches["main"].copy()
    objects = content.directories.get(found[1].path or found[0].path) if found is not None else None
    if not objects or world.chance.random() < 0.2:
        return said
    renew(objects)
    return f"{said}; {world.commit('main', content, f'change everything of {key.application}')}"


@operation(4)
async def resume(world: Simulation) -> str:
    """Somebody resumes whatever is suspended."""
    engine = world.leader()
    suspended = [key for key, state in world.witness.life.states.items() if state.suspension is not None]
    if engine is None or not suspended:
        return ""
    key = world.chance.choice(suspended)
    await world.ask(Commands(engine).resume(key.application, key.environment, "ada"))
    return f"resume {key}"


@operation(2)
async def sync(world: Simulation) -> str:
    """Somebody is impatient."""
    key = _some_key(world)
    engine = world.leader()
    if key is None or engine is None:
        return ""
    await world.ask(Commands(engine).sync(key.application, key.environment, "ada"))
    return f"sync {key}"


@operation(3)
async def accept(world: Simulation) -> str:
    """Somebody accepts a rewritten history."""
    return await world.accept()


def _some_key(world: Simulation) -> Key | None:
    keys = sorted(world.witness.life.states)
    return world.chance.choice(keys) if keys else None
