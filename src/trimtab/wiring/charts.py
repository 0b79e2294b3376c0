"""`trimtab chart lock`: which charts the files of a directory ask for, settled and written down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.views import ChartRow, ChartsView
from trimtab.ports.git import Tree
from trimtab.render import chart, lock
from trimtab.render.credentials import Credentials
from trimtab.render.fetching import Charts
from trimtab.render.lock import Pin, Wanted
from trimtab.render.resolving import resolve

from .offline import configuration_of, snapshot
from .rendering import own_charts, own_netrc

RESOLUTIONS_AT_ONCE_MAX = 4


def offline_lock(path: str, *, update: bool = False) -> ChartsView:
    """Settle what the repository around PATH asks for, and write its `charts.lock`. What is pinned already stays, unless ``update``.

    Raises UserError or TransientError, and then nothing was written.
    """
    return asyncio.run(settled(Path(path), update=update))


async def settled(path: Path, *, update: bool) -> ChartsView:
    """As `offline_lock`."""
    async with snapshot(path) as shot:
        wanted = set(_wanted(shot.tree))
        before = lock.of(shot.tree, DEFAULT)
        after = await _pinned(wanted, {} if update else before)
        file = shot.top / lock.FILE
        if after:
            file.write_text(lock.written(after), encoding="utf-8")
        else:
            file.unlink(missing_ok=True)
    return ChartsView(lock.FILE, [_row(one, before.get(one), after.get(one)) for one in sorted(before.keys() | after.keys())])


def _wanted(tree: Tree) -> Iterator[Wanted]:
    for application in configuration_of(tree).applications.values():
        for source in application.sources:
            if source.chart.name:
                yield Wanted(source.chart.repository, source.chart.name, source.chart.version)
    for entry in tree.walk(""):
        directory, _, name = entry.path.rpartition("/")
        # What stands in a chart's own charts/ belongs to it as it is.
        if name == chart.CHART_FILE and entry.type == "blob" and "charts" not in directory.split("/")[:-1]:
            yield from chart.find(tree, directory, {}, DEFAULT).wanted


async def _pinned(wanted: set[Wanted], known: Mapping[Wanted, Pin]) -> dict[Wanted, Pin]:
    charts = Charts(own_charts(), Credentials(own_netrc()), DEFAULT)
    places = asyncio.Semaphore(RESOLUTIONS_AT_ONCE_MAX)

    async def settle(one: Wanted) -> Pin:
        async with places:
            return known.get(one) or await resolve(charts, one)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {one: group.create_task(settle(one)) for one in sorted(wanted)}
    except* Exception as several:
        raise several.exceptions[0] from None
    finally:
        await charts.close()
    return {one: task.result() for one, task in tasks.items()}


def _row(wanted: Wanted, before: Pin | None, after: Pin | None) -> ChartRow:
    pin = after or before
    assert pin is not None, "it is in one of the two"
    if before is None:
        change = "added"
    elif after is None:
        change = "removed"
    else:
        change = "kept" if before == after else "changed"
    was = before.resolved if before is not None and change == "changed" else ""
    return ChartRow(wanted.name, wanted.repository, wanted.version, pin.resolved, pin.digest, change, was)
