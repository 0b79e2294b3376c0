"""Small stories of hooks in a whole engine: in which order they run, how often, and what a failure and a crash do to them."""

from __future__ import annotations

import asyncio
from typing import Any

from trimtab.core.decide.order import FOUNDATION
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.engine.commands import Commands
from trimtab.engine.queries.applications import ApplicationQueries
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.targets import WHEN

KEY = Key("host", "shop")


def hook(name: str, phase: str, delete: str = "", *, wave: int | None = None, when: str = "", **spec: Any) -> Manifest:
    notes = {
        "trimtab.dev/hook": phase,
        **({"trimtab.dev/hook-delete": delete} if delete else {}),
        **({WHEN: when} if when else {}),
    }
    return manifest("Task", name, annotations=notes, wave=wave, **spec)


def web(version: int = 1, **spec: Any) -> Manifest:
    return manifest("Process", "web", version=version, **spec)


def acts(stage: Stage) -> list[tuple[str, str]]:
    """What has been done on the target by us, in order."""
    return [(one.action, one.ref.name) for one in stage.targets.world.journal if one.action]


async def commit(stage: Stage, *manifests: Manifest, seconds: float = 15) -> None:
    stage.commit(environment(), app("shop"), shop=list(manifests))
    await asyncio.sleep(seconds)


def state(engine: Any) -> Any:
    return engine.current().world.states[KEY]


def test_each_hook_runs_in_its_phase_and_once() -> None:
    """Before, beside and after; nothing of it again while nothing is deployed."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, hook("before", "pre"), hook("beside", "main", wave=1), hook("after", "post"), web(), seconds=900)
        assert acts(stage) == [("run", "before"), ("create", "web"), ("run", "beside"), ("run", "after")]
        assert stage.phase(engine, "shop") == "healthy"
        assert stage.kinds().count("hook.succeeded") == 3
        await stage.stop(task)

    on_stage(story, ready_seconds=(1, 3))


def test_nothing_of_a_release_is_applied_when_a_hook_before_it_fails() -> None:
    """What ran before goes on, the hook is not tried in a loop, and a wish for another try, or another commit, runs it again."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, web())
        await commit(stage, hook("migrate", "pre", fails="no such table"), hook("tell", "failed"), web(2), seconds=900)
        assert acts(stage) == [("create", "web"), ("run", "migrate"), ("run", "tell")]
        assert stage.phase(engine, "shop") == "failed"
        assert state(engine).current.message == "the pre hook Task/migrate failed: no such table"
        await Commands(engine).sync("shop", "", "ada")
        await asyncio.sleep(15)
        assert acts(stage)[3:] == [("run", "migrate"), ("run", "tell")]
        await commit(stage, hook("migrate", "pre"), hook("tell", "failed"), web(2))
        assert acts(stage)[5:] == [("run", "migrate"), ("update", "web")]
        assert stage.phase(engine, "shop") == "healthy"
        await stage.stop(task)

    on_stage(story)


def test_a_release_that_does_not_get_well_runs_the_hooks_for_that_and_not_those_after_it() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, web(fails="exit status 1"), hook("after", "post"), hook("tell", "failed"), seconds=60)
        assert acts(stage) == [("create", "web"), ("run", "tell")]
        assert stage.phase(engine, "shop") == "failed"
        await stage.stop(task)

    on_stage(story)


def test_a_hook_after_a_release_fails_it_although_everything_is_well() -> None:
    """The environments after it do not get it."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, web(), hook("smoke", "post", fails="500 instead of 200"), seconds=60)
        assert stage.phase(engine, "shop") == "failed"
        assert state(engine).health.status == "healthy"
        await stage.stop(task)

    on_stage(story)


def test_a_hook_that_the_target_refuses_has_failed_and_is_not_tried_in_a_loop() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, web(), hook("migrate", "pre", refuses="no such account"), seconds=900)
        assert "no such account" in state(engine).current.message
        assert stage.targets.get("host").calls["apply"] == 1
        await stage.stop(task)

    on_stage(story)


def test_what_hooks_leave_goes_as_their_policies_say() -> None:
    """After success, after failure, or when the next one takes its place: the object, not what runs."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        hooks = [hook("stays", "pre"), hook("goes", "pre", "succeeded"), hook("kept", "post", "failed")]
        await commit(stage, *hooks, web())
        before = stage.there()
        assert before.keys() == {"stays", "kept", "web"}
        await commit(stage, *hooks, web(2))
        after = stage.there()
        assert after.keys() == before.keys()
        assert after["web"] == before["web"]
        assert after["stays"] != before["stays"]
        failing = hook("goes", "pre", "failed", fails="no")
        await commit(stage, failing, *hooks[0::2], web(3))
        assert stage.phase(engine, "shop") == "failed"
        assert stage.there().keys() == {"stays", "kept", "web"}
        await stage.stop(task)

    on_stage(story)


