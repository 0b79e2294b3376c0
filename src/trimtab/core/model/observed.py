"""What a target says is there now.

``body`` is the part of the object that a Manifest could have set, in the shape that the same target's ``preview`` returns,
so that a plain comparison of the two is the diff. ``status`` is what the target alone writes; only its own ``assess`` reads it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .manifest import Body
from .names import ObjectRef


class Owner(msgspec.Struct, frozen=True):
    """Who applied an object, as recorded on the object or beside it by the target."""

    installation: str
    environment: str
    application: str


class Observed(msgspec.Struct, frozen=True):
    """One object that is there. ``uid`` differs between two objects of one name that lived one after the other.

    ``owner`` is None for an object that is nobody's, as far as the target can tell. ``digest`` is the Manifest digest
    that was applied last, where the target keeps it ("" otherwise).
    """

    ref: ObjectRef
    uid: str
    body: Body
    owner: Owner | None = None
    digest: str = ""
    status: dict[str, Any] = {}


class Fixed(msgspec.Struct, frozen=True):
    """Why an object that is there cannot become what Git says in its place: ``fields`` of it can only be set when it is made.
    ``replaces``: Git says that it may be made anew for that.
    """

    fields: tuple[str, ...]
    replaces: bool = False


class Scope(msgspec.Struct, frozen=True):
    """What to look at in an Environment. ``refs=None`` means: everything there that this installation owns."""

    environment: str
    refs: tuple[ObjectRef, ...] | None = None
