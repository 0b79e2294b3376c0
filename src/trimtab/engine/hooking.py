"""What a look needs to know of hooks: which of a content's Manifests are some, which of them are still to be run, and how each stands.

An Application that ends has no content in Git any more; its hooks are those that were kept when it was last healthy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trimtab.core.decide.hooks import Hooked, Occasion, Seen, by_place, is_mine, phases_at
from trimtab.core.decide.mask import mask
from trimtab.core.decide.plan import Situation
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.hook import Ending, Hook, HookPhase
from trimtab.core.model.inventory import Entry
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key, ObjectRef
from trimtab.ports.target import Target

from .world import NOTHING, World


def parted(manifests: tuple[Manifest, ...], target: Target) -> tuple[list[tuple[Manifest, Hook]], tuple[Manifest, ...]]:
    """The hooks of a content, and what it wants to be kept."""
    hooks = [(manifest, hook) for manifest in manifests if (hook := target.hook(manifest)) is not None]
    if not hooks:
        return [], manifests
    names = {manifest.identity for manifest, _ in hooks}
    return hooks, tuple(manifest for manifest in manifests if manifest.identity not in names)


def phases(hook: Hook, state: Reconciliation, occasion: Occasion) -> tuple[HookPhase, ...]:
    """Those of this Deployment; none once it is settled."""
    if ends(state) and not state.settled:
        return hook.ending
    return () if state.settled else phases_at(occasion, hook)


def ends(state: Reconciliation) -> bool:
    """True while what is current is the end of the Application. Git that declares it again, readable or not, puts that off."""
    current = state.current
    return state.undeclared and state.pending is None and (current is None or current.digest == NOTHING)


def ending_of(digest: str, hooks: Sequence[Hooked]) -> Ending:
    """What is to be kept of a content for the end of its Application. Secrets are not: the store is read by others than Git is."""
    found = [hooked.manifest for hooked in hooks if hooked.hook.ending]
    kept = tuple(manifest for manifest in found if mask(manifest.body) == manifest.body)
    return Ending(digest, kept, tuple(manifest.ref for manifest in found if manifest not in kept))


def at_its_end(key: Key, world: World, target: Target) -> tuple[Manifest, ...]:
    """The kept hooks. One that another application declares now is that one's: the Application has got another name, and does not end."""
    ending = world.endings.get(key)
    if ending is None:
        return ()
    claims = world.claims(key, [manifest.identity for manifest in ending.manifests])
    return tuple(
        manifest
        for manifest in ending.manifests
        if (hook := target.hook(manifest)) is not None
        and hook.ending
        and not claims.get(manifest.identity, frozenset()) - {key.application}
    )


def withheld(key: Key, world: World, state: Reconciliation) -> tuple[ObjectRef, ...]:
    ending = world.endings.get(key) if ends(state) else None
    if ending is None:
        return ()
    claims = world.claims(key, [ref.identity for ref in ending.withheld])
    return tuple(ref for ref in ending.withheld if not claims.get(ref.identity, frozenset()) - {key.application})


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
