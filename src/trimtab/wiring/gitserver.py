"""The Git server, joined: the repositories that live here, who may come in, and what becomes of a push."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trimtab.core.model.errors import NotFound
from trimtab.git.hosting import GitHosting
from trimtab.git.hosting.signing import Signing
from trimtab.git.hosting.upkeep import Upkeep
from trimtab.ports.hosting import HOSTED


@asynccontextmanager
async def hosted(root: Path, repository: str, *, key: Path) -> AsyncIterator[GitHosting]:
    """With housekeeping. ``key`` is the file of the key that merges are signed with, made at the first start. ``repository`` is the configuration repository: where it lives here and is not there yet, it is made, empty."""
    hosting = GitHosting(root, signing=await asyncio.to_thread(Signing, key))
    if repository.startswith(HOSTED):
        name = repository.removeprefix(HOSTED)
        try:
            hosting.path(name)
        except NotFound:
            await hosting.create(name)
    upkeep = Upkeep(hosting)
    try:
        yield hosting
    finally:
        await upkeep.close()
