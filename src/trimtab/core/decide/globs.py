"""Patterns of paths, matched name by name from the root down, so that only folders that can lead to something are looked into."""

from __future__ import annotations

from collections.abc import Iterable

from .limits import glob

State = frozenset[tuple[int, int]]
"""How far each pattern has come: its number, and how many of its parts are behind."""


class Globs:
    """``start`` is the state at the root; `step` goes into a name, and `matches` says whether a whole pattern is behind."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(tuple(part for part in pattern.split("/") if part not in ("", ".")) for pattern in patterns)
        self.start = self._skipping({(number, 0) for number in range(len(self._patterns))})

    def step(self, state: State, name: str) -> State:
        reached = set()
        for number, at in state:
            parts = self._patterns[number]
            if at == len(parts):
                continue
            if parts[at] == "**":
                if not name.startswith("."):
                    reached.add((number, at))
            elif _fits(parts[at], name):
                reached.add((number, at + 1))
        return self._skipping(reached)

    def matches(self, state: State) -> bool:
        return any(at == len(self._patterns[number]) for number, at in state)

    def _skipping(self, reached: set[tuple[int, int]]) -> State:
        """``**`` stands for no folder, too."""
        waiting = list(reached)
        while waiting:
            number, at = waiting.pop()
            parts = self._patterns[number]
            if at < len(parts) and parts[at] == "**" and (number, at + 1) not in reached:
                reached.add((number, at + 1))
                waiting.append((number, at + 1))
        return frozenset(reached)


def _fits(part: str, name: str) -> bool:
    return glob(part, name) and (not name.startswith(".") or part.startswith("."))
