"""What a waiting Deployment waits for: promotion (`after`) and `dependsOn`, whatever runs on which target. Pure, asked again whenever one of those moved.

A gate is open when the other one runs the content of the same or a later Revision, and is healthy there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trimtab.core.model.deployment import Phase
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import Key

from .state import Reconciliation

_OPEN = frozenset({HealthStatus.HEALTHY, HealthStatus.SUSPENDED})


def gates(
    key: Key,
    sequence: int,
    *,
    after: Sequence[str],
    needs: Sequence[Key],
    states: Mapping[Key, Reconciliation],
    nowhere: Collection[Key] = (),
) -> tuple[str, ...]:
    """A sentence for each gate that is closed for the Deployment of ``key`` at ``sequence``; empty when it may start. ``nowhere`` are
    those of ``needs`` that Git does not place where they are needed.
    """
    promotion = [
        _closed(Key(environment, key.application), f"environment {environment}", sequence, states) for environment in after
    ]
    dependencies = [
        _misplaced(other) if other in nowhere else _closed(other, f"application {_called(other, key)}", sequence, states)
        for other in needs
    ]
    return tuple(reason for reason in (*promotion, *dependencies) if reason)


def _called(other: Key, key: Key) -> str:
    return other.application if other.environment == key.environment else str(other)


def _misplaced(other: Key) -> str:
    name, where = other.application, other.environment
    return f"waits for application {name}, which does not run in {where}; place it there, or name the one that is meant: {name}@ENVIRONMENT"


def _closed(other: Key, called: str, sequence: int, states: Mapping[Key, Reconciliation]) -> str:
    state = states.get(other)
    if state is None:
        return f"waits for {called}, which has not run yet"
    # Not the pending one's sequence: it may have taken the place of one that waited in vain, and current is older than both.
    if state.pending is not None and state.behind <= sequence:
        failed = state.pending.phase == Phase.FAILED
        return f"waits for {called}, where this revision {'failed' if failed else 'is not running yet'}"
    if state.current is None:
        return f"waits for {called}, which has not run yet"
    if state.current.phase != Phase.HEALTHY or state.health.status not in _OPEN:
        return f"waits for {called}, which is {state.current.phase} and {state.health.status}"
    return ""
