"""Environments at one place: an object that moves from the one to the other is handed over, and never missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from trimtab.core.model.config import Environment, Placement
from trimtab.core.model.mandate import OWN as OWN_RIGHTS
from trimtab.core.model.mandate import Mandate
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Outcome, Plan, Step
from trimtab.engine.commands import Commands
from trimtab.engine.engine import Engine
from trimtab.engine.world import Content
from trimtab.testing.factories import app, entry, environment, manifest
from trimtab.testing.stage import Stage, on_stage
from trimtab.testing.targets import FakeTarget, FakeTargets

WEB, DB, OWN = manifest("Wide", "web"), manifest("Process", "db", namespace="data"), manifest("Process", "own")
EAST, WEST = environment("east"), environment("west")
OLD, NEW = app("old", "east"), app("new", "west")


def at_one_place(story: Callable[[Stage], Coroutine[Any, Any, None]], **places: str) -> None:
    """Nothing but the engine itself wakes anybody after an act, and the target tells no former owner."""

    async def told(stage: Stage) -> None:
        stage.targets.places = places or {"east": "one", "west": "one"}
        stage.targets.world.echo = False
        await story(stage)

    on_stage(told)


def removed(stage: Stage) -> list[str]:
    return [mutation.ref.name for mutation in stage.targets.world.journal if mutation.verb in ("removed", "replaced")]


def owned(engine: Engine, name: str) -> set[str]:
    inventory = engine.current().world.inventories[name]
    return {entry.ref.name for one in inventory.applications() for entry in inventory.of(one).values()}


def owner(stage: Stage, name: str = "web") -> tuple[str, str]:
    found = {thing.ref.name: thing for thing in stage.targets.get("east").objects.there.values()}[name].owner
    return (found.environment, found.application) if found is not None else ("", "")


def held(engine: Engine, environment: str, application: str) -> list[str]:
    plan = engine.current().world.live[Key(environment, application)].plan
    assert plan is not None
    return [hold.reason for hold in plan.holds]


def test_what_moves_to_another_environment_keeps_its_uid() -> None:
    """Whatever the budget says, as nothing is removed; the one has it no more and the other does, both at once."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        documents = (environment("east", percent=0, objects=0), WEST, OLD, NEW)
        stage.commit(*documents, old=[WEB, DB, OWN], new=[])
        await asyncio.sleep(5)
        before = stage.there("east")
        stage.commit(*documents, old=[OWN], new=[WEB, DB])
        await asyncio.sleep(5)
        assert stage.there("east") == {name: (uid, "old" if name == "own" else "new") for name, (uid, _) in before.items()}
        assert (owned(engine, "east"), owned(engine, "west")) == ({"own"}, {"web", "db"})
        assert removed(stage) == []
        assert (stage.phase(engine, "old", "east"), stage.phase(engine, "new", "west")) == ("healthy", "healthy")
        await stage.stop(task)

    at_one_place(story)


def test_an_application_that_ends_is_over_once_all_of_it_was_taken() -> None:
    """It waits for the other one, and not for the next time that somebody looks."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, DB], new=[])
        await asyncio.sleep(5)
        stage.commit(EAST, WEST, app("new", "west", path="apps/old"), old=[WEB, DB])
        await asyncio.sleep(5)
        assert removed(stage) == []
        assert owner(stage) == ("west", "new")
        assert "application.removed" in stage.kinds()
        assert Key("east", "old") not in engine.current().world.states
        await stage.stop(task)

    at_one_place(story)


@pytest.mark.parametrize("first", ["east", "west"])
def test_neither_order_of_promotion_makes_them_wait_for_each_other(first: str) -> None:
    """The one that takes comes after the one that lets go, or before it."""
    second = "west" if first == "east" else "east"

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        paths = {"east": "apps/here", "west": "apps/there"}
        places = [Placement(name=first, path=paths[first]), Placement(name=second, path=paths[second], after=[first])]
        documents = (EAST, WEST, app("shop", *places))
        stage.commit(*documents, here=[WEB, OWN], there=[OWN])
        await asyncio.sleep(5)
        uid = stage.there("east")["web"][0]
        stage.commit(*documents, here=[OWN], there=[OWN, WEB])
        await asyncio.sleep(10)
        assert stage.there("east")["web"] == (uid, "shop")
        assert owner(stage) == ("west", "shop")
        assert (owned(engine, "east"), owned(engine, "west")) == ({"own"}, {"own", "web"})
        assert {stage.phase(engine, "shop", name) for name in ("east", "west")} == {"healthy"}
        await stage.stop(task)

    at_one_place(story)


def test_nothing_is_taken_from_an_application_that_is_suspended() -> None:
    """Nor removed; once it is resumed, it is handed over."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB], new=[])
        await asyncio.sleep(5)
        await Commands(engine).suspend("old", "east", "hands off", None, "ada")
        stage.commit(EAST, WEST, OLD, NEW, old=[], new=[WEB])
        await asyncio.sleep(5)
        assert held(engine, "west", "new") == ["it belongs to environment east, to application old, which is suspended there"]
        assert owner(stage) == ("east", "old")
        await Commands(engine).resume("old", "east", "ada")
        await asyncio.sleep(5)
        assert owner(stage) == ("west", "new")
        assert removed(stage) == []
        await stage.stop(task)

    at_one_place(story)


