"""Wakes from a fake to whoever watches it: each key waits once, however often it moved, so nothing here grows without bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from typing import Generic, TypeVar

from .faults import Faults

K = TypeVar("K", bound=Hashable)


class Wakes(Generic[K]):
    """``name`` is the point at which `Faults` may drop a wake."""

    def __init__(self, faults: Faults, name: str) -> None:
        self._faults = faults
        self._name = name
        self._watchers: list[_Watcher[K]] = []

    def send(self, key: K) -> None:
        for watcher in self._watchers:
            if not self._faults.drops(self._name):
                watcher.put(key)

    async def watch(self) -> AsyncGenerator[K, None]:
        """What is sent from the first step of the iteration on."""
        watcher = _Watcher[K]()
        self._watchers.append(watcher)
        try:
            while True:
                yield await watcher.next()
        finally:
            self._watchers.remove(watcher)


class _Watcher(Generic[K]):
    def __init__(self) -> None:
        self._keys: dict[K, None] = {}
        self._some = asyncio.Event()

    def put(self, key: K) -> None:
        self._keys[key] = None
        self._some.set()

    async def next(self) -> K:
        await self._some.wait()
        key = next(iter(self._keys))
        del self._keys[key]
        if not self._keys:
            self._some.clear()
        return key
