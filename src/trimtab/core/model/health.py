"""Health of an object or of an Application, with what is wrong in words and the object that causes it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from .names import ObjectRef


class HealthStatus(StrEnum):
    """From best to worst, as used when several are summed up (`worst`)."""

    HEALTHY = "healthy"
    SUSPENDED = "suspended"
    PROGRESSING = "progressing"
    UNKNOWN = "unknown"
    MISSING = "missing"
    DEGRADED = "degraded"


_RANK = {status: rank for rank, status in enumerate(HealthStatus)}


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """``object`` and ``last_log_line`` name the cause where there is one. ``message`` is "" when all is well."""

    status: HealthStatus
    message: str = ""
    object: ObjectRef | None = None
    last_log_line: str = ""


HEALTHY = Health(HealthStatus.HEALTHY)
UNKNOWN = Health(HealthStatus.UNKNOWN)


def worst(healths: Iterable[Health]) -> Health:
    """The least healthy of several, the first of equals; healthy when there is none."""
    return max(healths, key=lambda health: _RANK[health.status], default=HEALTHY)
