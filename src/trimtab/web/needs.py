"""What each route needs to be granted: an Action on what its parameters name, asked before the engine is; and what of an answer is shown.

A route that lists things of many sorts needs nothing to be asked, and its answer is filtered by what the Principal may read: a row
that one may not read looks exactly like one that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from trimtab.core.model import views
from trimtab.core.model.event import Event
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Resource
from trimtab.ports.hosting import HOSTED

from .seams import Access


@dataclass(frozen=True)
class Need:
    """``said`` is how the reference calls it. ``on`` gives the Resources on each of which the Action must be allowed."""

    said: str
    action: Action | None = None
    on: Callable[[Access, Any], Sequence[Resource]] | None = None

    def denied(self, access: Access, principal: Principal, given: Any) -> Denied | None:
        """The first thing that is missing."""
        for resource in self.on(access, given) if self.on is not None else ():
            assert self.action is not None
            found = access.may(principal, self.action, resource)
            if isinstance(found, Denied):
                return found
        return None


def of_application(action: Action) -> Need:
    """On the Application that is named, in each Environment that is meant."""
    return Need(f"`{action}` on the Application", action, lambda access, q: access.resources(q.name, q.environment))


def of_environment(action: Action) -> Need:
    return Need(f"`{action}` on the Environment", action, lambda _, q: [Resource(environment=q.name)])


def of_repository(action: Action) -> Need:
    return Need(f"`{action}` on the Repository", action, lambda _, q: [Resource(repository=q.repository)])


def of_hosted(action: Action) -> Need:
    return Need(f"`{action}` on the hosted repository", action, lambda _, q: [Resource(repository=f"{HOSTED}{q.name}")])


def of_change(said: str, action: Action) -> Need:
    """On the repository of a Change, which has to be found first: the engine asks."""
    return Need(f"{said} on the repository of the Change", action)


def everything(action: Action) -> Need:
    """By a Grant that is not limited."""
    return Need(f"`{action}` on everything", action, lambda _, __: [Resource()])


of_trail = Need("a token; `read` on what the trail is about", Action.READ)
only_shown = Need("a token; the answer holds what may be read")
oneself = Need("a token; tokens of others need `administer` on everything")


def shown(access: Access, principal: Principal, answer: Any) -> Any:
    """``answer`` with only what ``principal`` may read."""
    if principal.operator:
        return answer
    replace = msgspec.structs.replace

    def sees(application: str, environment: str) -> bool:
        return _may_read(access, principal, access.resources(application, environment))

    match answer:
        case views.StatusView():
            rows = [one for one in answer.deployments if sees(one.application, one.environment)]
            errors = answer.errors if _may_read(access, principal, [Resource()]) else []
            return replace(answer, deployments=rows, errors=errors)
        case views.ApplicationsView():
            return replace(answer, applications=[one for one in answer.applications if sees(one.name, one.environment)])
        case views.EnvironmentsView():
            return replace(
                answer,
                environments=[
                    one for one in answer.environments if _may_read(access, principal, [Resource(environment=one.name)])
                ],
            )
        case views.EnvironmentView():
            return replace(answer, applications=[one for one in answer.applications if sees(one.name, one.environment)])
        case views.RepositoriesView():
            return replace(
                answer,
                repositories=[
                    one for one in answer.repositories if _may_read(access, principal, [Resource(repository=one.repository)])
                ],
                hosted=[one for one in answer.hosted if _may_read(access, principal, [Resource(repository=one.repository)])],
            )
        case views.EventsView():
            return replace(answer, events=[one for one in answer.events if sees_event(access, principal, one)])
    return answer


def sees_event(access: Access, principal: Principal, event: Event) -> bool:
    """What is about no Application and no Environment is read with a Grant that is not limited."""
    repository = event.data.get("repository")
    if event.kind.startswith("change.") and isinstance(repository, str):
        return _may_read(access, principal, [Resource(repository=f"{HOSTED}{repository}")])
    if event.application:
        return _may_read(access, principal, access.resources(event.application, event.environment))
    return _may_read(access, principal, [Resource(environment=event.environment)])


def _may_read(access: Access, principal: Principal, resources: Sequence[Resource]) -> bool:
    return all(isinstance(access.may(principal, Action.READ, one), Allowed) for one in resources)
