"""Small stories of a whole engine; what the simulation found is told here so that people can read it."""

from __future__ import annotations

import asyncio

from trimtab.core.model.config import Placement
from trimtab.core.model.errors import TransientError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key
from trimtab.engine.commands import Commands
from trimtab.ports.store import Writes
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import URL, Stage, on_stage
from trimtab.testing.time import VirtualClock

WEB, DB = manifest("Process", "web"), manifest("Process", "db")
STAGING, PRODUCTION = environment("staging"), environment("production")
SHOP = app("shop", "staging", Placement(name="production", after=["staging"]))


def test_a_commit_goes_through_staging_to_production() -> None:
    """Each environment gets it once it is healthy before, and both tell so on the commit."""

    async def story(stage: Stage) -> None:
        _engine, task = stage.start()
        revision = stage.commit(STAGING, PRODUCTION, SHOP, shop=[WEB, DB])
        await asyncio.sleep(30)
        assert stage.there("staging").keys() == stage.there("production").keys() == {"web", "db"}
        told = [(event.kind, event.environment) for event in stage.events if event.kind == "deployment.healthy"]
        assert told == [("deployment.healthy", "staging"), ("deployment.healthy", "production")]
        assert len(stage.remote.notes[revision]) == 2
        await stage.stop(task)

    on_stage(story, ready_seconds=(1, 3))


def test_what_somebody_changes_or_deletes_is_put_right_at_once() -> None:
    """By the target's wake, without waiting for a poll."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB, DB])
        await asyncio.sleep(10)
        target = stage.targets.get("host")
        target.delete(WEB.identity)
        target.drift(DB.identity, {**DB.body, "spec": {"by": "hand"}})
        await asyncio.sleep(1)
        assert {thing.ref.name: thing.body for thing in target.objects.there.values()} == {"web": WEB.body, "db": DB.body}
        assert "drift.healed" in stage.kinds()
        await stage.stop(task)

    on_stage(story)


def test_an_object_that_moves_to_another_application_is_the_same_object() -> None:
    """Its uid stays: nothing is removed and made again. So is everything of an application that is renamed."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(environment(), app("shop"), app("cart"), shop=[WEB, DB], cart=[])
        await asyncio.sleep(10)
        before = stage.there()
        stage.commit(environment(), app("shop"), app("cart"), shop=[DB], cart=[WEB])
        await asyncio.sleep(10)
        assert stage.there() == {"web": (before["web"][0], "cart"), "db": (before["db"][0], "shop")}
        stage.commit(environment(), app("store", path="apps/shop"), app("cart"), shop=[DB], cart=[WEB])
        await asyncio.sleep(10)
        assert stage.there() == {"web": (before["web"][0], "cart"), "db": (before["db"][0], "store")}
        assert "application.removed" in stage.kinds()
        await stage.stop(task)

    on_stage(story)


