"""How every story ends: faults stop, and what is broken is mended, so that all can come to rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trimtab.core.model.names import Identity
from trimtab.testing.factories import INSTALLATION
from trimtab.testing.objects import Thing, shared

from .mistakes import mend_everything

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation


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
