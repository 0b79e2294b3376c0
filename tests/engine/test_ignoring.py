"""What ignore rules leave of the objects of an Application: asked once, and nothing is written while that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from trimtab.core.model.config import Configuration, Ignore
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.leaving import Leave
from trimtab.core.model.manifest import Body
from trimtab.core.model.names import Key
from trimtab.engine.leaving import Leaving
from trimtab.engine.world import Content
from trimtab.testing.factories import manifest

KEY = Key("host", "shop")
WEB, JOB = manifest("Process", "web", replicas=1), manifest("Task", "job")
CONTENT = Content("sha256:1", (WEB, JOB))
AUTO = Ignore(["/spec/replicas"], when="auto")


class FakeJudge:
    """Says of an expression what it was made to say; counts the questions."""

    def __init__(self, answer: bool | str) -> None:
        self.answer, self.asked = answer, 0

    async def examine(self, configuration: Configuration) -> Sequence[Problem]:
        return ()

    async def holds(self, questions: Sequence[tuple[str, Body]]) -> Sequence[bool | str]:
        self.asked += len(questions)
        return [self.answer for _ in questions]


async def test_a_content_is_asked_about_once_and_again_when_rules_or_content_change() -> None:
    judge = FakeJudge(True)
    leaving = Leaving(judge)
    for _ in range(3):
        assert await leaving.of(KEY, CONTENT, (AUTO,)) == {one.identity: Leave(("/spec/replicas",)) for one in (WEB, JOB)}
    assert judge.asked == 2
    assert set(await leaving.of(KEY, CONTENT, (Ignore(["/a"], kind="Task", when="auto"),))) == {JOB.identity}
    assert judge.asked == 3
    await leaving.of(KEY, Content("sha256:2", (WEB,)), (AUTO,))
    assert judge.asked == 4


async def test_objects_of_which_nothing_is_left_are_not_in_it() -> None:
    assert await Leaving(FakeJudge(False)).of(KEY, CONTENT, (AUTO,)) == {}
    assert await Leaving(None).of(KEY, CONTENT, ()) == {}


async def test_a_rule_that_cannot_be_asked_is_an_error_and_not_no() -> None:
    """So nothing of the application is planned, rather than a field overwritten that was to be left alone."""
    for judge in (FakeJudge("`auto` took longer than 1 s"), None):
        with pytest.raises(UserError):
            await Leaving(judge).of(KEY, CONTENT, (AUTO,))
