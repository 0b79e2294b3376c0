"""Objects that more than one Environment sees, because their targets are the same place: who wants one elsewhere, and whether its owner
there lets it go. Pure.

    its application there is suspended                      suspended
    wants it at its newest Revision                         wants
    keeps it until its newest begins, and so would we       wants: the older contents of both are no worse than each other
    what it wants is in doubt or not known                  unknown
    else                                                    lets-go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Owner
from trimtab.core.model.plan import Hold

NAMED_MAX = 3
Stance = Literal["lets-go", "wants", "suspended", "unknown"]


@dataclass(frozen=True)
class Abroad:
    """One object, as other Environments have to do with it. ``wanted``: who wants this very object there; ``perhaps``: who wants one of its
    name, while it is not known whether that is this one; ``unread``: who may have got it from us, as what it wants since then cannot be
    told. ``stance`` is that of its owner, and ``why`` it is unknown.
    """

    wanted: tuple[Key, ...] = ()
    perhaps: tuple[Key, ...] = ()
    unread: tuple[Key, ...] = ()
    stance: Stance = "unknown"
    why: str = ""


NOBODY: Mapping[Identity, Abroad] = {}


@dataclass(frozen=True, kw_only=True)
class Owning:
    """What is known of the application elsewhere that an object belongs to. ``newest`` and ``running``: whether what Git wants of it, and
    what is kept true of it, has the object (None: that is not known). ``here``: whether we want it at our newest.
    """

    suspended: bool
    doubts: tuple[str, ...]
    newest: bool | None
    running: bool | None
    here: bool


def stance(owning: Owning) -> tuple[Stance, str]:
    """Whether the owner lets it go, and why that is unknown."""
    if owning.suspended:
        return "suspended", ""
    if owning.newest or (owning.running and not owning.here):
        return "wants", ""
    if owning.doubts:
        return "unknown", "; ".join(owning.doubts[:NAMED_MAX])
    if owning.newest is None or (owning.running is None and not owning.here):
        return "unknown", "it is not known what its application wants there"
    return "lets-go", ""


def kept(ref: ObjectRef, owner: Owner, abroad: Mapping[Identity, Abroad]) -> Hold | None:
    """Why the object of another Environment is not taken over; None where it may be. Nobody may say yes to what was not asked about."""
    found = abroad.get(ref.identity)
    belongs = f"it belongs to environment {owner.environment}"
    if found is None:
        return Hold(ref, belongs, "removing it there")
    match found.stance:
        case "lets-go":
            return None
        case "wants":
            reason = f"{belongs}, where application {owner.application} declares it"
            return Hold(ref, reason, f"removing it from {owner.application} in {owner.environment}, or from this application")
        case "suspended":
            reason = f"{belongs}, to application {owner.application}, which is suspended there"
            return Hold(ref, reason, f"resuming {owner.application} in {owner.environment}")
        case "unknown":
            reason = f"{belongs}, and it cannot be told whether that lets it go{f': {found.why}' if found.why else ''}"
            return Hold(ref, reason, "mending that, or approving this plan, which takes it over", approvable=True)


def may_be_wanted(found: Abroad | None) -> str:
    """Why an object that is not wanted here may be wanted elsewhere; "" where it is not."""
    if found is None:
        return ""
    if found.perhaps:
        named = _named(found.perhaps)
        return f"it may be what {named} wants: whether that sees the same objects is not known while its target does not answer"
    return f"it may have moved to {_named(found.unread)}, which fails to render" if found.unread else ""


def _named(keys: tuple[Key, ...]) -> str:
    return ", ".join(str(key) for key in keys[:NAMED_MAX])
