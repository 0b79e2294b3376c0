"""Housekeeping of the repositories that live here, in the background: one at a time, with bounded effort, and a push that comes meanwhile ends it.

Every push leaves a pack. When there are many, or loose objects of merges, they are packed together, geometrically: small packs into
one, large ones left alone, so that the work is that of what is new. Refs go into one file, and the commit graph is written. What no ref
reaches is kept for two weeks, so a push that was judged and then moved no ref loses nothing that somebody may still name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from trimtab.core.model.errors import TrimtabError

from .hosting import GitHosting
from .places import Place
from .quarantine import sweep_packs

QUIET_SECONDS = 10.0
"""So long after the last move it begins: what was pushed is deployed first."""
PACKS_MAX = 20
LOOSE_MAX = 1000
LOOSE_REFS_MAX = 200
PRUNED_EVERY_SECONDS = 24 * 3600.0
TIMEOUT_SECONDS = 1800.0
_OPTIONS = ("-c", "pack.threads=1", "-c", "pack.windowMemory=100m")

log = logging.getLogger(__name__)


class Upkeep:
    """Runs from the moment that it is made until it is closed."""

    def __init__(self, hosting: GitHosting, *, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._hosting, self._quiet = hosting, quiet_seconds
        self._pruned: dict[str, float] = {}
        self._task = asyncio.create_task(self._run(), name="upkeep of repositories")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async for name in self._hosting.wakes():
            await asyncio.sleep(self._quiet)
            try:
                await self.look(name)
            except TrimtabError as error:
                log.warning("upkeep of %s: %s", name, error)
            except OSError as error:
                log.warning("upkeep of %s: %s", name, error.strerror or error)

    async def look(self, name: str) -> bool:
        """Pack what has piled up; True when there was something to do."""
        place = self._hosting.place(name)
        if place.pushes:
            return False  # its end wakes us again
        packs, loose, loose_refs = await asyncio.to_thread(_counted, place)
        if max(packs / PACKS_MAX, loose / LOOSE_MAX, loose_refs / LOOSE_REFS_MAX) < 1:
            return False
        task = place.upkeep = asyncio.create_task(self._pack(place, loose_refs))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.wait([task])
            place.upkeep = None
            place.refresh()
        return not task.cancelled() and task.exception() is None

    async def _pack(self, place: Place, loose_refs: int) -> None:
        git = place.git
        sweep_packs(place.path)
        if loose_refs > LOOSE_REFS_MAX:
            await git.local(place.path, "pack-refs", "--all", timeout_seconds=TIMEOUT_SECONDS)
        repack = ("repack", "--geometric=2", "-d", "--quiet", "--write-midx")
        done = await git.local(place.path, *_OPTIONS, *repack, timeout_seconds=TIMEOUT_SECONDS)
        if done.code:  # before git 2.32 there is no geometric repacking
            await git.local(place.path, *_OPTIONS, "repack", "-d", "--quiet", timeout_seconds=TIMEOUT_SECONDS)
        graph = ("commit-graph", "write", "--reachable", "--changed-paths", "--split")
        await git.local(place.path, *graph, timeout_seconds=TIMEOUT_SECONDS)
        if time.monotonic() - self._pruned.get(place.name, 0.0) > PRUNED_EVERY_SECONDS:
            self._pruned[place.name] = time.monotonic()
            await git.local(place.path, "prune", "--expire=2.weeks.ago", timeout_seconds=TIMEOUT_SECONDS)


def _counted(place: Place) -> tuple[int, int, int]:
    """Packs, loose objects and loose refs."""
    objects = place.path / "objects"
    packs = sum(1 for _ in (objects / "pack").glob("*.pack"))
    loose = sum(len(list(os.scandir(entry.path))) for entry in os.scandir(objects) if len(entry.name) == 2)
    return packs, loose, sum(len(files) for _, _, files in os.walk(place.path / "refs"))
