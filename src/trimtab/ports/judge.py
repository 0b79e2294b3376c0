"""Small programs in the configuration, which somebody else has written: what is wrong with them, and what they say of an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Body


class Judge(Protocol):
    """Runs them where they can be stopped. Never raises for a bad one."""

    async def examine(self, configuration: Configuration) -> Sequence[Problem]:
        """What is wrong with the programs in ``configuration``, each with the line of its document and its field."""
        ...

    async def holds(self, questions: Sequence[tuple[str, Body]]) -> Sequence[bool | str]:
        """Whether each expression is true of its object; a text says why that cannot be told."""
        ...
