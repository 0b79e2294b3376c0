"""What one row of the table of routes is (`routes.py`, `changeroutes.py`).

A route with ``lines`` answers with JSON lines: always when it has no ``ask``, otherwise when ``follow`` is asked for. ``needs`` is what
one has to be granted (`needs.py`); ``as_principal`` takes the place of ``ask`` where the answer depends on who asks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from trimtab.core.model.rights import Principal

from . import parameters as p
from .needs import Need
from .seams import Access, Commands, Queries

API = "/api/v1"


@dataclass(frozen=True)
class Engine:
    queries: Queries
    commands: Commands
    access: Access


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    parameters: type[p.Nothing]
    answer: type | list[type]
    needs: Need
    ask: Callable[[Engine, Any], Awaitable[Any]] | None = None
    lines: Callable[[Engine, Any], AsyncIterator[Any]] | None = None
    as_principal: Callable[[Engine, Any, Principal], Awaitable[Any]] | None = None
