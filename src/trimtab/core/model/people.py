"""People as Git declares them: Users, Groups of them, and Grants, which say who may do what on what.

Everything is denied that no Grant allows; `core/decide/rights.py` decides. What each field means is published as JSON Schema and
in docs/reference/configuration.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .kind import Metadata, Name, Strict

EVERYTHING = "*"
Role = Literal["reader", "author", "reviewer", "deployer", "admin"]
Glob = Annotated[str, Meta(description="A pattern: `*` is any run of characters, `?` is one.")]


class UserSpec(Strict, frozen=True):
    """A person, or a program that acts by itself."""

    name: Annotated[str, Meta(description="The full name, for people.")] = ""
    emails: Annotated[list[str], Meta(description="Addresses that this User writes in commits.")] = []
    ssh_keys: Annotated[
        list[str],
        Meta(description="SSH public keys that sign this User's commits, each on a line: `ssh-ed25519 AAAA…`."),
    ] = []
    openpgp_keys: Annotated[
        list[str],
        Meta(description="OpenPGP public keys that sign this User's commits, each as an armoured block."),
    ] = []
    disabled: Annotated[bool, Meta(description="True takes every right away and voids every token, at once.")] = False


class User(Strict, frozen=True):
    """Somebody who may be granted something. The name of the document is the login."""

    metadata: Annotated[Metadata, Meta(description="The name, which is the login, and free labels.")]
    spec: Annotated[UserSpec, Meta(description="What is declared.")] = UserSpec()


class GroupSpec(Strict, frozen=True):
    """Who belongs together."""

    description: Annotated[str, Meta(description="What the Group is, for people.")] = ""
    users: Annotated[list[Name], Meta(description="Users that belong to it.")] = []
    groups: Annotated[list[Name], Meta(description="Groups whose members belong to it as well.")] = []


class Group(Strict, frozen=True):
    """Users, and Groups of them, under one name."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[GroupSpec, Meta(description="What is declared.")] = GroupSpec()


def _everything() -> list[str]:
    return [EVERYTHING]


class GrantScope(Strict, frozen=True):
    """What a Grant is about. A list that is not written allows everything of its sort; one that is written allows what it names."""

    projects: Annotated[list[Glob], Meta(min_length=1, description="Projects, by name.")] = msgspec.field(
        default_factory=_everything
    )
    environments: Annotated[list[Glob], Meta(min_length=1, description="Environments, by name.")] = msgspec.field(
        default_factory=_everything
    )
    repositories: Annotated[list[Glob], Meta(min_length=1, description="Repositories, by name or URL.")] = msgspec.field(
        default_factory=_everything
    )
    paths: Annotated[
        list[Glob],
        Meta(
            min_length=1,
            description="Paths in a Repository, such as `apps/shop/*`. Reading is not narrowed by it: Git has no part reading.",
        ),
    ] = msgspec.field(default_factory=_everything)
    applications: Annotated[list[Glob], Meta(min_length=1, description="Applications, by name.")] = msgspec.field(
        default_factory=_everything
    )


class GrantSpec(Strict, frozen=True):
    """Who may do what, on what."""

    role: Annotated[Role, Meta(description="What may be done: docs/reference/rights.md has the table.")]
    users: Annotated[list[Name], Meta(description="Users who may.")] = []
    groups: Annotated[list[Name], Meta(description="Groups whose members may.")] = []
    scope: Annotated[GrantScope, Meta(description="What it is about; everything, when nothing is said.")] = GrantScope()
    emergency: Annotated[
        bool,
        Meta(description="True allows an emergency push past review too. No role has this by itself."),
    ] = False


class Grant(Strict, frozen=True):
    """A role, given to Users and Groups, on a scope."""

    metadata: Annotated[Metadata, Meta(description="The name, and free labels.")]
    spec: Annotated[GrantSpec, Meta(description="What is declared.")]
