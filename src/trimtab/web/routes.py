"""The table of what the API offers: method, path, parameters, answer, and what is asked of the engine for it.

`app.py` makes routes of it, and a test holds docs/reference/api.md against it. An ``answer`` in a list of one is a list of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any

from trimtab.core.model import views
from trimtab.core.model.event import Event
from trimtab.core.model.rights import Action, Principal, TokenScope
from trimtab.ports.target import LogLine, LogWish

from . import parameters as p
from .changeroutes import CHANGE_ROUTES
from .needs import everything, of_application, of_environment, of_hosted, of_repository, oneself, only_shown
from .table import API, Engine, Route


def _status(engine: Engine, q: p.Status) -> Awaitable[views.StatusView]:
    if q.wait:
        return engine.queries.wait_status(q.commit, q.wait, q.timeout)
    return engine.queries.status(q.commit)


def _events(engine: Engine, q: p.Events) -> Awaitable[views.EventsView]:
    return engine.queries.events(q.after, q.before, q.limit, q.application, q.environment, q.kind, q.revision, q.newest_first)


async def _follow_events(engine: Engine, q: p.Events) -> AsyncIterator[Event]:
    wanted = {"application": q.application, "environment": q.environment, "kind": q.kind, "revision": q.revision}
    source: Any = engine.queries.follow_events(q.after)
    async with aclosing(source):
        async for event in source:
            if all(value in ("", getattr(event, name)) for name, value in wanted.items()):
                yield event


def _logs(engine: Engine, q: p.Logs) -> AsyncIterator[LogLine]:
    wish = LogWish(q.lines, q.follow, q.container, q.previous, q.since_seconds)
    return engine.queries.logs(q.name, q.environment, q.object, wish)


def _create_token(engine: Engine, q: p.NewToken, who: Principal) -> Awaitable[views.NewTokenView]:
    scope = TokenScope(q.actions, q.projects, q.environments, q.repositories)
    return engine.access.create_token(who, user=q.user, days=q.days, description=q.description, scope=scope, who=q.who)


APPLICATION = f"{API}/applications/{{name}}"

ROUTES: tuple[Route, ...] = (
    Route("GET", f"{API}/status", p.Status, views.StatusView, only_shown, _status),
    Route(
        "GET",
        f"{API}/applications",
        p.Applications,
        views.ApplicationsView,
        only_shown,
        lambda e, q: e.queries.applications(q.environment, q.after, q.limit),
    ),
    Route(
        "GET",
        APPLICATION,
        p.Details,
        views.ApplicationDetails,
        of_application(Action.READ),
        lambda e, q: e.queries.application(q.name, q.environment, q.tree),
    ),
    Route(
        "GET",
        f"{APPLICATION}/plan",
        p.Application,
        views.PlanView,
        of_application(Action.READ),
        lambda e, q: e.queries.plan(q.name, q.environment),
    ),
    Route(
        "GET",
        f"{APPLICATION}/history",
        p.History,
        views.HistoryView,
        of_application(Action.READ),
        lambda e, q: e.queries.history(q.name, q.environment, q.limit),
    ),
    Route(
        "GET",
        f"{APPLICATION}/explain",
        p.Application,
        [views.ExplainView],
        of_application(Action.READ),
        lambda e, q: e.queries.explain(q.name, q.environment),
    ),
    Route("GET", f"{APPLICATION}/logs", p.Logs, LogLine, of_application(Action.READ), lines=_logs),
    Route(
        "POST",
        f"{APPLICATION}/sync",
        p.Act,
        views.Accepted,
        of_application(Action.DEPLOY),
        lambda e, q: e.commands.sync(q.name, q.environment, q.who),
    ),
    Route(
        "POST",
        f"{APPLICATION}/approve",
        p.Approve,
        views.Accepted,
        of_application(Action.DEPLOY),
        lambda e, q: e.commands.approve(q.name, q.environment, q.hash, q.who),
    ),
    Route(
        "POST",
        f"{APPLICATION}/suspend",
        p.Suspend,
        views.Accepted,
        of_application(Action.DEPLOY),
        lambda e, q: e.commands.suspend(q.name, q.environment, q.reason, q.until, q.who),
    ),
    Route(
        "POST",
        f"{APPLICATION}/resume",
        p.Act,
        views.Accepted,
        of_application(Action.DEPLOY),
        lambda e, q: e.commands.resume(q.name, q.environment, q.who),
    ),
    Route(
        "POST",
        f"{APPLICATION}/rollback",
        p.Rollback,
        views.Accepted,
        of_application(Action.DEPLOY),
        lambda e, q: e.commands.rollback(q.name, q.environment, q.revision, q.who),
    ),
    Route("GET", f"{API}/environments", p.Nothing, views.EnvironmentsView, only_shown, lambda e, q: e.queries.environments()),
    Route(
        "GET",
        f"{API}/environments/{{name}}",
        p.Environment,
        views.EnvironmentView,
        of_environment(Action.READ),
        lambda e, q: e.queries.environment(q.name),
    ),
    Route("GET", f"{API}/repositories", p.Nothing, views.RepositoriesView, only_shown, lambda e, q: e.queries.repositories()),
    Route(
        "GET",
        f"{API}/repositories/hosted",
        p.Hosted,
        views.HostedView,
        of_hosted(Action.READ),
        lambda e, q: e.queries.hosted(q.name),
    ),
    Route(
        "POST",
        f"{API}/repositories/create",
        p.Create,
        views.HostedView,
        everything(Action.ADMINISTER),
        lambda e, q: e.commands.create_repository(q.name, q.default_branch, q.who),
    ),
    Route(
        "POST",
        f"{API}/repositories/import",
        p.Import,
        views.HostedView,
        everything(Action.ADMINISTER),
        lambda e, q: e.commands.import_repository(q.name, q.source, q.who),
    ),
    Route(
        "POST",
        f"{API}/repositories/delete",
        p.Hosted,
        views.Accepted,
        everything(Action.ADMINISTER),
        lambda e, q: e.commands.delete_repository(q.name, q.who),
    ),
    Route(
        "POST",
        f"{API}/repositories/accept",
        p.Accept,
        views.Accepted,
        of_repository(Action.ADMINISTER),
        lambda e, q: e.commands.accept(q.repository, q.revision, q.who),
    ),
    Route("GET", f"{API}/events", p.Events, views.EventsView, only_shown, _events, _follow_events),
    Route("POST", f"{API}/wake", p.Wake, views.Accepted, of_repository(Action.READ), lambda e, q: e.commands.wake(q.repository)),
    Route("GET", f"{API}/doctor", p.Nothing, views.DoctorView, everything(Action.READ), lambda e, q: e.queries.doctor()),
    Route("GET", f"{API}/whoami", p.Nothing, views.WhoView, oneself, as_principal=lambda e, q, who: e.access.whoami(who)),
    Route("GET", f"{API}/tokens", p.Nothing, views.TokensView, oneself, as_principal=lambda e, q, who: e.access.list_tokens(who)),
    Route("POST", f"{API}/tokens", p.NewToken, views.NewTokenView, oneself, as_principal=_create_token),
    Route(
        "POST",
        f"{API}/tokens/revoke",
        p.RevokeToken,
        views.TokenView,
        oneself,
        as_principal=lambda e, q, who: e.access.revoke_token(who, q.id, q.who),
    ),
    *CHANGE_ROUTES,
)
