"""How long to wait before a process that has ended is started again: pure.

A process that had been doing its work and ends is started at once; that is what it is for, and somebody is waiting. Only a
limited number of such restarts is free, and one that ends before it ever worked gets none: those wait, and the wait doubles.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .kinds import Restart

FREE_MAX = 20
FREE_EVERY_SECONDS = 10.0
STEADY_SECONDS = 1.0
"""Without a readiness probe, a process that lived this long counts as having worked."""
FORGIVEN_SECONDS = 60.0
"""A process that lived this long starts a new account."""
KEPT_MAX = 64


class Exit(msgspec.Struct, frozen=True):
    """One end: when (monotonic seconds), after how long, and whether the process had worked."""

    at: float
    lived: float
    worked: bool


def delay_seconds(exits: Sequence[Exit], restart: Restart) -> float:
    """The wait after the last of ``exits`` (oldest first, at least one)."""
    free, at, streak = float(FREE_MAX), exits[0].at, 0
    for each in exits:
        free = min(FREE_MAX, free + (each.at - at) / FREE_EVERY_SECONDS)
        at = each.at
        if each.lived >= FORGIVEN_SECONDS:
            free, streak = float(FREE_MAX), 0
        if each.worked and free >= 1:
            free -= 1
            streak = 0
        else:
            streak += 1
    if streak == 0:
        return 0.0
    return float(min(restart.backoff_seconds_max, restart.backoff_seconds * 2 ** min(streak - 1, 30)))
