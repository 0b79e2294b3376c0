"""What every target keeps to, whatever is behind it. A module that tests one imports everything from here and gives two fixtures:

`target`      an empty Target of the Environment "host", started
`factory`     `factory(name, change=…)`: a Manifest that the target can carry out and make healthy; another ``change`` gives another
              body under the same name

and, where the installation is not called "test", `installation`, its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import pytest

from trimtab.core.decide.diff import changes
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key, ObjectRef
from trimtab.core.model.observed import Observed, Owner, Scope
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.core.model.tree import CHILDREN_MAX, NO_TREE
from trimtab.engine.looking import freshest
from trimtab.ports.target import LogLine, LogWish, Target

HEALTHY_SECONDS = 15.0
WAKE_SECONDS = 5.0


class Factory(Protocol):
    def __call__(self, name: str, change: str = "a") -> Manifest: ...


def step(manifest: Manifest, action: Action = Action.CREATE, *, application: str = "shop", uid: str = "") -> Step:
    return Step(action, manifest.ref, application, "host", manifest=None if action is Action.REMOVE else manifest, uid=uid)


@pytest.fixture
def installation() -> str:
    return "test"


async def put(target: Target, manifest: Manifest, action: Action = Action.CREATE, *, application: str = "shop") -> Outcome:
    """Preview and apply, as the engine does."""
    await target.preview([manifest])
    there = await look(target, manifest.ref)
    return await target.apply(step(manifest, action, application=application, uid=there.uid if there else ""), "r1")


async def look(target: Target, ref: ObjectRef) -> Observed | None:
    return (await target.observe(Scope("host", (ref,)))).get(ref.identity)


async def differs(target: Target, manifest: Manifest) -> bool:
    """Whether the target would store something else than it does, by the comparison that the engine makes."""
    observed = await target.observe(Scope("host", (manifest.ref,)))
    preview = await target.preview([manifest])
    there = freshest(observed, preview).get(manifest.identity)
    return bool(changes(there.body if there is not None else None, preview.bodies[manifest.identity]))


async def until(check: Callable[[], object], seconds: float) -> None:
    for _ in range(int(seconds / 0.01)):
        if await check():  # type: ignore[misc]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


async def healthy(target: Target, manifest: Manifest) -> Observed:
    async def well() -> bool:
        seen = await look(target, manifest.ref)
        return seen is not None and target.assess(seen, manifest).status == "healthy"

    await until(well, HEALTHY_SECONDS)
    seen = await look(target, manifest.ref)
    assert seen is not None
    return seen


async def test_an_empty_target_has_nothing(target: Target, factory: Factory) -> None:
    """Neither by name nor by owner."""
    assert await look(target, factory("one").ref) is None
    assert await target.observe(Scope("host")) == {}


async def test_a_preview_changes_nothing(target: Target, factory: Factory) -> None:
    """It tells what would be stored, for each manifest."""
    manifests = [factory("one"), factory("two")]
    preview = await target.preview(manifests)
    assert preview.problems == ()
    assert set(preview.bodies) == {manifest.identity for manifest in manifests}
    assert await target.observe(Scope("host")) == {}


async def test_what_is_applied_is_observed_as_previewed(target: Target, factory: Factory, installation: str) -> None:
    """So that a plain comparison is the diff; with its owner, its digest and a uid, and in time healthy."""
    manifest = factory("one")
    assert await differs(target, manifest)
    outcome = await put(target, manifest)
    assert isinstance(outcome, Applied)
    assert outcome.uid
    seen = await healthy(target, manifest)
    assert not await differs(target, manifest)
    assert (seen.uid, seen.owner, seen.digest) == (outcome.uid, Owner(installation, "host", "shop"), manifest.digest)
    assert set(await target.observe(Scope("host"))) == {manifest.identity}


async def test_a_place_is_known_once_it_was_looked_at(target: Target, factory: Factory) -> None:
    """And what an object is called there; the same answers from then on, whatever happens there."""
    await target.observe(Scope("host"))
    one, two = factory("one"), factory("two")
    before = (target.place(), target.called(one.identity))
    assert all(before)
    assert target.called(two.identity) != target.called(one.identity)
    await put(target, one)
    assert (target.place(), target.called(one.identity)) == before


async def test_applying_again_changes_nothing(target: Target, factory: Factory) -> None:
    """The same object, with the same uid: a lost answer may be asked for again."""
    manifest = factory("one")
    await put(target, manifest)
    before = await healthy(target, manifest)
    outcome = await put(target, manifest, Action.UPDATE)
    assert isinstance(outcome, Applied)
    after = await healthy(target, manifest)
    assert (after.uid, after.body, after.owner, after.digest) == (before.uid, before.body, before.owner, before.digest)


async def test_an_update_keeps_the_object(target: Target, factory: Factory) -> None:
    """Another body and digest under the same uid; before, only the new one differs from what is there, and afterwards only the old."""
    old, new = factory("one", "a"), factory("one", "b")
    await put(target, old)
    before = await healthy(target, old)
    assert (await differs(target, old), await differs(target, new)) == (False, True)
    await put(target, new, Action.UPDATE)
    after = await healthy(target, new)
    assert (await differs(target, old), await differs(target, new)) == (True, False)
    assert after.uid == before.uid
    assert after.digest == factory("one", "b").digest


async def test_a_run_makes_the_object_anew_and_only_once(target: Target, factory: Factory) -> None:
    """In the place of the one that an earlier run has left; when the answer was lost, the object is found by its digest."""
    first, second = factory("one"), factory("one", change="b")
    before = await target.apply(step(first, Action.RUN), "r1")
    assert isinstance(before, Applied)
    await healthy(target, first)
    made = await target.apply(step(second, Action.RUN, uid=before.uid), "r2")
    assert isinstance(made, Applied)
    assert made.uid != before.uid
    seen = await healthy(target, second)
    assert (seen.uid, seen.digest) == (made.uid, second.digest)
    again = await target.apply(step(second, Action.RUN, uid=before.uid), "r2")
    assert again == made
    assert await target.apply(step(second, Action.RUN, uid=made.uid), "r2") == made


async def test_a_handover_changes_the_owner_alone(target: Target, factory: Factory, installation: str) -> None:
    """The object itself stays."""
    manifest = factory("one")
    await put(target, manifest)
    before = await healthy(target, manifest)
    await put(target, manifest, Action.HANDOVER, application="other")
    after = await healthy(target, manifest)
    assert after.owner == Owner(installation, "host", "other")
    assert (after.uid, after.body) == (before.uid, before.body)
    assert not await differs(target, manifest)


async def test_what_is_removed_is_gone(target: Target, factory: Factory) -> None:
    """And others are still there."""
    await put(target, factory("one"))
    await put(target, factory("two"))
    seen = await healthy(target, factory("one"))
    assert isinstance(await target.remove(step(factory("one"), Action.REMOVE, uid=seen.uid)), Applied)
    assert await look(target, factory("one").ref) is None
    assert set(await target.observe(Scope("host"))) == {factory("two").identity}


async def test_removing_what_is_gone_is_done(target: Target, factory: Factory) -> None:
    """A lost answer may be asked for again."""
    await put(target, factory("one"))
    seen = await healthy(target, factory("one"))
    for _ in range(2):
        assert isinstance(await target.remove(step(factory("one"), Action.REMOVE, uid=seen.uid)), Applied)


async def test_an_object_of_another_uid_is_not_removed(target: Target, factory: Factory) -> None:
    """What came later under the same name is not what was meant."""
    await put(target, factory("one"))
    before = await healthy(target, factory("one"))
    await target.remove(step(factory("one"), Action.REMOVE, uid=before.uid))
    await put(target, factory("one"))
    after = await healthy(target, factory("one"))
    assert after.uid != before.uid
    assert isinstance(await target.remove(step(factory("one"), Action.REMOVE, uid=before.uid)), Failed)
    assert await look(target, factory("one").ref) is not None


async def test_only_what_was_asked_for_is_observed(target: Target, factory: Factory) -> None:
    """A scope of refs leaves out what is not named."""
    for name in ("one", "two"):
        await put(target, factory(name))
    assert set(await target.observe(Scope("host", (factory("two").ref,)))) == {factory("two").identity}
    assert await target.observe(Scope("host", ())) == {}


async def test_a_watch_tells_where_to_look(target: Target, factory: Factory) -> None:
    """The Key of the application when its object gets well or changes; nothing of what happened."""
    watch = target.watch()
    key = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.02)
    await put(target, factory("one"))
    assert await asyncio.wait_for(key, WAKE_SECONDS) == Key("host", "shop")
    await watch.aclose()


async def test_several_acts_at_once(target: Target, factory: Factory) -> None:
    """Each object gets its own outcome."""
    manifests = [factory(f"n{number}") for number in range(4)]
    await target.preview(manifests)
    outcomes = await asyncio.gather(*(target.apply(step(manifest), "r1") for manifest in manifests))
    assert [outcome.ref for outcome in outcomes] == [manifest.ref for manifest in manifests]
    assert all(isinstance(outcome, Applied) for outcome in outcomes)
    await asyncio.gather(*(healthy(target, manifest) for manifest in manifests))


async def test_logs_end_when_they_are_not_followed(target: Target, factory: Factory) -> None:
    """A list of lines, possibly empty; also for what is not there."""
    await put(target, factory("one"))
    for ref in (factory("one").ref, factory("none").ref):
        lines = [line async for line in target.logs(ref, LogWish(5, follow=False))]
        assert all(isinstance(line, LogLine) for line in lines)
        assert len(lines) <= 5


async def test_what_a_target_can_do_is_told_sorted_and_does_not_change_by_itself(target: Target) -> None:
    abilities = await target.capabilities()
    assert list(abilities) == sorted(set(abilities))
    assert await target.capabilities() == abilities


async def test_it_says_where_an_object_would_be(target: Target, factory: Factory) -> None:
    """For every kind that it knows, before anything is there, so that limits can be judged by it."""
    wanted = factory("one")
    assert (await target.locate([wanted])).keys() == {wanted.identity}
    assert await look(target, wanted.ref) is None


async def test_what_is_checked_is_told_as_findings_and_changes_nothing(target: Target, factory: Factory) -> None:
    """Each has a state that people know, and what is failed has a remedy."""
    wanted = factory("one")
    for found in await target.check([wanted.ref]):
        assert found.check
        assert found.message
        assert found.state in ("ok", "warning", "failed")
        assert found.remedy or found.state != "failed"
    assert await look(target, wanted.ref) is None


async def test_what_stands_behind_an_object_is_told_and_nothing_behind_what_is_not_there(
    target: Target, factory: Factory
) -> None:
    """Each child has a kind and a name of its own; a second look tells the same ones."""
    assert await target.children(factory("none").ref) == NO_TREE
    await put(target, factory("one"))
    await healthy(target, factory("one"))
    first, second = [await target.children(factory("one").ref) for _ in range(2)]
    assert [child.object for child in first.children] == [child.object for child in second.children]
    assert all(child.object.kind and child.object.name for child in first.children)
    assert len(first.children) <= CHILDREN_MAX


__all__ = [name for name in dir() if name.startswith("test_")] + ["Factory", "installation", "pytest"]
