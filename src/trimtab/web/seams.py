"""What the API asks of the engine. Everything may raise NotFound, UserError, Refused or TransientError (`errors.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from trimtab.core.model.event import Event
from trimtab.core.model.rights import Principal, Resource, TokenScope
from trimtab.core.model.views import (
    Accepted,
    ApplicationDetails,
    ApplicationsView,
    DoctorView,
    EnvironmentsView,
    EnvironmentView,
    EventsView,
    ExplainView,
    HistoryView,
    HostedView,
    NewTokenView,
    PlanView,
    RepositoriesView,
    StatusView,
    TokensView,
    TokenView,
    WhoView,
)
from trimtab.ports.people import People
from trimtab.ports.target import LogLine, LogWish


class Queries(Protocol):
    """Reading. An ``environment`` of "" means all of them, or the only one."""

    async def status(self, commit: str) -> StatusView: ...

    async def wait_status(self, commit: str, phase: str, timeout_seconds: float) -> StatusView:
        """The status once ``phase`` is reached or can no longer be reached, or as it is when the time is over."""
        ...

    async def applications(self, environment: str, after: str, limit: int) -> ApplicationsView: ...

    async def application(self, name: str, environment: str, tree: bool) -> ApplicationDetails: ...

    async def plan(self, name: str, environment: str) -> PlanView: ...

    async def history(self, name: str, environment: str, limit: int) -> HistoryView: ...

    async def explain(self, name: str, environment: str) -> list[ExplainView]: ...

    # The name of the parameter is that of the API.
    def logs(self, name: str, environment: str, object: str, wish: LogWish) -> AsyncIterator[LogLine]: ...  # noqa: A002

    async def environments(self) -> EnvironmentsView: ...

    async def environment(self, name: str) -> EnvironmentView: ...

    async def repositories(self) -> RepositoriesView: ...

    async def hosted(self, name: str) -> HostedView: ...

    async def events(
        self,
        after: int,
        before: int | None,
        limit: int,
        application: str,
        environment: str,
        kind: str,
        revision: str,
        newest_first: bool,
    ) -> EventsView: ...

    def follow_events(self, after: int) -> AsyncIterator[Event]: ...

    async def doctor(self) -> DoctorView: ...


class Commands(Protocol):
    """Acting. Each returns once it is taken, not once it is done."""

    async def wake(self, repository: str = "") -> Accepted: ...

    async def sync(self, name: str, environment: str, who: str) -> Accepted: ...

    async def approve(self, name: str, environment: str, hash: str, who: str) -> Accepted: ...  # noqa: A002

    async def suspend(self, name: str, environment: str, reason: str, until: datetime | None, who: str) -> Accepted: ...

    async def resume(self, name: str, environment: str, who: str) -> Accepted: ...

    async def rollback(self, name: str, environment: str, revision: str, who: str) -> Accepted: ...

    async def create_repository(self, name: str, default_branch: str, who: str) -> HostedView: ...

    async def import_repository(self, name: str, source: str, who: str) -> HostedView: ...

    async def delete_repository(self, name: str, who: str) -> Accepted: ...

    async def accept(self, repository: str, revision: str, who: str) -> Accepted: ...


class Access(People, Protocol):
    """Who is let in, what they may, and their tokens."""

    def resources(self, application: str, environment: str) -> list[Resource]:
        """What an Application is to rights, once for each Environment; never empty."""
        ...

    async def acted(self, principal: Principal, what: str) -> None:
        """Record it when the operator does what nobody is granted."""
        ...

    async def create_token(
        self, by: Principal, *, user: str, days: int, description: str, scope: TokenScope, who: str = ""
    ) -> NewTokenView: ...

    async def revoke_token(self, by: Principal, id: str, who: str = "") -> TokenView: ...  # noqa: A002

    async def list_tokens(self, by: Principal) -> TokensView: ...

    async def whoami(self, principal: Principal) -> WhoView: ...
