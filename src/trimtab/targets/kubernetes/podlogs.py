"""The log lines of Pods, container by container: the last ones in the order of their time, then what comes, from all of them at once."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.text import printable
from trimtab.plumbing.joined import joined
from trimtab.ports.target import LogLine, LogWish

from .client import Client
from .errors import Invalid, NotFound
from .healths.reading import listing, mapping, text
from .objects import Object

SOURCES_MAX = 100
"""More containers than this are not read."""
OLDEST = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One container of one Pod; ``shown`` names it in a line."""

    namespace: str
    pod: str
    container: str
    shown: str


def sources(pods: Iterable[Object], container: str) -> list[Source]:
    """All containers, those that initialise included; or those of one name."""
    found = []
    for pod in pods:
        spec = mapping(pod.body(), "spec")
        names = [text(one, "name") for kind in ("initContainers", "containers") for one in listing(spec, kind)]
        chosen = [name for name in names if container in ("", name)]
        found += [Source(pod.namespace, pod.name, name, pod.name if len(names) == 1 else f"{pod.name}/{name}") for name in chosen]
    return found[:SOURCES_MAX]


async def lines_of(client: Client, found: list[Source], wish: LogWish) -> AsyncIterator[LogLine]:
    """Sources that have no log (yet, or any more) have no lines. One that cannot be read takes nothing from the others; where none can,
    that is an error.
    """
    failures: list[Exception] = []
    said = False

    def failed(error: Exception) -> None:
        if not isinstance(error, TrimtabError):
            raise error
        log.info("%s", error)
        failures.append(error)

    async with aclosing(joined([_of(client, source, wish) for source in found], failed)) as lines:  # type: ignore[type-var]
        async for line in lines if wish.follow else _in_time(lines, wish.lines):
            said = True
            yield line
    if failures and not said:
        raise failures[0]


async def _in_time(lines: AsyncIterator[LogLine], count: int) -> AsyncIterator[LogLine]:
    """The last ``count`` of them by their time."""
    read = sorted([line async for line in lines], key=lambda line: line.time or OLDEST)
    for line in read[-count:] if count else []:
        yield line


async def _of(client: Client, source: Source, wish: LogWish) -> AsyncIterator[LogLine]:
    try:
        async for data in client.logs(
            source.namespace,
            source.pod,
            container=source.container,
            tail=wish.lines,
            follow=wish.follow,
            previous=wish.previous,
            since_seconds=wish.since_seconds or None,
            timestamps=True,
        ):
            yield _line(source, printable(data.decode(errors="replace")))
    except (NotFound, Invalid) as error:
        log.info("%s", error)  # it has not begun to run, has had no run before, or has gone; the others have their lines


def _line(source: Source, line: str) -> LogLine:
    stamp, _, rest = line.partition(" ")
    try:
        time = datetime.fromisoformat(stamp) if stamp.endswith("Z") else None
    except ValueError:
        time = None
    return LogLine(source.shown, line, None) if time is None else LogLine(source.shown, rest, time)
