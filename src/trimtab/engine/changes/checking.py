"""A server that was given no external checkers: a Policy that names one fails, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.model.errors import Problem


class NoCheckers:
    def names(self) -> frozenset[str]:
        return frozenset()

    async def check(self, name: str, values: Mapping[str, Any]) -> tuple[Problem, ...]:
        remedy = "Start the server with it, or take the command out of the Policy"
        return (Problem(f"this server has no checker called {name}", remedy=remedy),)
