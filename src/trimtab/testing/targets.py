"""A target in memory: the world that an engine under test acts on. It outlives every engine that crashes.

In: the calls of the Target port, and what else befalls a world (`drift`, `delete`, `put_foreign`, `degrade`, `down`). Out: the
port's answers and a count of the calls; every mutation is in the world's journal (`objects.py`).

A manifest's spec may ask for trouble: ``{"never": "ready"}`` makes an object that never gets healthy, ``{"fails": "why"}`` one
that is degraded, ``{"invalid": "why"}`` is refused by `preview`, ``{"refuses": "why"}`` by `apply`; ``{"vain": "why"}`` makes a note. ``fixed`` can only
be set when an object is made. The annotation `WHEN` makes a hook that tells one Deployment from another.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem, TransientError
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.hook import Hook, annotated, words
from trimtab.core.model.leaving import Leave
from trimtab.core.model.mandate import OWN, Location, Mandate
from trimtab.core.model.manifest import REPLACE_ANNOTATION, Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Fixed, Observed, Scope
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.core.model.tree import NO_TREE, Child, Tree
from trimtab.core.model.views import Finding
from trimtab.ports.target import NOTHING_LEFT, LogLine, LogWish, Preview

from .objects import WIDE, Objects, Thing, World, spec_of

LOG_LINES_MAX = 1_000
WHEN = "testing.trimtab.dev/when"
"""The annotation that says at which Deployments a hook runs; without it, at each."""
GOES = "testing.trimtab.dev/goes"
"""Annotated as "true" where an object goes by itself when it has ended."""
LOG_POLL_SECONDS = 0.1

Validate = Callable[[Manifest], Problem | None]


def _valid(manifest: Manifest) -> Problem | None:
    why = spec_of(manifest.body).get("invalid")
    return Problem(f"{manifest.ref}: {why}", manifest.file, manifest.line, "spec.invalid") if why else None


def _replaces(manifest: Manifest) -> bool:
    return manifest.annotations.get(REPLACE_ANNOTATION) == "true"


@dataclass
class FakeTargets:
    """The Targets port: one `FakeTarget` for each Environment, all in one `World`. ``places`` says which are at the same place."""

    world: World = field(default_factory=World)
    validate: Validate = _valid
    made: dict[str, FakeTarget] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, environment: Environment | None = None, mandate: Mandate = OWN) -> FakeTarget:
        if name not in self.made:
            place = self.places.get(name, name)
            made = self.made[name] = FakeTarget(name, self.world, validate=self.validate, at=place)
            beside = [one.objects for one in self.made.values() if one.at == place and one is not made]
            if beside:
                made.objects.share(beside[0])
        return self.made[name].under(mandate)


class FakeTarget:
    """One Environment. While ``down`` is True every call fails. ``abilities`` is what it says it can do, ``mute`` are calls that it does not
    answer as long as they stand there.

    What names a namespace, and every `Wide`, is seen by all Environments ``at`` one place; the rest is in a namespace of each one's own.
    """

    def __init__(
        self, environment: str = "host", world: World | None = None, *, validate: Validate = _valid, at: str = ""
    ) -> None:
        self.environment = environment
        self.at = at or environment
        self.world = world or World()
        self.objects = Objects(environment, self.world)
        self.calls: Counter[str] = Counter()
        self.down = False
        self.abilities: tuple[str, ...] = ()
        self.mute: set[str] = set()
        self.acted: list[tuple[str, ObjectRef, Mandate]] = []
        """What `apply` and `remove` were asked to do, and under which mandate."""
        self._mandate = OWN
        self._validate = validate
        self._went: dict[Identity, Health] = {}
        self._lines: dict[Identity, deque[LogLine]] = {}

    def under(self, mandate: Mandate) -> FakeTarget:
        if mandate == self._mandate:
            return self
        made = copy.copy(self)
        made._mandate = mandate
        return made

    # The port.

    async def observe(self, scope: Scope) -> Mapping[Identity, Observed]:
        await self._before("observe")
        self.objects.looked_at = True
        there = self.objects.there
        if scope.refs is None:
            chosen = [thing for thing in there.values() if self._ours(thing)]
        else:
            chosen = [there[ref.identity] for ref in scope.refs if ref.identity in there]
        # What is answered is what stood here at this moment, however long the answer takes.
        answer = {thing.ref.identity: thing.observed() for thing in chosen}
        await self.world.faults.point("target.observe:after")
        return answer

    async def locate(self, manifests: Sequence[Manifest]) -> Mapping[Identity, Location]:
        """What names no namespace is in one of the Environment's name, but for a `Wide`, which is in none."""
        await self._before("locate")
        return {one.identity: _location(one, self.environment) for one in manifests}

    def place(self) -> str:
        return self.at if self.objects.looked_at else ""

    def called(self, identity: Identity) -> str:
        group, kind, namespace, name = identity
        return "/".join((group, kind, "" if kind == WIDE else namespace or self.environment, name))

    async def preview(
        self, manifests: Sequence[Manifest], leave: Mapping[Identity, Leave] = NOTHING_LEFT, *, shown: bool = True
    ) -> Preview:
        await self._before("preview")
        problems = [problem for manifest in manifests if (problem := self._validate(manifest)) is not None]
        bodies = {manifest.identity: manifest.body for manifest in manifests}
        fixed = {one.identity: Fixed(("spec.fixed",), _replaces(one)) for one in manifests if self._differs(one)}
        notes = tuple(Problem(f"{one.ref}: {why}", one.file) for one in manifests if (why := spec_of(one.body).get("vain")))
        return Preview(bodies, tuple(problems), fixed=fixed, notes=notes)

    def _differs(self, manifest: Manifest) -> bool:
        found = self.objects.there.get(manifest.identity)
        return (
            found is not None
            and annotated(manifest) is None
            and spec_of(found.body).get("fixed") != spec_of(manifest.body).get("fixed")
        )

    async def apply(self, step: Step, revision: str) -> Outcome:
        await self._before("apply", str(step.ref))
        self.acted.append(("apply", step.ref, self._mandate))
        assert step.manifest is not None, "a step to apply has a manifest"
        found = self.objects.there.get(step.ref.identity)
        refusal = spec_of(step.manifest.body).get("refuses")
        if refusal:
            return Failed(step.ref, f"apply {step.ref}: {refusal}", transient=False)
        if found is not None and found.owner is None and step.action is not Action.ADOPT:
            return Failed(step.ref, f"apply {step.ref}: it is there already and nobody's", "Adopt it, or choose another name")
        if found is not None and found.owner is not None and not self._ours(found):
            return Failed(step.ref, f"apply {step.ref}: it belongs to {found.owner.installation}", "Choose another name")
        if (
            found is not None
            and found.owner is not None
            and found.owner.environment != self.environment
            and found.uid != step.uid
        ):
            return Failed(step.ref, f"{step.action} {step.ref}: it belongs to {found.owner.environment}; it is looked at anew")
        if found is not None and step.action is Action.RUN and step.manifest.digest != found.digest and found.uid != step.uid:
            return Failed(step.ref, f"run {step.ref}: another object has taken its place")
        if step.action is Action.UPDATE and found is not None and found.uid == step.uid and self._differs(step.manifest):
            return Failed(step.ref, f"update {step.ref}: spec.fixed cannot be changed in place", transient=False)
        uid = self.objects.put(step, step.manifest)
        await self.world.faults.point("target.apply:after", str(step.ref))
        return Applied(step.ref, uid)

    async def remove(self, step: Step) -> Outcome:
        await self._before("remove", str(step.ref))
        self.acted.append(("remove", step.ref, self._mandate))
        found = self.objects.there.get(step.ref.identity)
        if found is not None and found.uid != step.uid:
            return Failed(step.ref, f"remove {step.ref}: expected uid {step.uid or 'none'}, found {found.uid}")
        if found is not None:
            self.objects.drop(found, step)
        await self.world.faults.point("target.remove:after", str(step.ref))
        return Applied(step.ref)

    async def watch(self) -> AsyncIterator[Key]:
        async with aclosing(self.objects.wakes.watch()) as keys:
            async for key in keys:
                await self._before("watch")
                yield key

    async def capabilities(self) -> tuple[str, ...]:
        await self._before("capabilities")
        return self.abilities

    async def check(self, refs: Sequence[ObjectRef]) -> list[Finding]:
        await self._before("check")
        account = self._mandate.account
        return [Finding(f"rights of {account}" if account else "rights", "ok", f"{len(refs)} objects")]

    def wave(self, manifest: Manifest) -> int:
        return manifest.wave

    def hook(self, manifest: Manifest) -> Hook | None:
        """As Trimtab's annotations say; one of the fakes' own names the Deployments that it is for: `first`, `later`, `back`."""
        found, when = annotated(manifest), manifest.annotations.get(WHEN)
        if found is None or when is None:
            return found
        never = [name for name in ("first", "later", "back") if name not in words(when)]
        return msgspec.structs.replace(found, **dict.fromkeys(never, ()))

    def went(self, manifest: Manifest) -> Health | None:
        if manifest.annotations.get(GOES) != "true":
            return None
        return self._went.get(manifest.identity, Health(HealthStatus.UNKNOWN, "it goes by itself"))

    def assess(self, observed: Observed, manifest: Manifest) -> Health:
        trouble = observed.status.get("trouble", "")
        if trouble:
            return Health(HealthStatus.DEGRADED, trouble, observed.ref)
        if not observed.status.get("ready", False):
            return Health(HealthStatus.PROGRESSING, "not ready yet", observed.ref)
        return HEALTHY

    async def children(self, ref: ObjectRef) -> Tree:
        """One `Part` behind each object that is there."""
        await self._before("children")
        thing = self.objects.there.get(ref.identity)
        if thing is None:
            return NO_TREE
        ready = bool(thing.observed().status.get("ready"))
        health = HealthStatus.HEALTHY if ready else HealthStatus.PROGRESSING
        return Tree((Child(ObjectRef(ref.api_version, "Part", "", f"{ref.name}-0"), health, ready=f"{int(ready)}/1"),))

    async def logs(self, ref: ObjectRef, wish: LogWish) -> AsyncIterator[LogLine]:
        await self._before("logs")
        kept = self._lines_of(ref)
        for line in list(kept)[-wish.lines :] if wish.lines > 0 else []:
            yield line
        last = kept[-1] if kept else None
        while wish.follow:
            await asyncio.sleep(LOG_POLL_SECONDS)
            for line in _after(kept, last):
                yield line
                last = line

    # What else befalls a world.

    def drift(self, identity: Identity, body: Body) -> None:
        """Somebody edits an object by hand; what is fixed is not to be edited."""
        thing = self.objects.there[identity]
        fixed = {"fixed": spec_of(thing.body)["fixed"]} if "fixed" in spec_of(thing.body) else {}
        self.objects.edit(thing, {**body, "spec": {**spec_of(body), **fixed}} if fixed else body)

    def delete(self, identity: Identity) -> None:
        """Somebody deletes an object by hand."""
        self.objects.drop(self.objects.there[identity], None)

    def end(self, identity: Identity, *, seen: bool = True) -> None:
        """An object ends and goes by itself; ``seen``: while we were looking."""
        thing = self.objects.there[identity]
        if seen:
            self._went[identity] = (
                Health(HealthStatus.DEGRADED, "it has failed") if thing.observed().status.get("trouble") else HEALTHY
            )
        self.objects.drop(thing, None)

    def degrade(self, identity: Identity, trouble: str) -> None:
        """An object falls ill ("" cures it)."""
        self.objects.degrade(self.objects.there[identity], trouble)

    def put_foreign(self, ref: ObjectRef, body: Body) -> None:
        """Somebody makes an object that is not ours. Nothing may ever touch it, unless its adoption is declared."""
        self.objects.plant(ref, body)

    def say(self, ref: ObjectRef, text: str) -> None:
        """An object prints a line."""
        self._lines_of(ref).append(LogLine(ref.name, text))

    async def _before(self, verb: str, detail: str = "") -> None:
        self.calls[verb] += 1
        await self.world.faults.point(f"target.{verb}:before", detail)
        while verb in self.mute:
            await asyncio.sleep(1)
        if self.down:
            raise TransientError(f"{verb} in {self.environment}: the target does not answer")

    def _ours(self, thing: Thing) -> bool:
        return thing.owner is not None and thing.owner.installation == self.world.installation

    def _lines_of(self, ref: ObjectRef) -> deque[LogLine]:
        return self._lines.setdefault(ref.identity, deque(maxlen=LOG_LINES_MAX))


def _location(manifest: Manifest, home: str) -> Location:
    wide = manifest.ref.kind == WIDE
    return Location("" if wide else manifest.ref.namespace or home, wide)


def _after(kept: deque[LogLine], last: LogLine | None) -> list[LogLine]:
    """The lines that came after ``last`` (by identity: two equal lines are two)."""
    fresh: list[LogLine] = []
    for line in reversed(kept):
        if line is last:
            break
        fresh.append(line)
    return fresh[::-1]
