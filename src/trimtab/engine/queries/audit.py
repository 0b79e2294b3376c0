"""Trails, as they were written: whoever asks verifies them, and need not believe this server."""

from __future__ import annotations

from trimtab.core.model.changeviews import TrailRow, TrailsView, TrailView
from trimtab.core.model.errors import NotFound
from trimtab.core.model.rights import Action, Resource
from trimtab.core.model.text import one_line
from trimtab.ports.hosting import HOSTED
from trimtab.ports.people import Asker

from .reader import LIMIT_MAX, Reader


class AuditQueries(Reader):
    async def trails(self, asker: Asker) -> TrailsView:
        """Those that may be read, with their ends."""
        store = self._engine.parts.store
        rows = []
        for name in await store.trails():
            last = await store.trail_end(name)
            if last is not None and await self._readable(name, asker):
                rows.append(TrailRow(name, last.number, last.hash))
        return TrailsView(rows)

    async def trail(self, name: str, after: int, limit: int, asker: Asker) -> TrailView:
        limit = max(1, min(limit, LIMIT_MAX))
        links = await self._engine.parts.store.trail(name, after=after, limit=limit)
        if (not links and not after) or not await self._readable(name, asker):
            raise NotFound(f"there is no trail {one_line(name)}", remedy="See: trimtab audit verify")
        return TrailView(links, links[-1].number if len(links) == limit else 0)

    async def _readable(self, name: str, asker: Asker) -> bool:
        kind, _, of = name.partition("/")
        if kind == "environment":
            return asker.may(Action.READ, Resource(environment=of))
        review = await self._engine.parts.store.review(int(of)) if of.isdigit() else None
        repository = f"{HOSTED}{review.change.repository}" if review is not None else ""
        return asker.may(Action.READ, Resource(repository=repository))
