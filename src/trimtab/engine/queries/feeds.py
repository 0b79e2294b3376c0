"""What goes on: events and logs, as pages and as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from trimtab.core.model.errors import NotFound
from trimtab.core.model.event import Event
from trimtab.core.model.views import (
    EventsView,
)
from trimtab.engine.commands import keys
from trimtab.plumbing.joined import joined
from trimtab.ports.target import LogLine, LogWish

from .reader import LIMIT_MAX, Reader

ALL_LINES = LogWish()


class FeedQueries(Reader):
    async def events(
        self,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        application: str = "",
        environment: str = "",
        kind: str = "",
        revision: str = "",
        newest_first: bool = False,
    ) -> EventsView:
        found = await self._engine.parts.store.events(
            after=after,
            before=before,
            limit=max(1, min(limit, LIMIT_MAX)),
            application=application,
            environment=environment,
            kind=kind,
            revision=revision,
            newest_first=newest_first,
        )
        return EventsView(found)

    async def follow_events(self, after: int = 0) -> AsyncIterator[Event]:
        """Every event after id ``after``, then what comes, without gaps or doubles."""
        feed = self._engine.journal.follow()
        fresh: asyncio.Task[Event] = asyncio.ensure_future(anext(feed))
        try:
            await asyncio.sleep(0)  # listen first, then read: nothing falls in between
            last = after
            while page := await self._engine.parts.store.events(after=last, limit=LIMIT_MAX):
                for event in page:
                    last = event.id
                    yield event
            while True:
                event = await fresh
                fresh = asyncio.ensure_future(anext(feed))
                if event.id > last:
                    last = event.id
                    yield event
        finally:
            fresh.cancel()
            await asyncio.gather(fresh, return_exceptions=True)
            await feed.aclose()  # type: ignore[attr-defined]

    async def logs(
        self,
        name: str,
        environment: str = "",
        object: str = "",  # noqa: A002 - the name in the API
        wish: LogWish = ALL_LINES,
    ) -> AsyncIterator[LogLine]:
        """Lines of everything that the application runs, or of one ``object`` (its name, or Kind/name)."""
        session = self._engine.current()
        sources = []
        for key in keys(session, name, environment):
            target = session.hands.target(key.environment)
            refs = {entry.ref for entry in session.world.inventories[key.environment].of(key.application).values()}
            chosen = sorted(ref for ref in refs if object in ("", ref.name, str(ref)))
            sources += [target.logs(ref, wish) for ref in chosen]
        if object and not sources:
            raise NotFound(f"read logs of {name}: it has no object {object}", remedy=f"See: trimtab app show {name}")
        failures: list[Exception] = []

        def failed(error: Exception) -> None:
            """Others still have their lines; who follows, though, would never be told."""
            if wish.follow:
                raise error
            failures.append(error)

        async with aclosing(joined(sources, failed)) as lines:  # type: ignore[type-var]
            async for line in lines:
                yield line
        if failures:
            raise failures[0]
