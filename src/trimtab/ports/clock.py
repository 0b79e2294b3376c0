"""Time and chance, so that a simulation can own both."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, in UTC. May jump; never use it to measure."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, from an arbitrary start. For due times and time-outs."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Chance(Protocol):
    def uniform(self, low: float, high: float) -> float:
        """A number between the two, for jitter."""
        ...

    def token(self) -> str:
        """A fresh unguessable identifier, 32 hexadecimal characters."""
        ...
