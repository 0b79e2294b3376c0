"""The target in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.ports.target import LogWish
from trimtab.testing.factories import body, manifest, ref
from trimtab.testing.faults import Fault, Faults
from trimtab.testing.objects import World
from trimtab.testing.targets import FakeTarget, FakeTargets
from trimtab.testing.time import VirtualClock, run

WEB = manifest("Process", "web", replicas=3)


def step(wanted: Manifest = WEB, action: Action = Action.CREATE, *, application: str = "shop", uid: str = "") -> Step:
    kept = None if action is Action.REMOVE else wanted
    return Step(action, wanted.ref, application, "host", manifest=kept, uid=uid)


async def test_the_same_apply_twice_is_one_mutation() -> None:
    """Applying again what is there already answers the same uid and changes nothing."""
    target = FakeTarget()
    first = await target.apply(step(), "r1")
    again = await target.apply(step(), "r1")
    assert first == again == Applied(WEB.ref, "uid-1")
    assert [(m.verb, m.uid, m.action, m.application) for m in target.world.journal] == [("created", "uid-1", "create", "shop")]
    assert target.calls["apply"] == 2


async def test_an_object_that_comes_back_is_another_one() -> None:
    """A uid is never given twice, so a removal that expects the old one leaves the new one alone."""
    target = FakeTarget()
    await target.apply(step(), "r1")
    assert await target.remove(step(action=Action.REMOVE, uid="uid-1")) == Applied(WEB.ref)
    assert await target.remove(step(action=Action.REMOVE, uid="uid-1")) == Applied(WEB.ref)
    await target.apply(step(), "r1")
    assert isinstance(await target.remove(step(action=Action.REMOVE, uid="uid-1")), Failed)
    assert [m.verb for m in target.world.journal] == ["created", "removed", "created"]


async def test_a_foreign_object_is_seen_only_by_name_and_never_overwritten() -> None:
    """What is nobody's is not in the Scope of everything of ours, and only an adoption may change it."""
    target = FakeTarget()
    target.put_foreign(WEB.ref, body("Process", "web", replicas=1))
    assert await target.observe(Scope("host")) == {}
    found = await target.observe(Scope("host", (WEB.ref, ref("File", "none"))))
    assert [(o.owner, o.digest) for o in found.values()] == [(None, "")]
    assert isinstance(await target.apply(step(), "r1"), Failed)
    assert await target.apply(step(action=Action.ADOPT), "r1") == Applied(WEB.ref, "uid-1")
    assert [(m.verb, m.action) for m in target.world.journal] == [("created", ""), ("updated", "adopt")]


async def test_drift_changes_the_body_and_not_the_digest() -> None:
    """After an edit by hand the object differs, while what was applied last is still known."""
    target = FakeTarget()
    await target.apply(step(), "r1")
    target.drift(WEB.identity, body("Process", "web", replicas=1))
    [found] = (await target.observe(Scope("host"))).values()
    assert found.body["spec"] == {"replicas": 1}
    assert found.digest == WEB.digest
    await target.apply(step(action=Action.UPDATE, uid=found.uid), "r1")
    [found] = (await target.observe(Scope("host"))).values()
    assert found.body == WEB.body


async def test_a_handover_changes_the_owner_and_nothing_else() -> None:
    """The object keeps its uid and its health, and the journal tells whose it was."""
    target = FakeTarget()
    await target.apply(step(), "r1")
    await target.apply(step(action=Action.HANDOVER, application="store"), "r2")
    [found] = (await target.observe(Scope("host"))).values()
    assert found.owner is not None
    assert (found.uid, found.owner.application) == ("uid-1", "store")
    last = target.world.journal[-1]
    assert (last.verb, last.action, last.owner and last.owner.application) == ("updated", "handover", "shop")


async def test_a_replacement_is_a_new_object() -> None:
    """REPLACE of the uid it expects gives a new uid; sent again, it changes nothing."""
    target = FakeTarget()
    await target.apply(step(), "r1")
    other = manifest("Process", "web", replicas=4)
    assert await target.apply(step(other, Action.REPLACE, uid="uid-1"), "r2") == Applied(WEB.ref, "uid-2")
    assert await target.apply(step(other, Action.REPLACE, uid="uid-1"), "r2") == Applied(WEB.ref, "uid-2")


@pytest.mark.parametrize(
    ("spec", "status"),
    [({}, HealthStatus.HEALTHY), ({"never": "ready"}, HealthStatus.PROGRESSING), ({"fails": "boom"}, HealthStatus.DEGRADED)],
)
def test_health_follows_the_spec(spec: dict[str, str], status: HealthStatus) -> None:
    """An object gets healthy after its delay unless its spec says `never` or `fails`; the watch tells when it does."""
    wanted = manifest("Process", "web", **spec)

    async def main(clock: VirtualClock) -> list[HealthStatus]:
        target = FakeTarget("host", World(ready_seconds=(5, 6)))
        seen = []
        await target.apply(step(wanted), "r1")
        for wait in (0, 10):
            await clock.sleep(wait)
            [found] = (await target.observe(Scope("host"))).values()
            seen.append(target.assess(found, wanted).status)
        return seen

    first, later = run(main)
    assert later == status
    assert first == (HealthStatus.PROGRESSING if status == HealthStatus.HEALTHY else status)


