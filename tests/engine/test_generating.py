"""Small stories of Generators: directories that become applications, and what nobody meant to take away."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from trimtab.core.decide.elements import Ask, Seen
from trimtab.core.model.generator import Generator
from trimtab.core.model.names import Key
from trimtab.engine.commands import Commands
from trimtab.engine.generating import Lookup
from trimtab.engine.queries import Queries
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.trees import MemoryTree

GENEROUS = environment(percent=100, objects=100, empty_render="allow")


def generator(**spec: Any) -> Generator:
    """An application for each directory in apps/, unless told otherwise."""
    template = {"metadata": {"name": "${path.basename}"}, "spec": {"source": {"path": "${path}"}}}
    default = {"generate": [{"directories": {"include": ["apps/*"]}}], "template": template}
    return msgspec.convert({"metadata": {"name": "all"}, "spec": {**default, **spec}}, Generator)


def web(name: str, version: int = 1) -> Any:
    return [manifest("Process", name, version=version)]


NAMES = [f"app{number}" for number in range(8)]


def test_a_directory_is_an_application_without_a_line_of_configuration() -> None:
    """A commit that adds one deploys it, one that removes it removes it within the budget of its environment."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(GENEROUS, generator(), shop=web("shop"))
        await asyncio.sleep(10)
        stage.commit(GENEROUS, generator(), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        assert {name: owner for name, (_, owner) in stage.there().items()} == {"shop": "shop", "cart": "cart"}
        rows = (await Queries(engine).applications()).applications
        assert {row.name: row.origin for row in rows} == {"cart": "generator all: apps/cart", "shop": "generator all: apps/shop"}
        stage.commit(GENEROUS, generator(), cart=web("cart"))
        await asyncio.sleep(10)
        assert stage.there().keys() == {"cart"}
        assert "application.removed" in stage.kinds()
        await stage.stop(task)

    on_stage(story)


def test_an_application_that_is_written_out_instead_keeps_its_objects() -> None:
    """From generated to declared and back: the objects are the same ones."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(GENEROUS, generator(), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        before = stage.there()
        excluded = generator(generate=[{"directories": {"include": ["apps/*"], "exclude": ["apps/shop"]}}])
        stage.commit(GENEROUS, excluded, app("shop"), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        assert stage.there() == before
        stage.commit(GENEROUS, generator(), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        assert stage.there() == before
        await stage.stop(task)

    on_stage(story)


def test_when_the_directories_are_gone_everything_stays() -> None:
    """An empty answer is reported; and a new commit goes on."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(GENEROUS, generator(), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        before = stage.there()
        stage.commit(GENEROUS, generator())
        await asyncio.sleep(30)
        assert stage.there() == before
        assert any("nothing is found here" in event.message for event in stage.events if event.kind == "configuration.failed")
        findings = {one.check: one for one in (await Queries(engine).doctor()).findings}
        assert findings["configuration"].state == "failed"
        explained = (await Queries(engine).explain("shop"))[0]
        assert [reason.state for reason in explained.reasons if reason.subject == "generator all"] == ["in doubt"]
        stage.commit(GENEROUS, generator(), shop=web("shop", 2), cart=web("cart"))
        await asyncio.sleep(30)
        assert stage.there().keys() == {"shop", "cart"}
        assert stage.kinds()[-1] != "configuration.failed"
        await stage.stop(task)

    on_stage(story)


def test_many_that_go_at_once_wait_for_somebody_each() -> None:
    """Even where the environment allows everything, and over a restart; what is approved goes."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(GENEROUS, generator(), **{name: web(name) for name in NAMES})
        await asyncio.sleep(20)
        stage.commit(GENEROUS, generator(), **{name: web(name) for name in NAMES[:2]})
        await asyncio.sleep(20)
        assert stage.there().keys() == set(NAMES)
        await stage.stop(task)
        engine, task = stage.start("b")
        await asyncio.sleep(60)
        assert stage.there().keys() == set(NAMES)
        plan = engine.current().world.live[Key("host", "app5")].plan
        assert plan is not None
        assert "6 of 8 applications of the generator all would go" in plan.holds[0].reason
        await Commands(engine).approve("app5", "host", plan.hash, "ada")
        await asyncio.sleep(20)
        assert stage.there().keys() == set(NAMES) - {"app5"}
        await stage.stop(task)

    on_stage(story)


def test_a_generator_that_finds_nothing_after_the_store_was_lost_removes_nothing() -> None:
    """Nobody remembers what it made; so nothing is removed while it is in doubt."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(GENEROUS, generator(), shop=web("shop"), cart=web("cart"))
        await asyncio.sleep(10)
        before = stage.there()
        await stage.stop(task)
        stage.store.__init__(hook=stage.faults.point)  # type: ignore[misc]
        stage.commit(GENEROUS, generator())
        _, task = stage.start("b")
        await asyncio.sleep(60)
        assert stage.there() == before
        await stage.stop(task)

    on_stage(story)


def test_another_repository_is_followed_and_losing_it_loses_nothing() -> None:
    """Its files are elements as soon as they are there; what they say is taken over at the next commit there."""
    generate = [{"files": {"include": ["**/app.yaml"], "repository": "teams.git"}}]
    template = {"metadata": {"name": "${file.name}"}, "spec": {"source": {"path": "apps/${file.path}"}}}

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        teams = stage.remotes.get("teams.git")
        teams.commit({"a/app.yaml": b"name: shop\npath: shop\n", "b/c/app.yaml": b"name: cart\npath: cart\n"}, whole=True)
        stage.commit(
            GENEROUS, generator(generate=generate, template=template), shop=web("shop"), cart=web("cart"), other=web("other")
        )
        await asyncio.sleep(10)
        assert stage.there().keys() == {"shop", "cart"}
        teams.commit({"a/app.yaml": b"name: shop\npath: other\n"})
        await asyncio.sleep(90)
        assert stage.there().keys() == {"other", "cart"}
        teams.vanish()
        await asyncio.sleep(90)
        stage.commit(GENEROUS, generator(generate=generate, template=template), other=web("other", 2), cart=web("cart"))
        await asyncio.sleep(90)
        assert stage.there().keys() == {"other", "cart"}
        teams.repair()
        teams.commit({"b/c/app.yaml": None})
        await asyncio.sleep(90)
        assert stage.there().keys() == {"other"}
        await stage.stop(task)

    on_stage(story)


# --- looking things up ------------------------------------------------------------------------------------------------------------------


def tree(*paths: str, **contents: bytes) -> MemoryTree:
    return MemoryTree({**dict.fromkeys(paths, b"name: x\n"), **contents})


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["apps/*"], [], ["apps/a", "apps/b"]),
        (["apps/*"], ["apps/b"], ["apps/a"]),
        (["**/prod"], [], ["apps/a/prod", "apps/b/deep/prod"]),
        (["**/prod"], ["apps/b"], ["apps/a/prod"]),
        (["apps/*/prod", "lib"], [], ["apps/a/prod", "lib"]),
        (["*"], [], ["apps", "lib"]),
        ([".hidden/*"], [], [".hidden/x"]),
        (["apps/?"], [], ["apps/a", "apps/b"]),
        (["nowhere/*"], [], []),
    ],
)
def test_patterns_of_directories(include: list[str], exclude: list[str], expected: list[str]) -> None:
    """Names one by one; what is excluded is excluded with all below it, and what begins with a dot has to be named."""
    files_ = tree("apps/a/prod/x", "apps/b/deep/prod/x", "lib/x", ".hidden/x/y", "apps/README")
    seen = Lookup().look(files_, Ask("", "", False, tuple(include), tuple(exclude)))
    assert list(seen.directories) == expected


