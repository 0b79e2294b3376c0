"""A command line with a stub in place of the running server, and a clock that stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from trimtab.cli.main import run
from trimtab.cli.session import Session

NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


class Server:
    """Answers each method of the client with what the test has set; remembers what it was asked.

    A callable is called with what was asked, an exception is raised, a list whose name ends in ``_in_turn`` is used up.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)

        def answer(*arguments: Any, **settings: Any) -> Any:
            self.asked.append((method, arguments, settings))
            found = self.answers[method]
            if isinstance(found, Exception):
                raise found
            return found(*arguments, **settings) if callable(found) else found

        return answer


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Line:
    """``line("app", "list", server=Server(...))`` runs one command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, server: Any = None) -> Result:
        self._capsys.readouterr()
        found: list[tuple[str | None, str | None]] = []

        def connect(data: str | None, url: str | None) -> Any:
            found.append((data, url))
            if isinstance(server, Exception):
                raise server
            return server

        code = run(arguments, Session(connect=connect, clock=lambda: NOON))
        self.connected = found
        return Result(code, *self._capsys.readouterr())


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(capsys)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard output is a terminal of 120 columns with colours."""
    monkeypatch.setattr("trimtab.cli.output.Out.terminal", property(lambda _: True))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
