"""What is read from a target because somebody looks: bounded in number and in time, and never in the way of the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.tree import NO_TREE, Tree
from trimtab.engine.engine import Session

OBJECTS_MAX = 500
READS_AT_ONCE_MAX = 8
SECONDS_MAX = 10.0

log = logging.getLogger(__name__)


async def trees_of(session: Session, key: Key, refs: Sequence[ObjectRef]) -> Mapping[Identity, Tree]:
    """What stands behind each object, as far as that could be read in time."""
    target = session.hands.target(key.environment)
    places = asyncio.Semaphore(READS_AT_ONCE_MAX)
    found: dict[Identity, Tree] = {}

    async def read(ref: ObjectRef) -> None:
        async with places:
            try:
                tree = await target.children(ref)
            except TrimtabError as error:
                log.info("look at what stands behind %s: %s", ref, error)
                return
        if tree != NO_TREE:
            found[ref.identity] = tree

    try:
        async with asyncio.timeout(SECONDS_MAX), asyncio.TaskGroup() as group:
            for ref in refs[:OBJECTS_MAX]:
                group.create_task(read(ref))
    except TimeoutError:
        log.info("look at what stands behind the objects of %s: not all in %g s", key, SECONDS_MAX)
    return found
