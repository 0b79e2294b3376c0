"""`trimtab events` and `trimtab doctor`: the record, and whether all is there."""

from __future__ import annotations

import json

import pytest

from trimtab.core.model.event import Event
from trimtab.core.model.views import DoctorView, Finding

from .conftest import NOON, Line, Server

HEALTHY = Event("deployment.healthy", NOON, "all is well", "shop", "production", "a" * 40, {"steps": 2}, 7)
STARTED = Event("server.started", NOON, "the server \x1b[2Jserves", id=8)


def test_events_are_sentences_with_time_kind_and_place(line: Line) -> None:
    result = line("events", server=Server(events=iter([HEALTHY, STARTED])))
    assert result.code == 0
    assert result.out.splitlines() == [
        "2026-01-31 12:00:00Z  deployment.healthy  shop@production aaaaaaaaaa: all is well",
        "2026-01-31 12:00:00Z  server.started  the server serves",
    ]


def test_events_as_json_are_one_document_on_each_line(line: Line) -> None:
    result = line("events", "--output", "json", server=Server(events=iter([HEALTHY, STARTED])))
    first, second = map(json.loads, result.out.splitlines())
    assert list(first) == ["id", "time", "kind", "application", "environment", "revision", "message", "data"]
    assert first["time"] == "2026-01-31T12:00:00Z"
    assert (first["id"], first["data"], second["application"]) == (7, {"steps": 2}, "")


def test_what_is_wanted_is_asked_of_the_server(line: Line) -> None:
    server = Server(events=iter([]))
    line("events", "-a", "shop", "-e", "x", "--kind", "step.failed", "--revision", "v1", "--limit", "5", "-f", server=server)
    wanted = {"application": "shop", "environment": "x", "kind": "step.failed", "revision": "v1", "limit": 5, "follow": True}
    assert server.asked == [("events", (), wanted)]


def test_a_kind_that_there_is_not_is_a_usage_error_that_lists_them(line: Line) -> None:
    result = line("events", "--kind", "step.exploded", server=Server(events=iter([])))
    assert result.code == 2
    assert "step.failed" in result.err


def test_a_follower_that_is_interrupted_has_shown_what_came_before(line: Line) -> None:
    def follow(**_: object) -> object:
        yield HEALTHY
        raise KeyboardInterrupt

    result = line("events", "--follow", server=Server(events=follow))
    assert result.code == 130
    assert "all is well" in result.out


@pytest.mark.parametrize(("states", "code"), [(["ok", "warning"], 0), (["ok", "failed"], 1), ([], 0)], ids=str)
def test_the_doctor_fails_when_a_finding_does(line: Line, states: list[str], code: int) -> None:
    view = DoctorView([Finding("git", state, "git 2.39", "Install git") for state in states])
    result = line("doctor", server=Server(doctor=view))
    assert result.code == code
    assert result.out.count("Install git") == len(states)
