"""Which targets there are: the one list that a new target is added to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import UserError
from trimtab.core.model.mandate import OWN, Mandate
from trimtab.ports.target import Target, Targets
from trimtab.targets.host.kinds import HostSettings
from trimtab.targets.kubernetes.settings import KubernetesSettings

SETTINGS: dict[str, type[Any]] = {"host": HostSettings, "kubernetes": KubernetesSettings}
"""The type of each target's settings, by the kind that Environments name."""


class ByKind:
    """The Targets port over several adapters: an Environment's ``target.kind`` says which one answers.

    An adapter is made when an Environment first needs it: who runs nothing on a cluster does not pay for its client.
    """

    def __init__(self, makers: dict[str, Callable[[], Targets]]) -> None:
        self._makers = makers
        self._made: dict[str, Targets] = {}

    def get(self, name: str, environment: Environment, mandate: Mandate = OWN) -> Target:
        kind = environment.target_kind
        if kind not in self._makers:
            raise UserError(
                f"look at environment {name}: there is no target {kind} here",
                remedy=f"Targets: {', '.join(sorted(self._makers))}",
            )
        if kind not in self._made:
            self._made[kind] = self._makers[kind]()
        return self._made[kind].get(name, environment, mandate)
