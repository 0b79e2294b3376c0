"""People change what directories hold: objects of applications, and their hooks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trimtab.core.model.names import ObjectRef
from trimtab.testing.objects import WIDE
from trimtab.testing.worlds import KINDS, NEIGHBOURS, RELEASE, Content, Wanted, a_hook, object_file

from .operation import Entering, Operation

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

OPERATIONS: dict[Operation, int] = {}
operation = Entering(OPERATIONS)


def somewhere(world: Simulation) -> tuple[str, Content, str]:
    """A branch, a copy of its content, and a directory that holds objects; the path is "" when there is none."""
    branch = RELEASE if RELEASE in world.branches and world.chance.random() < 0.15 else "main"
    content = world.branches[branch].copy()
    paths = sorted(path for path, objects in content.directories.items() if objects)
    return branch, content, world.chance.choice(paths) if paths else ""


@operation(10)
async def change(world: Simulation) -> str:
    """Change some objects of a directory."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    objects = content.directories[path]
    names = world.chance.sample(sorted(objects), world.chance.randint(1, len(objects)))
    trouble: Any = world.chance.choice(("",) * 9 + ("never", "never", "refuses", "invalid"))
    for name in names:
        objects[name] = replace(objects[name], version=objects[name].version + 1, trouble="")
    if trouble == "never" and objects[names[0]].hook and world.chance.random() < 0.7:
        trouble = "fails"
    if objects[names[0]].ends:
        trouble = ""
    objects[names[0]] = replace(objects[names[0]], trouble=trouble)
    return world.commit(branch, content, f"change {', '.join(names)} in {path} {trouble}")


@operation(3)
async def refix(world: Simulation) -> str:
    """Change a field that can only be set when the object is made, among other changes; some say that it may be made anew."""
    branch, content, path = somewhere(world)
    names = sorted(name for name, one in content.directories.get(path, {}).items() if not one.hook)
    if not names:
        return ""
    objects = content.directories[path]
    renew(objects)
    name = world.chance.choice(names)
    replaces = world.chance.random() < 0.5
    objects[name] = replace(objects[name], fixed=objects[name].fixed + 1, replaces=replaces)
    world.refixed.add(objects[name].identity)
    return world.commit(branch, content, f"change what is fixed of {name} in {path}{' and make it anew' if replaces else ''}")


@operation(3)
async def overtake(world: Simulation) -> str:
    """An application and what it depends on change together; then what it depends on changes once more before it got its turn."""
    content = world.branches["main"].copy()
    pairs = [
        (content.directories.get(app.path), content.directories.get(content.applications[depended_on(said)].path))
        for app in content.applications.values()
        for said in app.depends_on
    ]
    found = [(first, second) for first, second in pairs if first and second]
    if not found:
        return ""
    first, second = world.chance.choice(found)
    renew(first)
    renew(second)
    said = world.commit("main", content, "change an application and what it depends on")
    await asyncio.sleep(world.chance.uniform(0, 5))
    content = content.copy()
    renew(next(objects for objects in content.directories.values() if objects == second))
    return f"{said}; {world.commit('main', content, 'and what it depends on once more')}"


@operation(6)
async def add(world: Simulation) -> str:
    """Add objects to a directory; some adopt, some are never to be removed."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    in_the_way = world.chance.random() < 0.2
    for _ in range(world.chance.choice((1, 1, 2, 4))):
        name = f"new-{world.number()}"
        adopt, keep = world.chance.random() < 0.15, world.chance.random() < 0.1
        wave = world.chance.choice((0, 0, 0, 1, -1))
        wanted = Wanted(world.chance.choice(KINDS), name, wave=wave, adopt=adopt, keep=keep)
        content.directories[path][name] = wanted
        for environment in content.environments if in_the_way else ():
            plant(world, environment, wanted.manifest.ref)
    return world.commit(branch, content, f"add to {path}")


@operation(6)
async def add_hook(world: Simulation) -> str:
    """Add a hook to a directory, often with a change of the rest; some hooks fail."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    name = f"new-{world.number()}"
    fails: Any = "fails" if world.chance.random() < 0.4 else ""
    objects = content.directories[path]
    if world.chance.random() < 0.5:
        renew(objects)
    made = a_hook(name, world.chance)
    objects[name] = made if made.ends else replace(made, trouble=fails)
    return world.commit(branch, content, f"add the {objects[name].hook} hook {name} to {path} {fails}")


