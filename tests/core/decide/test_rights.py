"""Who may do what. Everything is denied that no Grant allows, and nothing but a Grant allows."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.rights import ROLES, WHO_CAN_MAX, Directory, directory, may, who_can
from trimtab.core.model.config import Configuration
from trimtab.core.model.kind import Metadata
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, Group, GroupSpec, User, UserSpec
from trimtab.core.model.rights import Action, Allowed, Denied, Principal, Resource, TokenScope

USERS = ("ada", "bob", "cyd")
GROUPS = ("dev", "ops", "all")
PLACES = ("staging", "production")


def user(name: str, *, disabled: bool = False) -> User:
    return User(Metadata(name), UserSpec(disabled=disabled))


def group(name: str, *users: str, groups: tuple[str, ...] = ()) -> Group:
    return Group(Metadata(name), GroupSpec(users=list(users), groups=list(groups)))


def grant(
    name: str,
    role: Any,
    *,
    users: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    emergency: bool = False,
    **scope: list[str],
) -> Grant:
    return Grant(Metadata(name), GrantSpec(role, list(users), list(groups), GrantScope(**scope), emergency))


def people(*declared: User | Group | Grant) -> Directory:
    return directory(configuration(*declared))


def configuration(*declared: User | Group | Grant) -> Configuration:
    def of(kind: type) -> dict[str, Any]:
        return {one.metadata.name: one for one in declared if isinstance(one, kind)}

    return Configuration(users=of(User), groups=of(Group), grants=of(Grant))


def allowed(who: str, action: Action, found: Directory, **resource: str) -> bool:
    return isinstance(may(Principal(who), action, Resource(**resource), found), Allowed)


def test_a_role_gives_its_actions_and_no_other() -> None:
    """Each role gives what the table says; an emergency push comes with none of them."""
    for role, actions in ROLES.items():
        found = people(user("ada"), grant("g", role, users=("ada",)))
        assert {action for action in Action if allowed("ada", action, found)} == actions
        assert Action.EMERGENCY not in actions


def test_emergency_is_a_right_of_its_own() -> None:
    """`emergency: true` gives the right to push past review, beside the role of the Grant."""
    found = people(user("ada"), grant("g", "author", users=("ada",), emergency=True))
    assert {action for action in Action if allowed("ada", action, found)} == {Action.READ, Action.PROPOSE, Action.EMERGENCY}


def test_a_group_gives_to_members_of_its_groups() -> None:
    """Membership goes through Groups of Groups, and ends at the User."""
    found = people(
        user("ada"), user("bob"), group("dev", "ada"), group("all", groups=("dev",)), grant("g", "reader", groups=("all",))
    )
    assert allowed("ada", Action.READ, found)
    assert not allowed("bob", Action.READ, found)
    assert found.groups["ada"] == {"dev", "all"}


def test_a_scope_is_matched_in_every_part() -> None:
    """A Grant for an Environment and a Project allows there and nowhere else."""
    found = people(user("ada"), grant("g", "deployer", users=("ada",), environments=["stag*"], projects=["shop"]))
    assert allowed("ada", Action.DEPLOY, found, environment="staging", project="shop")
    assert not allowed("ada", Action.DEPLOY, found, environment="production", project="shop")
    assert not allowed("ada", Action.DEPLOY, found, environment="staging", project="other")


def test_what_is_not_said_is_not_covered() -> None:
    """A Grant that is limited to something allows nothing on a Resource that does not say which."""
    found = people(user("ada"), grant("g", "reader", users=("ada",), environments=["?*", "staging"]))
    assert not allowed("ada", Action.READ, found, repository="shop.git")
    assert allowed("ada", Action.READ, found, environment="staging", repository="shop.git")


def test_paths_narrow_what_is_written_and_not_what_is_read() -> None:
    """Git has no part reading: an author of some paths reads the whole repository, and proposes on those paths alone."""
    found = people(user("ada"), grant("g", "author", users=("ada",), paths=["apps/shop/*"]))
    assert allowed("ada", Action.READ, found, repository="r")
    assert allowed("ada", Action.PROPOSE, found, repository="r", path="apps/shop/deep/web.yaml")
    assert not allowed("ada", Action.PROPOSE, found, repository="r", path=".trimtab/grants.yaml")
    assert not allowed("ada", Action.PROPOSE, found, repository="r")
    assert may(Principal("ada"), Action.PROPOSE, Resource(repository="r"), found, somewhere=True) == Allowed()


def test_a_denial_says_what_is_missing_and_who_can() -> None:
    """A denial names the action, what it was on, and a few Groups and Users that could do it."""
    helpers = [user(f"u{number}") for number in range(9)]
    found = people(
        user("ada"),
        *helpers,
        group("ops", "u1"),
        group("empty"),
        grant(
            "g",
            "deployer",
            users=tuple(one.metadata.name for one in helpers),
            groups=("ops", "empty"),
            environments=["production"],
        ),
    )
    denied = may(Principal("ada"), Action.DEPLOY, Resource(environment="production", application="shop"), found)
    assert isinstance(denied, Denied)
    assert denied.reason == "ada may not deploy: no Grant allows it on environment production, application shop"
    assert denied.who_can == ("group ops", "u0", "u1", "u2", "u3")
    assert len(denied.who_can) == WHO_CAN_MAX
    assert who_can(Action.MERGE, Resource(), found) == ()


def test_strange_names_are_nobody_and_are_shown_safely() -> None:
    """A login that no User has is denied, and is never printed as it came."""
    found = people(user("ada"), grant("g", "admin", users=("ada",)))
    for name in ("", "Ada", "ada ", "ada\x00", "../ada", "operator", "ada\x1b[31m", "ａｄａ", "a" * 5000):
        denied = may(Principal(name), Action.READ, Resource(), found)
        assert isinstance(denied, Denied), name
        assert "\x1b" not in denied.reason
        assert len(denied.reason) < 200


def test_without_people_only_the_operator_may() -> None:
    """While Git declares no people the operator's key opens everything, quietly, and nobody else may anything."""
    nobody = people()
    assert not nobody.declared
    assert may(Principal("operator", operator=True), Action.ADMINISTER, Resource(), nobody) == Allowed(ungranted=False)
    assert isinstance(may(Principal("operator"), Action.READ, Resource(), nobody), Denied)


