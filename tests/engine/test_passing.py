"""Small stories of objects that go by themselves when their work is done: it is done once for each content, and not again and again."""

from __future__ import annotations

import asyncio

from tests.engine.test_hooks import KEY, acts, commit, state, web

from trimtab.core.model.manifest import Manifest
from trimtab.testing.factories import manifest
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.targets import GOES


def job(version: int = 1) -> Manifest:
    return manifest("Task", "job", annotations={GOES: "true"}, version=version)


def made(stage: Stage) -> int:
    return acts(stage).count(("create", "job"))


def test_what_has_ended_is_not_made_again_until_git_changes_it() -> None:
    """Nor by a look, a restart, or a commit that is about something else; its application is well without it, and nothing is drift."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, job(), web())
        stage.targets.get("host").end(job().identity)
        await asyncio.sleep(1_000)
        assert (made(stage), stage.phase(engine, "shop")) == (1, "healthy")
        assert "drift.detected" not in stage.kinds()
        assert state(engine).health.status == "healthy"
        await stage.stop(task)
        engine, task = stage.start()
        await commit(stage, job(), web(2), seconds=400)
        assert (made(stage), stage.phase(engine, "shop")) == (1, "healthy")
        await commit(stage, job(2), web(2))
        assert made(stage) == 2
        await commit(stage, web(2))
        assert acts(stage)[-1] == ("remove", "job")
        await stage.stop(task)

    on_stage(story)


def test_what_went_unseen_is_taken_to_have_gone_well_where_the_application_was_well() -> None:
    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, job(), web())
        await stage.stop(task)
        stage.targets.get("host").end(job().identity, seen=False)
        engine, task = stage.start()
        await commit(stage, job(), web(2), seconds=400)
        assert (made(stage), stage.phase(engine, "shop")) == (1, "healthy")
        assert KEY in engine.current().world.states
        await stage.stop(task)

    on_stage(story)


def test_what_somebody_removes_before_its_end_is_missing_like_anything_else() -> None:
    """And so is what went before its application was ever well, when nobody saw how."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        await commit(stage, job(), web(), seconds=1)
        target = stage.targets.get("host")
        target.end(job().identity, seen=False)
        await asyncio.sleep(20)
        assert made(stage) == 2
        await stage.stop(task)

    on_stage(story, ready_seconds=(5, 6))


def test_what_had_failed_when_it_went_stays_a_failure() -> None:
    """It is tried again by a commit, as one that is still there is."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        await commit(stage, job(), web(), seconds=1)
        target = stage.targets.get("host")
        target.degrade(job().identity, "exit code 1")
        await asyncio.sleep(5)
        target.end(job().identity)
        await asyncio.sleep(900)
        assert (made(stage), state(engine).health.status) == (1, "degraded")
        assert stage.phase(engine, "shop") == "failed"
        await stage.stop(task)

    on_stage(story, ready_seconds=(3, 4))
