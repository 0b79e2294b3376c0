"""Which Revisions the other sources had in what runs: an Application with several sources is known by that of the first.

After a restart what runs has to be rendered as it was, while the heads may have gone on. So the Revisions stand on the record, by the digest of the
content that was made of them, before anybody acts on it.
"""

from __future__ import annotations

import msgspec

from trimtab.core.model.names import Key
from trimtab.ports.store import Writes

from .journal import Journal

_KIND = "companions"


class Companions:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[Key, dict[str, tuple[str, ...]]] = {}

    def restore(self, documents: dict[str, bytes]) -> None:
        for name, body in documents.items():
            kind, _, rest = name.partition("/")
            if kind == _KIND:
                environment, _, application = rest.partition("/")
                self._known[Key(environment, application)] = msgspec.json.decode(body, type=dict[str, tuple[str, ...]])

    def of(self, key: Key, digest: str) -> tuple[str, ...]:
        """Those of all sources but the first; () when there are none, or nobody knows."""
        return self._known.get(key, {}).get(digest, ())

    async def keep(self, key: Key, digest: str, revisions: tuple[str, ...], used: set[str]) -> None:
        """``used`` are the contents that may still be needed. Raises TransientError when the record does not take it."""
        before = self._known.get(key, {})
        if before.get(digest, ()) == revisions:
            return
        now = {name: kept for name, kept in before.items() if name in used} | {digest: revisions}
        name = f"{_KIND}/{key.environment}/{key.application}"
        await self._journal.write(Writes(documents=((name, msgspec.json.encode(now)),)))
        self._known[key] = now
