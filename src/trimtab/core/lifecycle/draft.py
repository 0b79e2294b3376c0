"""The Decision of a lifecycle as it is being made. Everything in it ends up in one atomic write."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from trimtab.core.model.deployment import Deployment, Phase
from trimtab.core.model.event import Event
from trimtab.core.model.health import UNKNOWN, Health, HealthStatus
from trimtab.core.model.hook import Ending
from trimtab.core.model.inventory import Entry
from trimtab.core.model.names import Key, ObjectRef

from .state import Act, Decision, Reconciliation

BACKOFF_SECONDS_MAX = 300.0


@dataclass
class Draft:
    """For one Key. What is changed here is the next state, what is told the record."""

    key: Key
    state: Reconciliation
    now: datetime
    events: list[Event] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    dropped: list[ObjectRef] = field(default_factory=list)
    ending: Ending | None = None

    @property
    def current(self) -> Deployment:
        assert self.state.current is not None
        return self.state.current

    def change(self, **fields: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)

    def may_try(self) -> bool:
        retry_at = self.state.retry_at
        if retry_at is None or self.now >= retry_at:
            return True
        # The wall clock jumped back: nobody waits longer than the longest back-off.
        return retry_at - self.now > timedelta(seconds=BACKOFF_SECONDS_MAX)

    def tell(self, kind: str, message: str, *, revision: str = "", **data: Any) -> None:
        about = self.state.current or self.state.pending
        revision = revision or (about.revision if about is not None else "")
        self.events.append(Event(kind, self.now, message, self.key.application, self.key.environment, revision, data))

    def pend(self, phase: Phase, revision: str, sequence: int, digest: str, message: str, *, first: bool) -> None:
        current = self.state.current
        since = current.sequence + 1 if first and current is not None else sequence
        pending = Deployment(
            application=self.key.application,
            environment=self.key.environment,
            revision=revision,
            sequence=sequence,
            phase=phase,
            health=HealthStatus.UNKNOWN,
            since=self.now,
            started=self.now,
            message=message,
            digest=digest,
        )
        self.deployments.append(pending)
        self.change(pending=pending, behind=min(self.state.behind or since, since))

    def mark_pending(self, message: str) -> None:
        pending = self.state.pending
        if pending is not None and pending.message != message:
            self.change(pending=msgspec.structs.replace(pending, message=message))
            self.deployments.append(self.state.pending or pending)

    def mark(self, phase: Phase, message: str, health: Health = UNKNOWN, object_: ObjectRef | None = None) -> None:
        """``current`` as it is now; ``since`` moves only with the phase."""
        current = self.current
        marked = msgspec.structs.replace(
            current,
            phase=phase,
            since=self.now if phase != current.phase else current.since,
            health=health.status,
            message=message,
            object=health.object or object_,
            last_log_line=health.last_log_line,
        )
        if marked != current:
            self.change(current=marked)
            self.deployments.append(marked)

    def ended(self, deployment: Deployment, phase: Phase, by: str) -> Deployment:
        return msgspec.structs.replace(deployment, phase=phase, since=self.now, superseded_by=by)

    def decide(self, act: Act) -> Decision:
        newest = {(deployment.sequence): deployment for deployment in self.deployments}
        return Decision(
            state=self.state,
            act=act,
            events=tuple(self.events),
            deployments=tuple(newest.values()),
            entries=tuple(self.entries),
            dropped=tuple(self.dropped),
            ending=self.ending,
        )
