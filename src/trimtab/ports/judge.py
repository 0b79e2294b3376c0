"""Small programs in the configuration, which somebody else has written: what is wrong with them, and what they say of an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Body


class Unsaid(msgspec.Struct, frozen=True):
    """There is no answer: the expression is wrong, asks about what is not there, or was stopped."""

    reason: str


class Judge(Protocol):
    """Runs them where they can be stopped. Never raises for a bad one."""

    async def examine(self, configuration: Configuration) -> Sequence[Problem]:
        """What is wrong with the programs in ``configuration``, each with the line of its document and its field."""
        ...

    async def holds(self, questions: Sequence[tuple[str, Body]]) -> Sequence[bool | str]:
        """Whether each expression is true of its object; a text says why that cannot be told."""
        ...

    async def answers(self, questions: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[Any]:
        """What each expression comes to, given the values that it may name: a plain value, or `Unsaid`."""
        ...
