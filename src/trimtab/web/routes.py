"""The table of what the API offers: method, path, parameters, answer, and what is asked of the engine for it.

`app.py` makes routes of it, and a test holds docs/reference/api.md against it. An ``answer`` in a list of one is a list of them.
A route with ``lines`` answers with JSON lines: always when it has no ``ask``, otherwise when ``follow`` is asked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from trimtab.core.model import views
from trimtab.core.model.event import Event
from trimtab.ports.target import LogLine

from . import parameters as p
from .seams import Commands, Queries

API = "/api/v1"
ANYBODY = "token"
"""Who acted, when the request does not say: whoever holds the token."""


@dataclass(frozen=True)
class Engine:
    queries: Queries
    commands: Commands


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    parameters: type[p.Nothing]
    answer: type | list[type]
    ask: Callable[[Engine, Any], Awaitable[Any]] | None = None
    lines: Callable[[Engine, Any], AsyncIterator[Any]] | None = None


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
    return engine.queries.logs(q.name, q.environment, q.object, q.lines, q.follow)


APPLICATION = f"{API}/applications/{{name}}"

ROUTES: tuple[Route, ...] = (
    Route("GET", f"{API}/status", p.Status, views.StatusView, _status),
    Route(
        "GET",
        f"{API}/applications",
        p.Applications,
        views.ApplicationsView,
        lambda e, q: e.queries.applications(q.environment, q.after, q.limit),
    ),
    Route("GET", APPLICATION, p.Application, views.ApplicationDetails, lambda e, q: e.queries.application(q.name, q.environment)),
    Route("GET", f"{APPLICATION}/plan", p.Application, views.PlanView, lambda e, q: e.queries.plan(q.name, q.environment)),
    Route(
        "GET",
        f"{APPLICATION}/history",
        p.History,
        views.HistoryView,
        lambda e, q: e.queries.history(q.name, q.environment, q.limit),
    ),
    Route(
        "GET",
        f"{APPLICATION}/explain",
        p.Application,
        [views.ExplainView],
        lambda e, q: e.queries.explain(q.name, q.environment),
    ),
    Route("GET", f"{APPLICATION}/logs", p.Logs, LogLine, lines=_logs),
    Route(
        "POST",
        f"{APPLICATION}/sync",
        p.Act,
        views.Accepted,
        lambda e, q: e.commands.sync(q.name, q.environment, q.who or ANYBODY),
    ),
    Route(
        "POST",
        f"{APPLICATION}/approve",
        p.Approve,
        views.Accepted,
        lambda e, q: e.commands.approve(q.name, q.environment, q.hash, q.who or ANYBODY),
    ),
    Route(
        "POST",
        f"{APPLICATION}/suspend",
        p.Suspend,
        views.Accepted,
        lambda e, q: e.commands.suspend(q.name, q.environment, q.reason, q.until, q.who or ANYBODY),
    ),
    Route(
        "POST",
        f"{APPLICATION}/resume",
        p.Act,
        views.Accepted,
        lambda e, q: e.commands.resume(q.name, q.environment, q.who or ANYBODY),
    ),
    Route(
        "POST",
        f"{APPLICATION}/rollback",
        p.Rollback,
        views.Accepted,
        lambda e, q: e.commands.rollback(q.name, q.environment, q.revision, q.who or ANYBODY),
    ),
    Route("GET", f"{API}/environments", p.Nothing, views.EnvironmentsView, lambda e, q: e.queries.environments()),
    Route(
        "GET", f"{API}/environments/{{name}}", p.Environment, views.EnvironmentView, lambda e, q: e.queries.environment(q.name)
    ),
    Route("GET", f"{API}/repositories", p.Nothing, views.RepositoriesView, lambda e, q: e.queries.repositories()),
    Route(
        "POST",
        f"{API}/repositories/accept",
        p.Accept,
        views.Accepted,
        lambda e, q: e.commands.accept(q.repository, q.revision, q.who or ANYBODY),
    ),
    Route("GET", f"{API}/events", p.Events, views.EventsView, _events, _follow_events),
    Route("POST", f"{API}/wake", p.Wake, views.Accepted, lambda e, q: e.commands.wake(q.repository)),
    Route("GET", f"{API}/doctor", p.Nothing, views.DoctorView, lambda e, q: e.queries.doctor()),
)
