"""What a manifest of ours may say, and how it is told what it may not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.errors import Problem
from trimtab.core.model.manifest import Content, Manifest
from trimtab.core.model.names import ObjectRef
from trimtab.targets.host.kinds import API_VERSION, KINDS, schema
from trimtab.targets.host.parse import body, parse


def made(kind: str, spec: Any, *, api: str = API_VERSION, content: tuple[Content, ...] = (), name: str = "web") -> Manifest:
    written = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}
    return Manifest(ObjectRef(api, kind, "", name), written, "apps/web.yaml", 7, content)


RUN = {"command": ["serve"]}
HTTP = [{"name": "http"}]

WRONG: list[tuple[str, Any, str, str]] = [
    ("Process", {"comand": ["x"]}, "spec.comand", "Did you mean command?"),
    ("Process", {}, "spec.command", "is missing"),
    ("Process", {"command": []}, "spec.command", "length"),
    ("Process", {"command": "serve"}, "spec.command", "a list is wanted here"),
    ("Process", {"command": ["-x"]}, "spec.command", "dash"),
    ("Process", {"command": ["a\0"]}, "spec.command", "NUL"),
    ("Process", RUN | {"replicas": "3"}, "spec.replicas", "a whole number is wanted here, not text"),
    ("Process", RUN | {"replicas": -1}, "spec.replicas", ">= 0"),
    ("Process", RUN | {"ports": [{"nme": "x"}]}, "spec.ports[0].nme", "Did you mean name?"),
    ("Process", RUN | {"ports": HTTP + HTTP}, "spec.ports[1].name", "two ports"),
    ("Process", RUN | {"ports": [{"name": "a", "listen": 1, "fixed": 2}]}, "spec.ports[0]", "both"),
    ("Process", RUN | {"ports": [{"name": "a", "fixed": 2}]}, "spec.ports[0].fixed", "one instance"),
    ("Process", RUN | {"ports": [{"name": "a", "listen": 70000}]}, "spec.ports[0].listen", "65535"),
    ("Process", RUN | {"ports": [{"name": "a", "address": "host"}]}, "spec.ports[0].address", "no IP address"),
    ("Process", RUN | {"readiness": {}}, "spec.readiness", "exactly one"),
    ("Process", RUN | {"readiness": {"tcp": {}, "command": ["x"]}}, "spec.readiness", "tcp and command"),
    ("Process", RUN | {"readiness": {"http": {}}}, "spec.readiness.http.port", "needs a port"),
    ("Process", RUN | {"ports": HTTP, "readiness": {"http": {"port": "x"}}}, "spec.readiness.http.port", "no port x"),
    ("Process", RUN | {"liveness": {"logLine": "x"}}, "spec.liveness.logLine", "readiness only"),
    ("Process", RUN | {"workingDirectory": "sub"}, "spec.workingDirectory", "no tree"),
    ("Process", RUN | {"workingDirectory": "/a/../b"}, "spec.workingDirectory", "may not contain"),
    ("Process", RUN | {"tree": "gone"}, "spec.tree", "no directory gone"),
    ("Process", RUN | {"environment": {"A B": "x"}}, "spec.environment", "regex"),
    ("Process", RUN | {"environment": {"TRIMTAB_X": "x"}}, "spec.environment.TRIMTAB_X", "Trimtab's"),
    ("Process", RUN | {"secretEnvironment": {"A": "rel"}}, "spec.secretEnvironment.A", "absolute"),
    ("Process", RUN | {"secretEnvironment": {"A": "/s"}, "environment": {"A": "x"}}, "spec.secretEnvironment.A", "too"),
    ("Process", RUN | {"stop": {"signal": "BOOM"}}, "spec.stop.signal", "invalid enum"),
    ("Task", RUN | {"when": "later"}, "spec.when", "invalid enum"),
    ("File", {"path": "a"}, "spec", "exactly one of content and file"),
    ("File", {"path": "a", "content": "x", "file": "y"}, "spec", "exactly one"),
    ("File", {"path": "a/../b", "content": "x"}, "spec.path", "plainly"),
    ("File", {"path": "a", "content": "x", "mode": "9"}, "spec.mode", "regex"),
    ("File", {"path": "a", "file": "gone"}, "spec.file", "no file gone"),
    ("Proces", RUN, "kind", "Did you mean Process?"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "field", "words"), WRONG)
def test_what_is_wrong_is_named(kind: str, spec: Any, field: str, words: str) -> None:
    """File, line, field and the nearest known name."""
    problem = parse(made(kind, spec))
    assert isinstance(problem, Problem)
    assert (problem.file, problem.line) == ("apps/web.yaml", 7)
    assert problem.field.startswith(field)
    assert words in str(problem)


def test_another_group_or_version_is_told() -> None:
    """This target knows one group."""
    for api in ("apps/v1", "host.trimtab.dev/v2"):
        problem = parse(made("Process", RUN, api=api))
        assert isinstance(problem, Problem)
        assert API_VERSION in problem.remedy


def test_the_body_leaves_defaults_out_and_names_content_by_its_id() -> None:
    """So that what was written out and what was left out are equal, and other content is another body."""
    tree = (Content("web", "tree", "abc", "repo"),)
    short, long = (
        made("Process", RUN | {"tree": "web"}, content=tree),
        made("Process", RUN | {"tree": "web", "replicas": 1, "args": []}, content=tree),
    )
    bodies = [body(document, each) for each in (short, long) if not isinstance(document := parse(each), Problem)]
    assert bodies[0] == bodies[1]
    assert bodies[0]["content"] == {"web": "abc"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)  # fmt: skip


@given(
    kind=st.sampled_from(sorted(KINDS)),
    spec=json_values | st.dictionaries(st.sampled_from(["command", "path", "ports", "content", "readiness"]), json_values),
)
def test_anything_is_either_a_document_or_a_problem(kind: str, spec: Any) -> None:
    """Hostile input raises nothing."""
    found = parse(made(kind, spec))
    assert isinstance(found, Problem | KINDS[kind])


def test_every_field_is_described() -> None:
    """The schema is the reference that editors show."""
    for kind in KINDS:
        for name, definition in schema(kind)["$defs"].items():
            for field, said in definition.get("properties", {}).items():
                if field not in ("apiVersion", "kind", "metadata", "spec", "logs") and name not in ("Metadata",):
                    assert "description" in said, f"{name}.{field}"
    assert msgspec.json.encode(schema("Process"))