def test_of_two_that_want_it_the_owner_keeps_it() -> None:
    """Until Git takes it out there."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB], new=[])
        await asyncio.sleep(5)
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB], new=[WEB])
        await asyncio.sleep(5)
        assert held(engine, "west", "new") == ["it belongs to environment east, where application old declares it"]
        assert (owner(stage), held(engine, "east", "old")) == (("east", "old"), [])
        stage.commit(EAST, WEST, OLD, NEW, old=[], new=[WEB])
        await asyncio.sleep(5)
        assert owner(stage) == ("west", "new")
        await stage.stop(task)

    at_one_place(story)


def test_a_move_that_is_taken_back_before_it_came_about_is_a_removal() -> None:
    """By the one that had it all the time, at once."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(5)
        await Commands(engine).suspend("new", "west", "hands off", None, "ada")
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[WEB])
        await asyncio.sleep(5)
        assert (owner(stage), removed(stage)) == (("east", "old"), [])
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[])
        await asyncio.sleep(5)
        assert removed(stage) == ["web"]
        assert owned(engine, "east") == {"own"}
        await stage.stop(task)

    at_one_place(story)


def test_what_an_environment_wants_that_does_not_answer_is_not_removed() -> None:
    """Nobody knows whether it sees the same objects, so somebody has to say so; once it answers, it takes over what it wants."""

    async def story(stage: Stage) -> None:
        stage.targets.get("west").down = True
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(15)
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[WEB])
        await asyncio.sleep(15)
        assert "may be what new@west wants" in held(engine, "east", "old")[0]
        stage.targets.get("west").down = False
        await asyncio.sleep(60)
        assert (owner(stage), removed(stage)) == (("west", "new"), [])
        assert stage.phase(engine, "old", "east") == "healthy"
        await stage.stop(task)

    at_one_place(story)


def test_what_may_stand_in_what_cannot_be_rendered_elsewhere_is_not_removed() -> None:
    """It may have moved there, as far as anybody can tell."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(5)
        moved = stage.files(EAST, WEST, OLD, NEW, old=[OWN], new=[WEB])
        stage.remote.commit({**moved, "apps/new/wide-web.json": b"{"}, whole=True)
        await asyncio.sleep(5)
        assert held(engine, "east", "old") == ["it may have moved to new@west, which fails to render"]
        stage.remote.commit(moved, whole=True)
        await asyncio.sleep(5)
        assert (owner(stage), removed(stage)) == (("west", "new"), [])
        assert stage.phase(engine, "old", "east") == "healthy"
        await stage.stop(task)

    at_one_place(story)


def test_what_was_broken_elsewhere_before_holds_nothing_here() -> None:
    """The commit that lets the object go does not touch it, so nothing can have moved there."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        before = stage.files(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[DB])
        stage.remote.commit({**before, "apps/new/broken.json": b"{"}, whole=True)
        await asyncio.sleep(5)
        after = stage.files(EAST, WEST, OLD, NEW, old=[OWN], new=[DB])
        stage.remote.commit({**after, "apps/new/broken.json": b"{"}, whole=True)
        await asyncio.sleep(5)
        assert (removed(stage), owned(engine, "east")) == (["web"], {"own"})
        await stage.stop(task)

    at_one_place(story)


def test_the_object_of_an_environment_that_nobody_declares_is_taken_over_by_approval() -> None:
    """A document that is lost is no letting go."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB], new=[])
        await asyncio.sleep(5)
        stage.commit(WEST, NEW, new=[WEB])
        await asyncio.sleep(10)
        (reason,) = held(engine, "west", "new")
        assert reason.endswith("it cannot be told whether that lets it go: environment east is no longer declared")
        plan = engine.current().world.live[Key("west", "new")].plan
        assert plan is not None
        await Commands(engine).approve("new", "west", plan.hash, "ada")
        await asyncio.sleep(10)
        assert (owner(stage), removed(stage)) == (("west", "new"), [])
        assert owned(engine, "east") == set()
        await stage.stop(task)

    at_one_place(story)


def test_an_entry_that_a_crash_left_behind_removes_nothing() -> None:
    """It came between the new owner's record and the old one's: both say that they have it, and the object says whose it is."""

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(5)
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[WEB, DB])
        await asyncio.sleep(5)
        await stage.stop(task)
        stage.store._entries["east", WEB.identity] = entry(
            WEB, application="old", environment="east", uid=stage.there("east")["web"][0]
        )
        engine, task = stage.start("b")
        await asyncio.sleep(30)
        assert (owned(engine, "east"), owned(engine, "west")) == ({"own"}, {"web", "db"})
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[DB])
        await asyncio.sleep(5)
        assert [(one.environment, one.application) for one in stage.targets.world.journal if one.verb == "removed"] == [
            ("west", "new")
        ]
        await stage.stop(task)

    at_one_place(story)


def test_one_name_in_two_namespaces_is_two_objects() -> None:
    """What Git gives no namespace is in one of each Environment's own: the one that moves is removed here and made there."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[DB])
        await asyncio.sleep(5)
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB], new=[DB, OWN])
        await asyncio.sleep(5)
        assert removed(stage) == ["own"]
        assert (owned(engine, "east"), owned(engine, "west")) == ({"web"}, {"db", "own"})
        await stage.stop(task)

    at_one_place(story)


