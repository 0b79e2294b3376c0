"""The client of a running server: one request for each question, over TCP or a unix socket, answers as views.

It is found by its data directory, where the server leaves ``server.json`` (``{"url", "pid"}``) and ``token``, or by its address.
The command line imports this at each start, so it uses the standard library and imports that late.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from trimtab.core.model import changeviews, views
from trimtab.core.model.errors import Bug, NotFound, Problem, Refused, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    from trimtab.core.model.trail import Link
    from trimtab.ports.target import LogLine

API = "/api/v1"
ANSWER_SECONDS = 30.0
IMPORT_SECONDS = 900.0
QUIET_SECONDS = 60.0
"""How long a stream may be silent; the server sends an empty line every 15 s."""
ANSWER_BYTES_MAX = 256 * 1024 * 1024
EVENTS_PAGE = 1_000
CREDENTIAL_SECONDS = 10.0

T = TypeVar("T")
START = "Start it: trimtab serve --repository URL|PATH --data DIR"


class _Broken(msgspec.Struct):
    """The last line of a stream that could not go on."""

    error: views.ErrorView
    status: int = 500


class Client:
    """``url`` is ``http://HOST:PORT`` or ``unix:PATH``. Every method may raise NotFound, UserError, Refused or TransientError."""

    def __init__(self, url: str, token: str, *, who: str = "") -> None:
        self.url = url
        self._token = token
        self._who = who

    @classmethod
    def find(
        cls,
        data: str | Path | None = None,
        server: str | None = None,
        environ: Mapping[str, str] | None = None,
        token_file: str | None = None,
    ) -> Client:
        """By ``server``, else by ``data``, else by TRIMTAB_SERVER, else by TRIMTAB_DATA.

        The token stands in ``token_file``, is TRIMTAB_TOKEN, stands in the data directory, or is kept by git's credential helper for that
        address. Raises UserError when there is nothing to find the server by.
        """
        environ = os.environ if environ is None else environ
        if not server and not data:
            server = environ.get("TRIMTAB_SERVER")
        folder = Path(data or environ.get("TRIMTAB_DATA", "")) if data or environ.get("TRIMTAB_DATA") else None
        if not server and folder is None:
            raise UserError(
                "which server? None was named", remedy=f"Give --data DIR or --server URL, or set TRIMTAB_DATA. {START}"
            )
        url = server or _url(folder or Path())
        token = _read(Path(token_file)) if token_file else environ.get("TRIMTAB_TOKEN", "")
        token = token or (_read(folder / "token") if folder is not None else "") or recall(url)
        return cls(url, token.strip(), who=_who())

    def status(self, commit: str = "") -> views.StatusView:
        return self._get(views.StatusView, "/status", commit=commit)

    def wait_status(self, commit: str, phase: str, timeout_seconds: float) -> views.StatusView:
        """The status once ``phase`` is reached or out of reach, or as it is when the time is over."""
        parameters = {"commit": commit, "wait": phase, "timeout": timeout_seconds}
        body = self.call("GET", f"{API}/status", parameters, seconds=timeout_seconds + ANSWER_SECONDS)
        return self._decode(body, views.StatusView)

    def applications(self, environment: str = "") -> views.ApplicationsView:
        """All of them, page after page."""
        rows: list[views.ApplicationRow] = []
        after = ""
        while True:
            page = self._get(views.ApplicationsView, "/applications", environment=environment, after=after, limit=1_000)
            rows += page.applications
            after = page.next
            if not after:
                return views.ApplicationsView(rows)

    def application(self, name: str, environment: str = "", *, tree: bool = False) -> views.ApplicationDetails:
        return self._get(views.ApplicationDetails, _of(name), environment=environment, tree=tree)

    def plan(self, name: str, environment: str = "") -> views.PlanView:
        return self._get(views.PlanView, _of(name, "plan"), environment=environment)

    def history(self, name: str, environment: str = "", limit: int = 100) -> views.HistoryView:
        return self._get(views.HistoryView, _of(name, "history"), environment=environment, limit=limit)

    def explain(self, name: str, environment: str = "") -> list[views.ExplainView]:
        return self._get(list[views.ExplainView], _of(name, "explain"), environment=environment)

    # The name of the parameter is that of the API.
    def logs(
        self,
        name: str,
        environment: str = "",
        object: str = "",  # noqa: A002
        lines: int = 100,
        follow: bool = False,
        container: str = "",
        previous: bool = False,
        since_seconds: int = 0,
    ) -> Iterator[LogLine]:
        from trimtab.ports.target import LogLine

        parameters = {"environment": environment, "object": object, "lines": lines, "follow": follow}
        parameters |= {"container": container, "previous": previous, "sinceSeconds": since_seconds}
        return self._lines(LogLine, API + _of(name, "logs"), parameters)

    def environments(self) -> views.EnvironmentsView:
        return self._get(views.EnvironmentsView, "/environments")

    def environment(self, name: str) -> views.EnvironmentView:
        return self._get(views.EnvironmentView, f"/environments/{quote(name, safe='')}")

    def events(
        self,
        *,
        application: str = "",
        environment: str = "",
        kind: str = "",
        revision: str = "",
        limit: int = 100,
        follow: bool = False,
    ) -> Iterator[Event]:
        """The newest ``limit`` events, oldest first; with ``follow``, then what comes until the server ends."""
        wanted = {"application": application, "environment": environment, "kind": kind, "revision": revision}
        newest = self._newest_events(wanted, limit)
        yield from newest
        if follow:
            after = newest[-1].id if newest else 0
            yield from self._lines(Event, f"{API}/events", {**wanted, "after": after, "follow": True})

    def repositories(self) -> views.RepositoriesView:
        return self._get(views.RepositoriesView, "/repositories")

    def doctor(self) -> views.DoctorView:
        return self._get(views.DoctorView, "/doctor")

    def hosted(self, name: str) -> views.HostedView:
        return self._get(views.HostedView, "/repositories/hosted", name=name)

    def create_repository(self, name: str, default_branch: str = "main") -> views.HostedView:
        return self._made("create", name=name, defaultBranch=default_branch)

    def import_repository(self, name: str, source: str) -> views.HostedView:
        """Returns once all of it is here."""
        return self._made("import", name=name, source=source)

    def delete_repository(self, name: str) -> views.Accepted:
        return self._post("/repositories/delete", name=name, who=self._who)

    def wake(self, repository: str = "") -> views.Accepted:
        return self._post("/wake", repository=repository)

    def sync(self, name: str, environment: str = "") -> views.Accepted:
        return self._post(_of(name, "sync"), environment=environment, who=self._who)

    def approve(self, name: str, plan_hash: str, environment: str = "") -> views.Accepted:
        return self._post(_of(name, "approve"), hash=plan_hash, environment=environment, who=self._who)

    def suspend(self, name: str, environment: str = "", *, reason: str, until: datetime | None = None) -> views.Accepted:
        return self._post(_of(name, "suspend"), environment=environment, reason=reason, until=until, who=self._who)

    def resume(self, name: str, environment: str = "") -> views.Accepted:
        return self._post(_of(name, "resume"), environment=environment, who=self._who)

    def rollback(self, name: str, environment: str = "", revision: str = "") -> views.Accepted:
        return self._post(_of(name, "rollback"), environment=environment, revision=revision, who=self._who)

    def accept(self, repository: str, revision: str) -> views.Accepted:
        return self._post("/repositories/accept", repository=repository, revision=revision, who=self._who)

    # --- changes --------------------------------------------------------------------------------------------------------------

    def changes(
        self, *, repository: str = "", stage: str = "", author: str = "", before: int = 0, limit: int = 100
    ) -> changeviews.ChangesView:
        """A page, newest first."""
        wanted = {"repository": repository, "stage": stage, "author": author, "before": before, "limit": limit}
        return self._get(changeviews.ChangesView, "/changes", **wanted)

    def change(self, number: int) -> changeviews.ChangeView:
        return self._get(changeviews.ChangeView, f"/changes/{number}")

    def change_plan(self, number: int, environment: str = "", *, since_approval: bool = False) -> changeviews.ChangePlanView:
        parameters = {"environment": environment, "sinceApproval": since_approval}
        return self._get(changeviews.ChangePlanView, f"/changes/{number}/plan", **parameters)

    def change_diff(self, number: int, *, patch_set: int = 0, path: str = "") -> changeviews.ChangeDiffView:
        return self._get(changeviews.ChangeDiffView, f"/changes/{number}/diff", patchSet=patch_set, path=path)

    def change_comments(self, number: int) -> changeviews.CommentsView:
        return self._get(changeviews.CommentsView, f"/changes/{number}/comments")

    def create_change(self, repository: str, branch: str, **settings: Any) -> changeviews.ChangeView:
        """``settings`` are the parameters of the API: target, title, description, draft."""
        body = self.call("POST", f"{API}/changes", {"repository": repository, "branch": branch, **settings})
        return self._decode(body, changeviews.ChangeView)

    def change_act(self, number: int, verb: str, **parameters: Any) -> changeviews.ChangeView:
        """``verb`` is approve, unapprove, merge, unmerge, close, reopen or edit, with the parameters of its route."""
        body = self.call("POST", f"{API}/changes/{number}/{verb}", parameters, seconds=2 * ANSWER_SECONDS)
        return self._decode(body, changeviews.ChangeView)

    def comment(self, number: int, text: str, **place: Any) -> changeviews.CommentsView:
        """``place`` is thread, or file and line, or environment and object."""
        body = self.call("POST", f"{API}/changes/{number}/comments", {"text": text, **place})
        return self._decode(body, changeviews.CommentsView)

    def resolve(self, number: int, thread: int, *, resolved: bool = True) -> changeviews.CommentsView:
        body = self.call("POST", f"{API}/changes/{number}/resolve", {"thread": thread, "resolved": resolved})
        return self._decode(body, changeviews.CommentsView)

    def trails(self) -> changeviews.TrailsView:
        return self._get(changeviews.TrailsView, "/audit")

    def trail(self, name: str) -> Iterator[Link]:
        """All of it, page after page."""
        after = 0
        while True:
            page = self._get(changeviews.TrailView, "/audit/trail", name=name, after=after, limit=1_000)
            yield from page.links
            after = page.next
            if not after:
                return

    def whoami(self) -> views.WhoView:
        return self._get(views.WhoView, "/whoami")

    def tokens(self) -> views.TokensView:
        return self._get(views.TokensView, "/tokens")

    def create_token(self, user: str, **settings: Any) -> views.NewTokenView:
        """``settings`` are the parameters of the API: days, description, actions, projects, environments, repositories."""
        body = self.call("POST", f"{API}/tokens", {"user": user, "who": self._who, **settings})
        return self._decode(body, views.NewTokenView)

    def _made(self, act: str, **parameters: Any) -> views.HostedView:
        told = {**parameters, "who": self._who}
        return self._decode(self.call("POST", f"{API}/repositories/{act}", told, seconds=IMPORT_SECONDS), views.HostedView)

    def revoke_token(self, id: str) -> views.TokenView:  # noqa: A002
        return self._decode(self.call("POST", f"{API}/tokens/revoke", {"id": id, "who": self._who}), views.TokenView)

    def call(
        self, method: str, path: str, parameters: Mapping[str, Any] | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> bytes:
        """The answer as JSON. ``path`` begins with /api/v1; parameters go into the query of a GET and the body of a POST."""
        with closing(self._connect(seconds)) as connection:
            return self._read_all(self._send(connection, method, path, parameters or {}))

    def _get(self, kind: type[T], path: str, /, **parameters: Any) -> T:
        return self._decode(self.call("GET", API + path, parameters), kind)

    def _post(self, path: str, /, **parameters: Any) -> views.Accepted:
        return self._decode(self.call("POST", API + path, parameters), views.Accepted)

    def _newest_events(self, wanted: Mapping[str, Any], limit: int) -> list[Event]:
        found: list[Event] = []
        before: dict[str, Any] = {}
        while len(found) < limit:
            size = min(limit - len(found), EVENTS_PAGE)
            page = self._get(views.EventsView, "/events", **wanted, **before, limit=size, newestFirst=True).events
            found += page
            if len(page) < size:
                break
            before = {"before": page[-1].id}
        return found[::-1]

    def _lines(self, kind: type[T], path: str, parameters: Mapping[str, Any]) -> Iterator[T]:
        with closing(self._connect(QUIET_SECONDS)) as connection:
            response = self._send(connection, "GET", path, parameters)
            while line := self._guarded(response.readline):
                if line.startswith(b'{"error":'):
                    last = self._decode(line, _Broken)
                    raise _error(last.status, last.error)
                if line.strip():
                    yield self._decode(line, kind)

    def _connect(self, seconds: float) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection

        if self.url.startswith("unix:"):
            return _unix(self.url[5:], seconds)
        parts = urlsplit(self.url)
        with suppress(ValueError):
            if parts.scheme in ("http", "https") and parts.hostname:
                made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
                return made(parts.hostname, parts.port, timeout=seconds)
        raise UserError(f"{self.url} is no address of a server", remedy="Give http://127.0.0.1:PORT or unix:PATH")

    def _send(self, connection: HTTPConnection, method: str, path: str, parameters: Mapping[str, Any]) -> HTTPResponse:
        """The answer, its body not read yet. Raises what a status of 400 or more stands for."""
        given = {name: value for name, value in parameters.items() if value is not None and value != ""}
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        body = None
        if method == "GET":
            path += "?" + urlencode({name: str(value).lower() if value is True else value for name, value in given.items()})
        else:
            body = msgspec.json.encode(given)
            headers["Content-Type"] = "application/json"
        response = self._guarded(lambda: _exchange(connection, method, path.removesuffix("?"), body, headers))
        if response.status >= 400:
            raise _error(response.status, self._said(response))
        return response

    def _read_all(self, response: HTTPResponse) -> bytes:
        body = self._guarded(lambda: response.read(ANSWER_BYTES_MAX + 1))
        if len(body) > ANSWER_BYTES_MAX:
            raise TransientError(f"{self.url}: the answer is larger than {ANSWER_BYTES_MAX} bytes", remedy="Ask for less")
        return body

    def _said(self, response: HTTPResponse) -> views.ErrorView:
        body = self._read_all(response)
        try:
            return msgspec.json.decode(body, type=views.ErrorView)
        except msgspec.DecodeError:
            return views.ErrorView(
                f"{self.url} answered {response.status} {response.reason}", "Check that it is a Trimtab server"
            )

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise UserError(
                f"{self.url}: what answers is not this Trimtab: {error}", remedy="Check the address, and that both versions match"
            ) from error

    def _guarded(self, act: Callable[[], T]) -> T:
        """Run it; what the network says becomes an error with a next move."""
        from http.client import HTTPException

        try:
            return act()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise UserError(f"no server answers at {self.url}", remedy=START) from error
        except TimeoutError as error:
            raise TransientError(
                f"{self.url} did not answer in time", remedy="Try again; `trimtab doctor` may tell more"
            ) from error
        except PermissionError as error:
            raise Refused(f"{self.url}: you may not connect to it", remedy="Ask as the user that the server runs as") from error
        except (OSError, HTTPException) as error:
            text = str(error) or type(error).__name__
            raise TransientError(
                f"{self.url}: the connection broke: {text}", remedy="Check that the server runs, and try again"
            ) from error


def _exchange(connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> HTTPResponse:
    connection.request(method, path, body=body, headers=headers)
    return connection.getresponse()


def _unix(path: str, seconds: float) -> HTTPConnection:
    from http.client import HTTPConnection

    class UnixConnection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(seconds)
            self.sock.connect(path)

    return UnixConnection("localhost", timeout=seconds)


def _of(name: str, verb: str = "") -> str:
    return f"/applications/{quote(name, safe='')}" + (f"/{verb}" if verb else "")


def _error(status: int, said: views.ErrorView) -> TrimtabError:
    kinds: dict[int, type[TrimtabError]] = {
        404: NotFound,
        401: Refused,
        403: Refused,
        409: Refused,
        503: TransientError,
        500: Bug,
    }
    problems = [Problem(one.message, one.file, one.line, one.field, one.remedy) for one in said.errors]
    return kinds.get(status, UserError)(said.message, remedy=said.remedy, problems=problems)


def recall(url: str) -> str:
    """The token that git's credential helpers keep for the server at ``url``; "" when there is none. Nobody is asked."""
    return _credential(url, "fill").get("password", "")


def remember(url: str, user: str, token: str) -> None:
    """Give the token to git's credential helpers, where `recall` and git itself find it. Raises UserError when none keeps it."""
    _credential(url, "approve", username=user, password=token)
    if recall(url) != token:
        remedy = "Set one: git config --global credential.helper store, or one that your system offers; or use TRIMTAB_TOKEN"
        raise UserError(f"log in at {url}: git has no credential helper that keeps the token", remedy=remedy)


def _credential(url: str, verb: str, **known: str) -> dict[str, str]:
    import subprocess

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(char in url for char in "\n\r\0"):
        return {}
    given = {"protocol": parts.scheme, "host": parts.netloc.rpartition("@")[2], **known}
    asked = "".join(f"{name}={value}\n" for name, value in given.items())
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": ""}
    command = ["git", "-c", "core.askPass=", "credential", verb]
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=CREDENTIAL_SECONDS, env=quiet, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line) if done.returncode == 0 else {}


def _url(folder: Path) -> str:
    try:
        return str(msgspec.json.decode(_read(folder / "server.json").encode(), type=dict[str, Any])["url"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"no server runs in {folder}", remedy=START.replace("DIR", str(folder))) from error
    except (msgspec.DecodeError, KeyError) as error:
        raise UserError(f"{folder / 'server.json'} cannot be read", remedy="Restart the server") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except PermissionError as error:
        raise Refused(f"{path}: you may not read it", remedy="Ask as the user that the server runs as") from error
    except (FileNotFoundError, NotADirectoryError):
        if path.name == "token":
            return ""
        raise


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
