"""Tells Git: each finished Deployment becomes a line of the note on its commit (``git log --notes=trimtab``).

Lines are gathered until none has come for a moment, and written together: each write is a push, and a commit that many Applications
carry out would have one every moment otherwise. The note is a copy for people; the store stays the record, so
a repository that cannot be written delays notes and nothing else. In a repository that lives here a note also says where the trails of its
Environments ended then: who has a clone can show that nothing was cut off since (`trimtab audit verify --clone`).
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
from trimtab.core.model.trail import Link
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories
from trimtab.ports.hosting import HOSTED
from trimtab.ports.store import Store

GATHER_SECONDS = 0.25
GATHER_SECONDS_MAX = 3.0
"""How long lines may wait for others while these keep coming."""
RETRY_SECONDS = 30.0
COMMITS_MAX = 1_000
TOLD_MAX = 20_000
TOLD = frozenset({Phase.HEALTHY, Phase.FAILED, Phase.SUPERSEDED, Phase.REVERTED})

log = logging.getLogger(__name__)


class Notes:
    def __init__(self, repositories: Repositories, clock: Clock, store: Store) -> None:
        self._repositories = repositories
        self._clock = clock
        self._store = store
        self._ends: dict[tuple[str, str], set[str]] = {}
        self._lines: dict[tuple[str, str], deque[str]] = {}
        self._told: dict[tuple[str, str, str], tuple[Phase, datetime]] = {}
        self._some = asyncio.Event()

    def add(self, repository: str, deployment: Deployment, *, fresh: bool = True) -> None:
        """Note ``deployment`` on its commit soon, when its phase is one that people ask for. ``fresh``: it has come to it just now."""
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
        if fresh and repository.startswith(HOSTED):
            self._ends.setdefault(place, set()).add(deployment.environment)
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            await self._gather()
            for place in list(self._lines):
                if not await self._write(*place):
                    await self._clock.sleep(RETRY_SECONDS)
                    self._some.set()

    async def _gather(self) -> None:
        end = self._clock.monotonic() + GATHER_SECONDS_MAX
        while self._some.is_set() and self._clock.monotonic() < end:
            self._some.clear()
            await self._clock.sleep(GATHER_SECONDS)
        self._some.clear()

    async def _write(self, repository: str, revision: str) -> bool:
        lines = tuple(self._lines[repository, revision])
        environments = sorted(self._ends.get((repository, revision), ()))
        try:
            found = [await self._store.trail_end(f"environment/{one}") for one in environments]
            ends = [end_line(link) for link in found if link is not None]
            await self._repositories.note(repository, Revision(revision), (*lines, *ends))
        except TrimtabError as error:
            log.warning("note on %s: %s", revision[:12], error)
            return False
        self._ends.get((repository, revision), set()).difference_update(environments)
        left = self._lines[repository, revision]
        for _ in lines:
            left.popleft()
        if not left:
            del self._lines[repository, revision]
            self._ends.pop((repository, revision), None)
        return True


def end_line(link: Link) -> str:
    """Where a trail ended when the note was written."""
    return msgspec.json.encode({"trail": link.trail, "number": link.number, "hash": link.hash}).decode()


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