def test_between_two_places_nothing_can_be_handed_over() -> None:
    """It is made there and removed here, neither waiting for the other."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(5)
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[WEB])
        await asyncio.sleep(5)
        assert removed(stage) == ["web"]
        assert (owned(engine, "east"), owned(engine, "west")) == ({"own"}, {"web"})
        await stage.stop(task)

    at_one_place(story, east="one", west="another")


def test_what_two_let_go_is_removed_when_the_second_one_does() -> None:
    """By the one that has it, also where the other was only held for it, in the same Environment: not when it is looked at by the clock."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        documents = (EAST, OLD, app("new", "east"))
        stage.commit(*documents, old=[WEB, OWN], new=[DB])
        await asyncio.sleep(5)
        await Commands(engine).suspend("new", "east", "hands off", None, "ada")
        stage.commit(*documents, old=[OWN], new=[DB, WEB])
        await asyncio.sleep(5)
        assert removed(stage) == []
        stage.commit(*documents, old=[OWN], new=[DB])
        await asyncio.sleep(5)
        assert removed(stage) == ["web"]
        await stage.stop(task)

    at_one_place(story)


def test_two_environments_never_act_on_one_object_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the one is at it, the other waits, and then plans by what has become of it."""
    spans: list[tuple[float, float, str]] = []
    right = FakeTarget.apply

    async def slow(self: FakeTarget, step: Step, revision: str) -> Outcome:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(5)
        outcome = await right(self, step, revision)
        spans.append((began, asyncio.get_running_loop().time(), f"{step.action} in {self.environment}"))
        return outcome

    async def story(stage: Stage) -> None:
        _, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[])
        await asyncio.sleep(20)
        monkeypatch.setattr(FakeTarget, "apply", slow)
        stage.commit(EAST, WEST, OLD, NEW, old=[manifest("Wide", "web", size=2), OWN], new=[])
        await asyncio.sleep(2)
        stage.commit(EAST, WEST, OLD, NEW, old=[OWN], new=[manifest("Wide", "web", size=3)])
        await asyncio.sleep(60)
        assert [what for _, _, what in spans] == ["update in east", "handover in west"]
        assert spans[0][1] <= spans[1][0]
        assert (owner(stage), removed(stage)) == (("west", "new"), [])
        await stage.stop(task)

    at_one_place(story)


def test_a_change_shows_what_it_would_hand_over() -> None:
    """The plan of the one that takes it has the step, that of the other has nothing; and nothing is changed by looking."""

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[DB])
        await asyncio.sleep(5)
        session, before = engine.current(), list(stage.targets.world.journal)
        contents = {Key("east", "old"): Content("one", (OWN,)), Key("west", "new"): Content("two", (WEB, DB))}
        hands = session.hands.elsewhere(session.world.supposing(session.world.configuration, contents, {}))
        plans = [await hands.inspect(key, content) for key, content in contents.items()]
        assert [isinstance(plan, Plan) and [(str(step.action), step.ref.name) for step in plan.steps] for plan in plans] == [
            [],
            [("handover", "web")],
        ]
        assert stage.targets.world.journal == before
        await stage.stop(task)

    at_one_place(story)


def test_a_branch_that_points_an_environment_elsewhere_is_not_asked_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether that will be the same place is not known before the merge, and its plan says so."""
    asked: list[str] = []
    right = FakeTargets.get

    def get(self: FakeTargets, name: str, environment: Environment | None = None, mandate: Mandate = OWN_RIGHTS) -> FakeTarget:
        asked.append(environment.spec.target["kind"] if environment is not None else "")
        return right(self, name, environment, mandate)

    async def story(stage: Stage) -> None:
        engine, task = stage.start()
        stage.commit(EAST, WEST, OLD, NEW, old=[WEB, OWN], new=[DB])
        await asyncio.sleep(5)
        monkeypatch.setattr(FakeTargets, "get", get)
        world = engine.current().world
        elsewhere = environment("west", kind="elsewhere")
        there = msgspec.structs.replace(world.configuration, environments={**world.configuration.environments, "west": elsewhere})
        contents = {Key("east", "old"): Content("one", (OWN,)), Key("west", "new"): Content("two", (WEB, DB))}
        plan = (
            await engine.current()
            .hands.elsewhere(world.supposing(there, contents, {}))
            .inspect(Key("east", "old"), contents[Key("east", "old")])
        )
        assert isinstance(plan, Plan)
        assert [(hold.approvable, "may be what new@west wants" in hold.reason) for hold in plan.holds] == [(True, True)]
        assert set(asked) == {"memory"}
        await stage.stop(task)

    at_one_place(story)
