"""`trimtab app …` and `trimtab environment …`: looking and acting."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from trimtab.core.model.errors import NotFound
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.views import (
    Accepted,
    ApplicationDetails,
    ApplicationRow,
    ApplicationsView,
    ApplicationView,
    ChildView,
    EnvironmentRow,
    EnvironmentsView,
    EnvironmentView,
    ExplainView,
    HistoryView,
    HoldView,
    ObjectView,
    ProblemView,
    Reason,
    SourceView,
    SuspensionView,
)
from trimtab.ports.target import LogLine

from .conftest import NOON, Line, Server
from .test_status import LATER, OURS, WEB, deployment

HASH = "sha256:" + "1" * 64


def row(name: str = "shop", **changes: Any) -> ApplicationRow:
    settings: dict[str, Any] = {
        "environment": "production",
        "revision": OURS,
        "sync": "synced",
        "health": HealthStatus.HEALTHY,
        "message": "",
    }
    return ApplicationRow(name, **settings | changes)


ROWS = ApplicationsView([row(), row("database", sync="drifted", health=HealthStatus.DEGRADED, message="exited with status 1")])


def test_a_list_stands_in_columns(line: Line) -> None:
    result = line("app", "list", server=Server(applications=ROWS))
    assert result.code == 0
    assert result.out.splitlines() == [
        "NAME      ENVIRONMENT  REVISION    SYNC     HEALTH    MESSAGE",
        "shop      production   aaaaaaaaaa  synced   healthy",
        "database  production   aaaaaaaaaa  drifted  degraded  exited with status 1",
    ]


def test_a_list_as_json_is_the_documented_shape(line: Line) -> None:
    document = json.loads(line("app", "list", "--output", "json", server=Server(applications=ROWS)).out)
    assert document["applications"][1] == {
        "name": "database",
        "environment": "production",
        "revision": OURS,
        "sync": "drifted",
        "health": "degraded",
        "message": "exited with status 1",
        "suspended": False,
        "origin": "",
    }


def test_an_empty_list_says_so(line: Line) -> None:
    assert line("app", "list", server=Server(applications=ApplicationsView([]))).out == "There are no applications.\n"


def test_on_a_terminal_words_have_colours_and_brackets_are_only_text(line: Line, terminal: None) -> None:
    rows = ApplicationsView([row(message="[red]not markup[/red] \x1b[2J")])
    out = line("app", "list", server=Server(applications=rows)).out
    assert "\x1b[32mhealthy" in out
    assert "[red]not markup[/red]" in out
    assert "\x1b[2J" not in out


def test_a_table_without_colours_on_a_terminal(line: Line, terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = line("app", "list", server=Server(applications=ROWS)).out
    assert "\x1b[3" not in out
    assert "drifted" in out


def details(**changes: Any) -> ApplicationDetails:
    settings: dict[str, Any] = {
        "name": "shop",
        "environment": "production",
        "revision": OURS,
        "sync": "held",
        "health": HealthStatus.DEGRADED,
        "message": "1 object is held",
        "project": "default",
        "repository": "https://git.example.org/shop.git",
        "path": "apps/shop",
        "deployment": deployment("failed", object=WEB, message="not ready within 10 s"),
        "suspension": SuspensionView("looking at the leak", NOON + timedelta(hours=2)),
        "objects": [ObjectView(WEB, "synced", HealthStatus.DEGRADED, "not ready", "apps/shop/web.yaml", 3, 0)],
        "holds": [HoldView(None, "beyond the removal budget", "approval", "shop", "production", HASH)],
        "plan_hash": HASH,
        "errors": [ProblemView("apps/shop/db.yaml", 1, "kind", "unknown kind", "Write Process")],
        "next_try": NOON + timedelta(seconds=30),
    }
    return ApplicationDetails([ApplicationView(**settings | changes)])


def test_an_application_is_shown_with_everything_that_keeps_it_from_being_well(line: Line) -> None:
    result = line("app", "show", "shop", server=Server(application=details()))
    assert result.code == 0
    for expected in (
        "shop in production: held, degraded",
        "from apps/shop at aaaaaaaaaa of https://git.example.org/shop.git",
        "suspended: looking at the leak, until 2026-01-31 14:00:00Z",
        "next try in 30 seconds",
        "Process/web: not ready within 10 s",
        "apps/shop/db.yaml:1: kind: unknown kind",
        "apps/shop/web.yaml:3",
        f"trimtab app approve shop {HASH} --environment production",
    ):
        assert expected in result.out


def test_the_addresses_that_an_object_serves_on_are_shown(line: Line) -> None:
    status = {"addresses": {"http": "127.0.0.1:8080"}}
    one = ObjectView(WEB, "synced", HealthStatus.HEALTHY, "", "web.yaml", 1, 0, status=status)
    result = line("app", "show", "shop", server=Server(application=details(objects=[one])))
    assert "Process/web serves http on 127.0.0.1:8080" in result.out


def test_the_last_child_leaves_room_below_it(line: Line) -> None:
    """What stands below the last one is indented by blanks, which stay."""
    pod = ChildView(ObjectRef("v1", "Pod", "shop", "web-1-a"), HealthStatus.HEALTHY, "", "1/1", 0, None, [], 0, 0)
    replicas = ChildView(ObjectRef("v1", "ReplicaSet", "shop", "web-1"), HealthStatus.HEALTHY, "", "1/1", 0, None, [pod], 0, 0)
    one = ObjectView(WEB, "synced", HealthStatus.HEALTHY, "", "web.yaml", 1, 0, children=[replicas])
    shown = line("app", "show", "shop", server=Server(application=details(objects=[one]))).out
    lines = [text for text in shown.splitlines() if "─" in text]
    assert [text.split("/")[0] for text in lines] == ["└─ ReplicaSet", "   └─ Pod"]


def test_what_stands_behind_an_object_is_shown_below_it_as_a_tree(line: Line) -> None:
    """What is unwell with its reason; what is not listed is counted."""

    def child(kind: str, name: str, health: HealthStatus, message: str, *below: ChildView, folded: int = 0) -> ChildView:
        ready, restarts = ("0/1", 3) if kind == "Pod" else ("1/2", 0)
        ref = ObjectRef("v1", kind, "shop", name)
        return ChildView(ref, health, message, ready, restarts, None, list(below), 0, folded)

    pod = child("Pod", "web-1-a", HealthStatus.DEGRADED, "crash loop")
    replicas = child("ReplicaSet", "web-1", HealthStatus.PROGRESSING, "", pod)
    one = ObjectView(WEB, "synced", HealthStatus.DEGRADED, "", "web.yaml", 1, 0, children=[replicas], more=2, folded=4)
    server = Server(application=details(objects=[one]))
    shown = line("app", "show", "shop", server=server).out
    lines = [text for text in shown.splitlines() if "─" in text]
    assert lines[0].split() == ["├─", "ReplicaSet/web-1", "progressing", "1/2"]
    assert lines[1].startswith("│  └─ Pod/web-1-a")
    assert "0/1, 3 restarts" in lines[1]
    assert lines[1].endswith("crash loop")
    assert lines[2].strip() == "└─ 2 more, 4 older without Pods"
    assert server.asked[-1][2]["tree"] is True
    line("app", "show", "shop", "--no-tree", server=server)
    assert server.asked[-1][2]["tree"] is False


def test_an_application_is_shown_with_the_addresses_that_it_is_reached_at(line: Line) -> None:
    web = ObjectView(WEB, "synced", HealthStatus.HEALTHY, "", "", 0, 0, status={"addresses": {"http": "127.0.0.1:30123"}})
    result = line(
        "app",
        "show",
        "shop",
        server=Server(application=ApplicationDetails([replace(one, objects=[web]) for one in details().applications])),
    )
    assert "Process/web serves http on 127.0.0.1:30123" in result.out


def test_an_application_that_there_is_not_is_a_failure_with_those_that_there_are(line: Line) -> None:
    missing = NotFound("find application shpo: there is none", remedy="Applications: shop, database")
    result = line("app", "show", "shpo", server=Server(application=missing))
    assert (result.code, result.err.splitlines()) == (1, [f"trimtab: {missing.message}", missing.remedy])


def test_an_explanation_names_what_waits_why_and_what_moves_it_on(line: Line) -> None:
    view = ExplainView(
        "shop", "production", "shop@production: held", [Reason("File/config", "held", "beyond the budget", "approve the plan")]
    )
    result = line("app", "explain", "shop", server=Server(explain=[view]))
    assert result.out.splitlines() == [
        "shop@production: held",
        "  File/config: held",
        "      beyond the budget",
        "      next: approve the plan",
    ]
    document = json.loads(line("app", "explain", "shop", "--output", "json", server=Server(explain=[view])).out)
    assert document[0]["reasons"][0]["next"] == "approve the plan"


def test_an_explanation_leads_down_to_what_is_to_blame(line: Line) -> None:
    chain = ["ReplicaSet/web-1 is progressing (0/1 ready)", "Pod/web-1-a is degraded (0/1 ready, 4 restarts): it crashes"]
    view = ExplainView("shop", "a", "shop@a: degraded", [Reason("Deployment/web", "degraded", "no", "a commit", chain)])
    result = line("app", "explain", "shop", server=Server(explain=[view]))
    assert result.out.splitlines()[3:5] == [f"      └─ {chain[0]}", f"         └─ {chain[1]}"]


def test_the_history_is_a_table_newest_first(line: Line) -> None:
    view = HistoryView([deployment("healthy"), deployment("superseded", revision=LATER)])
    server = Server(history=view)
    result = line("app", "history", "shop", "--limit", "2", server=server)
    assert [text.split()[1:3] for text in result.out.splitlines()[1:]] == [
        ["aaaaaaaaaa", "healthy"],
        ["bbbbbbbbbb", "superseded"],
    ]
    assert server.asked == [("history", ("shop",), {"environment": "", "limit": 2})]


TAKEN = Accepted("it looks now")


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["sync", "shop", "-e", "staging"], ("sync", ("shop",), {"environment": "staging"})),
        (["approve", "shop", HASH], ("approve", ("shop", HASH), {"environment": ""})),
        (["rollback", "shop", "--to", "v1"], ("rollback", ("shop",), {"environment": "", "revision": "v1"})),
        (["resume", "shop"], ("resume", ("shop",), {"environment": ""})),
        (
            ["suspend", "shop", "--reason", "leak", "--for", "2h"],
            ("suspend", ("shop",), {"environment": "", "reason": "leak", "until": NOON + timedelta(hours=2)}),
        ),
        (
            ["suspend", "shop", "--reason", "leak", "--until", "2026-02-01T01:00:00+01:00"],
            ("suspend", ("shop",), {"environment": "", "reason": "leak", "until": datetime(2026, 2, 1, tzinfo=UTC)}),
        ),
    ],
    ids=lambda value: value[0],
)
def test_an_act_is_passed_on_and_its_answer_shown(line: Line, arguments: list[str], asked: tuple[Any, ...]) -> None:
    server = Server(**{arguments[0]: TAKEN})
    assert line("app", *arguments, server=server) == (0, "it looks now\n", "")
    assert server.asked == [asked]
    assert json.loads(line("app", *arguments, "--output", "json", server=server).out) == {"message": "it looks now"}


@pytest.mark.parametrize(
    "arguments",
    [["--reason", "x"], ["--for", "2h"], ["--reason", "x", "--for", "2h", "--until", "2026-02-01T00:00:00Z"]],
    ids=["no end", "no reason", "two ends"],
)
def test_a_suspension_has_a_reason_and_one_end(line: Line, arguments: list[str]) -> None:
    server = Server(suspend=TAKEN)
    assert line("app", "suspend", "shop", *arguments, server=server).code == 2
    assert server.asked == []


def test_logs_name_their_source_and_lose_what_would_act_on_a_terminal(line: Line) -> None:
    lines = [LogLine("web-1", "\x1b[31mred\x1b[0m", NOON), LogLine("web-2", "plain")]
    server = Server(logs=iter(lines))
    result = line("app", "logs", "shop", "--object", "Process/web", "-n", "5", "--follow", server=server)
    assert result.out == "web-1 2026-01-31 12:00:00Z | red\nweb-2 | plain\n"
    asked = {"environment": "", "object": "Process/web", "lines": 5, "follow": True}
    assert server.asked == [("logs", ("shop",), {**asked, "container": "", "previous": False, "since_seconds": 0})]


def test_logs_can_be_of_one_container_of_the_run_before_and_no_older_than(line: Line) -> None:
    server = Server(logs=iter([]))
    line("app", "logs", "shop", "-c", "migrate", "--previous", "--since", "1h30m", server=server)
    ((_, _, asked),) = server.asked
    assert (asked["container"], asked["previous"], asked["since_seconds"]) == ("migrate", True, 5400)


def test_logs_as_json_are_json_lines(line: Line) -> None:
    result = line("app", "logs", "shop", "--output", "json", server=Server(logs=iter([LogLine("web-1", "hi", NOON)])))
    assert json.loads(result.out) == {"source": "web-1", "text": "hi", "time": "2026-01-31T12:00:00Z"}


def test_environments_are_listed_with_how_many_are_well(line: Line) -> None:
    view = EnvironmentsView([EnvironmentRow("production", "host", 3, 12, 2, HealthStatus.DEGRADED, "shop is degraded")])
    result = line("environment", "list", server=Server(environments=view))
    assert result.out.splitlines()[1].split() == ["production", "host", "degraded", "2", "3", "12", "shop", "is", "degraded"]


def test_an_environment_is_shown_with_its_rules_and_where_they_stand(line: Line) -> None:
    spec = {"removal": {"percent": 50, "objects": 3}}
    view = EnvironmentView("production", "host", spec, SourceView(".trimtab/environments.yaml", 4), [row()])
    result = line("environment", "show", "production", server=Server(environment=view))
    assert result.code == 0
    assert "declared in .trimtab/environments.yaml:4" in result.out
    assert 'removal: {"percent": 50, "objects": 3}' in result.out
    assert "shop" in result.out
