"""Small stories of how an Application ends: what its hooks do, when Git has them no more, before and after everything of it is removed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.test_hooks import acts, hook, state, web

from trimtab.core.model.names import Key
from trimtab.core.model.protection import EnvironmentApprovals
from trimtab.engine.commands import Commands
from trimtab.engine.queries.applications import ApplicationQueries
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import Stage, on_stage

KEY = Key("host", "shop")
DOCUMENT = "ending/host/shop"
STAY = manifest("Process", "other")
LOOSE = environment(percent=100, objects=10, empty_render="allow")


async def declare(stage: Stage, *manifests: Any, seconds: float = 15, rules: Any = LOOSE) -> None:
    stage.commit(rules, app("shop"), app("rest"), shop=list(manifests), rest=[STAY])
    await asyncio.sleep(seconds)


async def undeclare(stage: Stage, seconds: float = 30, rules: Any = LOOSE) -> None:
    stage.commit(rules, app("rest"), rest=[STAY])
    await asyncio.sleep(seconds)


def done(stage: Stage) -> list[tuple[str, str]]:
    """What was done, but for the other application."""
    return [one for one in acts(stage) if one[1] != "other"]


async def kept(stage: Stage) -> bool:
    return DOCUMENT in (await stage.store.load()).documents


def test_hooks_run_before_the_first_removal_and_after_the_last_and_then_nothing_is_left() -> None:
    """By waves; nothing of them runs while the Application is declared, and what they leave goes at the end, kept by its policy or not."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(
            stage,
            hook("second", "pre-removal", wave=2),
            hook("first", "pre-removal", "succeeded", wave=1),
            hook("last", "post-removal"),
            hook("migrate", "pre"),
            web(),
            manifest("Process", "base", wave=-1),
        )
        assert done(stage) == [("run", "migrate"), ("create", "base"), ("create", "web")]
        assert await kept(stage)
        await undeclare(stage)
        found = done(stage)[3:]
        assert found[:2] == [("run", "first"), ("run", "second")]
        removals = [("remove", name) for name in ("web", "migrate", "base")]
        assert [one for one in found if one in removals] == removals
        assert found.index(("run", "last")) == max(found.index(one) for one in removals) + 1
        assert set(found[-2:]) == {("remove", "last"), ("remove", "second")}
        assert stage.there().keys() == {"other"}
        assert KEY not in engine.current().world.states
        assert not await kept(stage)
        assert "application.removed" in stage.kinds()
        await stage.stop(task)

    on_stage(story, ready_seconds=(1, 3))


def test_nothing_is_removed_when_a_hook_before_it_fails_and_a_wish_tries_again() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(stage, hook("backup", "pre-removal", fails="disk full"), web())
        await undeclare(stage, 900)
        assert done(stage)[1:] == [("run", "backup")], "it is not tried in a loop"
        assert stage.phase(engine, "shop") == "failed"
        assert state(engine).current.message == "the pre-removal hook Task/backup failed: disk full"
        await Commands(engine).sync("shop", "", "ada")
        await asyncio.sleep(30)
        assert done(stage)[1:] == [("run", "backup"), ("run", "backup")]
        assert stage.there().keys() == {"other", "web", "backup"}
        await declare(stage, hook("backup", "pre-removal"), web(), seconds=30)
        assert stage.phase(engine, "shop") == "healthy"
        await undeclare(stage)
        assert stage.there().keys() == {"other"}
        await stage.stop(task)

    on_stage(story)


def test_a_failed_hook_after_everything_keeps_the_application_on_the_record() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(stage, hook("tell", "post-removal", "failed", fails="no answer"), web())
        await undeclare(stage, 400)
        assert done(stage)[1:] == [("remove", "web"), ("run", "tell"), ("remove", "tell")]
        assert state(engine).current.message == "the post-removal hook Task/tell failed: no answer"
        assert await kept(stage)
        await stage.stop(task)

    on_stage(story)


