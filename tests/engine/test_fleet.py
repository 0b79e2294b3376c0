"""Small stories of one application in many environments that labels choose."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trimtab.core.model.config import Application, Environment, Placement, Rollout
from trimtab.core.model.errors import TransientError
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.selector import Selector
from trimtab.engine.commands import Commands
from trimtab.engine.queries import Queries
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.stage import Stage, on_stage

NAMES = ("a", "b", "c")


def cluster(name: str, **spec: Any) -> Environment:
    return environment(name, labels={"fleet": "shop"}, **spec)


def shop(**rollout: Any) -> Application:
    selector = Selector(match_labels={"fleet": "shop"})
    return app("shop", Placement(selector=selector, rollout=Rollout(**rollout) if rollout else None))


def web(version: int, **spec: Any) -> Manifest:
    return manifest("Process", "web", version=version, **spec)


CLUSTERS = tuple(cluster(name) for name in NAMES)


def versions(stage: Stage) -> dict[str, int]:
    found = {}
    for name in NAMES:
        for thing in stage.targets.get(name).objects.there.values():
            found[name] = thing.body["spec"].get("version", 0)
    return found


def started(stage: Stage) -> list[str]:
    return [event.environment for event in stage.events if event.kind in ("deployment.started", "deployment.healthy")]


def test_a_commit_goes_cluster_by_cluster() -> None:
    """Each begins once the one before it is healthy, at that event and not at a poll."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(*CLUSTERS, shop(), shop=[web(1)])
        await asyncio.sleep(30)
        assert started(stage) == ["a", "a", "b", "b", "c", "c"]
        stage.events.clear()
        stage.commit(*CLUSTERS, shop(order=["c"]), shop=[web(2)])
        await asyncio.sleep(30)
        assert started(stage) == ["c", "c", "a", "a", "b", "b"]
        assert versions(stage) == {"a": 2, "b": 2, "c": 2}
        healthy = [event.time for event in stage.events if event.kind == "deployment.healthy"]
        began = [event.time for event in stage.events if event.kind == "deployment.started"]
        assert all((after - before).total_seconds() < 0.5 for before, after in zip(healthy[:-1], began[1:], strict=True))
        await stage.stop(task)

    on_stage(story, ready_seconds=(2, 4))


def test_it_stops_at_the_first_that_fails_and_the_rest_is_untouched() -> None:
    """The reason names the cluster and what is wrong there; the next commit goes on."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(*CLUSTERS, shop(), shop=[web(1)])
        await asyncio.sleep(30)
        stage.commit(*CLUSTERS, shop(), shop=[web(2, never="ready")])
        await asyncio.sleep(900)
        assert versions(stage) == {"a": 2, "b": 1, "c": 1}
        explained = {one.environment: one for one in await Queries(engine).explain("shop")}
        reason = explained["b"].reasons[0]
        assert (reason.state, reason.reason.startswith("stopped: in environment a this revision failed: ")) == ("pending", True)
        stage.commit(*CLUSTERS, shop(), shop=[web(3)])
        await asyncio.sleep(30)
        assert versions(stage) == {"a": 3, "b": 3, "c": 3}
        await stage.stop(task)

    on_stage(story, ready_seconds=(1, 2))


def test_steps_and_pauses() -> None:
    """One first, for as long as it is told to be watched; then the others together."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(*CLUSTERS, shop(), shop=[web(1)])
        await asyncio.sleep(60)
        stage.commit(*CLUSTERS, shop(steps=[1], max_unavailable=2, pause_seconds=120), shop=[web(2)])
        await asyncio.sleep(100)
        assert versions(stage) == {"a": 2, "b": 1, "c": 1}
        await asyncio.sleep(40)
        assert versions(stage) == {"a": 2, "b": 2, "c": 2}
        await stage.stop(task)

    on_stage(story)


