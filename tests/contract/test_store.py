"""What every store keeps to: the one on disk and the one in memory give the same answers to the same calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from trimtab.core.decide.trail import broken
from trimtab.core.lifecycle.review import Review, Wish
from trimtab.core.model.change import Approval, Candidate, Change, Comment, EnvironmentPlan, PatchSet, Planned, Stage
from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.errors import Refused
from trimtab.core.model.event import Event
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Key, ObjectRef, Revision
from trimtab.ports.store import Seen, Store, Writes
from trimtab.store import SqlStore
from trimtab.testing.store import MemoryStore

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
REF = ObjectRef("host.trimtab.dev/v1", "Process", "", "web")


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = SqlStore.open(tmp_path / "trimtab.db") if request.param == "sqlite" else MemoryStore()
    await made.lease("me", now=NOW, seconds=30)
    yield made
    await made.close()


def event(kind: str = "step.applied", *, at: int = 0, **fields: object) -> Event:
    return msgspec.structs.replace(Event(kind, NOW + timedelta(seconds=at), "done"), **fields)


def deployment(sequence: int, *, app: str = "shop", env: str = "host", phase: Phase = Phase.HEALTHY) -> Deployment:
    return Deployment(
        application=app,
        environment=env,
        revision=f"{sequence:040x}",
        sequence=sequence,
        phase=phase,
        health=HealthStatus.HEALTHY,
        since=NOW,
        started=NOW,
        object=REF,
        digest="sha256:1",
    )


def entry(name: str = "web", *, version: str = "v1", app: str = "shop", env: str = "host") -> Entry:
    return Entry(env, app, ObjectRef(f"host.trimtab.dev/{version}", "Process", "", name), "sha256:2", -1, "applied", "uid-1", NOW)


def seen(sequence: int, repository: str = "/srv/shop.git", revision: str = "") -> Seen:
    return Seen(sequence, repository, Revision(revision or f"{sequence:040x}"), NOW + timedelta(seconds=sequence))


async def test_a_new_store_is_empty(store: Store) -> None:
    """A new store is empty."""
    loaded = await store.load()
    assert (loaded.entries, loaded.deployments, loaded.documents, loaded.seen, loaded.sequence) == ((), (), {}, (), 0)
    assert await store.events() == []
    assert await store.deployments() == []
    assert await store.in_force(10) == []


async def test_a_write_is_read_back_whole(store: Store) -> None:
    """Everything of one write is read back as it was given."""
    writes = Writes(
        events=(event(data={"a": [1, {"b": None}], "text": "\x00 ü \U0001f600"}, revision="abc"),),
        deployments=(deployment(3),),
        entries=(entry(),),
        documents=(("state/shop@host", b"\x00\xff"),),
        seen=(seen(3),),
    )
    (stored,) = await store.write(writes, epoch=1)
    assert stored == msgspec.structs.replace(writes.events[0], id=stored.id)
    assert stored.id > 0
    assert await store.events() == [stored]
    loaded = await store.load()
    assert loaded.entries == writes.entries
    assert loaded.deployments == writes.deployments
    assert loaded.documents == {"state/shop@host": b"\x00\xff"}
    assert loaded.seen == writes.seen
    assert loaded.sequence == 3


async def test_writing_again_replaces(store: Store) -> None:
    """A Deployment, entry, document or Seen of the same name is replaced, not doubled."""
    await store.write(
        Writes(deployments=(deployment(1),), entries=(entry(),), documents=(("d", b"1"),), seen=(seen(1),)), epoch=1
    )
    again = Writes(
        deployments=(deployment(1, phase=Phase.FAILED),),
        entries=(entry(version="v2", app="other"),),
        documents=(("d", b"2"),),
        seen=(seen(1),),
    )
    await store.write(again, epoch=1)
    loaded = await store.load()
    assert (loaded.entries, loaded.deployments, loaded.documents, loaded.seen) == (
        again.entries,
        again.deployments,
        {"d": b"2"},
        again.seen,
    )


async def test_dropping_and_deleting(store: Store) -> None:
    """An entry is dropped by identity whatever its version; a document by None; what is not there may be dropped too."""
    await store.write(Writes(entries=(entry(), entry("job")), documents=(("d", b"1"), ("e", b""))), epoch=1)
    await store.write(
        Writes(dropped=(("host", entry(version="v9").ref), ("other", entry("job").ref)), documents=(("d", None), ("x", None))),
        epoch=1,
    )
    loaded = await store.load()
    assert loaded.entries == (entry("job"),)
    assert loaded.documents == {"e": b""}


async def test_an_object_dropped_and_put_in_one_write_stays_owned(store: Store) -> None:
    """When one write drops and puts the same object, it stays owned."""
    await store.write(Writes(entries=(entry(app="old"),)), epoch=1)
    await store.write(Writes(entries=(entry(app="new"),), dropped=(("host", REF),)), epoch=1)
    assert (await store.load()).entries == (entry(app="new"),)


async def test_event_ids_ascend(store: Store) -> None:
    """Ids of events ascend in the order of the writes, and an id is never used again, not even after a prune."""
    first = await store.write(Writes(events=(event(), event())), epoch=1)
    second = await store.write(Writes(events=(event(),)), epoch=1)
    ids = [one.id for one in (*first, *second)]
    assert ids == sorted(set(ids))
    await store.prune(events_before=NOW + timedelta(days=1), deployments_keep=10)
    (third,) = await store.write(Writes(events=(event(),)), epoch=1)
    assert third.id > ids[-1]


async def test_events_are_paged_and_filtered(store: Store) -> None:
    """Events come in order, strictly between the bounds, of what was asked for only, from either end."""
    events = await store.write(
        Writes(
            events=(
                event(application="shop", environment="host", revision="a"),
                event(application="shop", environment="prod", revision="b"),
                event("drift.healed", application="cart", environment="host", revision="a"),
                event("server.started"),
            )
        ),
        epoch=1,
    )
    one, two, three, four = events
    assert await store.events(after=one.id, before=four.id) == [two, three]
    assert await store.events(limit=2) == [one, two]
    assert await store.events(limit=2, newest_first=True) == [four, three]
    assert await store.events(limit=1, newest_first=True, before=four.id) == [three]
    assert await store.events(application="shop") == [one, two]
    assert await store.events(application="shop", environment="prod") == [two]
    assert await store.events(environment="host") == [one, three]
    assert await store.events(revision="a", kind="drift.healed") == [three]
    assert await store.events(kind="drift") == []


async def test_load_gives_open_deployments_and_the_last_ended_of_each_key(store: Store) -> None:
    """`load` gives every Deployment that has not ended and, for each Key, the newest that has."""
    kept = (deployment(2, phase=Phase.SUPERSEDED), deployment(3), deployment(4, phase=Phase.HELD), deployment(4, app="cart"))
    await store.write(Writes(deployments=(deployment(1, phase=Phase.REVERTED), *kept)), epoch=1)
    assert set((await store.load()).deployments) == set(kept)


async def test_deployments_newest_first(store: Store) -> None:
    """Deployments come newest first, of one Key or of all, up to a sequence and a number."""
    all_of_them = [deployment(5, app="cart"), deployment(4), deployment(2), deployment(1, env="prod")]
    await store.write(Writes(deployments=tuple(reversed(all_of_them))), epoch=1)
    assert await store.deployments() == all_of_them
    assert await store.deployments(key=Key("host", "shop")) == all_of_them[1:3]
    assert await store.deployments(sequence_max=2) == all_of_them[2:]
    assert await store.deployments(key=Key("host", "shop"), limit=1) == [deployment(4)]
    assert await store.deployments(key=Key("nowhere", "shop")) == []


async def test_what_is_in_force_at_a_sequence(store: Store) -> None:
    """At a sequence, the Deployment of each Key with the highest sequence not above it is in force, ended or not."""
    await store.write(
        Writes(
            deployments=(
                deployment(1, phase=Phase.SUPERSEDED),
                deployment(5),
                deployment(3, app="cart"),
                deployment(4, env="prod"),
            )
        ),
        epoch=1,
    )
    assert await store.in_force(0) == []
    assert await store.in_force(3) == [deployment(3, app="cart"), deployment(1, phase=Phase.SUPERSEDED)]
    assert await store.in_force(5) == [deployment(3, app="cart"), deployment(5), deployment(4, env="prod")]


async def test_what_was_seen(store: Store) -> None:
    """Seen Revisions come newest first, of one repository; a Revision that was seen twice comes twice."""
    twice = "f" * 40
    rows = [seen(1, revision=twice), seen(2), seen(3, "/srv/cart.git"), seen(4, revision=twice)]
    await store.write(Writes(seen=tuple(rows)), epoch=1)
    assert await store.seen(repository="/srv/shop.git") == [rows[3], rows[1], rows[0]]
    assert await store.seen(repository="/srv/shop.git", before=4, limit=1) == [rows[1]]
    assert await store.seen(repository="/srv/shop.git", revision=Revision(twice)) == [rows[3], rows[0]]
    loaded = await store.load()
    assert set(loaded.seen) == {rows[2], rows[3]}
    assert loaded.sequence == 4


async def test_retention(store: Store) -> None:
    """Prune drops older events, and ended Deployments beyond the newest of each Key; what has not ended always stays."""
    await store.write(
        Writes(
            events=(event(at=0), event(at=10), event(at=20)),
            deployments=(
                deployment(1),
                *(deployment(sequence, phase=Phase.SUPERSEDED) for sequence in (2, 3, 4)),
                deployment(2, app="cart", phase=Phase.REVERTED),
            ),
        ),
        epoch=1,
    )
    assert await store.prune(events_before=NOW + timedelta(seconds=10), deployments_keep=2) == 2
    assert [one.time for one in await store.events()] == [NOW + timedelta(seconds=10), NOW + timedelta(seconds=20)]
    assert [one.sequence for one in await store.deployments(key=Key("host", "shop"))] == [4, 3, 1]
    assert len(await store.deployments(key=Key("host", "cart"))) == 1
    assert await store.prune(events_before=NOW, deployments_keep=2) == 0


async def test_the_lease(store: Store) -> None:
    """A Lease is renewed by its holder, refused to another until it is over or given back; the epoch ascends with the holder."""
    renewed = await store.lease("me", now=NOW + timedelta(seconds=10), seconds=30)
    assert (renewed.holder, renewed.epoch, renewed.until) == ("me", 1, NOW + timedelta(seconds=40))
    assert await store.lease("you", now=NOW + timedelta(seconds=39), seconds=30) == renewed
    taken = await store.lease("you", now=NOW + timedelta(seconds=40), seconds=30)
    assert (taken.holder, taken.epoch) == ("you", 2)
    await store.release("me")
    assert (await store.lease("me", now=NOW + timedelta(seconds=41), seconds=30)).holder == "you"
    await store.release("you")
    assert (await store.lease("me", now=NOW + timedelta(seconds=41), seconds=30)).epoch == 3


async def test_a_write_under_an_older_epoch_is_refused(store: Store) -> None:
    """A write under an epoch that is not that of the Lease is refused and stores nothing."""
    await store.lease("you", now=NOW + timedelta(days=1), seconds=30)
    with pytest.raises(Refused):
        await store.write(Writes(events=(event(),)), epoch=1)
    await store.write(Writes(events=(event("server.started"),)), epoch=2)
    await store.release("you")
    with pytest.raises(Refused):
        await store.write(Writes(events=(event(),)), epoch=2)
    assert [one.kind for one in await store.events()] == ["server.started"]


async def test_writes_at_the_same_time(store: Store) -> None:
    """Many callers at once each get their own answer: their events, or their own refusal."""

    async def one(number: int) -> object:
        try:
            return [
                stored.application
                for stored in await store.write(
                    Writes(events=(event(application=f"app-{number}"),)), epoch=1 + (number % 10 == 3)
                )
            ]
        except Refused:
            return "refused"

    answers = await asyncio.gather(*(one(number) for number in range(300)))
    assert answers == ["refused" if number % 10 == 3 else [f"app-{number}"] for number in range(300)]
    assert len(await store.events(limit=1000)) == 270


async def test_later_writes_win_in_the_order_of_their_calls(store: Store) -> None:
    """Of several waiting writes that put and drop the same thing, the last call decides."""
    writes = [
        Writes(entries=(entry(app="a"),), documents=(("d", b"1"),)),
        Writes(dropped=(("host", REF),), documents=(("d", None),)),
        Writes(entries=(entry(app="b"),), documents=(("d", b"2"),)),
        Writes(dropped=(("host", REF),)),
    ]
    await asyncio.gather(*(store.write(one, epoch=1) for one in writes))
    loaded = await store.load()
    assert (loaded.entries, loaded.documents) == ((), {"d": b"2"})


async def test_what_is_stored_cannot_be_changed_afterwards(store: Store) -> None:
    """Changing the data of an event after its write changes nothing on the record."""
    data = {"list": [1]}
    await store.write(Writes(events=(event(data=data),)), epoch=1)
    data["list"].append(2)
    assert (await store.events())[0].data == {"list": [1]}


def review(number: int, *, author: str = "ada", repository: str = "shop", stage: Stage = Stage.OPEN) -> Review:
    head = Revision(f"{number:040x}")
    change = Change(
        number, repository, "main", "more", f"Change {number}", author, (PatchSet(1, head, author, NOW),), NOW, stage=stage
    )
    plan = EnvironmentPlan("production", (Planned("shop", "sha256:1", "sha256:2"),), holds=("too much",))
    approval = Approval("sue", "production", plan.hash, NOW, 1)
    return Review(change, Candidate(head, head, "tree"), (plan,), approvals=(approval,), wish=Wish("ada", NOW, head), looked=NOW)


async def test_reviews_are_read_back_whole_and_only_open_ones_are_loaded(store: Store) -> None:
    merged = review(2, stage=Stage.MERGED)
    await store.write(Writes(reviews=(review(1), merged, review(3))), epoch=1)
    loaded = await store.load()
    assert loaded.reviews == (review(1), review(3))
    assert loaded.change == 3
    assert await store.review(2) == merged
    assert await store.review(4) is None


async def test_a_review_that_is_written_again_replaces(store: Store) -> None:
    await store.write(Writes(reviews=(review(1),)), epoch=1)
    await store.write(Writes(reviews=(review(1, stage=Stage.CLOSED),)), epoch=1)
    assert (await store.load()).reviews == ()
    assert [one.change.stage for one in await store.reviews()] == [Stage.CLOSED]


async def test_changes_are_paged_and_filtered_newest_first(store: Store) -> None:
    rows = (review(1), review(2, author="rob"), review(3, stage=Stage.MERGED), review(4, repository="blog"))
    await store.write(Writes(reviews=rows), epoch=1)

    async def numbers(**asked: object) -> list[int]:
        return [one.change.number for one in await store.reviews(**asked)]  # type: ignore[arg-type]

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(limit=2) == [4, 3]
    assert await numbers(before=3) == [2, 1]
    assert await numbers(stage="open", repository="shop") == [2, 1]
    assert await numbers(author="rob") == [2]


async def test_comments_are_kept_in_their_order(store: Store) -> None:
    one = Comment(1, 1, 1, "sue", NOW, "why?", file="web.yaml", line=3)
    two = Comment(1, 2, 1, "ada", NOW, "because")
    await store.write(Writes(comments=(two, one, Comment(2, 1, 1, "rob", NOW, "elsewhere"))), epoch=1)
    await store.write(Writes(comments=(msgspec.structs.replace(one, resolved=True),)), epoch=1)
    assert await store.comments(1) == [msgspec.structs.replace(one, resolved=True), two]
    assert await store.comments(3) == []


async def test_what_must_stay_provable_is_chained_with_its_event(store: Store) -> None:
    def told(kind: str, message: str) -> Event:
        return Event(kind, NOW, message, environment="production", data={"change": 7, "fields": ("a", "b")})

    first = Writes(events=(told("change.opened", "one"), told("change.approved", "two"), event()))
    await asyncio.gather(store.write(first, epoch=1), store.write(Writes(events=(told("change.merged", "three"),)), epoch=1))
    assert await store.trails() == ["change/7", "environment/production"]
    links = await store.trail("change/7")
    assert sorted(link.message for link in links) == ["one", "three", "two"]
    assert list(broken(links)) == []
    assert await store.trail("change/7", after=1, limit=1) == links[1:2]
    assert await store.trail("change/8") == []
    assert await store.trail_end("change/7") == links[-1]
    assert await store.trail_end("change/8") is None


async def test_retention_leaves_the_trail_alone(store: Store) -> None:
    await store.write(Writes(events=(Event("change.opened", NOW, "old", data={"change": 1}),)), epoch=1)
    await store.prune(events_before=NOW + timedelta(days=1), deployments_keep=0)
    assert len(await store.trail("change/1")) == 1
