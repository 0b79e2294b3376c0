"""A server with a small made-up engine behind it, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from trimtab.core.model import views
from trimtab.core.model.config import Application, Configuration, Environment
from trimtab.core.model.deployment import Phase
from trimtab.core.model.errors import Forbidden, NotFound, Problem, Refused, TransientError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.people import Grant, Group, User
from trimtab.core.model.token import Token
from trimtab.engine.access import Access
from trimtab.engine.people import Directories
from trimtab.engine.world import World
from trimtab.ports.store import Writes
from trimtab.ports.target import LogLine, LogWish
from trimtab.web.app import create_app
from trimtab.web.server import Serving, serve

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOKEN = "let-me-in"
ROWS = [views.ApplicationRow(f"app-{number}", "host", "a" * 40, "synced", HealthStatus.HEALTHY, "") for number in range(5)]
EVENTS = [
    Event("step.applied", NOW, f"step {number}", application="shop" if number % 2 else "cart", id=number)
    for number in range(1, 8)
]


class Engine:
    """Queries and commands at once; it keeps what it was asked. A name such as `refused` makes an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.streaming = 0
        self.ready = True

    def note(self, *call: Any) -> None:
        self.asked.append(call)
        for word in call:
            if word in ERRORS:
                raise ERRORS[word]

    async def status(self, commit: str) -> views.StatusView:
        self.note("status", commit)
        deployment = views.DeploymentView("shop", "host", Phase.HEALTHY, HealthStatus.HEALTHY, NOW, "", None, "", "")
        return views.StatusView(revision=commit, deployments=[deployment], seen=NOW, settled=True)

    async def wait_status(self, commit: str, phase: str, timeout_seconds: float) -> views.StatusView:
        self.note("wait_status", commit, phase, timeout_seconds)
        await asyncio.sleep(timeout_seconds)
        return views.StatusView(revision=commit, deployments=[])

    async def applications(self, environment: str, after: str, limit: int) -> views.ApplicationsView:
        self.note("applications", environment, after, limit)
        later = [row for row in ROWS if row.name > after]
        page = later[: min(limit, 2)]
        return views.ApplicationsView(page, page[-1].name if len(later) > len(page) else "")

    async def application(self, name: str, environment: str, tree: bool) -> views.ApplicationDetails:
        self.note("application", name, environment, tree)
        return views.ApplicationDetails([])

    async def plan(self, name: str, environment: str) -> views.PlanView:
        self.note("plan", name, environment)
        return views.PlanView("sha256:0", [], [], [])

    async def history(self, name: str, environment: str, limit: int) -> views.HistoryView:
        self.note("history", name, environment, limit)
        return views.HistoryView([])

    async def explain(self, name: str, environment: str) -> list[views.ExplainView]:
        self.note("explain", name, environment)
        return [views.ExplainView(name, "host", "all is well", [])]

    async def logs(self, name: str, environment: str, object: str, wish: LogWish) -> AsyncIterator[LogLine]:  # noqa: A002
        self.note("logs", name, environment, object, wish)
        self.streaming += 1
        try:
            if object == "hangs":
                await asyncio.Event().wait()
            for number in range(wish.lines):
                yield LogLine("web.0", f"line {number}", NOW)
            if object == "breaks":
                raise TransientError("the log went away", remedy="Try again")
            if wish.follow:
                await asyncio.Event().wait()
        finally:
            self.streaming -= 1

    async def environments(self) -> views.EnvironmentsView:
        self.note("environments")
        return views.EnvironmentsView([])

    async def environment(self, name: str) -> views.EnvironmentView:
        self.note("environment", name)
        return views.EnvironmentView(name, "host", {}, None, [])

    async def repositories(self) -> views.RepositoriesView:
        self.note("repositories")
        return views.RepositoriesView([])

    async def hosted(self, name: str) -> views.HostedView:
        self.note("hosted", name)
        return views.HostedView(f"hosted:{name}", f"/git/{name}.git", "main", "", 0)

    async def create_repository(self, name: str, default_branch: str, who: str) -> views.HostedView:
        self.note("create_repository", name, default_branch, who)
        return views.HostedView(f"hosted:{name}", f"/git/{name}.git", "main", "", 0)

    async def import_repository(self, name: str, source: str, who: str) -> views.HostedView:
        self.note("import_repository", name, source, who)
        return views.HostedView(f"hosted:{name}", f"/git/{name}.git", "main", "", 0)

    async def delete_repository(self, name: str, who: str) -> views.Accepted:
        self.note("delete_repository", name, who)
        return views.Accepted("ok")

    async def accept(self, repository: str, revision: str, who: str) -> views.Accepted:
        self.note("accept", repository, revision, who)
        return views.Accepted("ok")

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
    ) -> views.EventsView:
        self.note("events", after, before, limit, application, environment, kind, revision, newest_first)
        found = [event for event in EVENTS if event.id > after and (before is None or event.id < before)]
        found = [event for event in found if application in ("", event.application)]
        return views.EventsView((found[::-1] if newest_first else found)[:limit])

    async def follow_events(self, after: int) -> AsyncIterator[Event]:
        self.note("follow_events", after)
        self.streaming += 1
        try:
            for number in range(after + 1, after + 5):
                yield Event("step.applied", NOW, "new", application="shop" if number % 2 else "cart", id=number)
            await asyncio.Event().wait()
        finally:
            self.streaming -= 1

    async def doctor(self) -> views.DoctorView:
        self.note("doctor")
        return views.DoctorView([views.Finding("git", "ok", "it works")])

    async def wake(self, repository: str = "") -> views.Accepted:
        self.note("wake", repository)
        return views.Accepted("Trimtab looks at all repositories now.")

    async def sync(self, name: str, environment: str, who: str) -> views.Accepted:
        self.note("sync", name, environment, who)
        return views.Accepted("ok")

    async def approve(self, name: str, environment: str, hash: str, who: str) -> views.Accepted:  # noqa: A002
        self.note("approve", name, environment, hash, who)
        return views.Accepted("ok")

    async def suspend(self, name: str, environment: str, reason: str, until: datetime | None, who: str) -> views.Accepted:
        self.note("suspend", name, environment, reason, until, who)
        return views.Accepted("ok")

    async def resume(self, name: str, environment: str, who: str) -> views.Accepted:
        self.note("resume", name, environment, who)
        return views.Accepted("ok")

    async def rollback(self, name: str, environment: str, revision: str, who: str) -> views.Accepted:
        self.note("rollback", name, environment, revision, who)
        return views.Accepted("ok")


