"""Which targets there are: the one list that a new target is added to."""

from __future__ import annotations

from typing import Any

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import UserError
from trimtab.ports.target import Target, Targets
from trimtab.targets.host.kinds import HostSettings

SETTINGS: dict[str, type[Any]] = {"host": HostSettings}
"""The type of each target's settings, by the kind that Environments name."""


class ByKind:
    """The Targets port over several adapters: an Environment's ``target.kind`` says which one answers."""

    def __init__(self, adapters: dict[str, Targets]) -> None:
        self._adapters = adapters

    def get(self, name: str, environment: Environment) -> Target:
        adapter = self._adapters.get(environment.target_kind)
        if adapter is None:
            raise UserError(
                f"look at environment {name}: there is no target {environment.target_kind} here",
                remedy=f"Targets: {', '.join(sorted(self._adapters))}",
            )
        return adapter.get(name, environment)
