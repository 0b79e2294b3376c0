"""Jsonnet: what is taken for objects, what it reads, and everything that is wrong with it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.render.renderer import TreeRenderer
from trimtab.testing.trees import Link, MemoryTree, Node

from .charts import jsonnet

LIMITS = replace(DEFAULT, tool_seconds=5, tool_bytes=1_000_000, tool_memory_bytes=512 << 20)
LIBRARY = "{ file(name): { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: name } } }"


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[TreeRenderer]:
    made = TreeRenderer(tmp_path / "cache", limits=LIMITS)
    yield made
    await made.close()


def files(main: str, **more: Node) -> MemoryTree:
    return MemoryTree({"app/main.jsonnet": main, "lib/k.libsonnet": LIBRARY, **more})


async def names(renderer: TreeRenderer, tree: MemoryTree, **how: object) -> list[str]:
    return [one.ref.name for one in (await renderer.render(jsonnet(**how), tree)).manifests]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("k.file('one')", ["one"]),
        ("[k.file('one'), [k.file('two')]]", ["one", "two"]),
        ("{ b: k.file('one'), a: { deep: [k.file('two'), null] }, hidden:: 1 }", ["two", "one"]),
        ("{ apiVersion: 'v1', kind: 'List', items: [k.file('one')] }", ["one"]),
        ("[]", []),
        ("null", []),
    ],
)
async def test_every_object_of_a_result_is_one(renderer: TreeRenderer, result: str, expected: list[str]) -> None:
    """However deep it stands."""
    assert await names(renderer, files(f"local k = import '../lib/k.libsonnet'; {result}")) == expected


async def test_libraries_variables_and_arguments(renderer: TreeRenderer) -> None:
    """What an evaluation is given; a library of the source itself wins over one of another."""
    main = "local k = import 'k.libsonnet'; function(n) [k.file(std.extVar('prefix') + i) for i in std.range(1, n)]"
    other = MemoryTree({"k.libsonnet": LIBRARY.replace("name: name", "name: 'other-' + name")})
    how = {"variables": {"prefix": "web-"}, "arguments": {"n": 2}}
    assert await names(renderer, files(main), libraries=["/lib"], **how) == ["web-1", "web-2"]
    request = jsonnet(libraries=["$shared/", "/lib"], **how)
    rendered = await renderer.render(request, files(main), others={"shared": other})
    assert [one.ref.name for one in rendered.manifests] == ["other-web-1", "other-web-2"]
    assert ("shared", "k.libsonnet", other.entry("k.libsonnet").id) in rendered.elsewhere  # type: ignore[union-attr]


async def test_another_file_may_be_named(renderer: TreeRenderer) -> None:
    """Where there is no main.jsonnet, the source says that it is Jsonnet."""
    request = msgspec.structs.replace(jsonnet(file="web.jsonnet"), renderer="jsonnet")
    rendered = await renderer.render(request, MemoryTree({"app/web.jsonnet": LIBRARY + ".file('web')"}))
    assert [one.ref.name for one in rendered.manifests] == ["web"]


async def test_what_is_imported_is_what_a_result_depends_on(renderer: TreeRenderer) -> None:
    """Also what was looked for first and is not there; text and bytes are imported alike."""
    main = """local k = import 'k.libsonnet';
// import 'comment.libsonnet' does no harm
[k.file('one') + { data: { text: importstr @'note.txt', bytes: std.length(importbin "note.txt") } }]"""
    tree = files(main, **{"app/note.txt": "hello"})
    rendered = await renderer.render(jsonnet(libraries=["/lib"]), tree)
    assert rendered.manifests[0].body["data"] == {"text": "hello", "bytes": 5}
    assert [path for path, object_id in rendered.inputs if object_id] == ["app/main.jsonnet", "app/note.txt", "lib/k.libsonnet"]
    assert ("app/k.libsonnet", "") in rendered.inputs
    assert (await renderer.render(jsonnet(libraries=["/lib"]), files(main, **{"app/note.txt": "hello", "app/x": ""}))).cached
    nearer = files(main, **{"app/note.txt": "hello", "app/k.libsonnet": LIBRARY.replace("name: name", "name: 'near'")})
    assert await names(renderer, nearer, libraries=["/lib"]) == ["near"]


@pytest.mark.parametrize(
    ("main", "line", "words"),
    [
        ("{\n  a: 1 +\n}", 3, "jsonnet:"),
        ("\n\nerror 'no size'", 3, "no size"),
        ("local f(x) = f(x + 1) + 1;\nf(0)", 1, "stack"),
        ("import 'gone.libsonnet'", 1, "gone.libsonnet"),
        ("import '/etc/passwd'", 1, "passwd"),
        ("import '../../../etc/passwd'", 1, "passwd"),
        ("importstr '../app/link'", 1, "link"),
        ("std.extVar('x')", 1, "Undefined external variable"),
    ],
)
async def test_what_fails_is_named_with_its_line(renderer: TreeRenderer, main: str, line: int, words: str) -> None:
    """Imports find what is in Git, and nothing else."""
    with pytest.raises(UserError) as raised:
        await renderer.render(jsonnet(), files(main, **{"app/link": Link("/etc/passwd")}))
    (problem,) = raised.value.problems
    assert (problem.file, problem.line) == ("app/main.jsonnet", line)
    assert words in problem.message
    assert problem.remedy


async def test_a_value_that_is_no_object_is_named(renderer: TreeRenderer) -> None:
    with pytest.raises(UserError, match=r"a\.b is a single value"):
        await names(renderer, files("{ a: { b: 1 } }"))


async def test_without_end_or_without_measure(tmp_path: Path) -> None:
    """It is stopped, by the clock or by its memory, and the next one works."""
    renderer = TreeRenderer(tmp_path, limits=replace(LIMITS, tool_seconds=2.0))
    try:
        slow = "std.foldl(function(a, b) a + b, std.range(1, 100000000), 0)"
        with pytest.raises((TransientError, UserError), match=r"killed after 2 s|more memory"):
            await names(renderer, files(slow))
        large = "local f(n) = if n == 0 then 'x' else f(n - 1) + f(n - 1); { a: f(33) }"
        with pytest.raises((TransientError, UserError), match=r"killed after 2 s|more memory"):
            await names(renderer, files(large))
        assert await names(renderer, files(f"({LIBRARY}).file('one')")) == ["one"]
    finally:
        await renderer.close()


async def test_too_much_output(renderer: TreeRenderer) -> None:
    with pytest.raises(UserError, match="more than 1000000 bytes"):
        await names(renderer, files("{ a: importstr 'large.txt' }", **{"app/large.txt": "x" * 1_100_000}))


async def test_without_the_library_there_is_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(TransientError, match=r"pip install 'trimtab\[jsonnet\]'"):
        await TreeRenderer(tmp_path).render(jsonnet(), files("[]"))
