"""What a law is: a function that yields what speaks against it, entered under its name in the book of what it is asked of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from trimtab.testing.witness import Acting, Witness, Writing

if TYPE_CHECKING:
    from trimtab.testing.simulation import Simulation

LEASE_SECONDS = 15.0
"""A process that lost the lease may still finish calls of this age; the engine notices the loss within it."""

IN_FLIGHT_SECONDS = 15.0
"""What was decided before somebody suspended another application may be on its way for so long."""

Act = Callable[[Witness, Acting], Iterator[str]]
Write = Callable[[Witness, Writing], Iterator[str]]
End = Callable[["Simulation"], Iterator[str]]

ACTS: dict[str, Act] = {}
WRITES: dict[str, Write] = {}
ENDS: dict[str, End] = {}

F = TypeVar("F", bound=Callable[..., Iterator[str]])


def law(book: dict[str, F]) -> Callable[[F], F]:
    def enter(check: F) -> F:
        book[check.__name__.replace("_", "-")] = check
        return check

    return enter
