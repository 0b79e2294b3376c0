"""The `Receiver` for as long as the server runs: each push is judged by the Session that leads just then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from trimtab.core.model.errors import TransientError
from trimtab.engine.engine import Engine
from trimtab.ports.hosting import Push, RefUpdate, Verdict

from .receiving import Gate


class Reception:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def judge(self, push: Push) -> Verdict:
        return await self._gate().judge(push)

    async def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        async with aclosing(self._gate().received(push, moved)) as lines:  # type: ignore[type-var]
            async for line in lines:
                yield line

    def _gate(self) -> Gate:
        office = self._engine.current().office
        if office is None:
            raise TransientError("take a push: this server keeps no repositories", remedy="Push to where they are")
        return office.gate
