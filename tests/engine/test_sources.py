"""Several sources in one Application, and content that depends on what its target can do: who is rendered when, and what comes of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from trimtab.core.model.config import Application, ApplicationSpec, Environment, Helm, HelmOverlay, Metadata, Placement, Source
from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Key
from trimtab.engine.abilities import WAIT_SECONDS
from trimtab.engine.commands import Commands
from trimtab.engine.sources import wish_of
from trimtab.testing.factories import environment, files, manifest
from trimtab.testing.render import FakeRenderer
from trimtab.testing.stage import Stage, on_stage

KEY = Key("host", "shop")


def shop(*sources: Source) -> Application:
    return Application(Metadata("shop"), ApplicationSpec(sources=list(sources)))


TWO = shop(Source(path="apps/shop"), Source(path="lib", repository="lib.git", name="lib"))


def test_what_an_environment_says_goes_to_the_first_source() -> None:
    """Its values lie over those of the source, its files come after them."""
    helm = Helm(value_files=["a.yaml"], values={"image": {"tag": "1", "name": "web"}})
    placement = Placement(
        "host", "apps/shop/production", "v1", helm=HelmOverlay(value_files=["b.yaml"], values={"image": {"tag": "2"}})
    )
    wish = wish_of(KEY, shop(Source(path="apps/shop", helm=helm), Source(path="lib", helm=helm)), placement, "home.git")
    assert [(part.repository, part.expression, part.request.path) for part in wish.parts] == [
        ("home.git", "v1", "apps/shop/production"),
        ("home.git", "", "lib"),
    ]
    assert wish.first.request.source.helm.value_files == ["a.yaml", "b.yaml"]
    assert wish.first.request.source.helm.values == {"image": {"tag": "2", "name": "web"}}
    assert wish.parts[1].request.source.helm == helm


def test_all_sources_are_joined_and_each_is_followed() -> None:
    """A commit to any of them is applied; one to a repository that others follow renders nothing of this Application."""

    async def story(stage: Stage) -> None:
        lib = stage.remotes.get("lib.git")
        lib.commit(files("lib", manifest("File", "helper")), whole=True)
        stage.commit(TWO, shop=[manifest("File", "web")])
        engine, task = stage.start()
        await asyncio.sleep(30)
        assert set(stage.there()) == {"web", "helper"}
        before = _renders(engine)
        head = stage.commit(TWO, shop=[manifest("File", "web")], other=[manifest("File", "unrelated")])
        await asyncio.sleep(120)
        assert _renders(engine) == before
        lib.commit(files("lib", manifest("File", "helper"), manifest("File", "more")), whole=True)
        await asyncio.sleep(120)
        assert set(stage.there()) == {"web", "helper", "more"}
        assert _renders(engine) == before + 1, "the source that did not move comes from the cache"
        state = engine.current().world.states[KEY]
        assert state.current is not None
        assert state.current.revision == head, "a Deployment has the Revision of the first source"
        with pytest.raises(UserError, match="it has several sources"):
            await Commands(engine).rollback("shop", "host", "", "me")
        await stage.stop(task)

    on_stage(story)


def test_one_object_in_two_sources_is_an_error_that_names_both_places() -> None:
    async def story(stage: Stage) -> None:
        stage.remotes.get("lib.git").commit(files("lib", manifest("File", "web")), whole=True)
        stage.commit(TWO, shop=[manifest("File", "web")])
        engine, task = stage.start()
        await asyncio.sleep(30)
        (problem,) = engine.current().world.problems[KEY]
        assert "is declared twice: in apps/shop/" in problem.message
        assert "of the source 1, and here, in the source lib" in problem.message
        assert problem.file.startswith("lib/")
        assert stage.there() == {}
        await stage.stop(task)

    on_stage(story)


def test_a_source_that_cannot_be_had_removes_nothing() -> None:
    """What runs of it goes on, while the others move."""

    async def story(stage: Stage) -> None:
        lib = stage.remotes.get("lib.git")
        lib.commit(files("lib", manifest("File", "helper")), whole=True)
        stage.commit(TWO, shop=[manifest("File", "web")])
        engine, task = stage.start()
        await asyncio.sleep(30)
        missing = shop(Source(path="apps/shop"), Source(path="gone", repository="lib.git", name="lib"))
        stage.commit(missing, shop=[manifest("File", "web")])
        await asyncio.sleep(120)
        assert set(stage.there()) == {"web", "helper"}
        assert engine.current().world.problems[KEY]
        await stage.stop(task)

    on_stage(story)


def test_files_of_another_source_are_followed_too() -> None:
    """One that is only there for others (`renderer: none`) adds no objects, and a commit to what is read of it renders."""
    application = shop(
        Source(path="apps/shop", helm=Helm(value_files=["$values/web.json"])),
        Source(repository="lib.git", name="values", renderer="none"),
    )

    async def story(stage: Stage) -> None:
        values = stage.remotes.get("lib.git")
        values.commit({"web.json": msgspec.json.encode(manifest("File", "first").body), "other.json": b"{}"}, whole=True)
        stage.commit(application, shop=[manifest("File", "web")])
        engine, task = stage.start()
        await asyncio.sleep(30)
        assert set(stage.there()) == {"web", "first"}
        before = _renders(engine)
        values.commit({"other.json": b"[]"})
        await asyncio.sleep(120)
        assert _renders(engine) == before
        values.commit({"web.json": msgspec.json.encode(manifest("File", "second").body)})
        await asyncio.sleep(120)
        assert set(stage.there()) == {"web", "second"}
        await stage.stop(task)

    on_stage(story)


def test_content_follows_what_its_target_can_do() -> None:
    """Where it depends on that, and only there; a target that does not answer changes nothing."""

    async def story(stage: Stage) -> None:
        target = stage.targets.get("host")
        target.abilities = ("a",)
        stage.remote.commit({"apps/plain/web.json": msgspec.json.encode(manifest("File", "web").body)})
        stage.remote.commit({"apps/able/CAPABILITIES": b""})
        for name in ("plain", "able"):
            stage.remote.commit(_document(Application(Metadata(name), ApplicationSpec(source=Source(path=f"apps/{name}")))))
        engine, task = stage.start()
        await asyncio.sleep(30)
        assert set(stage.there()) == {"web", "a"}
        before = _renders(engine)
        target.abilities = ("a", "b")
        await asyncio.sleep(120)
        assert set(stage.there()) == {"web", "a", "b"}
        assert _renders(engine) == before + 1
        target.down = True
        await asyncio.sleep(120)
        target.down = False
        await asyncio.sleep(120)
        assert set(stage.there()) == {"web", "a", "b"}
        assert _renders(engine) == before + 1
        await stage.stop(task)

    on_stage(story)


def test_an_environment_that_never_says_what_it_can_do_holds_up_its_own_applications_alone() -> None:
    """They are told why; it is waited for once, however many of them ask, and not with each commit. When it answers they are rendered."""

    async def story(stage: Stage) -> None:
        far = stage.targets.get("far")
        far.abilities, far.mute = ("a",), {"capabilities"}
        for name, place in (("plain", "host"), *((f"able-{number}", "far") for number in range(20))):
            spec = ApplicationSpec(source=Source(path=f"apps/{name}"), environments=[Placement(name=place)])
            stage.remote.commit(_document(Application(Metadata(name), spec)))
            stage.remote.commit({f"apps/{name}/web.json": msgspec.json.encode(manifest("File", name).body)})
            stage.remote.commit({f"apps/{name}/CAPABILITIES": b""} if place == "far" else {})
        for one in (environment("host"), environment("far")):
            stage.remote.commit(
                {f".trimtab/{one.metadata.name}.yaml": msgspec.json.encode({**_KIND, **msgspec.to_builtins(one)})}
            )
        engine, task = stage.start()
        await asyncio.sleep(WAIT_SECONDS + 3)
        assert set(stage.there()) == {"plain"}
        for number in range(3):
            stage.remote.commit({f"apps/plain/{number}.json": msgspec.json.encode(manifest("File", f"more-{number}").body)})
            await asyncio.sleep(WAIT_SECONDS / 2)
            assert f"more-{number}" in stage.there()
        (problem,) = engine.current().world.problems[Key("far", "able-7")]
        assert "ask environment far what it can do: it has not answered" in problem.message
        assert far.calls["capabilities"] == 1
        far.mute.clear()
        await asyncio.sleep(30)
        assert len(stage.there("far")) == 21
        far.abilities, far.mute = ("a", "b"), {"capabilities"}
        stage.remote.commit({"apps/plain/last.json": msgspec.json.encode(manifest("File", "last").body)})
        await asyncio.sleep(WAIT_SECONDS + 3)
        assert "last" in stage.there()
        assert len(stage.there("far")) == 21, "what it cannot tell any more is as it was"
        await stage.stop(task)

    on_stage(story)


_KIND = {"apiVersion": "trimtab.dev/v1", "kind": "Environment"}


def _document(application: Application) -> dict[str, bytes]:
    body = {"apiVersion": "trimtab.dev/v1", "kind": "Application", **msgspec.to_builtins(application)}
    return {f".trimtab/{application.name}.yaml": msgspec.json.encode(body)}


def _renders(engine: object) -> int:
    renderer = engine.parts.renderer  # type: ignore[attr-defined]
    assert isinstance(renderer, FakeRenderer)
    return renderer.renders


def test_after_a_restart_what_runs_is_known_as_it_was() -> None:
    """Also when another source has gone on meanwhile and its new content has to wait: what somebody deletes is put back."""
    application = Application(
        Metadata("shop"),
        ApplicationSpec(sources=TWO.spec.sources, environments=[Placement("staging"), Placement("host", after=["staging"])]),
    )
    helper = manifest("File", "helper")

    async def story(stage: Stage) -> None:
        lib = stage.remotes.get("lib.git")
        lib.commit(files("lib", helper), whole=True)
        stage.commit(Environment(Metadata("staging")), application, shop=[manifest("File", "web")])
        _, task = stage.start()
        await asyncio.sleep(60)
        assert set(stage.there()) == {"web", "helper"}
        lib.commit(files("lib", manifest("File", "helper", never="ready")), whole=True)
        await asyncio.sleep(120)
        await stage.stop(task)
        _, task = stage.start()
        await asyncio.sleep(60)
        before = stage.there()
        stage.targets.get("host").delete(helper.identity)
        await asyncio.sleep(60)
        after = stage.there()
        assert set(after) == {"web", "helper"}
        assert after["helper"] != before["helper"], "it was deleted and made anew"
        assert "never" not in str(stage.targets.get("host").objects.there[helper.identity].body)
        await stage.stop(task)

    on_stage(story)
