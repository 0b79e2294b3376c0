"""A Deployment: one Application at one Revision in one Environment, from first seen to its end.

Only Revisions that change what the Application renders from get a Deployment of their own; a commit that leaves its inputs
alone is carried by the one before it (`status` works that out from the order in which Revisions were seen).

    pending ──▶ applying ──▶ healthy ──▶ superseded | reverted
       │            ├─────▶ failed ──▶ (retried: applying) | superseded | reverted
       └────────────┴─────▶ held ────▶ (approved: applying) | superseded
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from .health import HealthStatus
from .names import Key, ObjectRef


class Phase(StrEnum):
    PENDING = "pending"
    APPLYING = "applying"
    HEALTHY = "healthy"
    FAILED = "failed"
    HELD = "held"
    SUPERSEDED = "superseded"
    REVERTED = "reverted"


ENDED = frozenset({Phase.SUPERSEDED, Phase.REVERTED})


def moving(phases: Iterable[Phase]) -> bool:
    """True while one of several Deployments of a commit may still change by itself.

    One that is pending waits for another. Where another failed or is held, it waits for a person.
    """
    found = frozenset(phases)
    return Phase.APPLYING in found or (Phase.PENDING in found and not found & {Phase.FAILED, Phase.HELD})


class Deployment(msgspec.Struct, frozen=True, rename="camel"):
    """``sequence`` orders Revisions as they were seen at the head. ``digest`` is that of what was rendered ("" before).

    ``since`` is when the current phase began, ``started`` when the Deployment did; both UTC.
    """

    application: str
    environment: str
    revision: str
    sequence: int
    phase: Phase
    health: HealthStatus
    since: datetime
    started: datetime
    message: str = ""
    object: ObjectRef | None = None
    last_log_line: str = ""
    superseded_by: str = ""
    digest: str = ""

    @property
    def key(self) -> Key:
        return Key(self.environment, self.application)
