"""What is ours on a target, in case the record has lost it: searched for once, and not by a Trimtab that has only just got its name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trimtab.core.model.names import Identity
from trimtab.core.model.observed import Observed, Scope
from trimtab.testing.factories import app, environment, manifest
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.targets import FakeTarget

WEB = manifest("Process", "web")


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Environments that were asked for everything in them."""
    found: list[str] = []
    observe = FakeTarget.observe

    async def told(self: Any, scope: Scope) -> dict[Identity, Observed]:
        if scope.refs is None:
            found.append(scope.environment)
        return dict(await observe(self, scope))

    monkeypatch.setattr(FakeTarget, "observe", told)
    return found


def test_who_has_only_just_got_its_name_searches_for_nothing_and_the_next_start_does(searched: list[str]) -> None:
    async def story(stage: Stage) -> None:
        stage.commit(environment(), app("shop"), shop=[WEB])
        engine, task = stage.start(newborn=True)
        await asyncio.sleep(15)
        assert (stage.phase(engine, "shop"), searched) == ("healthy", [])
        await stage.stop(task)
        _, task = stage.start()
        await asyncio.sleep(15)
        assert searched == ["host"]
        await stage.stop(task)

    on_stage(story)


def test_an_environment_that_does_not_answer_is_noticed_by_a_new_one_too(searched: list[str]) -> None:
    async def story(stage: Stage) -> None:
        stage.commit(environment(), app("shop"), shop=[WEB])
        stage.targets.get("host").down = True
        _, task = stage.start(newborn=True)
        await asyncio.sleep(30)
        assert stage.there() == {}
        stage.targets.get("host").down = False
        await asyncio.sleep(120)
        assert (stage.there().keys(), searched) == ({"web"}, [])
        await stage.stop(task)

    on_stage(story)


def test_whose_record_knows_of_objects_is_not_new_whoever_says_so(searched: list[str]) -> None:
    async def story(stage: Stage) -> None:
        stage.commit(environment(), app("shop"), shop=[WEB])
        for _ in range(2):
            _, task = stage.start(newborn=True)
            await asyncio.sleep(15)
            await stage.stop(task)
        assert searched == ["host"]

    on_stage(story)
