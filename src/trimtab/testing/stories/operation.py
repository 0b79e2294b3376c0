"""What an operation of a story is: a function of the `Simulation` that does one thing and says it in words, or "" where it does not apply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

Operation = Callable[["Simulation"], Awaitable[str]]
SHARED: set[Operation] = set()
"""Those of worlds in which two Environments are at one place, alone."""


class Entering:
    """Makes a decorator that enters an operation with its weight."""

    def __init__(self, operations: dict[Operation, int]) -> None:
        self._operations = operations

    def __call__(self, weight: int, *, shared: bool = False) -> Callable[[Operation], Operation]:
        def enter(function: Operation) -> Operation:
            self._operations[function] = weight
            if shared:
                SHARED.add(function)
            return function

        return enter
