"""Who may do what: a Principal, an Action and a Resource in, Allowed or Denied out. Everything is denied that no Grant allows.

    role       read  propose  review  merge  deploy  administer
    reader      x
    author      x       x
    reviewer    x                x      x
    deployer    x                              x
    admin       x       x        x      x      x         x

An emergency push is a right of its own: a Grant with `emergency: true` gives it, no role does.

`directory` resolves Users, Groups and Grants once for each configuration; after that a question costs microseconds. Laws
(tests/core/decide/test_rights.py): more Grants never take a right away, a disabled User may nothing, a token only narrows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from trimtab.core.model.config import Configuration
from trimtab.core.model.people import EVERYTHING, Grant, GrantScope, Group, User
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Resource, TokenScope
from trimtab.core.model.text import escaped

WHO_CAN_MAX: Final = 5
ROLES: Final[Mapping[str, frozenset[Action]]] = {
    "reader": frozenset({Action.READ}),
    "author": frozenset({Action.READ, Action.PROPOSE}),
    "reviewer": frozenset({Action.READ, Action.REVIEW, Action.MERGE}),
    "deployer": frozenset({Action.READ, Action.DEPLOY}),
    "admin": frozenset(set(Action) - {Action.EMERGENCY}),
}
Patterns = re.Pattern[str] | None
"""None is everything, even what is not said."""


@dataclass(frozen=True)
class Scope:
    """One pattern for each sort of thing."""

    repositories: Patterns
    projects: Patterns
    environments: Patterns
    paths: Patterns
    applications: Patterns

    def covers(self, resource: Resource, *, whole: bool, somewhere: bool) -> bool:
        """``whole``: paths do not count. ``somewhere``: a path that is not said may be any."""
        return (
            (self.repositories is None or self.repositories.fullmatch(resource.repository) is not None)
            and (self.projects is None or self.projects.fullmatch(resource.project) is not None)
            and (self.environments is None or self.environments.fullmatch(resource.environment) is not None)
            and (self.applications is None or self.applications.fullmatch(resource.application) is not None)
            and (
                whole
                or self.paths is None
                or (somewhere and not resource.path)
                or self.paths.fullmatch(resource.path) is not None
            )
        )


@dataclass(frozen=True)
class Directory:
    """Who may what, ready to be asked. ``declared`` is False while Git declares no people: then only the operator may anything."""

    declared: bool
    users: Mapping[str, User]
    groups: Mapping[str, frozenset[str]]
    """For each User that is not disabled, the Groups that it belongs to, by whatever way."""
    given: Mapping[tuple[str, Action], tuple[Scope, ...]]
    holders: Mapping[Action, tuple[tuple[Scope, tuple[str, ...]], ...]]
    """For each Action, what is granted to whom, in words: to say who can."""

    def known(self, user: str) -> bool:
        """True for a User that Git declares and has not disabled."""
        return user in self.groups


def directory(configuration: Configuration) -> Directory:
    """What the configuration means for rights. A name that is declared nowhere is passed over: it gives nobody anything."""
    users, groups = configuration.users, configuration.groups
    members = _members(groups)
    belongs: dict[str, set[str]] = {name: set() for name, user in users.items() if not user.spec.disabled}
    for group, names in members.items():
        for name in names & belongs.keys():
            belongs[name].add(group)
    given: defaultdict[tuple[str, Action], list[Scope]] = defaultdict(list)
    holders: defaultdict[Action, list[tuple[Scope, tuple[str, ...]]]] = defaultdict(list)
    for _, grant in sorted(configuration.grants.items()):
        scope, actions = _scope(grant.spec.scope), allowed(grant)
        named = {name for group in grant.spec.groups for name in members.get(group, ())} | set(grant.spec.users)
        people = tuple(name for name in sorted(named) if name in belongs)
        words = _words(grant, members, belongs.keys()) if people else ()
        for action in actions:
            for name in people:
                given[name, action].append(scope)
            if people:
                holders[action].append((scope, words))
    return Directory(
        declared=bool(users or groups or configuration.grants),
        users=users,
        groups={name: frozenset(found) for name, found in belongs.items()},
        given={key: tuple(scopes) for key, scopes in given.items()},
        holders={action: tuple(found) for action, found in holders.items()},
    )


def allowed(grant: Grant) -> frozenset[Action]:
    """What a Grant allows."""
    return ROLES[grant.spec.role] | ({Action.EMERGENCY} if grant.spec.emergency else frozenset())


def may(
    principal: Principal, action: Action, resource: Resource, people: Directory, *, somewhere: bool = False
) -> Allowed | Denied:
    """``somewhere`` asks whether there is any path where it is allowed, for a Resource that names none."""
    if principal.operator:
        return Allowed(ungranted=people.declared)
    if not people.known(principal.user):
        return Denied(_unknown(principal.user, people))
    if not within(principal.scope, action, resource):
        return Denied(f"{principal.user} may not {action} {resource} with this token: its scope is narrower", (principal.user,))
    whole = action is Action.READ
    for scope in people.given.get((principal.user, action), ()):
        if scope.covers(resource, whole=whole, somewhere=somewhere):
            return Allowed()
    return Denied(
        f"{principal.user} may not {action}: no Grant allows it on {_shown(resource)}", who_can(action, resource, people)
    )


def who_can(action: Action, resource: Resource, people: Directory) -> tuple[str, ...]:
    """Groups and Users that are granted it, at most WHO_CAN_MAX."""
    found: dict[str, None] = {}
    for scope, names in people.holders.get(action, ()):
        if scope.covers(resource, whole=action is Action.READ, somewhere=False):
            found |= dict.fromkeys(names)
        if len(found) >= WHO_CAN_MAX:
            break
    return tuple(found)[:WHO_CAN_MAX]


def within(scope: TokenScope, action: Action, resource: Resource) -> bool:
    """True when a token of this scope may be used for it at all. A pattern does not match what the Resource does not say."""
    return (
        (not scope.actions or action in scope.actions)
        and (not scope.projects or _matches(scope.projects, resource.project))
        and (not scope.environments or _matches(scope.environments, resource.environment))
        and (not scope.repositories or _matches(scope.repositories, resource.repository))
    )


def _unknown(user: str, people: Directory) -> str:
    if user in people.users:
        return f"{user} is disabled in Git"
    return f"there is no User {escaped(user, characters_max=63)} in Git"


def _shown(resource: Resource) -> str:
    return escaped(str(resource), characters_max=300)


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    found = _patterns(patterns)
    return found is None or found.fullmatch(text) is not None


def _scope(scope: GrantScope) -> Scope:
    return Scope(
        repositories=_patterns(scope.repositories),
        projects=_patterns(scope.projects),
        environments=_patterns(scope.environments),
        paths=_patterns(scope.paths),
        applications=_patterns(scope.applications),
    )


def _patterns(globs: Iterable[str]) -> Patterns:
    """As one expression. What is not said ("") is matched by `*` alone."""
    globs = tuple(globs)
    if EVERYTHING in globs:
        return None
    return re.compile("(?=.)(?:" + "|".join(map(_expression, globs)) + ")", re.DOTALL) if globs else re.compile(r"(?!)")


def _expression(glob: str) -> str:
    """What stands between two stars is taken where it is first found, for good: no glob takes longer than a few passes."""
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in glob.split("*"))
    if not rest:
        return first
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + f".*{rest[-1]}"


def _members(groups: Mapping[str, Group]) -> dict[str, frozenset[str]]:
    """The Users of each Group, by whatever way; a circle, which is a Problem elsewhere, does no harm here."""
    found: dict[str, frozenset[str]] = {}
    for name in groups:
        seen, todo, users = {name}, [name], set[str]()
        while todo:
            group = groups.get(todo.pop())
            if group is not None:
                users |= set(group.spec.users)
                todo += [inner for inner in group.spec.groups if inner not in seen]
                seen |= set(group.spec.groups)
        found[name] = frozenset(users)
    return found


def _words(grant: Grant, members: Mapping[str, frozenset[str]], active: Set[str]) -> tuple[str, ...]:
    groups = [f"group {name}" for name in grant.spec.groups if not active.isdisjoint(members.get(name, ()))]
    return (*groups, *(name for name in grant.spec.users if name in active))