def test_the_operators_key_always_works_and_is_loud() -> None:
    """Once Git declares people, what the operator's key opens was granted by nobody, and that is said."""
    assert may(Principal("operator", operator=True), Action.DEPLOY, Resource(), people(user("ada"))) == Allowed(ungranted=True)


def test_a_glob_is_not_a_regular_expression_and_takes_no_time() -> None:
    """What would be an expression stands for itself; a hostile pattern is answered as quickly as another."""
    found = people(user("ada"), grant("g", "deployer", users=("ada",), environments=["a.c", "(x|y)", "[p]*"]))
    assert allowed("ada", Action.DEPLOY, found, environment="a.c")
    assert not allowed("ada", Action.DEPLOY, found, environment="abc")
    assert not allowed("ada", Action.DEPLOY, found, environment="x")
    assert allowed("ada", Action.DEPLOY, found, environment="[p]roduction")
    hostile = people(user("ada"), grant("g", "author", users=("ada",), paths=["*a" * 200 + "b"]))
    before = time.process_time()
    assert not allowed("ada", Action.PROPOSE, hostile, path="a" * 4000)
    assert time.process_time() - before < 1.0


@given(st.lists(st.sampled_from("ab*?."), max_size=6).map("".join), st.text("ab.", max_size=8))
def test_law_a_glob_means_what_the_plain_expression_means(glob: str, text: str) -> None:
    """`*` is any run of characters and `?` one, however they are mixed; `*` alone also covers what is not said."""
    found = people(user("ada"), grant("g", "deployer", users=("ada",), environments=[glob]))
    plain = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in glob)
    wanted = glob == "*" or bool(text and re.fullmatch(plain, text))
    assert allowed("ada", Action.DEPLOY, found, environment=text) is wanted


