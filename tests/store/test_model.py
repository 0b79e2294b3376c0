"""A random walk: the store on disk and the one in memory stay equal, whatever is called in whatever order."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.errors import Refused
from trimtab.core.model.event import Event
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Key, ObjectRef, Revision
from trimtab.ports.store import Seen, Store, Writes
from trimtab.store import SqlStore
from trimtab.testing.store import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
names = st.sampled_from(["", "a", "b", "ü"])
times = st.integers(0, 50).map(lambda seconds: START + timedelta(seconds=seconds))
sequences = st.integers(0, 9)
refs = st.builds(ObjectRef, st.sampled_from(["v1", "g/v1", "g/v2"]), st.just("Process"), names, names)
events = st.builds(
    Event,
    kind=st.sampled_from(["step.applied", "drift.healed"]),
    time=times,
    message=st.text(max_size=5),
    application=names,
    environment=names,
    revision=names,
    data=st.dictionaries(st.text(max_size=2), st.none() | st.integers() | st.lists(st.booleans()), max_size=2),
)
deployments = st.builds(
    Deployment,
    application=names,
    environment=names,
    revision=names,
    sequence=sequences,
    phase=st.sampled_from(Phase),
    health=st.sampled_from(HealthStatus),
    since=times,
    started=times,
    object=st.none() | refs,
)
entries = st.builds(
    Entry, environment=names, application=names, ref=refs, digest=names, wave=st.integers(-3, 3), state=st.just("applied")
)
several_writes = st.lists(
    st.builds(
        Writes,
        events=st.lists(events, max_size=2).map(tuple),
        deployments=st.lists(deployments, max_size=2).map(tuple),
        entries=st.lists(entries, max_size=2).map(tuple),
        dropped=st.lists(st.tuples(names, refs), max_size=2).map(tuple),
        documents=st.lists(st.tuples(names, st.none() | st.binary(max_size=3)), max_size=2).map(tuple),
        seen=st.lists(st.builds(Seen, sequences, names, names.map(Revision), times), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=3,
)


@cache
def template() -> Path:
    """An empty database, made once, as migrating each anew would be most of the time."""
    folder = Path(tempfile.mkdtemp(prefix="trimtab-store-"))
    atexit.register(shutil.rmtree, folder)
    asyncio.run(SqlStore.open(folder / "trimtab.db").close())
    return folder / "trimtab.db"


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="trimtab-store-"))
        self.runner = asyncio.Runner()
        shutil.copy(template(), self.folder / "trimtab.db")
        self.real: Store = SqlStore.open(self.folder / "trimtab.db")
        self.fake: Store = MemoryStore()
        self.epoch = 0

    def same(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call it on both; the answers, or the refusals, are the same."""
        real, fake = (self.outcome(getattr(store, method)(*args, **kwargs)) for store in (self.real, self.fake))
        assert real == fake
        return real

    def outcome(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self.runner.run(call)
        except Refused:
            return "refused"

    @rule(writes=several_writes, stale=st.integers(0, 5).map(lambda number: number == 0))
    def write(self, writes: list[Writes], stale: bool) -> None:
        epoch = self.epoch - stale

        async def all_at_once(store: Store) -> list[Any]:
            return await asyncio.gather(*(store.write(one, epoch=epoch) for one in writes), return_exceptions=True)

        real, fake = (self.runner.run(all_at_once(store)) for store in (self.real, self.fake))
        assert [kind(answer) for answer in real] == [kind(answer) for answer in fake]

    @rule(holder=st.sampled_from(["me", "you"]), now=times, seconds=st.integers(1, 20))
    def lease(self, holder: str, now: datetime, seconds: int) -> None:
        self.epoch = self.same("lease", holder, now=now, seconds=seconds).epoch

    @rule(holder=st.sampled_from(["me", "you"]))
    def release(self, holder: str) -> None:
        self.same("release", holder)

    @rule(
        after=sequences,
        before=st.none() | sequences,
        limit=st.integers(0, 5),
        application=names,
        environment=names,
        newest_first=st.booleans(),
        kind=st.sampled_from(["", "drift.healed"]),
    )
    def events(self, **query: Any) -> None:
        self.same("events", **query)

    @rule(key=st.none() | st.builds(Key, names, names), sequence_max=st.none() | sequences, limit=st.integers(0, 5))
    def deployments(self, **query: Any) -> None:
        self.same("deployments", **query)

    @rule(repository=names, revision=st.none() | names, before=st.none() | sequences, limit=st.integers(0, 5))
    def seen(self, **query: Any) -> None:
        self.same("seen", **query)

    @rule(events_before=times, deployments_keep=st.integers(0, 3))
    def prune(self, **what: Any) -> None:
        self.same("prune", **what)

    @rule()
    def restart(self) -> None:
        """Closing and opening again loses nothing."""
        self.runner.run(self.real.close())
        self.real = SqlStore.open(self.folder / "trimtab.db")

    @invariant()
    def equal(self) -> None:
        self.same("in_force", 5)
        self.same("load")

    def teardown(self) -> None:
        self.runner.run(self.real.close())
        self.runner.close()
        shutil.rmtree(self.folder)


def kind(answer: Any) -> Any:
    return type(answer) if isinstance(answer, BaseException) else answer


Stores.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestStores = Stores.TestCase
