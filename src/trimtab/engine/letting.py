"""Letting in what is held in a protected Environment, as it is: by as many people as its rule asks for, and of those whom it counts.

In: who says yes to which plan of which Key. Out: how many more have to. What was said is kept in memory alone, so after a restart it is said again;
an approval that is forgotten lets nothing in.
"""

from __future__ import annotations

from trimtab.core.decide.rights import may
from trimtab.core.model.errors import Refused
from trimtab.core.model.names import Key
from trimtab.core.model.rights import Action, Denied, Principal, Resource

from .people import Directories
from .world import World


class Letting:
    def __init__(self, world: World, people: Directories, repository: str) -> None:
        self._world, self._people, self._repository = world, people, repository
        self._said: dict[Key, tuple[str, frozenset[str]]] = {}

    def yes(self, key: Key, hash_: str, who: str) -> int:
        """How many more people are asked for. Whoever is no User holds the key of the machine, and is enough. Raises Refused for a User
        whom the rule does not count.
        """
        environment, state = self._world.environment(key.environment), self._world.states.get(key)
        people = self._people.of(self._world.configuration)
        if environment is None or state is None or not people.known(who) or not self._world.guard(key, state)[0]:
            return 0
        rule = environment.spec.approvals
        if rule.by and who not in rule.by and people.groups[who].isdisjoint(rule.by):
            raise Refused(f"approve {key}: {key.environment} asks {', '.join(rule.by)}", remedy="Ask one of them")
        application = self._world.configuration.applications.get(key.application)
        here = Resource(
            repository=self._repository,
            project=application.spec.project if application is not None else "",
            environment=key.environment,
            application=key.application,
        )
        denied = may(Principal(who), Action.REVIEW, here, people, somewhere=True)
        if isinstance(denied, Denied):
            raise Refused(f"approve {key}: {denied.reason}", remedy=denied.remedy)
        before, said = self._said.get(key, ("", frozenset()))
        said = (said if before == hash_ else frozenset()) | {who}
        self._said[key] = (hash_, said)
        return max(rule.required - len(said), 0)