def test_an_object_moves_to_an_application_that_the_other_depends_on() -> None:
    """They do not wait for each other: one for the object, the other for health."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        documents = (environment(), app("base"), app("shop", depends_on=["base"]))
        stage.commit(*documents, base=[DB], shop=[WEB])
        await asyncio.sleep(10)
        stage.commit(*documents, base=[DB, WEB], shop=[])
        await asyncio.sleep(10)
        assert stage.there()["web"][1] == "base"
        assert stage.phase(engine, "base") == "healthy"
        await stage.stop(task)

    on_stage(story)


def test_renaming_every_object_is_held_until_somebody_says_yes_once() -> None:
    """Also when another commit comes along; and one approval is enough for all stages."""
    old = [manifest("Process", f"old-{i}", wave=i % 2) for i in range(5)]
    new = [manifest("Process", f"new-{i}") for i in range(5)]

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), shop=old)
        await asyncio.sleep(10)
        stage.commit(environment(), app("shop"), shop=new)
        await asyncio.sleep(10)
        assert (len(stage.there()), stage.phase(engine, "shop")) == (10, "held")
        stage.commit(environment(), app("shop"), shop=[*new, WEB])
        await asyncio.sleep(10)
        assert (len(stage.there()), stage.phase(engine, "shop")) == (11, "held")
        plan = engine.current().world.live[Key("host", "shop")].plan
        assert plan is not None
        await Commands(engine).approve("shop", "host", plan.hash, "ada")
        await asyncio.sleep(10)
        assert (len(stage.there()), stage.phase(engine, "shop")) == (6, "healthy")
        await stage.stop(task)

    on_stage(story)


def test_a_little_from_each_of_many_applications_is_held_together() -> None:
    """All of them are counted before the first of them is removed, not one after the other."""
    names = [f"app-{i}" for i in range(5)]
    objects = {name: [manifest("Process", f"{name}-{i}") for i in range(4)] for name in names}

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        documents = (environment(), *(app(name) for name in names))
        stage.commit(*documents, **objects)
        await asyncio.sleep(10)
        stage.commit(*documents, **{name: manifests[:1] for name, manifests in objects.items()})
        await asyncio.sleep(10)
        assert len(stage.there()) == 20
        assert {stage.phase(engine, name) for name in names} == {"held"}
        await stage.stop(task)

    on_stage(story)


def test_a_wrong_path_is_not_an_emptied_directory() -> None:
    """Even where an empty rendering may remove everything: a typo in the configuration removes nothing."""
    generous = environment(percent=100, objects=100, empty_render="allow")

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(generous, app("shop"), shop=[WEB])
        await asyncio.sleep(10)
        stage.commit(generous, app("shop", path="apps/shpo"), shop=[WEB])
        await asyncio.sleep(100)
        assert stage.there().keys() == {"web"}
        assert "render.failed" in stage.kinds()
        stage.remote.commit({path: None for path in stage.remote.refs["refs/heads/main"].files if path.startswith("apps/")})
        stage.commit(generous, app("shop"), other=[DB])
        await asyncio.sleep(100)
        assert stage.there() == {}
        await stage.stop(task)

    on_stage(story)


def test_a_lost_store_moves_nothing_and_loses_no_ownership() -> None:
    """What is ours is read back from the target; also what Git has declared no more in the meantime."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(STAGING, PRODUCTION, SHOP, app("other", "staging"), shop=[WEB], other=[DB])
        await asyncio.sleep(20)
        before = (stage.there("staging"), stage.there("production"), len(stage.targets.world.journal))
        await stage.stop(task)
        stage.store.__init__(hook=stage.faults.point)  # type: ignore[misc]
        stage.commit(STAGING, PRODUCTION, app("other", "staging"), other=[DB])
        engine, task = stage.start("b")
        await asyncio.sleep(100)
        assert (stage.there("staging"), stage.there("production"), len(stage.targets.world.journal)) == before
        assert stage.phase(engine, "shop", "production") == "held"
        await stage.stop(task)

    on_stage(story)


def test_a_document_that_is_wrong_after_the_store_was_lost_is_no_removal() -> None:
    """Nobody knows what it said before; that it says something is enough."""
    generous = environment(percent=100, objects=100, empty_render="allow")

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(generous, app("shop"), shop=[WEB])
        await asyncio.sleep(10)
        await stage.stop(task)
        stage.store.__init__(hook=stage.faults.point)  # type: ignore[misc]
        file = ".trimtab/application-shop.yaml"
        document = stage.remote.refs["refs/heads/main"].files[file]
        assert isinstance(document, bytes)
        stage.remote.commit({file: document.replace(b'"spec":{', b'"spec":{"colour":1,')})
        _, task = stage.start("b")
        await asyncio.sleep(100)
        assert stage.there().keys() == {"web"}
        await stage.stop(task)

    on_stage(story)


def test_a_rewritten_branch_is_not_followed_before_or_after_a_restart() -> None:
    """Not the default branch, and not one that only an application follows; until somebody accepts it."""

    async def story(stage: Stage) -> None:
        followed = app("shop", source={"path": "apps/shop", "revision": "release"})
        stage.commit(environment(), app("shop"), shop=[WEB])
        stage.remote.commit({**stage.remote.refs["refs/heads/main"].files, "more": b""}, branch="release")
        stage.remote.commit({**stage.remote.refs["refs/heads/release"].files, "yet more": b""}, branch="release")
        stage.commit(environment(), followed, shop=[WEB])
        engine, task = stage.start()
        await asyncio.sleep(30)
        rewritten = stage.remote.force_push({"apps/shop/process-web.json": None}, branch="release")
        await asyncio.sleep(100)
        await stage.stop(task)
        engine, task = stage.start("b")
        await asyncio.sleep(100)
        assert stage.there().keys() == {"web"}
        assert "repository.rewritten" in stage.kinds()
        await Commands(engine).accept(URL, rewritten, "ada")
        await asyncio.sleep(30)
        assert engine.current().world.heads[URL, "release"].revision == rewritten
        await stage.stop(task)

    on_stage(story)


