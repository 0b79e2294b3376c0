"""Tells Git: each finished Deployment becomes a line of the note on its commit (``git log --notes=trimtab``).

Lines for one commit are gathered for a moment and written together. The note is a copy for people; the store stays the record, so
a repository that cannot be written delays notes and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import datetime

import msgspec

from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.names import Revision
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories

GATHER_SECONDS = 0.25
RETRY_SECONDS = 30.0
COMMITS_MAX = 1_000
TOLD_MAX = 20_000
TOLD = frozenset({Phase.HEALTHY, Phase.FAILED, Phase.SUPERSEDED, Phase.REVERTED})

log = logging.getLogger(__name__)


class Notes:
    def __init__(self, repositories: Repositories, clock: Clock) -> None:
        self._repositories = repositories
        self._clock = clock
        self._lines: dict[tuple[str, str], deque[str]] = {}
        self._told: dict[tuple[str, str, str], tuple[Phase, datetime]] = {}
        self._some = asyncio.Event()

    def add(self, repository: str, deployment: Deployment) -> None:
        """Note ``deployment`` on its commit soon, when its phase is one that people ask for."""
        known = (deployment.revision, deployment.application, deployment.environment)
        # What is worse or better within a phase is for the record; the note says when each phase began.
        if deployment.phase not in TOLD or self._told.get(known) == (deployment.phase, deployment.since):
            return
        if len(self._told) >= TOLD_MAX:
            self._told.pop(next(iter(self._told)))
        self._told[known] = (deployment.phase, deployment.since)
        place = (repository, deployment.revision)
        if place not in self._lines and len(self._lines) >= COMMITS_MAX:
            self._lines.pop(next(iter(self._lines)))
        lines = self._lines.setdefault(place, deque())
        line = note_line(deployment)
        if line not in lines:
            lines.append(line)
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            await self._clock.sleep(GATHER_SECONDS)
            self._some.clear()
            for place in list(self._lines):
                if not await self._write(*place):
                    await self._clock.sleep(RETRY_SECONDS)
                    self._some.set()

    async def _write(self, repository: str, revision: str) -> bool:
        lines = tuple(self._lines[repository, revision])
        try:
            await self._repositories.note(repository, Revision(revision), lines)
        except TrimtabError as error:
            log.warning("note on %s: %s", revision[:12], error)
            return False
        left = self._lines[repository, revision]
        for _ in lines:
            left.popleft()
        if not left:
            del self._lines[repository, revision]
        return True


def note_line(deployment: Deployment) -> str:
    """One line of JSON; what people look for first stands first, because terminals cut long lines."""
    line = {
        "application": deployment.application,
        "environment": deployment.environment,
        "phase": deployment.phase,
        "since": deployment.since,
    }
    if deployment.message:
        line["message"] = deployment.message
    if deployment.superseded_by:
        line["supersededBy"] = deployment.superseded_by
    return msgspec.json.encode(line).decode()
