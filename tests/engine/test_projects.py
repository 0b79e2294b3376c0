"""What a Project limits and in whose name its Applications act, through a whole engine."""

from __future__ import annotations

import asyncio

from trimtab.core.model.config import Metadata, Project, ProjectSpec
from trimtab.core.model.mandate import OWN, Mandate
from trimtab.core.model.names import Key
from trimtab.engine.queries import Queries
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.stage import Stage, on_stage


def project(name: str = "team", **spec: object) -> Project:
    return Project(Metadata(name), ProjectSpec(**spec))  # type: ignore[arg-type]


def test_what_a_project_denies_is_refused_before_anything_of_the_application_is_applied() -> None:
    """A namespace that is named, one that is not named, and a kind outside of all; what is allowed beside it waits too."""

    async def story(stage: Stage) -> None:
        good = manifest("Process", "good", namespace="shop")
        bad = [
            manifest("Process", "named", namespace="other"),
            manifest("Process", "unnamed"),
            manifest("Wide", "everywhere"),
        ]
        for one in bad:
            team = app("shop", project="team")
            stage.commit(environment(), project(namespaces=["shop"]), team, shop=[good, one])
            engine, task = stage.start()
            await asyncio.sleep(90)
            assert stage.there() == {}
            (problem,) = engine.current().world.live[Key("host", "shop")].refused
            assert "project team does not allow" in problem.message
            assert problem.file.startswith("apps/shop/")
            await stage.stop(task)
        stage.commit(environment(), project(namespaces=["shop"]), app("shop", project="team"), shop=[good])
        _, task = stage.start()
        await asyncio.sleep(90)
        assert stage.there().keys() == {"good"}
        await stage.stop(task)

    on_stage(story)


def test_what_a_chart_depends_on_comes_from_where_the_project_allows() -> None:
    """A chart in the repository that names another chart repository than those is refused like a source that does."""

    async def story(stage: Stage) -> None:
        allowed = project(repositories=["https://charts.example/*"])
        web = manifest("Process", "web")

        def commit(*charts: str) -> None:
            files = stage.files(environment(), allowed, app("shop", project="team"), shop=[web])
            stage.remote.commit(files | {"apps/shop/CHARTS": "\n".join(charts).encode()}, whole=True)

        commit("https://charts.example/web", "https://elsewhere.example/db")
        _, task = stage.start()
        await asyncio.sleep(90)
        assert stage.there() == {}
        (told,) = {event.message for event in stage.events if event.kind == "render.failed"}
        assert "project team does not allow the chart repository https://elsewhere.example/db" in told.lower()
        commit("https://charts.example/web")
        await asyncio.sleep(90)
        assert stage.there().keys() == {"web"}
        await stage.stop(task)

    on_stage(story)


def test_limits_that_become_narrower_stop_what_runs_under_them_and_remove_nothing() -> None:
    """Drift is no longer healed either: what the Project denies is not touched."""

    async def story(stage: Stage) -> None:
        web = manifest("Process", "web", namespace="shop")
        stage.commit(environment(), project(namespaces=["shop"]), app("shop", project="team"), shop=[web])
        engine, task = stage.start()
        await asyncio.sleep(90)
        assert stage.there().keys() == {"web"}
        stage.commit(environment(), project(namespaces=["other"]), app("shop", project="team"), shop=[web])
        await asyncio.sleep(90)
        assert engine.current().world.live[Key("host", "shop")].refused
        target = stage.targets.get("host")
        target.drift(web.identity, {**web.body, "spec": {"by": "hand"}})
        await asyncio.sleep(90)
        assert target.objects.there[web.identity].body["spec"] == {"by": "hand"}
        await stage.stop(task)

    on_stage(story)


def test_an_environment_that_a_project_denies_by_now_gets_nothing_new() -> None:
    """The declaration of before stands in for the one that is wrong now, and what runs by it stays; but it is no way round the limits."""

    async def story(stage: Stage) -> None:
        shop, web = app("shop", project="team"), manifest("Process", "web")
        stage.commit(environment(), project(environments=["host"]), shop, shop=[web])
        _, task = stage.start()
        await asyncio.sleep(90)
        stage.commit(environment(), project(environments=["other"]), shop, shop=[web, manifest("Process", "more")])
        await asyncio.sleep(90)
        assert stage.there().keys() == {"web"}
        stage.commit(environment(), project(environments=["host"]), shop, shop=[web, manifest("Process", "more")])
        await asyncio.sleep(90)
        assert stage.there().keys() == {"web", "more"}
        await stage.stop(task)

    on_stage(story)


def test_an_application_acts_in_the_name_of_its_project_to_its_end() -> None:
    """Also when Git has dropped it and the server has begun anew, what it leaves behind is removed in the name that it had."""

    async def story(stage: Stage) -> None:
        web, own = manifest("Process", "web"), manifest("Process", "own")
        host = environment(empty_render="allow")
        team = project(account="team")
        stage.commit(host, team, app("shop", project="team"), app("ours"), shop=[web], ours=[own])
        _, task = stage.start()
        await asyncio.sleep(90)
        await stage.stop(task)
        stage.commit(host, app("ours"), ours=[own])
        _, task = stage.start()
        await asyncio.sleep(90)
        assert stage.there().keys() == {"own"}
        target = stage.targets.get("host")
        assert sorted(target.acted) == [
            ("apply", own.ref, OWN),
            ("apply", web.ref, Mandate("team")),
            ("remove", web.ref, Mandate("team")),
        ]
        await stage.stop(task)

    on_stage(story)


def test_the_doctor_asks_each_environment_in_every_name_that_is_acted_in_there() -> None:
    """Trimtab's own always, and each account about the objects that it acts on."""

    async def story(stage: Stage) -> None:
        web, own = manifest("Process", "web"), [manifest("Process", "own"), manifest("Process", "more")]
        team = project(account="team")
        stage.commit(environment(), team, app("shop", project="team"), app("ours"), shop=[web], ours=own)
        engine, task = stage.start()
        await asyncio.sleep(90)
        found = {one.check: one.message for one in (await Queries(engine).doctor()).findings}
        assert found["environment host: rights"] == "2 objects"
        assert found["environment host: rights of team"] == "1 objects"
        await stage.stop(task)

    on_stage(story)
