"""What a Change is judged by, as it is now: the configuration that holds, who may what, and what the engine follows of a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trimtab.core.decide.approvals import protection_of
from trimtab.core.decide.rights import Directory
from trimtab.core.model.change import Change, EnvironmentPlan
from trimtab.core.model.config import Configuration
from trimtab.core.model.protection import Protection
from trimtab.core.model.rights import Resource
from trimtab.engine.sources import Place
from trimtab.engine.world import World
from trimtab.ports.hosting import HOSTED


class Surroundings:
    """``people`` answers with the rights of now; ``branches`` are the default branches of hosted repositories by name."""

    def __init__(self, world: World, people: Callable[[], Directory], branches: dict[str, str]) -> None:
        self._world, self._people, self.branches = world, people, branches

    @property
    def configuration(self) -> Configuration:
        return self._world.configuration

    @property
    def people(self) -> Directory:
        return self._people()

    def default_branch(self, repository: str) -> str:
        return self.branches.get(repository, "main")

    def protection(self, repository: str, branch: str) -> Protection | None:
        rules: Iterable[Protection] = self.configuration.protections.values()
        return protection_of(rules, repository, branch, default=self.default_branch(repository))

    def is_protected(self, repository: str, branch: str) -> bool:
        """The default branch is, whatever is declared."""
        return branch == self.default_branch(repository) or self.protection(repository, branch) is not None

    def resolves(self, change: Change) -> bool:
        """True when every thread of ``change`` has to be resolved."""
        found = self.protection(change.repository, change.target)
        return found is None or found.spec.resolved

    def resources(self, change: Change, plan: EnvironmentPlan | None, environment: str) -> tuple[Resource, ...]:
        """What an act on ``plan`` is about; None is the content, or an Environment that the Change does nothing in."""
        applications = self.configuration.applications
        named = [one.application for one in plan.planned] if plan is not None else []
        if not named:
            return (Resource(change.address, environment=environment),)
        projects = {name: found.spec.project for name in named if (found := applications.get(name)) is not None}
        return tuple(Resource(change.address, projects.get(name, ""), environment, application=name) for name in named)

    def places_of(self, change: Change) -> frozenset[Place]:
        """How the engine may be following the branch that ``change`` would move; empty when it does not."""
        repository = f"{HOSTED}{change.repository}"
        expressions = {change.target, f"refs/heads/{change.target}"}
        if change.target == self.default_branch(change.repository):
            expressions.add("")
        places = frozenset((repository, expression) for expression in expressions)
        return frozenset(place for place in places if place in self._world.heads)
