"""What the API asks of the engine. Everything may raise NotFound, UserError, Refused or TransientError (`errors.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from trimtab.core.model.changeviews import (
    ChangeDiffView,
    ChangePlanView,
    ChangesView,
    ChangeView,
    CommentsView,
    TrailsView,
    TrailView,
)
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
from trimtab.ports.people import Asker, People
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

    async def changes(self, repository: str, stage: str, author: str, before: int, limit: int, asker: Asker) -> ChangesView: ...

    async def change(self, number: int, asker: Asker) -> ChangeView: ...

    async def change_comments(self, number: int, asker: Asker) -> CommentsView: ...

    async def change_plan(self, number: int, environment: str, since_approval: bool, asker: Asker) -> ChangePlanView: ...

    async def change_diff(self, number: int, patch_set: int, path: str, asker: Asker) -> ChangeDiffView: ...

    async def trails(self, asker: Asker) -> TrailsView: ...

    async def trail(self, name: str, after: int, limit: int, asker: Asker) -> TrailView: ...


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

    async def create_change(
        self, repository: str, branch: str, target: str, title: str, description: str, draft: bool, asker: Asker
    ) -> ChangeView: ...

    # The name of the parameter is that of the API.
    async def comment(
        self,
        number: int,
        text: str,
        thread: int,
        file: str,
        line: int,
        environment: str,
        object: str,  # noqa: A002
        asker: Asker,
    ) -> CommentsView: ...

    async def resolve_thread(self, number: int, thread: int, resolved: bool, asker: Asker) -> CommentsView: ...

    async def approve_change(self, number: int, environment: str, hash: str, asker: Asker) -> ChangeView: ...  # noqa: A002

    async def unapprove_change(self, number: int, environment: str, asker: Asker) -> ChangeView: ...

    async def merge_change(self, number: int, asker: Asker) -> ChangeView:
        """Once it is known whether it can be merged now, and when it can, once it is."""
        ...

    async def unmerge_change(self, number: int, asker: Asker) -> ChangeView: ...

    async def close_change(self, number: int, reason: str, asker: Asker) -> ChangeView: ...

    async def reopen_change(self, number: int, asker: Asker) -> ChangeView: ...

    async def edit_change(
        self, number: int, title: str, description: str | None, draft: bool | None, asker: Asker
    ) -> ChangeView: ...


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
