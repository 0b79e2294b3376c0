"""A Hook: an object that is run once for each Deployment, at a named phase of it, rather than kept as Git says.

Which annotations make a hook of an object is its target's to say (`Target.hook`); those of Trimtab itself are read here and hold
everywhere. What became of a hook is remembered in the lifecycle's state (`HookRun`), because the object may be gone by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from .health import Health, HealthStatus
from .manifest import HOOK_ANNOTATION, HOOK_DELETE_ANNOTATION, Manifest
from .names import Identity, ObjectRef


class HookPhase(StrEnum):
    """``pre`` before anything of the release, ``main`` beside it, ``post`` when it is healthy, ``failed`` once it has failed. The other two
    are of the end of an Application: before anything of it is removed, and when all of it has gone.
    """

    PRE = "pre"
    MAIN = "main"
    POST = "post"
    FAILED = "failed"
    PRE_REMOVAL = "pre-removal"
    POST_REMOVAL = "post-removal"


class Deletion(StrEnum):
    """When the object of a hook goes: before the next run of it, or after it succeeded or failed."""

    BEFORE = "before"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


ENDING = (HookPhase.PRE_REMOVAL, HookPhase.POST_REMOVAL)
SKIP = "skip"
HOOK_WORDS = frozenset({*(phase.value for phase in HookPhase), SKIP})
DELETION_WORDS = frozenset(deletion.value for deletion in Deletion)


class Hook(msgspec.Struct, frozen=True):
    """``first`` are its phases when the Application is deployed for the first time, ``back`` when it goes back to what was healthy before,
    ``later`` those of every other Deployment, ``ending`` those of its end; where a phase is not named it does not run, so an object
    without any is never applied. Of one wave, a lower ``turn`` is done first.
    """

    first: tuple[HookPhase, ...] = ()
    later: tuple[HookPhase, ...] = ()
    back: tuple[HookPhase, ...] = ()
    wave: int = 0
    turn: int = 0
    delete: frozenset[Deletion] = frozenset({Deletion.BEFORE})
    ending: tuple[HookPhase, ...] = ()

    @property
    def deploys(self) -> bool:
        """True for one that some Deployment runs."""
        return bool(self.first or self.later or self.back)


class Ending(msgspec.Struct, frozen=True):
    """The hooks that an Application runs when it ends, of the content with ``digest``, which was healthy: kept, because Git has them no
    more by then. ``withheld`` are those in which a secret stands, so that they are kept nowhere but in Git.
    """

    digest: str
    manifests: tuple[Manifest, ...] = ()
    withheld: tuple[ObjectRef, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.manifests or self.withheld)


class HookRun(msgspec.Struct, frozen=True):
    """What became of one hook in the Deployment that is current. ``mark`` is on its object and on no other.

    ``begun``: it was decided to run it; ``there``: its object was seen, with ``uid``. The other two are ends.
    """

    phase: HookPhase
    ref: ObjectRef
    mark: str
    state: Literal["begun", "there", "succeeded", "failed"] = "begun"
    uid: str = ""
    message: str = ""
    last_log_line: str = ""

    @property
    def place(self) -> tuple[HookPhase, Identity]:
        return (self.phase, self.ref.identity)

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed")


_TOLD = {
    "begun": (HealthStatus.PROGRESSING, "it is about to run"),
    "there": (HealthStatus.PROGRESSING, "it runs"),
    "succeeded": (HealthStatus.HEALTHY, "it was run, and has succeeded"),
    "failed": (HealthStatus.DEGRADED, "it was run, and has failed"),
}


def told(run: HookRun) -> Health:
    """How a run stands, as people read it beside the health of everything else."""
    status, said = _TOLD[run.state]
    return Health(status, run.message or said, run.ref, run.last_log_line)


def annotated(manifest: Manifest) -> Hook | None:
    """The Hook that Trimtab's own annotations make of a Manifest; None when they make none. The renderer has checked the words."""
    said = manifest.annotations.get(HOOK_ANNOTATION)
    if said is None:
        return None
    found = words(said)
    named = () if SKIP in found else tuple(phase for phase in HookPhase if phase.value in found)
    phases, ending = tuple(one for one in named if one not in ENDING), tuple(one for one in named if one in ENDING)
    chosen = words(manifest.annotations.get(HOOK_DELETE_ANNOTATION, ""))
    delete = deletions(Deletion(word) for word in chosen if word in DELETION_WORDS)
    return Hook(phases, phases, phases, manifest.wave, delete=delete, ending=ending)


def deletions(chosen: Iterable[Deletion]) -> frozenset[Deletion]:
    """Where nothing is chosen, the object stays to be looked at until the next one takes its place."""
    return frozenset(chosen) or frozenset({Deletion.BEFORE})


def words(text: str) -> list[str]:
    """The words of a list with commas, in lower case."""
    return [word for part in text.split(",") if (word := part.strip().lower())]