def test_a_second_replica_takes_over_when_the_first_is_gone() -> None:
    """Even when all clocks were set back by a day meanwhile: that nobody renews the lease is seen."""

    async def story(stage: Stage) -> None:
        first, task = stage.start("a")
        stage.commit(environment(), app("shop"), shop=[WEB])
        other = VirtualClock()
        second, standby = stage.start("b", clock=other)
        await asyncio.sleep(60)
        assert (first.ready, second.ready) == (True, False)
        stage.faults.plan("store.write:before", Fault.FAILED)  # it cannot even say goodbye
        stage.store.release = _nothing  # type: ignore[method-assign]
        await stage.stop(task)
        other.jump(-86_400)
        await asyncio.sleep(60)
        assert second.ready
        await stage.stop(standby)

    on_stage(story)


async def _nothing(holder: str) -> None:
    """The process ended before it could give the lease back."""


def test_a_move_is_not_lost_when_the_store_fails_at_the_wrong_moment() -> None:
    """Whichever of the first writes fails, the commit goes live a little later."""

    async def story(stage: Stage) -> None:
        for skip in range(6):
            stage.faults.plan("store.write:before", Fault.FAILED, skip=skip)
        _, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        await asyncio.sleep(120)
        assert stage.there().keys() == {"web"}
        await stage.stop(task)

    on_stage(story)


def test_new_conditions_are_looked_at_when_they_are_declared() -> None:
    """A commit that only takes a gate away lets through what waited behind it."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        never = manifest("Process", "web", never="ready")
        stage.commit(STAGING, PRODUCTION, SHOP, shop=[never])
        await asyncio.sleep(30)
        assert stage.there("production") == {}
        stage.commit(STAGING, PRODUCTION, app("shop", "staging", "production"), shop=[never])
        await asyncio.sleep(30)
        assert stage.there("production").keys() == {"web"}
        await stage.stop(task)

    on_stage(story)


def test_nothing_runs_on_when_the_server_has_ended() -> None:
    """Every task that it started is gone."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        await asyncio.sleep(30)
        await stage.stop(task)
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert stage.kinds()[-1] == "server.stopped"

    on_stage(story)


def test_nobody_acts_before_it_is_known_what_everybody_wants() -> None:
    """An approval that comes in while a server starts waits until every rendering is there; so what moved is not removed."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), app("cart"), shop=[WEB], cart=[DB])
        await asyncio.sleep(10)
        await stage.stop(task)
        before = stage.there()
        stage.commit(environment(), app("shop"), app("cart"), shop=[], cart=[DB, WEB])
        engine, task = stage.start("b")
        while not engine.ready:
            await asyncio.sleep(0)
        for name in ("shop", "cart"):
            await Commands(engine).sync(name, "host", "ada")
        await asyncio.sleep(30)
        assert stage.there()["web"] == (before["web"][0], "cart")
        await stage.stop(task)

    on_stage(story)


def test_a_configuration_that_could_not_be_recorded_is_not_taken_for_the_one_of_before() -> None:
    """The next head has the very tree again that held before (seed 825 of the simulation): that is what is declared, not the one between."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(environment(), app("shop"), shop=[WEB])
        await asyncio.sleep(10)
        write, lost = stage.store.write, asyncio.Event()

        async def lose(writes: Writes, *, epoch: int) -> tuple[Event, ...]:
            if not lost.is_set() and any(name == "configuration" for name, _ in writes.documents):
                lost.set()
                stage.commit(environment(), app("shop"), shop=[WEB])
                raise TransientError("store: no answer")
            return await write(writes, epoch=epoch)

        stage.store.write = lose  # type: ignore[method-assign]
        stage.commit(environment(), app("shop"), app("db"), shop=[WEB], db=[DB])
        await lost.wait()
        await asyncio.sleep(600)
        assert set(engine.current().world.configuration.applications) == {"shop"}
        assert set(engine.current().world.states) == {Key("host", "shop")}
        await stage.stop(task)

    on_stage(story)
