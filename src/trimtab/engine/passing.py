"""Objects that have gone by themselves, their work done: they are not made again, or the work would be done again and again.

Only what was applied with this very content can have gone so. How it was when it went, the target remembers as long as it runs; after
that it is taken to have gone well where the Application has been well with it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import msgspec

from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.inventory import Inventory
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity
from trimtab.ports.target import Target

_ENDED = (HealthStatus.HEALTHY, HealthStatus.DEGRADED)


def passed(
    application: str,
    manifests: Sequence[Manifest],
    there: Container[Identity],
    inventory: Inventory,
    target: Target,
    state: Reconciliation,
) -> Mapping[Identity, Health]:
    """The health of those of ``manifests`` that are not there because they have ended."""
    found: dict[Identity, Health] = {}
    for manifest in manifests:
        identity = manifest.identity
        entry = inventory.get(identity) if identity not in there else None
        if (
            entry is None
            or entry.hook
            or (entry.application, entry.state, entry.digest) != (application, "applied", manifest.digest)
        ):
            continue
        health = target.went(manifest)
        if health is None:
            continue
        if health.status in _ENDED:
            found[identity] = health
        elif health.status == HealthStatus.UNKNOWN and _was_well(identity, state):
            found[identity] = msgspec.structs.replace(health, status=HealthStatus.HEALTHY)
    return found


def _was_well(identity: Identity, state: Reconciliation) -> bool:
    return state.settled or (state.deployed and identity not in state.touched)
