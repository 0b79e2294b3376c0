"""People change the documents: applications come, go, get other names, ends and orders."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab.core.model.names import Key
from trimtab.testing.worlds import APPLICATIONS, KINDS, RELEASE, Content, Place, Wanted, add_application, document

from .content import depended_on
from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


@operation(5)
async def rename(world: Simulation) -> str:
    """An application gets another name; its objects stay as they are."""
    content = world.branches["main"].copy()
    free = sorted(set(APPLICATIONS) - set(content.applications))
    if not free or not content.applications:
        return ""
    old, new = world.chance.choice(sorted(content.applications)), world.chance.choice(free)
    content.applications[new] = replace(content.applications.pop(old), name=new)
    content.broken.pop(document(old), None)
    for name, app in content.applications.items():
        depends_on = tuple(said.replace(old, new) if depended_on(said) == old else said for said in app.depends_on)
        content.applications[name] = replace(app, depends_on=depends_on)
    return world.commit("main", content, f"rename application {old} to {new}")


@operation(3)
async def add_an_application(world: Simulation) -> str:
    """A new application."""
    content = world.branches["main"].copy()
    free = sorted(name for name in APPLICATIONS if name not in content.applications and f"apps/{name}" not in content.directories)
    if not free:
        return ""
    name = world.chance.choice(free)
    add_application(content, name, world.chance)
    app = content.applications[name]
    if RELEASE in world.branches:
        release = world.branches[RELEASE].copy()
        release.directories |= {path: dict(content.directories[path]) for path in app.paths}
        world.commit(RELEASE, release, f"the directories of {name}")
    elif app.revision:
        content.applications[name] = replace(app, revision="")
    return world.commit("main", content, f"add application {name}")


@operation(5)
async def remove_an_application(world: Simulation) -> str:
    """An application is declared no more, in one Environment or at all; often its objects go to another one."""
    content = world.branches["main"].copy()
    if len(content.applications) < 2:
        return ""
    name = world.chance.choice(sorted(content.applications))
    app = content.applications[name]
    if len(app.places) > 1 and world.chance.random() < 0.4:
        content.applications[name] = replace(app, places=app.places[:-1])
        _independent(content)
        return world.commit("main", content, f"{name} leaves {app.places[-1].environment}")
    del content.applications[name]
    content.broken.pop(document(name), None)
    for path in app.paths if world.chance.random() < 0.5 else ():
        objects = content.directories.pop(path, {})
        if world.chance.random() < 0.5:
            heir = world.chance.choice(sorted(content.applications))
            content.directories[content.applications[heir].path] |= objects
    _independent(content)
    return world.commit("main", content, f"remove application {name}")


@operation(4)
async def end(world: Simulation) -> str:
    """An application gets hooks for its end, and a while later it is declared no more."""
    content = world.branches["main"].copy()
    if len(content.applications) < 2:
        return ""
    name = world.chance.choice(sorted(content.applications))
    app = content.applications[name]
    hooks = [
        Wanted(world.chance.choice(KINDS), f"new-{world.number()}", hook=phase, delete=world.chance.choice(("", "succeeded")))
        for phase in ("pre-removal", "post-removal", "post,pre-removal")[: world.chance.choice((2, 2, 3))]
    ]
    for path in app.paths if not app.revision else ():
        content.directories.setdefault(path, {}).update({hook.name: hook for hook in hooks})
    said = world.commit("main", content, f"hooks for the end of {name}")
    await asyncio.sleep(world.chance.uniform(5, 90))
    content = world.branches["main"].copy()
    if name not in content.applications or len(content.applications) < 2:
        return said
    del content.applications[name]
    content.broken.pop(document(name), None)
    _independent(content)
    return f"{said}; {world.commit('main', content, f'{name} ends')}"


def _independent(content: Content) -> None:
    """Nobody depends on what is not there."""
    for name, app in content.applications.items():
        kept = tuple(
            said
            for said in app.depends_on
            if (other := content.applications.get(depended_on(said)))
            and all(other.runs_in(Key.said(said, place.environment).environment) for place in app.places)
        )
        content.applications[name] = replace(app, depends_on=kept)


@operation(2)
async def rearrange(world: Simulation) -> str:
    """An application gets another order of promotion, or another path."""
    content = world.branches["main"].copy()
    app = content.applications[world.chance.choice(sorted(content.applications))]
    names = list(content.environments)
    spread = [place.environment for place in app.places]
    if world.chance.random() < 0.5 and len(spread) < len(names):
        spread.append(next(name for name in names if name not in spread))
    chained = world.chance.random() < 0.5
    places = tuple(Place(name, (spread[index - 1],) if chained and index else ()) for index, name in enumerate(spread))
    content.applications[app.name] = replace(app, places=places, depends_on=())
    return world.commit("main", content, f"rearrange {app.name}")