async def test_preview_and_apply_refuse_what_the_spec_asks_for() -> None:
    """`invalid` is a problem of the preview with its place, `refuses` a lasting failure of the apply."""
    target = FakeTarget()
    bad = manifest("Process", "web", invalid="no such command", file="a.json", line=7)
    preview = await target.preview([bad, manifest("File", "motd")])
    assert [(p.file, p.line, p.message) for p in preview.problems] == [("a.json", 7, "Process/web: no such command")]
    assert len(preview.bodies) == 2
    outcome = await target.apply(step(manifest("Process", "web", refuses="taken port")), "r1")
    assert isinstance(outcome, Failed)
    assert not outcome.transient
    assert target.world.journal == []


def test_a_lost_answer_is_an_error_although_it_was_done() -> None:
    """`failed` leaves the world alone, `lost` does not."""

    async def main(clock: VirtualClock) -> list[int]:
        faults = Faults.none()
        target = FakeTarget("host", World(faults))
        lengths = []
        for point, fault in (("target.apply:before", Fault.FAILED), ("target.apply:after", Fault.LOST)):
            faults.plan(point, fault)
            with pytest.raises(TransientError):
                await target.apply(step(), "r1")
            lengths.append(len(target.world.journal))
        return lengths

    assert run(main) == [0, 1]


def test_the_watch_tells_keys_once_and_may_miss_some() -> None:
    """A wake carries a Key, several of one Key are one, and faults may drop them."""

    async def main(clock: VirtualClock) -> tuple[list[Key], int]:
        faults = Faults.none()
        target = FakeTarget("host", World(faults))
        told: list[Key] = []
        watcher = asyncio.create_task(_collect(target.watch(), told))
        await clock.sleep(1)
        await target.apply(step(), "r1")
        target.drift(WEB.identity, {})
        await clock.sleep(1)
        faults.plan("target.wake", Fault.DROPPED)
        target.delete(WEB.identity)
        await clock.sleep(1)
        watcher.cancel()
        return told, faults.counts["target.wake dropped"]

    assert run(main) == ([Key("host", "shop")], 1)


async def _collect(keys: AsyncIterator[Key], told: list[Key]) -> None:
    async for key in keys:
        told.append(key)  # noqa: PERF401 - what was told until the watch is cancelled counts


async def test_without_echo_the_watch_is_silent_about_our_own_steps() -> None:
    """`echo=False` is a target that reports only what others do."""
    target = FakeTarget("host", World(echo=False))
    told: list[Key] = []
    watcher = asyncio.create_task(_collect(target.watch(), told))
    await asyncio.sleep(0)
    await target.apply(step(), "r1")
    await asyncio.sleep(0)
    assert told == []
    target.degrade(WEB.identity, "out of memory")
    for _ in range(3):
        await asyncio.sleep(0)
    assert told == [Key("host", "shop")]
    watcher.cancel()


async def test_a_target_that_is_down_answers_nothing() -> None:
    """No method says "absent" while the target cannot know."""
    target = FakeTargets().get("host")
    target.down = True
    with pytest.raises(TransientError, match="does not answer"):
        await target.observe(Scope("host"))
    with pytest.raises(TransientError):
        await target.apply(step(), "r1")


def test_logs_give_the_last_lines_and_follow() -> None:
    """The last lines first, then each new one, also when it says the same as the one before."""

    async def main(clock: VirtualClock) -> list[str]:
        target = FakeTarget()
        for number in range(5):
            target.say(WEB.ref, f"line {number}")
        heard: list[str] = []

        async def listen() -> None:
            async with aclosing(target.logs(WEB.ref, LogWish(2, follow=True))) as lines:  # type: ignore[type-var]
                async for line in lines:
                    heard.append(line.text)  # noqa: PERF401

        listener = asyncio.create_task(listen())
        await clock.sleep(1)
        target.say(WEB.ref, "again")
        target.say(WEB.ref, "again")
        await clock.sleep(1)
        listener.cancel()
        return heard

    assert run(main) == ["line 3", "line 4", "again", "again"]


async def test_a_thousand_applications_are_cheap() -> None:
    """The benchmark's world: 4,000 objects are applied and observed, each once."""
    targets = FakeTargets(World(Faults(random.Random(1))))
    target = targets.get("host")
    for number in range(1_000):
        for kind in ("Process", "File", "Task", "Other"):
            await target.apply(step(manifest(kind, f"n{number}"), application=f"a{number}"), "r1")
    assert len(await target.observe(Scope("host"))) == 4_000
    assert target.calls == {"apply": 4_000, "observe": 1}