def test_hooks_before_removals_wait_with_them_for_an_approval() -> None:
    """One approval of the plan is for both, and its hash covers both."""

    async def story(stage: Stage) -> None:
        strict = environment(percent=0, objects=0)
        engine, task = stage.start()
        await declare(stage, hook("backup", "pre-removal"), hook("tell", "post-removal"), web(), rules=strict)
        await undeclare(stage, 400, rules=strict)
        assert done(stage)[1:] == []
        assert stage.phase(engine, "shop") == "held"
        plan = engine.current().world.live[KEY].plan
        assert {hold.object.name for hold in plan.holds} == {"backup", "web"}
        assert [(step.hook, step.ref.name) for step in plan.steps] == [("post-removal", "tell")]
        await Commands(engine).approve("shop", "host", plan.hash, "ada")
        await asyncio.sleep(30)
        assert done(stage)[1:4] == [("run", "backup"), ("remove", "web"), ("run", "tell")]
        assert KEY not in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_where_an_environment_asks_for_approvals_one_is_enough_for_an_end_and_its_hooks() -> None:
    async def story(stage: Stage) -> None:
        guarded = environment(percent=100, objects=10, empty_render="allow", approvals=EnvironmentApprovals(required=1))
        engine, task = stage.start()
        await declare(stage, hook("backup", "pre-removal"), hook("tell", "post-removal"), web())
        await declare(stage, hook("backup", "pre-removal"), hook("tell", "post-removal"), web(), rules=guarded)
        await undeclare(stage, 400, rules=guarded)
        assert done(stage)[1:] == []
        plan = engine.current().world.live[KEY].plan
        assert [hold.object.name for hold in plan.holds] == ["backup", "web", "tell"]
        await Commands(engine).approve("shop", "host", plan.hash, "ada")
        await asyncio.sleep(30)
        assert done(stage)[1:4] == [("run", "backup"), ("remove", "web"), ("run", "tell")]
        assert KEY not in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_the_plan_for_an_end_names_its_hooks_before_it_begins_and_is_the_one_that_is_approved_later() -> None:
    async def story(stage: Stage) -> None:
        strict = environment(percent=0, objects=0)
        engine, task = stage.start()
        await declare(stage, hook("backup", "pre-removal"), hook("tell", "post-removal"), web(), rules=strict)
        await Commands(engine).suspend("shop", "", "a look first", None, "ada")
        await undeclare(stage, rules=strict)
        shown = await ApplicationQueries(engine).plan("shop")
        assert [(step.action, step.hook, step.object.name) for step in shown.steps] == [("run", "post-removal", "tell")]
        assert [hold.object.name for hold in shown.holds if hold.object] == ["backup", "web"]
        assert done(stage)[1:] == []
        await Commands(engine).resume("shop", "", "ada")
        await asyncio.sleep(30)
        held = engine.current().world.live[KEY].plan
        assert held.holds
        assert held.hash == shown.hash
        await stage.stop(task)

    on_stage(story)


def test_an_application_that_is_declared_again_does_not_end() -> None:
    """In the middle of a hook before it: the rest of them never runs, and everything is as Git says again."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        hooks = [hook("drain", "pre-removal", never="ready"), hook("tell", "post-removal")]
        await declare(stage, *hooks, web())
        before = stage.there()["web"]
        await undeclare(stage)
        assert done(stage)[1:] == [("run", "drain")]
        await declare(stage, *hooks, web(), seconds=30)
        assert ("run", "tell") not in done(stage)
        assert stage.there()["web"] == before
        assert stage.phase(engine, "shop") == "healthy"
        assert ("remove", "web") not in done(stage)
        await stage.stop(task)

    on_stage(story)


def test_while_what_git_declares_again_cannot_be_read_no_hook_of_an_end_runs() -> None:
    """Whether it ends is in doubt then."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        hooks = [hook("drain", "pre-removal"), hook("tell", "post-removal")]
        await declare(stage, *hooks, web())
        files = stage.files(LOOSE, app("shop"), app("rest"), rest=[STAY])
        files["apps/shop/process-web.json"] = b"{"
        stage.remote.commit(files, whole=True)
        await asyncio.sleep(30)
        assert done(stage)[1:] == []
        await stage.stop(task)

    on_stage(story)


def test_a_new_name_for_an_application_is_no_end_of_it() -> None:
    """What another application declares now is handed over, hooks included: nothing is removed, and nothing runs as if it were."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        everything = [hook("drop-database", "pre-removal"), hook("tell", "post-removal"), web()]
        await declare(stage, *everything)
        stage.commit(LOOSE, app("store"), app("rest"), store=everything, rest=[STAY])
        await asyncio.sleep(60)
        assert done(stage) == [("create", "web"), ("handover", "web")]
        assert KEY not in engine.current().world.states
        assert not await kept(stage)
        assert "ending/host/store" in (await stage.store.load()).documents
        await stage.stop(task)

    on_stage(story)


def test_hooks_of_content_that_was_never_healthy_are_not_run() -> None:
    """The ones that run are those of the content that was; what has been healthy without any has none."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        await declare(stage, hook("old", "pre-removal"), web())
        await declare(stage, hook("new", "pre-removal"), web(2, fails="exit status 1"), seconds=60)
        await undeclare(stage, 60)
        assert ("run", "old") in done(stage)
        assert ("run", "new") not in done(stage)
        await declare(stage, hook("old", "pre-removal"), web())
        await declare(stage, web(2))
        assert not await kept(stage)
        await undeclare(stage)
        assert done(stage).count(("run", "old")) == 1
        await stage.stop(task)

    on_stage(story)


