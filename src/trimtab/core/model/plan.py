"""A Plan: ordered Steps, and Holds (a step that is not taken, with the reason and what lifts it).

Preview, approval and apply share this one value. Its hash covers the canonical steps and what they presuppose, and not the
Revision that they come from: the same change proposed by another commit is the same plan.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from .errors import Problem
from .manifest import Manifest, digest
from .names import ObjectRef


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    REMOVE = "remove"
    ADOPT = "adopt"
    HANDOVER = "handover"
    RUN = "run"


class FieldChange(msgspec.Struct, frozen=True):
    """One field that differs. ``path`` is an RFC 6901 pointer; a side that does not have the field is None.

    Values of secrets are masked before they get here.
    """

    path: str
    from_: Any = msgspec.field(name="from", default=None)
    to: Any = None


class Step(msgspec.Struct, frozen=True):
    """One act on one object. ``manifest`` is None exactly for a removal.

    ``uid`` is the uid that the object had when the plan was made ("" where it was not there): a removal is only carried out
    on that very object. ``presupposes`` is a digest of what was observed. ``left`` are patterns of the fields that are left to others:
    where somebody else has written them, they are not written. ``hook`` is the phase of the hook that a ``run`` is of; ``over`` on the
    removal of an object that a hook has left.

    A ``run`` makes the object anew, in the place of the one with ``uid``; it is done when an object of its Manifest's digest is there.
    """

    action: Action
    ref: ObjectRef
    application: str
    environment: str
    wave: int = 0
    changes: tuple[FieldChange, ...] = ()
    manifest: Manifest | None = None
    uid: str = ""
    presupposes: str = ""
    left: tuple[str, ...] = ()
    hook: str = ""


class Hold(msgspec.Struct, frozen=True, rename="camel"):
    """Something that is *not* done. ``step`` is the one that waits; None when it is not about a step we could take.

    ``approvable`` tells whether approving the plan's hash lifts it; ``lifted_by`` says in words what does.
    """

    object: ObjectRef | None
    reason: str
    lifted_by: str
    approvable: bool = False
    step: Step | None = None


class LeftField(msgspec.Struct, frozen=True):
    """A field that Git names and that is left to somebody: ``to`` says whom."""

    object: ObjectRef
    pointer: str
    to: str


class Plan(msgspec.Struct, frozen=True, dict=True):
    """What would be done for one Application in one Environment, in order. ``left`` and ``notes``, what Git says that has no effect there,
    are told, and no part of the hash.
    """

    application: str
    environment: str
    steps: tuple[Step, ...] = ()
    holds: tuple[Hold, ...] = ()
    left: tuple[LeftField, ...] = ()
    notes: tuple[Problem, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.steps and not self.holds

    @cached_property
    def hash(self) -> str:
        """``sha256:…`` over every step, held or not, and what it presupposes."""
        steps = [*self.steps, *(hold.step for hold in self.holds if hold.step is not None)]
        return digest(
            [
                self.application,
                self.environment,
                *sorted(
                    [
                        step.ref.identity,
                        step.action,
                        step.wave,
                        step.manifest.digest if step.manifest else "",
                        step.presupposes,
                        *_hook(step),
                    ]
                    for step in steps
                ),
            ]
        )


def _hook(step: Step) -> tuple[str, ...]:
    """Nothing for an ordinary step, so that its hash is what it was before there were hooks."""
    return (step.hook,) if step.hook else ()


class Applied(msgspec.Struct, frozen=True, tag=True):
    """The target did it (or found it done). ``uid`` is the object's uid now, "" after a removal."""

    ref: ObjectRef
    uid: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The target did not do it. ``transient`` tells whether trying again later may help."""

    ref: ObjectRef
    message: str
    remedy: str = ""
    transient: bool = True


Outcome = Applied | Failed
