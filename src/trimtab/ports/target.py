"""A place where things run. All that the engine ever asks of one; a contract suite runs on the fake and on every real target."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem
from trimtab.core.model.health import Health
from trimtab.core.model.hook import Hook
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.mandate import OWN, Location, Mandate
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Fixed, Observed, Scope
from trimtab.core.model.plan import Outcome, Step
from trimtab.core.model.tree import Tree
from trimtab.core.model.views import Finding

NOTHING_LEFT: Mapping[Identity, Leave] = {}


class LogLine(msgspec.Struct, frozen=True):
    """One line of output. ``source`` names the process or replica; ``text`` has no terminal escapes and no newline."""

    source: str
    text: str
    time: datetime | None = None


class LogWish(msgspec.Struct, frozen=True):
    """Which lines: the last ``lines`` (of each part, and of all together), of one ``container`` ("": all of them), of the run before
    (``previous``), not older than ``since_seconds`` (0: however old). What a target has no notion of it leaves out.
    """

    lines: int = 100
    follow: bool = False
    container: str = ""
    previous: bool = False
    since_seconds: int = 0


class Preview(msgspec.Struct, frozen=True):
    """What the target would store for each Manifest, in the shape of `Observed.body`, and what it would refuse.

    ``observed`` are objects that were read anew for it, and take the place of what `observe` answered before (None: not there).
    """

    bodies: Mapping[Identity, Body]
    problems: tuple[Problem, ...] = ()
    observed: Mapping[Identity, Observed | None] = {}
    left: Mapping[Identity, tuple[Left, ...]] = {}
    """Fields that somebody else has written and that are to be left to them: by ``leave``, or by what the target knows itself."""
    fixed: Mapping[Identity, Fixed] = {}
    """Objects that can only be made anew, and not be changed to what their Manifest says."""
    notes: tuple[Problem, ...] = ()
    """What Git says that has no effect on this target: nothing is refused for it, and people are told."""


class Target(Protocol):
    """One Environment. Every method may raise TransientError; a target that cannot answer never answers "absent"."""

    async def observe(self, scope: Scope) -> Mapping[Identity, Observed]:
        """The objects of ``scope`` that are there. What is not in the result is surely not there."""
        ...

    async def locate(self, manifests: Sequence[Manifest]) -> Mapping[Identity, Location]:
        """Where each object would be; an object whose kind the target does not know is not in the result. Asks at most which kinds there
        are.
        """
        ...

    def place(self) -> str:
        """What is looked at from here: two Environments of which it is the same see the same objects, all others never do. "" while it is
        not known; an `observe` finds it out. From memory: it is asked for often.
        """
        ...

    def called(self, identity: Identity) -> str:
        """Of a place: what names the object there for everybody who sees it, whatever it is called in Git. "" while it is not known. From
        memory.
        """
        ...

    async def preview(
        self, manifests: Sequence[Manifest], leave: Mapping[Identity, Leave] = NOTHING_LEFT, *, shown: bool = True
    ) -> Preview:
        """Changes nothing. ``leave`` is what the ignore rules leave of them to others; what a writer is, the target says. Unless it is
        ``shown`` to somebody, a target may foresee of an object what it has found out about others that are alike, rather than find it
        out anew. Of a hook only whether it could be run is of interest: what is there under its name will be gone by then.
        """
        ...

    async def apply(self, step: Step, revision: str) -> Outcome:
        """Make the object as ``step.manifest`` says and mark it as owned by ``step.application``. Idempotent. Returns once the target
        has accepted it; getting healthy is seen by `observe` and `assess`. ``revision`` is for the record only. A ``run`` makes it anew: the
        one with ``step.uid`` goes first, unless it is of this Manifest's digest already.
        """
        ...

    async def remove(self, step: Step) -> Outcome:
        """Remove the object with ``step.uid``. One that is gone already is removed; one of another uid is Failed, untouched."""
        ...

    def watch(self) -> AsyncIterator[Key]:
        """Yields the Key of an Application of this Environment of which something moved. May repeat itself; may miss things (a slow
        full look backs it up); ends only when cancelled.
        """
        ...

    async def capabilities(self) -> tuple[str, ...]:
        """What can be done here, sorted, for renderers whose result depends on it; what the words mean is between the two. The same
        answer for as long as nothing has changed, and from memory: it is asked for often.
        """
        ...

    async def check(self, refs: Sequence[ObjectRef]) -> list[Finding]:
        """For `doctor`: how this place is reached, and what is missing for objects like ``refs``. ``check`` of each is a word or two. Asks
        anew, and changes nothing.
        """
        ...

    def wave(self, manifest: Manifest) -> int:
        """Pure: in which wave an object is applied, ascending; its annotation where there is one, else what its kind calls for."""
        ...

    def hook(self, manifest: Manifest) -> Hook | None:
        """Pure: what its annotations make of a Manifest that is not to be kept but run; None for all others."""
        ...

    def went(self, manifest: Manifest) -> Health | None:
        """From memory: how an object was when it went by itself, as one does that is cleared away when its work is done; unknown when
        nobody saw it go. None of objects that are there to stay.
        """
        ...

    def assess(self, observed: Observed, manifest: Manifest) -> Health:
        """Pure: the health of one object, given what Git wants of it."""
        ...

    def logs(self, ref: ObjectRef, wish: LogWish) -> AsyncIterator[LogLine]:
        """The last lines of everything behind ``ref``, then, when they are followed, what comes until cancelled."""
        ...

    async def children(self, ref: ObjectRef) -> Tree:
        """What stands behind ``ref`` on the target, at most so much of it; nothing for what is not there. Read anew each time."""
        ...


class Targets(Protocol):
    """The Target of each Environment, made when first asked for."""

    def get(self, name: str, environment: Environment, mandate: Mandate = OWN) -> Target:
        """The Target on which `preview`, `apply` and `remove` are done under ``mandate``; `observe` and `watch` are Trimtab's own.

        Raises UserError when the Environment's target cannot be had on this machine, or not under that mandate.
        """
        ...