some_users = st.lists(st.sampled_from(USERS), max_size=3, unique=True).map(tuple)
some_groups = st.lists(st.sampled_from(GROUPS), max_size=3, unique=True).map(tuple)
scopes = st.builds(
    GrantScope,
    environments=st.lists(st.sampled_from([*PLACES, "*", "st*"]), min_size=1, max_size=2),
    projects=st.lists(st.sampled_from(["shop", "*"]), min_size=1, max_size=2),
    paths=st.lists(st.sampled_from(["a/*", "*"]), min_size=1, max_size=2),
)
grants = st.builds(GrantSpec, st.sampled_from(sorted(ROLES)), some_users.map(list), some_groups.map(list), scopes, st.booleans())
resources = st.builds(
    Resource,
    project=st.sampled_from(["", "shop", "x"]),
    environment=st.sampled_from(["", *PLACES]),
    path=st.sampled_from(["", "a/b", "c"]),
)
principals = st.builds(Principal, st.sampled_from([*USERS, "nobody"]))
tokens = st.builds(
    TokenScope,
    actions=st.lists(st.sampled_from(list(Action)), max_size=3).map(tuple),
    environments=st.lists(st.sampled_from([*PLACES, "*", "prod*"]), max_size=2).map(tuple),
    projects=st.lists(st.sampled_from(["shop", "*"]), max_size=1).map(tuple),
)
worlds = st.builds(
    lambda disabled, members, inner, given: configuration(
        *(user(name, disabled=name in disabled) for name in USERS),
        *(group(name, *members, groups=inner) for name in GROUPS),
        *(Grant(Metadata(f"g{number}"), spec) for number, spec in enumerate(given)),
    ),
    some_users,
    some_users,
    some_groups,
    st.lists(grants, max_size=4),
)
actions = st.sampled_from(list(Action))


@given(worlds, grants, principals, actions, resources)
def test_law_another_grant_takes_nothing_away(
    world: Configuration, more: GrantSpec, who: Principal, action: Action, on: Resource
) -> None:
    """What is allowed stays allowed when a Grant is added."""
    bigger = msgspec.structs.replace(world, grants={**world.grants, "more": Grant(Metadata("more"), more)})
    if isinstance(may(who, action, on, directory(world)), Allowed):
        assert isinstance(may(who, action, on, directory(bigger)), Allowed)


@given(worlds, principals, actions, resources)
def test_law_who_is_disabled_or_unknown_may_nothing(world: Configuration, who: Principal, action: Action, on: Resource) -> None:
    """A User that Git has disabled, or does not declare, may nothing, whatever is granted."""
    declared = world.users.get(who.user)
    if declared is None or declared.spec.disabled:
        assert isinstance(may(who, action, on, directory(world)), Denied)


@given(worlds, principals, actions, resources)
def test_law_nothing_is_allowed_without_a_grant(world: Configuration, who: Principal, action: Action, on: Resource) -> None:
    """Without Grants everything is denied; and what is allowed is allowed by one Grant alone that could be pointed at."""
    assert isinstance(may(who, action, on, directory(msgspec.structs.replace(world, grants={}))), Denied)
    if isinstance(may(who, action, on, directory(world)), Allowed):
        alone = (msgspec.structs.replace(world, grants={name: one}) for name, one in world.grants.items())
        assert any(isinstance(may(who, action, on, directory(one)), Allowed) for one in alone)


@given(worlds, principals, tokens, actions, resources)
def test_law_a_tokens_scope_only_narrows(
    world: Configuration, who: Principal, scope: TokenScope, action: Action, on: Resource
) -> None:
    """A token allows nothing that its User may not do without it."""
    if isinstance(may(msgspec.structs.replace(who, scope=scope), action, on, directory(world)), Allowed):
        assert isinstance(may(who, action, on, directory(world)), Allowed)


@given(worlds, actions, resources)
def test_law_whom_a_denial_names_really_can(world: Configuration, action: Action, on: Resource) -> None:
    """Each User named is allowed it, and each Group has a member who is."""
    found = directory(world)
    for name in who_can(action, on, found):
        members = [one for one in USERS if name.removeprefix("group ") in found.groups.get(one, ())]
        people = members if name.startswith("group ") else [name]
        assert people
        assert any(isinstance(may(Principal(one), action, on, found), Allowed) for one in people)


@pytest.mark.parametrize("action", list(Action))
def test_law_every_action_is_held_by_some_grant(action: Action) -> None:
    """There is no action that nobody could be granted."""
    assert allowed("ada", action, people(user("ada"), grant("g", "admin", users=("ada",), emergency=True)))
