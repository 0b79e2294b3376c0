"""Which cluster is behind an address, so that Environments which reach one cluster by several are known to see the same objects.

A cluster is told by the uid of its `kube-system`, which it has from its first moment to its end. Whoever may not read that is where
the address says; what one account has found out of an address holds for all that use it.
"""

from __future__ import annotations

import asyncio

from trimtab.core.model.errors import TrimtabError
from trimtab.ports.clock import Clock

from .client import Client
from .discovery import UnknownKind
from .errors import Forbidden, NotFound

SYSTEM = "kube-system"
BELIEVED_SECONDS = 3_600.0
"""How long a cluster is believed to be the one that it was: another one may have got its address."""
SILENT_SECONDS = 5.0
"""How long one that does not answer is not asked again."""


class Whereabouts:
    """Of all clusters that this process knows."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[str, str] = {}
        self._due: dict[tuple[str, str], float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def of(self, client: Client) -> str:
        """ "" while it is not known."""
        return self._found.get(client.transport.server, "")

    async def ask(self, client: Client, who: str) -> None:
        """Find it out, as the Environment ``who``, unless it is known. What does not answer stays as it was."""
        async with self._asking.setdefault(who, asyncio.Lock()):
            if self._due.get((who, client.transport.server), 0.0) > self._clock.monotonic():
                return
            seconds = SILENT_SECONDS
            try:
                found = await self._ask(client)
            except TrimtabError:
                pass
            else:
                server = client.transport.server  # which may have become known with this very request
                if found or not self._found.get(server):
                    self._found[server] = found or f"address {server}"
                seconds = BELIEVED_SECONDS
            self._due[who, client.transport.server] = self._clock.monotonic() + seconds

    async def _ask(self, client: Client) -> str:
        try:
            namespaces = await client.discovery.resource("v1", "Namespace")
            return f"cluster {(await client.get(namespaces, '', SYSTEM)).uid}"
        except (Forbidden, NotFound, UnknownKind):
            return ""
