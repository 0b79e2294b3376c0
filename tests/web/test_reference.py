"""The reference pages say what the code does: every route with its parameters, every field of every shape, every kind of event."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from trimtab.core.model import changeviews, views
from trimtab.core.model.change import Comment
from trimtab.core.model.event import KINDS, Event
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange
from trimtab.core.model.trail import Link
from trimtab.ports.target import LogLine
from trimtab.web.guard import OPEN
from trimtab.web.routes import ROUTES
from trimtab.web.table import Route

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PARTS: list[type[msgspec.Struct]] = [Event, ObjectRef, FieldChange, LogLine, Comment, Link]


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)$", (REFERENCE / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> dict[str, list[str]]:
    """The rows of a table by the name in their first cell."""
    return {name: rest.split(" | ") for name, rest in re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, flags=re.MULTILINE)}


def test_every_route_is_described() -> None:
    """api.md has a section for each route and no other; each names the answer, and each parameter with its default."""
    found = {title.strip("`"): text for title, text in sections("api.md").items() if title.startswith("`")}
    assert set(found) == {f"{route.method} {route.path}" for route in ROUTES} | {f"GET {path}" for path in OPEN}
    for route in ROUTES:
        described(route, found[f"{route.method} {route.path}"])


def described(route: Route, text: str) -> None:
    answer = route.answer[0] if isinstance(route.answer, list) else route.answer
    assert f"[{answer.__name__}](json.md#{answer.__name__.lower()})" in text, route.path
    assert ("list of" in text.partition("Answer:")[2].partition("\n")[0]) == isinstance(route.answer, list), route.path
    assert f"\nNeeds: {route.needs.said}.\n" in text, route.path
    assert ("JSON lines" in text) == (route.lines is not None), route.path
    table = rows(text)
    assert list(table) == [field.encode_name for field in msgspec.structs.fields(route.parameters)], route.path
    for field in msgspec.structs.fields(route.parameters):
        default = table[field.encode_name][1]
        if f"{{{field.name}}}" in route.path:
            assert default == "in the path", route.path
        else:
            assert default == ("required" if field.required else f"`{msgspec.json.encode(field.default).decode()}`"), route.path


def test_every_shape_is_described() -> None:
    """json.md has a section for each view and what it is made of, with every field as it is spelled in JSON and a meaning."""
    shapes = {
        name: struct
        for module in (views, changeviews)
        for name, struct in vars(module).items()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct.__module__ == module.__name__
    }
    del shapes["View"]
    shapes |= {struct.__name__: struct for struct in PARTS}
    found = sections("json.md")
    assert found.keys() - {"Words"} == shapes.keys()
    for name, struct in shapes.items():
        table = rows(found[name])
        assert list(table) == [field.encode_name for field in msgspec.structs.fields(struct)], name
        assert all(len(cells) == 2 and cells[1].endswith(".") for cells in table.values()), name


def test_links_of_the_pages_lead_somewhere() -> None:
    """Every link between and inside the three pages has a section that it leads to."""
    anchors = {page: {title.lower().strip("`") for title in sections(page)} for page in ("json.md", "api.md", "events.md")}
    for page in anchors:
        for target, anchor in re.findall(r"\]\(((?:json|api|events)\.md)?#([a-z]+)\)", (REFERENCE / page).read_text()):
            assert anchor in anchors[target or page], (page, target, anchor)


def test_every_kind_of_event_is_described() -> None:
    """events.md has each kind with its meaning, word for word, and no other."""
    table = rows((REFERENCE / "events.md").read_text())
    assert {kind: cells[0].removesuffix(" |") for kind, cells in table.items()} == KINDS
