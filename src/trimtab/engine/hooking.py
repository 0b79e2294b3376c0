"""What a look needs to know of hooks: which of a content's Manifests are some, which of them are still to be run, and how each stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trimtab.core.decide.hooks import Occasion, Seen, by_place, is_mine
from trimtab.core.decide.plan import Situation
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.hook import Hook, HookPhase
from trimtab.core.model.inventory import Entry
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import ObjectRef
from trimtab.ports.target import Target


def parted(manifests: tuple[Manifest, ...], target: Target) -> tuple[list[tuple[Manifest, Hook]], tuple[Manifest, ...]]:
    """The hooks of a content, and what it wants to be kept."""
    hooks = [(manifest, hook) for manifest in manifests if (hook := target.hook(manifest)) is not None]
    if not hooks:
        return [], manifests
    names = {manifest.identity for manifest, _ in hooks}
    return hooks, tuple(manifest for manifest in manifests if manifest.identity not in names)


def phases(hook: Hook, state: Reconciliation, occasion: Occasion) -> tuple[HookPhase, ...]:
    """Those of this Deployment; none once it is settled."""
    return () if state.settled or occasion == "found" else hook.phases(first=occasion == "first")


def to_preview(manifests: tuple[Manifest, ...], target: Target, state: Reconciliation) -> Sequence[Manifest]:
    """What is kept, and the hooks that have not been run yet."""
    hooks, desired = parted(manifests, target)
    if not hooks or state.settled:
        return desired
    begun = {run.ref.identity for run in state.runs}
    return [*desired, *(one for one, _ in hooks if one.identity not in begun)]


def seen(target: Target, situation: Situation) -> Iterator[Seen]:
    runs = by_place(situation.runs)
    for wish in situation.hooks:
        manifest, observed = wish.manifest, situation.observed.get(wish.manifest.identity)
        for phase in wish.phases:
            mine = is_mine(runs.get((phase, manifest.identity)), manifest, observed)
            yield Seen(
                phase=phase,
                ref=manifest.ref,
                wave=wish.hook.wave,
                turn=wish.hook.turn,
                delete=wish.hook.delete,
                uid=observed.uid if observed is not None else "",
                mine=mine,
                health=target.assess(observed, manifest) if mine and observed is not None else None,
            )


def lasting(situation: Situation, dropped: Sequence[ObjectRef], returned: Sequence[Entry]) -> int:
    """How many of them are no hook's."""
    refs = [*dropped, *(entry.ref for entry in returned)]
    entries = (situation.inventory.get(ref.identity) for ref in refs)
    return sum(entry is not None and not entry.hook for entry in entries)
