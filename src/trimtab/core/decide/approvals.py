"""What a Change needs before it is merged: requirements from the rules of its branch, of the Environments that it touches, and owners.

Pure: people, rules and plans in, :class:`Requirement` values out. Who may approve is worked out here, once; the lifecycle only counts.
The requirement without an Environment ("") is about the content itself, and its hash is that of the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from trimtab.core.model.change import Change, EnvironmentPlan, Requirement
from trimtab.core.model.config import Application, Environment
from trimtab.core.model.protection import Approvals, Protection
from trimtab.core.model.rights import OPERATOR, Action, Allowed, Principal, Resource

from .limits import glob
from .owners import Owned
from .rights import Directory, may

PATHS_SHOWN_MAX = 3


@dataclass(frozen=True, kw_only=True)
class Asking:
    """All that requirements are made from. ``owned`` is what CODEOWNERS asks for the paths of the Change (`Ownership.asked`)."""

    change: Change
    people: Directory
    plans: tuple[EnvironmentPlan, ...] = ()
    protection: Protection | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)
    applications: Mapping[str, Application] = field(default_factory=dict)
    owned: Mapping[Owned, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    """Kinds of rules that the Change would alter: ``people``, ``policies``, ``protections``."""


def requirements(asking: Asking) -> tuple[Requirement, ...]:
    """What is asked for this Change now, the content first, then each Environment in the order of its plans."""
    return tuple(_all(asking))


def protection_of(protections: Iterable[Protection], repository: str, branch: str, *, default: str) -> Protection | None:
    """The first by name that speaks of ``branch``; None where none does."""
    for one in sorted(protections, key=lambda found: found.name):
        spec = one.spec
        here = not spec.repositories or any(glob(pattern, repository) for pattern in spec.repositories)
        if here and any(glob(pattern, branch) for pattern in spec.branches or [default]):
            return one
    return None


def owner_names(owners: Iterable[str], people: Directory) -> frozenset[str]:
    """The Users behind what a CODEOWNERS file names: a login, a Group, a team of an organisation, an address. The unknown are nobody."""
    found: set[str] = set()
    addresses = {address.casefold(): name for name, user in people.users.items() for address in user.spec.emails}
    for owner in owners:
        name = owner.lstrip("@").rpartition("/")[2]
        if not owner.startswith("@"):
            found |= {addresses[owner.casefold()]} if owner.casefold() in addresses else set()
        elif people.known(name):
            found.add(name)
        else:
            found |= {user for user, groups in people.groups.items() if name in groups}
    return frozenset(name for name in found if people.known(name))


def _all(asking: Asking) -> Iterator[Requirement]:
    yield from _of_rules(asking)
    if asking.protection is not None:
        yield from _of(asking, asking.protection.spec.approvals, "")
    for plan in asking.plans:
        environment = asking.environments.get(plan.environment)
        rule = environment.spec.approvals if environment is not None else Approvals()
        yield from _of(asking, rule, plan.environment)
        if plan.holds and not rule.required:
            eligible = _without(asking, rule, _may_review(asking, plan.environment))
            yield Requirement(plan.environment, "somebody who may review it, since it is held without", 1, eligible)


def _of(asking: Asking, rule: Approvals, environment: str) -> Iterator[Requirement]:
    if rule.required:
        eligible = _may_review(asking, environment) & _named(asking, rule)
        yield Requirement(environment, _by(rule), rule.required, _without(asking, rule, eligible))
    if not rule.owners:
        return
    for owned, paths in sorted(asking.owned.items(), key=lambda item: (item[0].section, item[0].line)):
        more = f" and {len(paths) - PATHS_SHOWN_MAX} more" if len(paths) > PATHS_SHOWN_MAX else ""
        said = f"owners of {', '.join(paths[:PATHS_SHOWN_MAX])}{more} ({' '.join(owned.owners)})"
        yield Requirement(environment, said, owned.count, _without(asking, rule, owner_names(owned.owners, asking.people)))


def _of_rules(asking: Asking) -> Iterator[Requirement]:
    """Who judges others by rules must not be overruled in two steps: an administrator makes or approves a Change of rules."""
    if not asking.rules or not asking.people.declared:
        return
    here = Resource(repository=asking.change.address)
    administrators = frozenset(
        user
        for user in asking.people.groups
        if isinstance(may(Principal(user), Action.ADMINISTER, here, asking.people, somewhere=True), Allowed)
    )
    if asking.change.author not in administrators or asking.change.last_pusher not in administrators:
        yield Requirement("", f"an administrator, since {' and '.join(asking.rules)} change", 1, administrators)


def _may_review(asking: Asking, environment: str) -> frozenset[str]:
    """Everybody who may review what the Change does there: all of its Applications, where it is about an Environment."""
    if not asking.people.declared:
        return frozenset({OPERATOR})
    resources = list(_resources(asking, environment))
    return frozenset(
        user
        for user in asking.people.groups
        if all(isinstance(may(Principal(user), Action.REVIEW, one, asking.people, somewhere=True), Allowed) for one in resources)
    )


def _resources(asking: Asking, environment: str) -> Iterator[Resource]:
    repository = asking.change.address
    planned = [one for plan in asking.plans if plan.environment == environment for one in plan.planned]
    if not environment or not planned:
        yield Resource(repository=repository, environment=environment)
    for one in planned:
        found = asking.applications.get(one.application)
        project = found.spec.project if found is not None else ""
        yield Resource(repository=repository, project=project, environment=environment, application=one.application)


def _named(asking: Asking, rule: Approvals) -> frozenset[str]:
    people = asking.people
    if not rule.by:
        return frozenset({*people.groups, OPERATOR})
    return frozenset(user for user, groups in people.groups.items() if user in rule.by or groups & set(rule.by))


def _without(asking: Asking, rule: Approvals, eligible: frozenset[str]) -> frozenset[str]:
    """Nobody approves their own work, unless the rule says that it counts, or there is nobody else."""
    if not asking.people.declared:
        return eligible
    author = frozenset() if rule.author else frozenset({asking.change.author})
    pusher = frozenset() if rule.last_pusher else frozenset({asking.change.last_pusher})
    return eligible - author - pusher


def _by(rule: Approvals) -> str:
    return ", ".join(rule.by) if rule.by else "somebody who may review it"
