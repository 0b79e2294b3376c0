"""What a Change needs: who may approve what, worked out from rules, people and owners."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from trimtab.core.decide.approvals import Asking, owner_names, protection_of, requirements
from trimtab.core.decide.owners import parse
from trimtab.core.decide.rights import Directory, directory
from trimtab.core.model.change import Change, EnvironmentPlan, PatchSet, Planned, Requirement
from trimtab.core.model.config import Configuration, Environment, EnvironmentSpec
from trimtab.core.model.kind import Metadata
from trimtab.core.model.names import Revision
from trimtab.core.model.people import Grant, GrantScope, GrantSpec, Group, GroupSpec, User, UserSpec
from trimtab.core.model.protection import Approvals, EnvironmentApprovals, Protection, ProtectionSpec
from trimtab.core.model.rights import OPERATOR

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HEAD = Revision("a" * 40)


def people(**specs: UserSpec) -> Directory:
    users = {
        name: User(Metadata(name), specs.get(name, UserSpec(emails=[f"{name}@example.org"])))
        for name in ("ada", "rob", "sue", "eve")
    }
    grants = {
        "reviewers": Grant(Metadata("reviewers"), GrantSpec("reviewer", users=["ada", "rob", "sue"])),
        "staging": Grant(Metadata("staging"), GrantSpec("reviewer", users=["eve"], scope=GrantScope(environments=["staging"]))),
    }
    groups = {
        "sre": Group(Metadata("sre"), GroupSpec(users=["sue", "eve"])),
        "dba": Group(Metadata("dba"), GroupSpec(users=["rob"])),
    }
    return directory(Configuration(users=users, groups=groups, grants=grants))


def change(author: str = "ada", pusher: str = "ada") -> Change:
    return Change(7, "shop", "main", "more", "Three", author, (PatchSet(1, HEAD, pusher, NOW),), NOW)


def environment(name: str = "production", **rule: Any) -> dict[str, Environment]:
    return {name: Environment(Metadata(name), EnvironmentSpec(approvals=EnvironmentApprovals(**rule)))}


def plan(name: str = "production") -> EnvironmentPlan:
    return EnvironmentPlan(name, (Planned("shop", "digest", "hash"),))


def asked(**fields: Any) -> tuple[Requirement, ...]:
    return requirements(Asking(**{"change": change(), "people": people(), "plans": (plan(),), **fields}))


def test_an_environment_without_a_rule_asks_for_nobody() -> None:
    assert asked(environments=environment()) == ()


def test_whoever_may_review_counts_but_for_author_and_last_pusher() -> None:
    rule = environment(required=1)
    assert asked(environments=rule) == (Requirement("production", "somebody who may review it", 1, frozenset({"rob", "sue"})),)
    (found,) = asked(environments=rule, change=change(pusher="rob"))
    assert found.eligible == {"sue"}


def test_a_rule_can_let_the_author_count() -> None:
    (found,) = asked(environments=environment(required=1, author=True, last_pusher=True))
    assert found.eligible == {"ada", "rob", "sue"}


def test_a_group_counts_only_as_far_as_its_members_may_review_there() -> None:
    (production,) = asked(environments=environment(required=2, by=["sre"]))
    assert (production.by, production.count, production.eligible) == ("sre", 2, {"sue"})
    (staging,) = asked(environments=environment("staging", required=1, by=["sre"]), plans=(plan("staging"),))
    assert staging.eligible == {"sue", "eve"}


def test_who_is_disabled_counts_no_more() -> None:
    (found,) = asked(environments=environment(required=1), people=people(sue=UserSpec(disabled=True)))
    assert found.eligible == {"rob"}


def test_owners_of_the_paths_are_asked_besides() -> None:
    owned = parse("[Data][2]\n/db/ @org/dba sue@example.org\n").asked(["db/a", "db/b"])
    found = asked(environments=environment(required=1, owners=True), owned=owned)
    assert [one.count for one in found] == [1, 2]
    assert found[1].by == "owners of db/a, db/b (@org/dba sue@example.org)"
    assert found[1].eligible == {"rob", "sue"}


def test_the_content_may_need_approval_whatever_it_would_do() -> None:
    rule = Protection(Metadata("main"), ProtectionSpec(approvals=Approvals(required=1)))
    (found,) = asked(protection=rule, plans=())
    assert (found.environment, found.eligible) == ("", {"rob", "sue"})


def test_an_environment_that_is_only_touched_by_the_change_asks() -> None:
    assert (
        asked(environments={**environment(required=1), **environment("staging", required=1)}, plans=(plan("staging"),))[
            0
        ].environment
        == "staging"
    )


def test_where_nobody_is_declared_the_operator_reviews() -> None:
    alone = directory(Configuration())
    (found,) = asked(environments=environment(required=1), people=alone)
    assert found.eligible == {OPERATOR}


def test_names_in_codeowners_are_logins_groups_teams_or_addresses() -> None:
    assert owner_names(["@ada", "@org/sre", "ROB@example.org", "@nobody", "x@y.z"], people()) == {"ada", "sue", "eve", "rob"}


def test_the_first_protection_by_name_that_speaks_of_a_branch_holds() -> None:
    rules = [
        Protection(Metadata("b"), ProtectionSpec(branches=["release-*"])),
        Protection(Metadata("a"), ProtectionSpec(repositories=["blog"], branches=["*"])),
        Protection(Metadata("c"), ProtectionSpec()),
    ]

    def name(repository: str, branch: str) -> str | None:
        found = protection_of(rules, repository, branch, default="main")
        return found.name if found is not None else None

    assert [name("shop", "release-1"), name("blog", "release-1"), name("shop", "main"), name("shop", "more")] == [
        "b",
        "a",
        "c",
        None,
    ]


def test_a_grant_that_names_a_path_lets_its_holder_review() -> None:
    """Paths are asked of owners; a Grant on a path is a right to review somewhere."""
    grants = {"p": Grant(Metadata("p"), GrantSpec("reviewer", users=["eve"], scope=GrantScope(paths=["docs/*"])))}
    users = {name: User(Metadata(name)) for name in ("ada", "eve")}
    (found,) = asked(environments=environment(required=1), people=directory(Configuration(users=users, grants=grants)))
    assert found.eligible == {"eve"}
    assert msgspec.json.encode(found)
