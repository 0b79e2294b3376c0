"""Which Steps of a Plan may be taken now. Waves wait for health, removals wait for their replacements; nobody sleeps meanwhile.

A wave is taken when everything that this Deployment has changed in lower waves is healthy. Objects that it has not changed do not
stop it: an old wound must not block a cure. While an object that Git wants is held, nothing of a release comes after its wave, no removal
either: what builds on it would go live as if it were there. What has been rolled out once is kept true whatever is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.names import Identity
from trimtab.core.model.plan import Action, Hold, Plan, Step

FOUNDATION = -1_000_000
"""The wave of what others cannot do without, definitions and places: a target gives it, nobody annotates it."""
WELL = frozenset({HealthStatus.HEALTHY, HealthStatus.SUSPENDED})


def next_stage(
    plan: Plan,
    *,
    touched: Iterable[Identity],
    waves: Mapping[Identity, int],
    health: Mapping[Identity, Health],
    settled: bool = False,
) -> tuple[Step, ...]:
    """The Steps to take at once, possibly none while health is awaited.

    ``touched`` are the objects that this Deployment has changed so far, ``waves`` and ``health`` speak of what Git wants. An object
    without health is held (it went to another application, say), so that nobody could make it well by waiting. ``settled``: the
    release is out, and what is to be done is to keep it true.
    """
    held = [] if settled else [wave for hold in plan.holds if (wave := _held_in(hold, waves)) is not None]
    wanted = [step for step in plan.steps if step.action != Action.REMOVE]
    unwell = [waves[identity] for identity in touched if identity in health and health[identity].status not in WELL]
    if wanted:
        lowest = min(step.wave for step in wanted)
        if held and min(held) < lowest:
            return ()
        return tuple(step for step in wanted if step.wave == lowest) if not any(wave < lowest for wave in unwell) else ()
    removals = [step for step in plan.steps if step.action == Action.REMOVE]
    if not removals or unwell or held:
        return ()
    highest = max(step.wave for step in removals)
    return tuple(step for step in removals if step.wave == highest)


def _held_in(hold: Hold, waves: Mapping[Identity, int]) -> int | None:
    """The wave of an object that is held although Git wants it; None for a removal."""
    removal = hold.step is not None and hold.step.action == Action.REMOVE
    return waves.get(hold.object.identity) if hold.object is not None and not removal else None
