"""The objects of a target in memory, and what can befall them: steps of an engine, and the world itself (`step=None`).

Every mutation is written to a journal, with who did it and to whose object; the laws of the simulation read that and nothing
else. An object gets healthy after a delay chosen by the seed, unless its spec says otherwise (see `targets.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Observed, Owner
from trimtab.core.model.plan import Action, Step

from .faults import Faults, moment
from .wakes import Wakes

WIDE = "Wide"
"""The kind of objects that are in no namespace."""


@dataclass(frozen=True)
class Mutation:
    """Something became different. ``action`` is that of the step, "" when the world itself did it; ``application`` is who acted.

    ``owner`` is whose the object was before (None: nobody's, or not there), ``uid`` that of the object that was acted on, and
    ``digest`` that of the manifest that was applied. ``hook`` is that of the step, ``made`` the uid of what has come about.
    """

    time: float
    verb: str  # created | updated | replaced | removed
    environment: str
    ref: ObjectRef
    uid: str
    action: str = ""
    application: str = ""
    owner: Owner | None = None
    digest: str = ""
    hook: str = ""
    made: str = ""


@dataclass
class World:
    """What all Environments share. ``ready_seconds`` is between what and what an object takes to get healthy; ``echo`` tells
    whether a watch also reports what the engine itself did, as it does on Kubernetes.
    """

    faults: Faults = field(default_factory=Faults.none)
    installation: str = "test"
    ready_seconds: tuple[float, float] = (0.0, 0.0)
    echo: bool = True
    journal: list[Mutation] = field(default_factory=list)
    uids: int = 0

    def new_uid(self) -> str:
        self.uids += 1
        return f"uid-{self.uids}"


@dataclass(eq=False)
class Thing:
    """One object that is there."""

    ref: ObjectRef
    uid: str
    body: Body
    owner: Owner | None = None
    digest: str = ""
    ready: bool = True
    trouble: str = ""  # why it is degraded
    timer: asyncio.TimerHandle | None = None

    def observed(self) -> Observed:
        return Observed(self.ref, self.uid, self.body, self.owner, self.digest, {"ready": self.ready, "trouble": self.trouble})


class There(dict[Identity, Thing]):
    """What one Environment sees. What is not in a namespace of its own stands in the dictionaries of all that are ``beside`` it, too."""

    def __init__(self) -> None:
        super().__init__()
        self.beside: list[There] = [self]

    def __setitem__(self, identity: Identity, thing: Thing) -> None:
        for one in self._seen_by(identity):
            dict.__setitem__(one, identity, thing)

    def __delitem__(self, identity: Identity) -> None:
        for one in self._seen_by(identity):
            dict.__delitem__(one, identity)

    def _seen_by(self, identity: Identity) -> list[There]:
        return self.beside if shared(identity) else [self]


class Objects:
    """Those that one Environment sees. ``wakes`` tells it of its own, ``at`` are those of all Environments at this place."""

    def __init__(self, environment: str, world: World) -> None:
        self.environment = environment
        self.world = world
        self.there = There()
        self.looked_at = False
        """Where this is is not known before."""
        self.wakes: Wakes[Key] = Wakes(world.faults, "target.wake")
        self.at: dict[str, Wakes[Key]] = {environment: self.wakes}

    def share(self, other: Objects) -> None:
        """Be at the same place as ``other``, from the beginning."""
        assert not self.there, f"{self.environment} has objects already"
        other.there.beside.append(self.there)
        self.there.beside = other.there.beside
        other.at |= self.at
        self.at = other.at
        for identity, thing in other.there.items():
            if shared(identity):
                dict.__setitem__(self.there, identity, thing)

    def put(self, step: Step, manifest: Manifest) -> str:
        """Make it as the step says; nothing changes where it is so already. The uid it has now."""
        owner = Owner(self.world.installation, self.environment, step.application)
        found = self.there.get(step.ref.identity)
        done = found is not None and step.action is Action.RUN and found.digest == manifest.digest
        if found is None or (step.action in (Action.REPLACE, Action.RUN) and found.uid == step.uid and not done):
            return self._make(step, manifest, owner, found)
        if (found.body, found.owner, found.digest) == (manifest.body, owner, manifest.digest):
            return found.uid
        self._record("updated", found, step, digest=manifest.digest)
        moved, former = found.body != manifest.body, found.owner
        found.body, found.owner, found.digest = manifest.body, owner, manifest.digest
        if moved:
            self._start(found)
        self._wake(owner, step)
        if former is not None and former.environment != owner.environment:
            self._wake(former, step)  # it is gone from what that Environment watches
        return found.uid

    def drop(self, thing: Thing, step: Step | None) -> None:
        _stop(thing)
        self._record("removed", thing, step)
        del self.there[thing.ref.identity]
        self._wake(thing.owner, step)

    def plant(self, ref: ObjectRef, body: Body) -> None:
        """An object that is nobody's appears."""
        assert ref.identity not in self.there, f"{ref} is there already"
        thing = Thing(ref, self.world.new_uid(), body)
        self.there[ref.identity] = thing
        self._record("created", thing, None)

    def edit(self, thing: Thing, body: Body) -> None:
        self._record("updated", thing, None)
        thing.body = body
        self._wake(thing.owner, None)

    def degrade(self, thing: Thing, trouble: str) -> None:
        thing.trouble = trouble
        self._wake(thing.owner, None)

    def _make(self, step: Step, manifest: Manifest, owner: Owner, before: Thing | None) -> str:
        made = Thing(step.ref, self.world.new_uid(), manifest.body, owner, manifest.digest)
        if before is None:
            self._record("created", Thing(step.ref, made.uid, made.body), step, digest=manifest.digest, made=made.uid)
        else:
            _stop(before)
            self._record("replaced", before, step, digest=manifest.digest, made=made.uid)
        self.there[step.ref.identity] = made
        self._start(made)
        self._wake(owner, step)
        return made.uid

    def _start(self, thing: Thing) -> None:
        """Let it get healthy, or not."""
        _stop(thing)
        spec = spec_of(thing.body)
        thing.trouble = str(spec.get("fails", ""))
        thing.ready = False
        if thing.trouble or spec.get("never") == "ready":
            return
        shortest, longest = self.world.ready_seconds
        if longest <= 0:
            thing.ready = True
            return
        delay = self.world.faults.random.uniform(shortest, longest)
        thing.timer = asyncio.get_running_loop().call_later(delay, self._become_ready, thing)

    def _become_ready(self, thing: Thing) -> None:
        thing.ready = True
        thing.timer = None
        self._wake(thing.owner, None)

    def _wake(self, owner: Owner | None, step: Step | None) -> None:
        wakes = self.at.get(owner.environment) if owner is not None else None
        if owner is not None and wakes is not None and (step is None or self.world.echo):
            wakes.send(Key(owner.environment, owner.application))

    def _record(self, verb: str, before: Thing, step: Step | None, *, digest: str = "", made: str = "") -> None:
        action, application, hook = (step.action, step.application, step.hook) if step else ("", "", "")
        place = (self.environment, before.ref, before.uid)
        self.world.journal.append(Mutation(moment(), verb, *place, str(action), application, before.owner, digest, hook, made))
        self.world.faults.note(f"target.{verb}", f"{self.environment} {before.ref} {before.uid} {action or 'world'}")


def shared(identity: Identity) -> bool:
    """True for what all Environments at one place see."""
    return identity[1] == WIDE or bool(identity[2])


def spec_of(body: Body) -> dict[str, Any]:
    spec = body.get("spec")
    return spec if isinstance(spec, dict) else {}


def _stop(thing: Thing) -> None:
    if thing.timer is not None:
        thing.timer.cancel()
        thing.timer = None