def test_an_object_that_a_hook_has_left_is_no_drift() -> None:
    """Neither when it is deleted nor when it is changed; the inventory forgets it when it is gone."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        migrate = hook("migrate", "pre")
        await commit(stage, migrate, web())
        done = acts(stage)
        stage.targets.get("host").drift(migrate.identity, {**migrate.body, "spec": {"by": "hand"}})
        await asyncio.sleep(5)
        stage.targets.get("host").delete(migrate.identity)
        await asyncio.sleep(400)
        assert acts(stage) == done
        assert engine.current().world.inventories["host"].get(migrate.identity) is None
        assert "drift.detected" not in stage.kinds()
        await stage.stop(task)

    on_stage(story)


def test_going_back_runs_the_hooks_again_and_a_commit_that_changes_nothing_does_not() -> None:
    """To go back is a deployment like any other."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        migrate = hook("migrate", "pre")
        for version, times in ((1, 1), (2, 2), (1, 3), (1, 3)):
            await commit(stage, migrate, web(version))
            assert acts(stage).count(("run", "migrate")) == times
        await stage.stop(task)

    on_stage(story)


WAYS = (
    hook("install", "pre", when="first"),
    hook("upgrade", "pre", when="later"),
    hook("undo", "pre", when="back"),
    hook("check", "post", when="first,later,back"),
)


def ways(stage: Stage) -> list[str]:
    return [name for action, name in acts(stage) if action == "run"]


def test_hooks_for_going_back_run_then_in_place_of_those_of_an_upgrade() -> None:
    """What was healthy comes back, after another release or after one that failed; the way forward again is an upgrade."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        found = []
        for version in (1, 2, 1, 2, 3):
            before = len(ways(stage))
            await commit(stage, *WAYS, web(version))
            found.append(ways(stage)[before:])
        assert found == [
            ["install", "check"],
            ["upgrade", "check"],
            ["undo", "check"],
            ["upgrade", "check"],
            ["upgrade", "check"],
        ]
        await commit(stage, *WAYS, web(4, fails="exit status 1"))
        await commit(stage, *WAYS, web(3))
        assert ways(stage)[-3:] == ["upgrade", "undo", "check"]
        assert stage.phase(engine, "shop") == "healthy"
        started = [event.message for event in stage.events if event.kind == "deployment.started"]
        assert ["goes back" in message for message in started] == [False, False, True, False, False, False, True]
        await stage.stop(task)

    on_stage(story)


def test_after_a_lost_record_going_back_is_an_upgrade() -> None:
    """Nobody knows any more what was healthy before the content that is found."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        await commit(stage, *WAYS, web(1))
        await commit(stage, *WAYS, web(2))
        await stage.stop(task)
        stage.store.__init__(hook=stage.faults.point)  # type: ignore[misc]
        _, task = stage.start("b")
        await asyncio.sleep(15)
        before = len(ways(stage))
        await commit(stage, *WAYS, web(1))
        assert ways(stage)[before:] == ["upgrade", "check"]
        await stage.stop(task)

    on_stage(story)


def test_a_crash_while_it_goes_back_runs_no_hook_twice_and_none_of_an_upgrade() -> None:
    """Before and after each write to the store and to the target, in turn: it is known from the state which Deployment it is."""
    points = [("store.write:after", skip) for skip in range(10)] + [
        (f"target.apply:{when}", skip) for when in ("before", "after") for skip in range(3)
    ]
    for point, skip in points:

        async def story(stage: Stage, point: str = point, skip: int = skip) -> None:
            _, first = stage.start("a")
            await commit(stage, *WAYS, web(1))
            await commit(stage, *WAYS, web(2))
            before = len(ways(stage))
            stage.faults.plan(point, Fault.CRASH if point.endswith("after") else Fault.FAILED, skip=skip)
            stage.commit(environment(), app("shop"), shop=[*WAYS, web(1)])
            await asyncio.sleep(5)
            await stage.stop(first)
            engine, second = stage.start("b")
            await asyncio.sleep(60)
            assert ways(stage)[before:] == ["undo", "check"], (point, skip)
            assert stage.phase(engine, "shop") == "healthy"
            await stage.stop(second)

        on_stage(story, ready_seconds=(0.5, 1))