def test_only_what_changed_is_read_again() -> None:
    """A commit that touches one of a thousand files costs a few look-ups."""
    paths = [f"apps/{number:04}/app.yaml" for number in range(1000)]
    before = tree(*paths)
    lookup, ask = Lookup(), Ask("", "", True, ("apps/*/app.yaml",))
    first = lookup.look(before, ask)
    after = MemoryTree({**dict.fromkeys(paths, b"name: x\n"), paths[7]: b"name: y\n"})
    second = lookup.look(after, ask)
    assert (after.reads, after.lookups) == (1, 4)
    assert [one.path for one, other in zip(first.files, second.files, strict=True) if one != other] == [paths[7]]
    assert isinstance(second, Seen)


def test_a_commit_that_touches_one_generated_application_renders_one() -> None:
    """Whatever many there are: nothing else is rendered, and the configuration is not even stored again."""
    names = [f"app{number:03}" for number in range(60)]

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        contents = {name: web(name) for name in names}
        stage.commit(GENEROUS, generator(), **contents)
        await asyncio.sleep(30)
        declarer = engine.current().declarer
        rendered: list[str] = []
        render = declarer._renderer.render

        async def counted(request: Any, at: Any, *rest: Any, **options: Any) -> Any:
            rendered.append(request.application)
            return await render(request, at, *rest, **options)

        declarer._renderer.render = counted  # type: ignore[method-assign]
        configuration = engine.current().world.configuration
        stage.commit(GENEROUS, generator(), **{**contents, "app007": web("app007", 2)})
        await asyncio.sleep(30)
        assert rendered == ["app007"]
        assert engine.current().world.configuration is configuration
        await stage.stop(task)

    on_stage(story)