@operation(3)
async def delete_a_hook(world: Simulation) -> str:
    """Somebody tidies up after a hook, or in the middle of it."""
    names = {entry.ref.identity for entry in world.witness.life.entries.values() if entry.hook}
    things = [
        (environment, thing)
        for environment, target in sorted(world.targets.made.items())
        for thing in target.objects.there.values()
        if thing.ref.identity in names and thing.owner
    ]
    if not things:
        return ""
    environment, thing = world.chance.choice(things)
    world.targets.get(environment).delete(thing.ref.identity)
    return f"the object of the hook {thing.ref} in {environment} is deleted"


@operation(9)
async def remove(world: Simulation) -> str:
    """Remove some objects of a directory, often most of them."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    objects = content.directories[path]
    names = world.chance.sample(sorted(objects), world.chance.randint(1, len(objects)))
    for name in names:
        del objects[name]
    return world.commit(branch, content, f"remove {', '.join(names)} from {path}")


@operation(4)
async def empty(world: Simulation) -> str:
    """Empty a directory."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    content.directories[path].clear()
    if world.chance.random() < 0.5:
        content.bare |= {path}
    return world.commit(branch, content, f"empty {path}")


@operation(3)
async def thin_out(world: Simulation) -> str:
    """One commit takes a little from every application."""
    content = world.branches["main"].copy()
    for objects in content.directories.values():
        for name in world.chance.sample(sorted(objects), min(len(objects), world.chance.choice((1, 2)))):
            del objects[name]
    return world.commit("main", content, "take a little from everybody")


@operation(4)
async def exchange(world: Simulation) -> str:
    """Rename all objects of a directory."""
    branch, content, path = somewhere(world)
    if not path:
        return ""
    renamed = [replace(one, name=f"other-{world.number()}") for one in content.directories[path].values()]
    content.directories[path] = {one.name: one for one in renamed}
    return world.commit(branch, content, f"rename everything in {path}")


@operation(7)
async def move(world: Simulation) -> str:
    """Move an object, or all of them, from one directory to another."""
    branch, content, path = somewhere(world)
    others = sorted(set(content.directories) - {path})
    if not path or not others:
        return ""
    to, objects = world.chance.choice(others), content.directories[path]
    names = sorted(objects) if world.chance.random() < 0.3 else [world.chance.choice(sorted(objects))]
    for name in names:
        content.directories[to][name] = objects.pop(name)
    return world.commit(branch, content, f"move {', '.join(names)} from {path} to {to}")


@operation(25, shared=True)
async def migrate(world: Simulation) -> str:
    """Objects move to another Environment at the same place, or back; some go on being declared in the old one, and some have just been made."""
    content = world.branches["main"].copy()
    from_, to = world.chance.choice((list(NEIGHBOURS.values()), list(NEIGHBOURS.values())[::-1]))
    here, there = content.directories.get(from_), content.directories.get(to)
    if here is None or there is None:
        return ""
    if not here or world.chance.random() < 0.2:
        name = f"wide-{world.number()}"
        here[name] = Wanted(WIDE, name, wave=world.chance.choice((0, 0, 1)))
        world.commit("main", content.copy(), f"add {name} to {from_}")
        await asyncio.sleep(world.chance.choice((0, 1, 10)))
        content = world.branches["main"].copy()
        here, there = content.directories[from_], content.directories[to]
    names = sorted(here) if world.chance.random() < 0.4 else [world.chance.choice(sorted(here))]
    keeps = world.chance.random() < 0.1
    for name in names:
        there[name] = replace(here[name], version=here[name].version + world.chance.choice((0, 1)))
        if not keeps:
            del here[name]
    moved = there[names[0]]
    if world.chance.random() < 0.2:
        content.broken[object_file(to, moved)] = "garbled"
    return world.commit("main", content, f"{'copy' if keeps else 'move'} {', '.join(names)} from {from_} to {to}")


@operation(2)
async def rival(world: Simulation) -> str:
    """A second application declares an object that the first goes on declaring."""
    branch, content, path = somewhere(world)
    others = sorted(set(content.directories) - {path})
    if not path or not others:
        return ""
    name = world.chance.choice(sorted(content.directories[path]))
    to = world.chance.choice(others)
    content.directories[to][name] = content.directories[path][name]
    return world.commit(branch, content, f"{to} declares {name} of {path} too")


def depended_on(said: str) -> str:
    """Of whom somebody depends on."""
    return said.partition("@")[0]


def plant(world: Simulation, environment: str, ref: ObjectRef) -> None:
    if ref.identity in world.targets.get(environment).objects.there:
        return
    body = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": ref.name}, "spec": {"by": "hand"}}
    world.targets.get(environment).put_foreign(ref, body)


def renew(objects: dict[str, Wanted]) -> None:
    for name, one in objects.items():
        objects[name] = replace(one, version=one.version + 1)