def test_a_hook_in_which_a_secret_stands_is_not_kept_and_the_end_waits_for_somebody() -> None:
    """With the name of it, and without a byte of the secret in the store; an approval ends the application without that hook."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(
            stage, hook("login", "pre-removal", environment={"DB_PASSWORD": "hunter2"}), hook("tell", "post-removal"), web()
        )
        assert await kept(stage)
        assert not [name for name, body in (await stage.store.load()).documents.items() if b"hunter2" in body]
        await undeclare(stage, 60)
        assert done(stage)[1:] == []
        plan = engine.current().world.live[KEY].plan
        assert "a secret stands in Task/login" in plan.holds[0].reason
        await Commands(engine).approve("shop", "host", plan.hash, "ada")
        await asyncio.sleep(30)
        assert done(stage)[1:3] == [("remove", "web"), ("run", "tell")]
        assert KEY not in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_an_application_of_hooks_alone_runs_them_when_it_ends() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(stage, hook("tell", "post-removal"))
        assert stage.phase(engine, "shop") == "healthy"
        await undeclare(stage)
        assert done(stage) == [("run", "tell"), ("remove", "tell")]
        assert KEY not in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_leaving_one_environment_is_an_end_there_and_not_elsewhere() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        both = [LOOSE, environment("other", percent=100, objects=10)]
        everything = [hook("tell", "post-removal"), web()]
        stage.commit(*both, app("shop", "host", "other"), shop=everything)
        await asyncio.sleep(15)
        stage.commit(*both, app("shop", "other"), shop=everything)
        await asyncio.sleep(30)
        assert stage.there().keys() == set()
        assert stage.there("other").keys() == {"web"}
        assert acts(stage).count(("run", "tell")) == 1
        assert KEY not in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_what_is_kept_on_purpose_stays_and_the_hooks_run_once() -> None:
    """The Application stays on the record with it, quietly."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        keep = manifest("Process", "data", annotations={"trimtab.dev/prune": "disabled"})
        await declare(stage, hook("backup", "pre-removal"), hook("tell", "post-removal"), web(), keep)
        await undeclare(stage, 1200)
        assert sorted(done(stage)[2:5]) == sorted([("run", "backup"), ("remove", "web"), ("run", "tell")])
        assert stage.there().keys() == {"other", "data"}
        stage.targets.get("host").delete(keep.identity)
        await asyncio.sleep(400)
        assert KEY not in engine.current().world.states
        assert [one for one in done(stage) if one[0] == "run"] == [("run", "backup"), ("run", "tell")]
        await stage.stop(task)

    on_stage(story)


def test_the_account_of_an_application_lasts_until_its_last_hook_has_run() -> None:
    """Also when nothing of it is left by then: what it runs is never run with other rights than its own."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await declare(stage, hook("tell", "post-removal"))
        world = engine.current().world
        world.kept_accounts = {"shop": "shop-account", "gone": "another"}
        assert world.accounts(type(world.configuration)()) == {"shop": "shop-account"}
        await stage.stop(task)

    on_stage(story)


@pytest.mark.parametrize("policy", ["", "succeeded"])
def test_a_crash_between_any_two_writes_runs_no_hook_of_an_end_twice_and_leaves_none_out(policy: str) -> None:
    """Before and after each write to the store and to the target, in turn; another process goes on where it was."""
    points = [("store.write:after", skip) for skip in range(14)] + [
        (f"target.{call}:{when}", skip) for call in ("apply", "remove") for when in ("before", "after") for skip in range(4)
    ]
    met: list[str] = []
    for point, skip in points:

        async def story(stage: Stage, point: str = point, skip: int = skip) -> None:
            _, first = stage.start("a")
            await declare(stage, hook("backup", "pre-removal", policy), hook("tell", "post-removal", policy), web())
            stage.faults.plan(point, Fault.CRASH if point.endswith("after") else Fault.FAILED, skip=skip)
            await undeclare(stage, 5)
            await stage.stop(first)
            engine, second = stage.start("b")
            await asyncio.sleep(60)
            found = [one for one in done(stage)[1:] if one in (("run", "backup"), ("remove", "web"), ("run", "tell"))]
            assert found == [("run", "backup"), ("remove", "web"), ("run", "tell")], (point, skip)
            assert KEY not in engine.current().world.states, (point, skip)
            assert stage.there().keys() == {"other"}, (point, skip)
            assert not await kept(stage)
            met.extend(stage.faults.counts)
            await stage.stop(second)

        on_stage(story, ready_seconds=(0.5, 1))
    assert len(met) > 20, "most of these places are come by"
