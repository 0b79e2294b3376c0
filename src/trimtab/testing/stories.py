"""What happens in a simulated world, by a seed: what people commit, what befalls repositories and targets, what operators ask for.

Each operation is a function of the `Simulation` that does one thing and says it in words, or returns "" where it does not apply.
`OPERATIONS` holds each with its weight; `mend` is how every story ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trimtab.core.lifecycle.state import Approved, Happening
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Owner
from trimtab.core.model.plan import Plan
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Session

from .factories import INSTALLATION
from .faults import Fault
from .objects import WIDE, Thing, shared
from .worlds import (
    APPLICATIONS,
    KINDS,
    NEIGHBOURS,
    RELEASE,
    Content,
    Place,
    Wanted,
    a_hook,
    add_application,
    document,
    object_file,
)

if TYPE_CHECKING:
    from .simulation import Simulation

Operation = Callable[["Simulation"], Awaitable[str]]
OPERATIONS: dict[Operation, int] = {}


SHARED: set[Operation] = set()
"""Those of worlds in which two Environments are at one place, alone."""


def operation(weight: int, *, shared: bool = False) -> Callable[[Operation], Operation]:
    def enter(function: Operation) -> Operation:
        OPERATIONS[function] = weight
        if shared:
            SHARED.add(function)
        return function

    return enter


# --- people commit ----------------------------------------------------------------------------------------------------------


def _somewhere(world: Simulation) -> tuple[str, Content, str]:
    """A branch, a copy of its content, and a directory that holds objects; the path is "" when there is none."""
    branch = RELEASE if RELEASE in world.branches and world.chance.random() < 0.15 else "main"
    content = world.branches[branch].copy()
    paths = sorted(path for path, objects in content.directories.items() if objects)
    return branch, content, world.chance.choice(paths) if paths else ""


@operation(10)
async def change(world: Simulation) -> str:
    """Change some objects of a directory."""
    branch, content, path = _somewhere(world)
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
    branch, content, path = _somewhere(world)
    names = sorted(name for name, one in content.directories.get(path, {}).items() if not one.hook)
    if not names:
        return ""
    objects = content.directories[path]
    _renew(objects)
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
        (content.directories.get(app.path), content.directories.get(content.applications[_name(said)].path))
        for app in content.applications.values()
        for said in app.depends_on
    ]
    found = [(first, second) for first, second in pairs if first and second]
    if not found:
        return ""
    first, second = world.chance.choice(found)
    _renew(first)
    _renew(second)
    said = world.commit("main", content, "change an application and what it depends on")
    await asyncio.sleep(world.chance.uniform(0, 5))
    content = content.copy()
    _renew(next(objects for objects in content.directories.values() if objects == second))
    return f"{said}; {world.commit('main', content, 'and what it depends on once more')}"


@operation(6)
async def add(world: Simulation) -> str:
    """Add objects to a directory; some adopt, some are never to be removed."""
    branch, content, path = _somewhere(world)
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
            _plant(world, environment, wanted.manifest.ref)
    return world.commit(branch, content, f"add to {path}")


@operation(6)
async def add_hook(world: Simulation) -> str:
    """Add a hook to a directory, often with a change of the rest; some hooks fail."""
    branch, content, path = _somewhere(world)
    if not path:
        return ""
    name = f"new-{world.number()}"
    fails: Any = "fails" if world.chance.random() < 0.4 else ""
    objects = content.directories[path]
    if world.chance.random() < 0.5:
        _renew(objects)
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
    branch, content, path = _somewhere(world)
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
    branch, content, path = _somewhere(world)
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
    branch, content, path = _somewhere(world)
    if not path:
        return ""
    renamed = [replace(one, name=f"other-{world.number()}") for one in content.directories[path].values()]
    content.directories[path] = {one.name: one for one in renamed}
    return world.commit(branch, content, f"rename everything in {path}")


@operation(7)
async def move(world: Simulation) -> str:
    """Move an object, or all of them, from one directory to another."""
    branch, content, path = _somewhere(world)
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
    branch, content, path = _somewhere(world)
    others = sorted(set(content.directories) - {path})
    if not path or not others:
        return ""
    name = world.chance.choice(sorted(content.directories[path]))
    to = world.chance.choice(others)
    content.directories[to][name] = content.directories[path][name]
    return world.commit(branch, content, f"{to} declares {name} of {path} too")


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
        depends_on = tuple(said.replace(old, new) if _name(said) == old else said for said in app.depends_on)
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
            if (other := content.applications.get(_name(said)))
            and all(other.runs_in(Key.said(said, place.environment).environment) for place in app.places)
        )
        content.applications[name] = replace(app, depends_on=kept)


def _name(said: str) -> str:
    """Of whom somebody depends on."""
    return said.partition("@")[0]


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


@operation(6)
async def break_something(world: Simulation) -> str:
    """Break a manifest or a configuration document."""
    branch, content, path = _somewhere(world)
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


# --- what befalls repositories ----------------------------------------------------------------------------------------------


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


# --- what befalls targets ---------------------------------------------------------------------------------------------------


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
    _plant(world, environment, ref)
    if world.chance.random() < 0.3:
        target.objects.there[ref.identity].owner = Owner("another", environment, "theirs")
    return f"a foreign {ref} in {environment}"


def _plant(world: Simulation, environment: str, ref: ObjectRef) -> None:
    if ref.identity in world.targets.get(environment).objects.there:
        return
    body = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": ref.name}, "spec": {"by": "hand"}}
    world.targets.get(environment).put_foreign(ref, body)


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
            _plant(world, environment, ref)
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


# --- what operators ask for -------------------------------------------------------------------------------------------------


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
    _renew(objects)
    return f"{said}; {world.commit('main', content, f'change everything of {key.application}')}"


def _renew(objects: dict[str, Wanted]) -> None:
    for name, one in objects.items():
        objects[name] = replace(one, version=one.version + 1)


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


# --- what befalls the server ------------------------------------------------------------------------------------------------


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


# --- the end of every story -------------------------------------------------------------------------------------------------


async def mend(world: Simulation) -> None:
    """Faults stop, and what is broken is mended: Git, remotes, targets, suspensions."""
    world.faults.stop()
    world.remote.repair()
    for branch in world.branches:
        world.restore(branch)
    await mend_everything(world)
    if not world.left_held:
        _make_anew(world)
    _complete(world)
    for target in world.targets.made.values():
        target.down = False
    if not world.left_held:
        _resolve_rivals(world)
        _clear_for_endings(world)


def _make_anew(world: Simulation) -> None:
    """Whatever has had another fixed field at some time may be made anew, wherever it is declared."""
    for branch, content in list(world.branches.items()):
        made = content.copy()
        for objects in made.directories.values():
            for name, one in objects.items():
                objects[name] = replace(one, replaces=one.replaces or (one.identity in world.refixed and not one.hook))
        if made != content:
            world.commit(branch, made, "let be made anew what cannot be changed")


def _complete(world: Simulation) -> None:
    """Every application has a directory on the branch that it follows; a revert may have taken it away."""
    for branch, content in list(world.branches.items()):
        apps = [app for app in world.branches["main"].applications.values() if (app.revision or "main") == branch]
        lacking = {path for app in apps for path in app.paths} - content.directories.keys()
        if lacking:
            content = content.copy()
            content.directories |= {path: {} for path in sorted(lacking)}
            world.commit(branch, content, "the directories that are lacking")


def _resolve_rivals(world: Simulation) -> None:
    """Each object is left to the first application that declares it, and what is in the way on a target goes."""
    branches = {name: content.copy() for name, content in world.branches.items()}
    home = branches["main"]
    seen_by_all: dict[str, set[Identity]] = {}
    for environment in home.environments:
        seen: set[Identity] = set()
        anywhere = seen_by_all.setdefault(world.targets.places.get(environment, environment), set())
        there = world.targets.get(environment).objects.there
        for app, place in [(one, place) for one in home.applications.values() for place in one.places]:
            objects = branches[app.revision or "main"].directories.get(place.path or app.path, {})
            for name, wanted in list(objects.items()) if place.environment == environment else ():
                if wanted.identity in (anywhere if shared(wanted.identity) else seen):
                    del objects[name]
                elif _in_the_way(there.get(wanted.identity), adopts=(app.adopt or wanted.adopt) and not wanted.hook):
                    world.targets.get(environment).delete(wanted.identity)
                (anywhere if shared(wanted.identity) else seen).add(wanted.identity)
    for name, content in branches.items():
        if content != world.branches[name]:
            world.commit(name, content, "leave each object to one application")


def _clear_for_endings(world: Simulation) -> None:
    """What is in the way of a hook that Git has no more goes, too."""
    for key, wanted in world.witness.life.well.items():
        there = world.targets.get(key.environment).objects.there
        for identity, one in wanted.items():
            if one.ends and _in_the_way(there.get(identity), adopts=False):
                world.targets.get(key.environment).delete(identity)


def _in_the_way(thing: Thing | None, *, adopts: bool) -> bool:
    if thing is None or (thing.owner is not None and thing.owner.installation == INSTALLATION):
        return False
    return thing.owner is not None or not adopts