def test_the_plan_and_the_explanation_of_what_would_go_back_say_so() -> None:
    """While it waits to begin."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, *WAYS, web(1))
        await commit(stage, *WAYS, web(2))
        await Commands(engine).suspend("shop", "", "a look first", None, "ada")
        await commit(stage, *WAYS, web(1))
        shown = await ApplicationQueries(engine).plan("shop")
        assert [(step.action, step.hook, step.object.name) for step in shown.steps] == [
            ("run", "pre", "undo"),
            ("update", "", "web"),
            ("run", "post", "check"),
        ]
        (said,) = await ApplicationQueries(engine).explain("shop")
        assert [one.reason for one in said.reasons if one.state == "goes back"] == ["its content was healthy here before"]
        await stage.stop(task)

    on_stage(story)


def test_a_crash_between_any_two_writes_runs_no_hook_twice_and_leaves_none_out() -> None:
    """Before and after each write to the store and to the target, in turn."""
    points = [("store.write:after", skip) for skip in range(14)] + [
        (f"target.{call}:{when}", skip) for call in ("apply", "remove") for when in ("before", "after") for skip in range(3)
    ]
    hooks = [hook("before", "pre", "succeeded"), hook("beside", "main"), hook("after", "post")]
    met: list[str] = []
    for point, skip in points:

        async def story(stage: Stage, point: str = point, skip: int = skip) -> None:
            _, first = stage.start("a")
            await commit(stage, web())
            stage.faults.plan(point, Fault.CRASH if point.endswith("after") else Fault.FAILED, skip=skip)
            stage.commit(environment(), app("shop"), shop=[*hooks, web(2)])
            await asyncio.sleep(5)
            await stage.stop(first)
            engine, second = stage.start("b")
            await asyncio.sleep(60)
            assert sorted(name for action, name in acts(stage) if action == "run") == ["after", "before", "beside"], (point, skip)
            assert stage.phase(engine, "shop") == "healthy"
            met.extend(stage.faults.counts)
            await stage.stop(second)

        on_stage(story, ready_seconds=(0.5, 1))
    assert len(met) > 20, "most of these places are come by"


def test_a_hook_whose_object_went_before_its_end_was_seen_fails_the_deployment() -> None:
    """Nobody can tell whether it did what it was for; a wish for another try runs it once more."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        migrate = hook("migrate", "pre", never="ready")
        await commit(stage, migrate, web())
        stage.targets.get("host").delete(migrate.identity)
        await asyncio.sleep(60)
        assert acts(stage) == [("run", "migrate")]
        assert "nobody has seen how it ended" in state(engine).current.message
        await Commands(engine).sync("shop", "", "ada")
        await asyncio.sleep(15)
        assert acts(stage) == [("run", "migrate"), ("run", "migrate")]
        await stage.stop(task)

    on_stage(story)


def test_a_lost_record_runs_no_hook_of_what_is_there() -> None:
    """Everything stands as Git says, so it has been deployed. Where Git has moved meanwhile, it is a later deployment."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        migrate = hook("migrate", "pre", "succeeded")
        await commit(stage, migrate, web())
        await stage.stop(task)
        stage.store.__init__(hook=stage.faults.point)  # type: ignore[misc]
        engine, task = stage.start("b")
        await asyncio.sleep(15)
        assert acts(stage).count(("run", "migrate")) == 1
        assert stage.phase(engine, "shop") == "healthy"
        await commit(stage, migrate, web(2))
        assert acts(stage).count(("run", "migrate")) == 2
        await stage.stop(task)

    on_stage(story)


def test_a_long_hook_does_not_use_up_the_time_that_the_release_has() -> None:
    """The progress deadline begins anew when it has ended."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        shop = app("shop", progress_deadline_seconds=30)
        stage.commit(environment(), shop, shop=[hook("migrate", "pre"), web()])
        await asyncio.sleep(300)
        assert "deployment.failed" not in stage.kinds()
        assert stage.phase(engine, "shop") == "healthy"
        await stage.stop(task)

    on_stage(story, ready_seconds=(28, 29))


def test_the_plan_says_which_hooks_will_run_and_people_see_how_they_ended() -> None:
    """Before anything is done, and afterwards beside the other objects."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, hook("migrate", "pre", "succeeded"), web())
        await Commands(engine).suspend("shop", "", "a look first", None, "ada")
        await commit(stage, hook("migrate", "pre", "succeeded"), web(2))
        shown = await ApplicationQueries(engine).plan("shop")
        assert [(step.action, step.hook, step.object.name) for step in shown.steps] == [
            ("run", "pre", "migrate"),
            ("update", "", "web"),
        ]
        await Commands(engine).resume("shop", "", "ada")
        await asyncio.sleep(15)
        (view,) = (await ApplicationQueries(engine).application("shop")).applications
        found = {one.object.name: (one.sync, one.health, one.message) for one in view.objects}
        assert found["migrate"] == ("hook", "healthy", "it was run, and has succeeded")
        await stage.stop(task)

    on_stage(story)


def test_a_hook_that_git_lets_go_leaves_nothing() -> None:
    """Although the budget allows no removal: nothing of the application goes."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        strict = environment(percent=0, objects=0)
        stage.commit(strict, app("shop"), shop=[hook("migrate", "pre"), web()])
        await asyncio.sleep(15)
        stage.commit(strict, app("shop"), shop=[web(2)])
        await asyncio.sleep(15)
        assert stage.there().keys() == {"web"}
        await stage.stop(task)

    on_stage(story)


def test_only_what_hooks_cannot_do_without_is_made_before_them() -> None:
    """And only where it is not there yet: a change of it is part of the release."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        place = manifest("Place", "here", wave=FOUNDATION, version=1)
        await commit(stage, hook("migrate", "pre"), place, web())
        assert acts(stage) == [("create", "here"), ("run", "migrate"), ("create", "web")]
        changed = manifest("Place", "here", wave=FOUNDATION, version=2)
        await commit(stage, hook("migrate", "pre", fails="no"), changed, web(2))
        assert acts(stage)[3:] == [("run", "migrate")]
        assert stage.phase(engine, "shop") == "failed"
        await stage.stop(task)

    on_stage(story, ready_seconds=(0.5, 1))
