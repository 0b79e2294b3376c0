"""The renderer that reads JSON only, and the factories that write for it."""

from __future__ import annotations

import pytest

from trimtab.core.model.errors import UserError
from trimtab.ports.renderer import RenderRequest
from trimtab.testing.factories import app, entry, environment, files, inventory, manifest, observed, seen
from trimtab.testing.render import FakeRenderer
from trimtab.testing.trees import MemoryTree

REQUEST = RenderRequest("shop", "host", "apps/shop")


async def test_each_file_is_an_object_or_a_list() -> None:
    """All JSON files below the path are read, in order of path; other files and other directories are not."""
    tree = MemoryTree(
        files("apps/shop", manifest("Process", "web", replicas=3), manifest("File", "motd"))
        | {"apps/shop/README": "", "apps/other/x.json": "broken", "apps/shop/z.json": "[]"}
    )
    rendered = await FakeRenderer().render(REQUEST, tree)
    assert [(str(m.ref), m.file, m.line) for m in rendered.manifests] == [
        ("File/motd", "apps/shop/file-motd.json", 1),
        ("Process/web", "apps/shop/process-web.json", 1),
    ]
    assert rendered.manifests[1].body == manifest("Process", "web", replicas=3).body


async def test_what_is_unchanged_is_not_read_again() -> None:
    """The input is the directory's tree id: a commit elsewhere keeps it current, and equal content comes from the cache."""
    renderer = FakeRenderer()
    content = files("apps/shop", manifest("Process", "web"))
    first = await renderer.render(REQUEST, MemoryTree(content))
    elsewhere = MemoryTree({**content, "README": "new"})
    assert renderer.current(first.inputs, elsewhere)
    again = await renderer.render(REQUEST, elsewhere)
    assert (again.cached, again.digest, renderer.renders) == (True, first.digest, 1)
    changed = MemoryTree(files("apps/shop", manifest("Process", "web", replicas=2)))
    assert not renderer.current(first.inputs, changed)
    assert not renderer.current(first.inputs, MemoryTree({}))
    assert (await renderer.render(REQUEST, changed)).digest != first.digest
    assert renderer.renders == 2


async def test_every_wrong_file_is_named() -> None:
    """Broken JSON, a nameless object, a name that is there twice: one Problem each, with the file."""
    twice = files("apps/shop", manifest("Process", "web"))
    tree = MemoryTree(
        {**twice, "apps/shop/a.json": "{", "apps/shop/b.json": '{"kind": "X"}', "apps/shop/z.json": next(iter(twice.values()))}
    )
    with pytest.raises(UserError) as caught:
        await FakeRenderer().render(REQUEST, tree)
    assert [p.file for p in caught.value.problems] == ["apps/shop/a.json", "apps/shop/b.json", "apps/shop/z.json"]


async def test_a_missing_directory_is_an_error_and_an_empty_one_a_result() -> None:
    """Nothing to render is decided elsewhere; no place to render from is wrong."""
    renderer = FakeRenderer()
    with pytest.raises(UserError, match="no directory"):
        await renderer.render(REQUEST, MemoryTree({"README": ""}))
    assert (await renderer.render(REQUEST, MemoryTree({"apps/shop/README": ""}))).manifests == ()
    root = RenderRequest("all", "host", ".")
    assert len((await renderer.render(root, MemoryTree(files("x", manifest("File", "motd"))))).manifests) == 1


def test_factories_build_what_they_say() -> None:
    """Small builders with defaults that fit together."""
    shop = app("shop", "staging", "production", depends_on=["database"], adopt=True)
    assert [placement.name for placement in shop.spec.environments] == ["staging", "production"]
    assert (shop.spec.source.path, shop.spec.depends_on, shop.spec.adopt) == ("apps/shop", ["database"], True)
    assert environment("production", percent=10, empty_render="allow").spec.removal.percent == 10
    web = manifest("Process", "web", wave=2, annotations={"trimtab.dev/adopt": "true"}, replicas=3)
    assert (web.wave, web.adopts, web.body["spec"]) == (2, True, {"replicas": 3})
    assert observed(web, replicas=1).body["spec"] == {"replicas": 1}
    assert observed(web).body == web.body
    assert observed(web, application=None).owner is None
    assert list(seen(observed(web))) == [web.identity]
    owned = entry(web)
    assert (owned.digest, owned.wave, owned.state) == (web.digest, 2, "applied")
    assert inventory(owned, entry(manifest("File", "motd").ref)).applications() == {"shop"}
