"""External checkers of what a Change would do: programs that the operator has given the server under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from trimtab.core.model.errors import Problem


class Checkers(Protocol):
    def names(self) -> frozenset[str]: ...

    async def check(self, name: str, values: Mapping[str, Any]) -> tuple[Problem, ...]:
        """What the program called ``name`` has against ``values`` (``policy``, and ``subjects``: all that the rule of such a Policy would be asked
        about), which it reads as JSON on standard input. A program that is not there, that fails without saying why, or that takes too
        long has something against everything: its Problem says so. Never raises.
        """
        ...
