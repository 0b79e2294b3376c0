"""What befalls repositories: histories that are rewritten, branches and remotes that go and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab.testing.worlds import Wanted

from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


@operation(4)
async def force_push(world: Simulation) -> str:
    """Somebody rewrites the newest commits of a branch."""
    branch = world.chance.choice(sorted(world.branches))
    history = world.history[branch]
    back = world.chance.choice((1, 1, 2))
    if len(history) <= back or f"refs/heads/{branch}" not in world.remote.refs:
        return ""
    world.rewind(branch, back)
    content = world.witness.contents[world.history[branch][-1]].copy()
    path = world.chance.choice(sorted(content.directories))
    if world.chance.random() < 0.6:
        content.directories[path] = {}
    else:
        content.directories[path][f"pushed-{world.number()}"] = Wanted("File", f"pushed-{world.number()}")
    return world.commit(branch, content, "force-push")


@operation(2)
async def delete_branch(world: Simulation) -> str:
    """A followed branch is deleted."""
    branch = world.chance.choice(sorted(world.branches))
    if f"refs/heads/{branch}" not in world.remote.refs:
        return ""
    world.remote.delete_branch(branch)
    return f"delete branch {branch}"


@operation(2)
async def restore_branches(world: Simulation) -> str:
    """Deleted branches come back."""
    return ", ".join(f"restore {branch}" for branch in world.branches if world.restore(branch))


@operation(3)
async def lose_remote(world: Simulation) -> str:
    """The repository vanishes, or is corrupt."""
    if world.chance.random() < 0.5:
        world.remote.vanish()
        return "the remote vanishes"
    world.remote.corrupt()
    return "the remote is corrupt"


@operation(4)
async def repair_remote(world: Simulation) -> str:
    """The repository answers again."""
    if not world.remote.broken:
        return ""
    world.remote.repair()
    return "the remote is repaired"