@pytest.mark.parametrize("labels", [{}, {"fleet": "none"}])
def test_a_cluster_that_loses_its_label_leaves_within_the_budget(labels: dict[str, str]) -> None:
    """It is a removal like any other: held, since nothing of the application would be left there."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(*CLUSTERS, shop(), shop=[web(1)])
        await asyncio.sleep(30)
        stage.commit(*CLUSTERS[:2], environment("c", labels=labels), shop(), shop=[web(1)])
        await asyncio.sleep(30)
        assert (versions(stage), stage.phase(engine, "shop", "c")) == ({"a": 1, "b": 1, "c": 1}, "held")
        plan = engine.current().world.live[Key("c", "shop")].plan
        assert plan is not None
        await Commands(engine).approve("shop", "c", plan.hash, "ada")
        await asyncio.sleep(30)
        assert versions(stage) == {"a": 1, "b": 1}
        await stage.stop(task)

    on_stage(story)


def test_when_all_lose_the_label_nothing_moves() -> None:
    """A selector that selects nothing is a mistake, whatever the budget allows; a new commit still reaches those that were selected."""
    generous = {"percent": 100, "objects": 100, "empty_render": "allow"}

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(*(cluster(name, **generous) for name in NAMES), shop(), shop=[web(1)])
        await asyncio.sleep(30)
        stage.commit(*(environment(name, **generous) for name in NAMES), shop(), shop=[web(2)])
        await asyncio.sleep(30)
        assert versions(stage) == {"a": 2, "b": 2, "c": 2}
        assert "no environment has these labels; what runs in a, b, c stays" in str(
            engine.current().world.configuration.problems[0]
        )
        await stage.stop(task)

    on_stage(story)


def test_a_cluster_that_is_no_longer_declared_keeps_what_runs_there() -> None:
    """Whatever its budget allowed: to take it away, somebody has to approve that very plan."""
    generous = {"percent": 100, "objects": 100, "empty_render": "allow"}

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(*(cluster(name, **generous) for name in NAMES), shop(), shop=[web(1)])
        await asyncio.sleep(30)
        stage.commit(*(cluster(name, **generous) for name in NAMES[:2]), shop(), shop=[web(2)])
        await asyncio.sleep(30)
        assert (versions(stage), stage.phase(engine, "shop", "c")) == ({"a": 2, "b": 2, "c": 1}, "held")
        plan = engine.current().world.live[Key("c", "shop")].plan
        assert plan is not None
        assert "environment c is no longer declared" in plan.holds[0].reason
        await stage.stop(task)

    on_stage(story)


def test_a_cluster_that_hangs_stops_no_other_application() -> None:
    """Not even from the first commit of a server on; what comes before it in the order goes on too."""

    async def forever(*_: Any) -> Any:
        await asyncio.sleep(1e9)

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.targets.get("b").observe = forever  # type: ignore[method-assign]
        carts = [manifest("Process", "cart")]
        stage.commit(*CLUSTERS, shop(), app("cart", "c"), shop=[web(1)], cart=carts)
        await asyncio.sleep(30)
        assert (stage.there("a").keys(), stage.there("c").keys()) == ({"web"}, {"cart"})
        stage.commit(*CLUSTERS, shop(), app("cart", "c"), shop=[web(1)], cart=[*carts, manifest("Process", "till")])
        await asyncio.sleep(3)
        assert stage.there("c").keys() == {"cart", "till"}
        await stage.stop(task)

    on_stage(story)


def test_a_cluster_that_does_not_answer_is_where_the_rollout_stops() -> None:
    """Those before it get every commit; it says which one it is, and goes on when that answers."""

    async def down(*_: Any) -> Any:
        raise TransientError("ask the cluster: no connection")

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        b = stage.targets.get("b")
        answers = b.observe
        b.observe = down  # type: ignore[method-assign]
        for version in (1, 2):
            stage.commit(*CLUSTERS, shop(), shop=[web(version)])
            await asyncio.sleep(60)
            assert versions(stage) == {"a": version}
        explained = await Queries(engine).explain("shop", "c")
        assert "stopped: in environment b this revision failed: ask the cluster: no connection" in explained[0].reasons[0].reason
        b.observe = answers  # type: ignore[method-assign]
        await asyncio.sleep(600)
        assert versions(stage) == {"a": 2, "b": 2, "c": 2}
        await stage.stop(task)

    on_stage(story)
