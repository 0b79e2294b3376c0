"""Whose turn it is among Environments that were selected together: one more gate for pending content. Pure, as the other gates.

Each member of a Fleet is in one of these places, as far as content that waits in another one is concerned:

    ahead      it has nothing that waits: it runs what is newest for it, well or not
    behind     something waits in it, for a turn or for something else
    failed     it is ahead and failed, or what is newest for it cannot be rendered

Content may start in a member when nobody failed, all before it in the order are ahead, those of earlier steps are well, and fewer
than ``max_unavailable`` others are under way. Under way is who is ahead and not well (for ``pause_seconds`` by now), and who is still
applying what came before; so two commits in quick succession do not take down one more than one commit does.

Who failed at what came before and has something new waiting is no obstacle: the new commit may be the cure. Who is unwell itself
makes nothing worse by starting, and may do so whatever others are up to; the order and the steps hold for it all the same. So nobody
waits for somebody who waits for him: of those behind, the first in order waits for members ahead only, and those get well, or fail
and are reported, within their deadlines.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from trimtab.core.model.config import Fleet
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import Key

from .state import Reconciliation

WELL = frozenset({HealthStatus.HEALTHY, HealthStatus.SUSPENDED})
_NEW = Reconciliation()


class Turn(NamedTuple):
    """``waits`` says for what, "" when it may start; ``due`` is when time alone may change that."""

    waits: str = ""
    due: datetime | None = None


def turn(
    key: Key, fleet: Fleet, states: Mapping[Key, Reconciliation], now: datetime, *, starting: Container[Key] = frozenset()
) -> Turn:
    """For what pending content of ``key`` waits. ``starting`` are Keys that have just been allowed to start."""
    at = fleet.members.index(key.environment)
    others = {name: states.get(Key(name, key.application), _NEW) for name in fleet.members if name != key.environment}
    for name, state in others.items():
        if (failure := _failure(state)) is not None:
            return Turn(f"stopped: in environment {name} this revision failed{failure}")
        if Key(name, key.application) in starting:
            return Turn(f"waits for environment {name}, which is just starting")
    for name in fleet.members[:at]:
        if not _ahead(others[name]):
            return Turn(f"waits for its turn after environment {name}{_why_behind(others[name])}")
    return _health_between(key, fleet, at, others, states.get(key, _NEW), now)


def _health_between(
    key: Key, fleet: Fleet, at: int, others: Mapping[str, Reconciliation], own: Reconciliation, now: datetime
) -> Turn:
    step = max((count for count in fleet.steps if count <= at), default=0)
    for name in fleet.members[:step]:
        if not _well(others[name], fleet, now):
            return Turn(
                f"waits for the step before, in which environment {name} {_is(others[name])}", _due(others[name], fleet, now)
            )
    under_way = [name for name, state in others.items() if _under_way(state, fleet, now)]
    if len(under_way) < fleet.max_unavailable or _unwell(own):
        return Turn()
    dues = [due for name in under_way if (due := _due(others[name], fleet, now)) is not None]
    return Turn(f"waits for environment {under_way[0]}, which {_is(others[under_way[0]])}", min(dues, default=None))


def _ahead(state: Reconciliation) -> bool:
    return state.pending is None and state.current is not None


def _failure(state: Reconciliation) -> str | None:
    newest = state.pending or state.current
    if newest is None or newest.phase != Phase.FAILED:
        return None
    return f": {newest.message}" if newest.message else ""


def _well(state: Reconciliation, fleet: Fleet, now: datetime) -> bool:
    current = state.current
    if current is None or not _ahead(state) or current.phase != Phase.HEALTHY or state.health.status not in WELL:
        return False
    return _rests_until(current, fleet, now) is None


def _rests_until(current: Deployment, fleet: Fleet, now: datetime) -> datetime | None:
    """When the pause ends; None when it has. What seems to have got well in the future did so before the clock was set back."""
    end = current.since + timedelta(seconds=fleet.pause_seconds)
    return end if current.since <= now < end else None


def _under_way(state: Reconciliation, fleet: Fleet, now: datetime) -> bool:
    if _ahead(state):
        return not _well(state, fleet, now)
    return state.current is not None and state.current.phase == Phase.APPLYING


def _unwell(state: Reconciliation) -> bool:
    """It runs something, and that is not well: starting anew makes nothing worse."""
    return state.current is not None and (state.current.phase != Phase.HEALTHY or state.health.status not in WELL)


def _due(state: Reconciliation, fleet: Fleet, now: datetime) -> datetime | None:
    """When it has been healthy for long enough; None when that is not what is lacking."""
    if state.current is None or state.current.phase != Phase.HEALTHY or state.health.status not in WELL:
        return None
    return _rests_until(state.current, fleet, now)


def _is(state: Reconciliation) -> str:
    current = state.current
    if current is None:
        return "has not run yet"
    if current.phase == Phase.HEALTHY and state.health.status in WELL:
        return "has been healthy for a short time only"
    return f"is {current.phase} and {state.health.status}"


def _why_behind(state: Reconciliation) -> str:
    if state.suspension is not None:
        return f", which is suspended: {state.suspension.reason}"
    return "" if state.pending is not None or state.current is not None else ", which has not run yet"
