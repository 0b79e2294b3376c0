"""What stands in the hosted repository of a play: people, two Environments, three Applications, as files; and how people alter them.

A protected Environment asks for one or two approvals. What somebody wants is always new: no version of an object comes twice, so that
a mutation tells by itself whose proposal it came from.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from trimtab.core.model.config import Document, Placement
from trimtab.core.model.kind import Metadata
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity
from trimtab.core.model.people import Grant, GrantSpec, User, UserSpec
from trimtab.core.model.protection import EnvironmentApprovals, Protection, ProtectionSpec
from trimtab.testing.factories import app, environment, files, manifest
from trimtab.testing.trees import Node

Way = Literal["merge", "squash"]
Pair = tuple[Identity, str]
"""An object and the digest that it gets, "" when it goes."""

AUTHORS, REVIEWERS, FIREMEN = ("ada", "rob", "eve"), ("ada", "sue", "sam"), ("rob",)
PLACES = {"shop": ("staging", "production"), "blog": ("production",), "docs": ("staging",)}
RULES = ".trimtab/environment-production.yaml"


@dataclass(frozen=True)
class Rules:
    """Those of production at the beginning, and how merges are made."""

    required: int
    moved: Literal["hold", "go"]
    way: Way
    budget: int


def first_rules(chance: random.Random) -> Rules:
    return Rules(
        chance.choice((1, 1, 2)), chance.choice(("hold", "hold", "go")), chance.choice(("merge", "squash")), chance.choice((0, 3))
    )


def first_files(rules: Rules) -> dict[str, bytes]:
    found: dict[str, bytes] = {"README.md": b"What runs here"}
    for one in _documents(rules):
        found |= document(one)
    for number, name in enumerate(PLACES):
        found[f"apps/{name}/README"] = b""
        found |= {path: body for n in ("web", "db", "job") for path, body in thing(name, n, number).items()}
    return found


def document(one: Document) -> dict[str, bytes]:
    kind = type(one).__name__
    body = {"apiVersion": "trimtab.dev/v1", "kind": kind, **msgspec.to_builtins(one)}
    return {f".trimtab/{kind.lower()}-{one.metadata.name}.yaml": msgspec.json.encode(body)}


def thing(application: str, name: str, version: int) -> dict[str, bytes]:
    return files(f"apps/{application}", manifest("Process", f"{application}-{name}", version=version))


def required(found: Mapping[str, Node]) -> int:
    """How many approvals production asks for, by the files of a commit."""
    return int(_body(found[RULES])["spec"]["approvals"]["required"])


def wanted(found: Mapping[str, Node], place: str) -> dict[Identity, str]:
    """What Git wants in an Environment: objects and their digests."""
    return {
        one.identity: one.digest
        for name, places in PLACES.items()
        if place in places
        for one in _manifests(found, f"apps/{name}/")
    }


def differing(before: Mapping[str, Node], after: Mapping[str, Node], place: str) -> frozenset[Pair]:
    was, now = wanted(before, place), wanted(after, place)
    return frozenset((one, now.get(one, "")) for one in was.keys() | now.keys() if was.get(one) != now.get(one))


def altered(found: Mapping[str, Node], chance: random.Random, version: int, *, sound: bool) -> tuple[dict[str, Node], str]:
    """What somebody makes of it, and how they call that. ``sound``: it can be read."""
    made = dict(found)
    application = chance.choice(tuple(PLACES))
    there = sorted(path for path in found if path.startswith(f"apps/{application}/process-"))
    match chance.choice(("move", "move", "move", "add", "drop", "words", "rules", "break")):
        case "add":
            made |= thing(application, f"new{version}", version)
            return made, f"Add to {application}"
        case "drop" if len(there) > 1:
            del made[chance.choice(there)]
            return made, f"Take from {application}"
        case "words":
            made["README.md"] = f"Words {version}".encode()
            return made, "Words"
        case "rules" if chance.random() < 0.3:
            body = _body(found[RULES])
            body["spec"]["approvals"]["required"] = 3 - body["spec"]["approvals"]["required"]
            made[RULES] = msgspec.json.encode(body)
            return made, "Other rules"
        case "break" if chance.random() < 0.3 and there and not sound:
            made[chance.choice(there)] = b"{"
            return made, f"Break {application}"
    chosen = chance.sample(there, min(len(there), chance.choice((1, 1, 2))))
    for path in chosen:
        name = path.rpartition(f"process-{application}-")[2].removesuffix(".json")
        made |= thing(application, name, version)
    return made, f"Move {application} to {version}"


def _manifests(found: Mapping[str, Node], prefix: str) -> Iterator[Manifest]:
    for path, node in found.items():
        if path.startswith(prefix) and path.endswith(".json") and node != b"{":
            body = _body(node)
            yield manifest(body["kind"], body["metadata"]["name"], **body["spec"])


def _body(node: Node) -> dict[str, Any]:
    assert isinstance(node, bytes), "files of a play are files"
    return cast("dict[str, Any]", msgspec.json.decode(node))


def _documents(rules: Rules) -> Iterator[Document]:
    approvals = EnvironmentApprovals(required=rules.required, moved=rules.moved)
    yield environment("staging", objects=9, percent=100)
    yield environment("production", objects=rules.budget, percent=0, approvals=approvals)
    yield app("shop", "staging", Placement(name="production", after=["staging"]))
    yield app("blog", "production")
    yield app("docs", "staging")
    yield Protection(Metadata("main"), ProtectionSpec(merge=[rules.way]))
    people = sorted({*AUTHORS, *REVIEWERS, *FIREMEN})
    yield from (User(Metadata(name), UserSpec(name=name.title(), emails=[f"{name}@example.org"])) for name in people)
    yield Grant(Metadata("authors"), GrantSpec("author", users=list(AUTHORS)))
    yield Grant(Metadata("reviewers"), GrantSpec("reviewer", users=list(REVIEWERS)))
    yield Grant(Metadata("fire"), GrantSpec("reader", users=list(FIREMEN), emergency=True))
