"""The Renderer port: what is read, what is cached, what is current, and what a repository without configuration holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.core.model.errors import UserError
from trimtab.ports.renderer import Rendered, RenderRequest
from trimtab.render.renderer import TreeRenderer, detected
from trimtab.testing.trees import Link, MemoryTree, Node, Submodule

WEB = "apiVersion: host.trimtab.dev/v1\nkind: Process\nmetadata: {name: web}\nspec: {command: x, tree: /shared}\n"
FILES: dict[str, Node] = {"app/web.yaml": WEB, "shared/x": "1", "other/y": "1"}


def request(path: str = "app", renderer: str = "") -> RenderRequest:
    return RenderRequest("shop", "host", path, renderer)


async def test_a_second_look_reads_nothing(tmp_path: Path) -> None:
    """The same content is rendered once, whatever the commit, the Application or the process that asks."""
    first = TreeRenderer(tmp_path)
    made = await first.render(request(), MemoryTree(FILES))
    assert [one.ref.name for one in made.manifests] == ["web"]
    assert not made.cached
    await first.close()
    for renderer in (first, TreeRenderer(tmp_path)):
        tree = MemoryTree({**FILES, "other/y": "2", "README": "x"})
        again = await renderer.render(RenderRequest("another", "elsewhere", "./app/"), tree)
        assert again.cached
        assert (again.manifests, again.inputs, again.digest) == (made.manifests, made.inputs, made.digest)
        assert tree.reads == 0


async def test_inputs_are_what_a_result_depends_on(tmp_path: Path) -> None:
    """The directory and the content outside it are the inputs; a change of either is not current and renders anew."""
    renderer = TreeRenderer(tmp_path)
    tree = MemoryTree(FILES)
    made = await renderer.render(request(), tree)
    app, shared = tree.entry("app"), tree.entry("shared")
    assert app is not None
    assert shared is not None
    assert made.inputs == (("app", app.id), ("shared", shared.id))
    assert renderer.current(made.inputs, MemoryTree({**FILES, "other/y": "2"}))
    for changed in ({**FILES, "shared/x": "2"}, {**FILES, "app/z": ""}, {"app/web.yaml": WEB, "other/y": "1"}):
        assert not renderer.current(made.inputs, MemoryTree(changed))
    anew = await renderer.render(request(), MemoryTree({**FILES, "shared/x": "2"}))
    assert not anew.cached
    assert anew.digest != made.digest


async def test_the_digest_is_of_what_is_said_not_of_where(tmp_path: Path) -> None:
    """Comments, order and file names change the lines, and not the digest."""
    renderer = TreeRenderer(tmp_path)
    other = "apiVersion: v1\nkind: X\nmetadata: {name: a}\n"

    async def digest(files: dict[str, Node]) -> str:
        return (await renderer.render(request(), MemoryTree({**files, "shared/x": "1"}))).digest

    assert await digest({"app/1.yaml": WEB, "app/2.yaml": other}) == await digest({"app/x.yml": f"# hi\n{other}---\n{WEB}"})
    assert await digest({"app/1.yaml": WEB}) != await digest({"app/1.yaml": other})


async def test_an_empty_directory_is_a_result_and_a_missing_one_is_not(tmp_path: Path) -> None:
    """Nothing rendered is a result; a path that is missing or no directory is an error with a remedy."""
    renderer = TreeRenderer(tmp_path)
    tree = MemoryTree({"app/README": "", "link": Link("app"), "module": Submodule()})
    made = await renderer.render(request(), tree)
    assert made.manifests == ()
    assert isinstance(made, Rendered)
    for path in ("missing", "app/README", "link", "module", "../x", "/../x", "a\0b", "app\\x"):
        with pytest.raises(UserError) as caught:
            await renderer.render(request(path), tree)
        assert caught.value.remedy


async def test_large_inputs_are_the_same(tmp_path: Path) -> None:
    """A large directory, rendered in a thread, gives the same as its parts."""
    item = "apiVersion: v1\nkind: X\nmetadata: {{name: n{}}}\ntext: {}\n---\n"
    text = "".join(item.format(index, "x" * 500) for index in range(300))
    made = await TreeRenderer(tmp_path).render(request(), MemoryTree({"app/all.yaml": text}))
    assert [one.ref.name for one in made.manifests] == [f"n{index}" for index in range(300)]
    assert made.manifests[7].line == 7 * 5 + 1


async def test_a_broken_cache_is_no_obstacle(tmp_path: Path) -> None:
    """A cache directory that cannot be written does not keep anybody from rendering."""
    (tmp_path / "cache").write_text("a file in its place")
    renderer = TreeRenderer(tmp_path / "cache")
    assert (await renderer.render(request(), MemoryTree(FILES))).manifests
    await renderer.close()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, []),
        ({"README.md": "", "src/main.py": "", "docs/x.yaml": "a: 1"}, []),
        ({"shop/web.yaml": WEB, "db/deep/x.json": '{"apiVersion": "v1", "kind": "X"}', "src/x": ""}, ["db", "shop"]),
        ({"web.yaml": WEB, "src/x": ""}, [""]),
        ({"web.yaml": WEB, "shop/web.yaml": WEB}, ["shop"]),
        ({"kustomization.yaml": "", "base/x.yaml": WEB}, [""]),
        ({"shop/kustomization.yml": "resources: []"}, ["shop"]),
        ({".github/x.yaml": WEB, "a/.hidden/x.yaml": WEB}, []),
        ({"bad/x.yaml": "apiVersion: v1\nkind: [", "huge/x.yaml": b"#" * 9_000_000, "l/x.yaml": Link("y")}, ["bad"]),
    ],
)
async def test_discover(tmp_path: Path, files: dict[str, Node], found: list[str]) -> None:
    """The top folders that hold manifests, by a cheap look; broken ones count, so that their mistake is told."""
    renderer = TreeRenderer(tmp_path)
    tree = MemoryTree(files)
    assert await renderer.discover(tree) == found
    reads = tree.reads
    assert await renderer.discover(tree) == found
    assert tree.reads == reads or found == [""] or not found


@pytest.mark.parametrize(
    ("files", "renderer"),
    [
        ({"a/Chart.yaml": "", "a/kustomization.yaml": "", "a/main.jsonnet": ""}, "helm"),
        ({"a/kustomization.yaml": "", "a/main.jsonnet": ""}, "kustomize"),
        ({"a/main.jsonnet": "", "a/web.yaml": ""}, "jsonnet"),
        ({"a/web.yaml": "", "a/deep/Chart.yaml": ""}, "plain"),
    ],
)
def test_how_a_directory_is_rendered_is_seen_from_its_files(files: dict[str, str], renderer: str) -> None:
    """Right in it: what lies deeper says nothing."""
    assert detected(RenderRequest("web", "host", "a"), MemoryTree(files), "a") == renderer


async def test_charts_and_jsonnet_are_found_without_configuration(tmp_path: Path) -> None:
    """Each top folder that any renderer knows by its file is an Application."""
    tree = MemoryTree({"shop/Chart.yaml": "name: shop", "web/main.jsonnet": "[]", "docs/README.md": "", "charts.lock": ""})
    assert await TreeRenderer(tmp_path).discover(tree) == ["shop", "web"]


async def test_a_renderer_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no renderer cue here"):
        await TreeRenderer(tmp_path).render(RenderRequest("web", "host", "a", "cue"), MemoryTree({"a/web.yaml": ""}))
