"""The one door to the store, and the notes on commits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.errors import TransientError
from trimtab.core.model.event import Event
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import Revision
from trimtab.engine import journal as journals
from trimtab.engine.journal import Journal
from trimtab.engine.notes import GATHER_SECONDS, GATHER_SECONDS_MAX, RETRY_SECONDS, Notes
from trimtab.ports.store import Writes
from trimtab.testing.faults import Fault, Faults
from trimtab.testing.git import URL, FakeRemotes, FakeRepositories
from trimtab.testing.store import MemoryStore
from trimtab.testing.time import VirtualClock, run

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def told(number: int) -> Writes:
    return Writes(events=(Event("server.started", NOW, str(number)),))


async def leading(faults: Faults | None = None) -> Journal:
    store = MemoryStore(hook=faults.point if faults else None)
    made = Journal(store)
    made.epoch = (await store.lease("a", now=NOW, seconds=10)).epoch
    return made


async def test_what_was_stored_is_heard_with_its_number() -> None:
    """By hooks and by listeners, in the order of the record."""
    made, heard = await leading(), []
    made.on_event(heard.append)
    feed = made.follow()
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await made.write(told(1))
    await made.write(told(2))
    assert [event.id for event in heard] == [1, 2]
    assert (await first).message == "1"
    assert (await anext(feed)).message == "2"
    await feed.aclose()  # type: ignore[attr-defined]


async def test_what_was_not_stored_is_not_heard() -> None:
    """The trouble is remembered until a write succeeds."""
    faults = Faults.none()
    faults.plan("store.write:before", Fault.FAILED)
    made, heard = await leading(faults), []
    made.on_event(heard.append)
    with pytest.raises(TransientError):
        await made.write(told(1))
    assert (heard, bool(made.problem)) == ([], True)
    await made.write(told(2))
    assert (len(heard), made.problem) == (1, "")


async def test_a_listener_that_does_not_keep_up_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it, and nothing grows without bound."""
    monkeypatch.setattr(journals, "FEED_EVENTS_MAX", 2)
    made = await leading()
    feed = made.follow()
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    for number in range(4):
        await made.write(told(number))
    assert (await first).message == "2"
    await feed.aclose()  # type: ignore[attr-defined]


def test_a_note_that_cannot_be_written_is_written_later_and_only_once() -> None:
    """A repository that fails delays notes and nothing else; equal lines are one line."""

    async def main(clock: VirtualClock) -> None:
        faults = Faults.none()
        remotes = FakeRemotes(faults)
        revision = remotes.get().commit({"README": b""})
        repositories = FakeRepositories(remotes)
        await repositories.fetch(URL)
        notes = Notes(repositories, clock, MemoryStore())
        task = asyncio.create_task(notes.run())
        row = Deployment("shop", "host", revision, 1, Phase.HEALTHY, HealthStatus.HEALTHY, NOW, NOW)
        faults.plan("git.note:after", Fault.LOST)
        for _ in range(3):
            notes.add(URL, row)
        await asyncio.sleep(2 * RETRY_SECONDS)
        assert len(remotes.get().notes[revision]) == 1
        assert '"phase":"healthy"' in remotes.get().notes[revision][0]
        task.cancel()

    run(main)


@pytest.mark.parametrize(("often", "writes"), [(10, 1), (1_000, 2)], ids=["until they stop", "but not for ever"])
def test_lines_that_keep_coming_are_written_together(often: int, writes: int) -> None:
    """Each write is a push: many Deployments of one commit are noted once they are done, and meanwhile now and then."""

    async def main(clock: VirtualClock) -> None:
        remotes = FakeRemotes(Faults.none())
        revision = remotes.get().commit({"README": b""})
        repositories = FakeRepositories(remotes)
        await repositories.fetch(URL)
        written: list[int] = []
        note = repositories.note

        async def counted(repository: str, of: Revision, lines: tuple[str, ...]) -> None:
            written.append(len(lines))
            await note(repository, of, lines)

        repositories.note = counted  # type: ignore[method-assign]
        notes = Notes(repositories, clock, MemoryStore())
        task = asyncio.create_task(notes.run())
        pause = 1.5 * GATHER_SECONDS_MAX / 1_000 if often > 10 else GATHER_SECONDS / 2
        for number in range(often):
            notes.add(URL, Deployment(f"app-{number}", "host", revision, 1, Phase.HEALTHY, HealthStatus.HEALTHY, NOW, NOW))
            await asyncio.sleep(pause)
        await asyncio.sleep(3 * GATHER_SECONDS)
        assert (len(written), sum(written)) == (writes, often)
        assert len(remotes.get().notes[revision]) == often
        task.cancel()

    run(main)
