"""The Git server, joined: the repositories that live here, who may come in, and what becomes of a push."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trimtab.core.model.errors import NotFound
from trimtab.git.hosting import GitHosting
from trimtab.git.hosting.names import MAGIC
from trimtab.git.hosting.upkeep import Upkeep
from trimtab.ports.hosting import HOSTED, Accept, Push, RefUpdate, Refuse, Verdict


@asynccontextmanager
async def hosted(root: Path, repository: str) -> AsyncIterator[GitHosting]:
    """With housekeeping. ``repository`` is the configuration repository: where it lives here and is not there yet, it is made, empty."""
    hosting = GitHosting(root)
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


class Open:
    """A Receiver for a server without change requests: whoever may push moves what they push."""

    async def judge(self, push: Push) -> Verdict:
        refused = Refuse("change requests are not taken here; push to a branch")
        return Verdict(tuple(refused if update.ref.startswith(MAGIC) else Accept() for update in push.updates))

    async def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        for line in tuple[str, ...]():
            yield line