ERRORS: dict[Any, Exception] = {
    "missing": NotFound("there is no application missing", remedy="`trimtab app list` shows them"),
    "wrong": UserError("it is wrong", problems=[Problem("it is wrong", file="a.yaml", line=3, field="spec", remedy="Mend it")]),
    "forbidden": Forbidden("nobody has granted it", remedy="Ask Ada"),
    "refused": Refused("a rule says no", remedy="Ask Ada"),
    "busy": TransientError("the target does not answer", remedy="Try again"),
    "broken": ZeroDivisionError("the secret is 42"),
}


class House:
    """What `Access` asks of an engine, with a clock that is set by hand. ``told`` is what went on the record."""

    def __init__(self, *documents: Any) -> None:
        self.told: list[Event] = []
        self.stored: dict[str, bytes | None] = {}
        self.at = 0.0
        self.parts = SimpleNamespace(clock=self, chance=self, repository="/srv/shop.git")
        self.journal = SimpleNamespace(write=self._write)
        self.world = World("test")
        self.directories = Directories()
        self.tokens: dict[str, Token] = {}
        self.declare(*documents)
        self.session: Any = self
        self._given = 0

    def declare(self, *documents: Any) -> None:
        def of(kind: type) -> dict[str, Any]:
            return {one.metadata.name: one for one in documents if isinstance(one, kind)}

        self.world.configure(
            Configuration(
                environments=of(Environment), applications=of(Application), users=of(User), groups=of(Group), grants=of(Grant)
            )
        )

    def current(self) -> House:
        return self

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    def token(self) -> str:
        self._given += 1
        return f"{self._given:032x}"

    async def _write(self, writes: Writes) -> None:
        self.told += writes.events
        self.stored |= dict(writes.documents)


def access(house: House | None = None, token: str = TOKEN) -> Access:
    made: Any = house or House()
    return Access(made, operator_token=token)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def server(engine: Engine) -> AsyncIterator[Serving]:
    app = create_app(engine, engine, access=access(), ready=lambda: engine.ready)
    serving = await serve(app, "127.0.0.1:0")
    yield serving
    await serving.close()


@pytest.fixture
def ask(server: Serving) -> Any:
    """`await ask("GET", "/path", …)` → status, headers, body. With the token, unless `token` says otherwise."""

    async def asking(method: str, path: str, *, token: str | None = TOKEN, body: bytes = b"", **headers: str) -> SimpleNamespace:
        return await raw(server.url, method, path, token=token, body=body, **headers)

    return asking


async def raw(url: str, method: str, path: str, *, token: str | None, body: bytes = b"", **headers: str) -> SimpleNamespace:
    """A request written by hand, so that it can be wrong in any way."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    sent = {"Host": f"{host}:{port}", "Connection": "close", "Content-Length": str(len(body))}
    sent |= {"Authorization": f"Bearer {token}"} if token is not None else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = top.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return SimpleNamespace(status=int(status.split()[1]), headers={name.lower(): value for name, value in pairs}, body=content)
