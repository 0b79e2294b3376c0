"""What we have applied and therefore own, one Inventory per Environment.

An entry is written *before* the write to the target (``state="intended"``), so that after a crash in between the object can
still be found and, if Git no longer wants it, removed. Nothing outside the Inventory is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from .names import Identity, ObjectRef


class Entry(msgspec.Struct, frozen=True):
    """One owned object. ``digest`` is that of the Manifest applied last; ``uid`` is "" until the target has told it.

    ``hook``: it was made by the run of a hook, so that nothing of what the Application is goes with it.
    """

    environment: str
    application: str
    ref: ObjectRef
    digest: str
    wave: int
    state: Literal["intended", "applied", "removing"]
    uid: str = ""
    since: datetime | None = None
    hook: bool = False


class Inventory:
    """The entries of one Environment by identity and by Application. Owned by the engine; deciders only read it."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: dict[Identity, Entry] = {}
        # Insertion order, not a set: what is planned must not follow the hash seed of the process.
        self._of: dict[str, dict[Identity, None]] = {}
        self._hooks = 0
        for entry in entries:
            self.put(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lasting(self) -> int:
        """How many entries there are, but for those of hooks: what a removal budget is a share of."""
        return len(self._entries) - self._hooks

    def get(self, identity: Identity) -> Entry | None:
        return self._entries.get(identity)

    def of(self, application: str) -> Mapping[Identity, Entry]:
        """The entries that ``application`` owns."""
        return {identity: self._entries[identity] for identity in self._of.get(application, ())}

    def lasting_of(self, application: str) -> int:
        return sum(not entry.hook for entry in self.of(application).values())

    def applications(self) -> frozenset[str]:
        return frozenset(name for name, owned in self._of.items() if owned)

    def put(self, entry: Entry) -> None:
        self.drop(entry.ref.identity)
        self._entries[entry.ref.identity] = entry
        self._hooks += entry.hook
        self._of.setdefault(entry.application, {})[entry.ref.identity] = None

    def drop(self, identity: Identity) -> None:
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self._hooks -= entry.hook
            self._of[entry.application].pop(identity, None)
