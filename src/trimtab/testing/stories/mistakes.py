"""People break something, mend it, and take back what they did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab.testing.worlds import Content, document, object_file

from .content import somewhere
from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


@operation(6)
async def break_something(world: Simulation) -> str:
    """Break a manifest or a configuration document."""
    branch, content, path = somewhere(world)
    if branch == "main" and content.applications and world.chance.random() < 0.5:
        file = document(world.chance.choice(sorted(content.applications)))
        content.broken[file] = world.chance.choice(("garbled", "typo"))
    elif path:
        file = object_file(path, world.chance.choice(list(content.directories[path].values())))
        content.broken[file] = "garbled"
    else:
        return ""
    for gone in world.chance.sample(sorted(content.directories), 1) if world.chance.random() < 0.3 else ():
        if not file.startswith(f"{gone}/"):
            content.directories[gone].clear()
    return world.commit(branch, content, f"break {file}, {content.broken[file]}")


@operation(5)
async def mend_everything(world: Simulation) -> str:
    """Mend all broken files."""
    done = []
    for branch, content in world.branches.items():
        if (
            content.broken
            or content.bare
            or any(one.trouble for objects in content.directories.values() for one in objects.values())
        ):
            done.append(world.commit(branch, _mended(content), "mend"))
    return ", ".join(done)


def _mended(content: Content) -> Content:
    content = content.copy()
    content.broken.clear()
    content.bare = frozenset()
    for objects in content.directories.values():
        for name, one in objects.items():
            objects[name] = replace(one, trouble="")
    return content


@operation(5)
async def revert(world: Simulation) -> str:
    """Take the newest commit, or two, back by a commit."""
    branch = world.chance.choice(sorted(world.branches))
    history = world.history[branch]
    back = world.chance.choice((2, 2, 3))
    if len(history) < back:
        return ""
    return world.commit(branch, world.witness.contents[history[-back]].copy(), f"revert {back - 1} commits")
