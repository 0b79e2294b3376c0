"""The lines of everything that an Application runs, joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.engine.queries import Queries
from trimtab.ports.target import LogWish
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.faults import Fault
from trimtab.testing.stage import Stage, on_stage

READING = "target.logs:before"


def with_two(story: Callable[[Stage, Queries], Coroutine[None, None, None]]) -> None:
    """An Application of two objects, each of which has printed a line."""

    async def whole(stage: Stage) -> None:
        web, job = manifest("Process", "web"), manifest("Process", "job")
        stage.commit(environment(), app("shop"), shop=[web, job])
        engine, task = stage.start()
        await asyncio.sleep(60)
        for one in (web, job):
            stage.targets.get("host").say(one.ref, f"I am {one.ref.name}")
        await story(stage, Queries(engine))
        await stage.stop(task)

    on_stage(whole)


def test_one_object_whose_lines_cannot_be_read_hides_none_of_the_others_and_is_told_after_them() -> None:
    async def story(stage: Stage, queries: Queries) -> None:
        assert sorted([line.text async for line in queries.logs("shop")]) == ["I am job", "I am web"]
        stage.faults.plan(READING, Fault.FAILED)
        lines = queries.logs("shop")
        assert (await anext(lines)).text == "I am web"
        with pytest.raises(TransientError, match="no connection"):
            await anext(lines)

    with_two(story)


def test_who_follows_is_told_at_once_that_something_is_missing() -> None:
    """The others never end, so that "after them" would be never."""

    async def story(stage: Stage, queries: Queries) -> None:
        stage.faults.plan(READING, Fault.FAILED)
        with pytest.raises(TransientError, match="no connection"):
            _ = [line async for line in queries.logs("shop", wish=LogWish(follow=True))]

    with_two(story)


def test_who_stops_following_leaves_nothing_that_reads_on() -> None:
    async def story(stage: Stage, queries: Queries) -> None:
        before = len(asyncio.all_tasks())
        lines = queries.logs("shop", wish=LogWish(follow=True))
        assert (await anext(lines)).text.startswith("I am")
        assert len(asyncio.all_tasks()) > before
        await lines.aclose()  # type: ignore[attr-defined]
        assert len(asyncio.all_tasks()) == before

    with_two(story)
