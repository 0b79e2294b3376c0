"""`trimtab status`: where is my commit, and is it well?"""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.cli import status as module
from trimtab.core.model.deployment import Phase
from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.health import HealthStatus
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.views import DeploymentView, ProblemView, StatusView

from .conftest import NOON, Line, Server

OURS, LATER = "a" * 40, "b" * 40
WEB = ObjectRef("host.trimtab.dev/v1", "Process", "", "web")


def deployment(phase: str = "healthy", **changes: Any) -> DeploymentView:
    settings: dict[str, Any] = {
        "application": "shop",
        "environment": "production",
        "phase": Phase(phase),
        "health": HealthStatus.HEALTHY,
        "since": NOON - timedelta(minutes=3),
        "message": "",
        "object": None,
        "last_log_line": "",
        "superseded_by": "b" * 40 if phase in ("superseded", "reverted") else "",
        "revision": OURS,
        "changed": True,
    }
    return DeploymentView(**settings | changes)


def view(*deployments: DeploymentView, **changes: Any) -> StatusView:
    settings: dict[str, Any] = {"revision": OURS, "seen": NOON - timedelta(minutes=5), "settled": True}
    return StatusView(deployments=list(deployments), **settings | changes)


def test_it_says_since_when_a_commit_is_healthy_and_where(line: Line) -> None:
    result = line("status", OURS, server=Server(status=view(deployment())))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "aaaaaaaaaa was seen 5 minutes ago (2026-01-31 11:55:00Z).",
        "",
        "shop in production: healthy for 3 minutes (since 2026-01-31 11:57:00Z)",
    ]


def test_a_failed_commit_names_the_object_the_reason_and_the_last_log_line(line: Line) -> None:
    failed = deployment("failed", object=WEB, message="not ready within 10 s", last_log_line="cannot bind port 80")
    result = line("status", OURS, server=Server(status=view(failed)))
    assert result.code == 1
    assert "shop in production: failed 3 minutes ago (2026-01-31 11:57:00Z)" in result.out
    assert "    Process/web: not ready within 10 s\n    last log line: cannot bind port 80\n" in result.out


def test_a_held_commit_says_why_and_where_to_look(line: Line) -> None:
    result = line("status", OURS, server=Server(status=view(deployment("held", message="4 of 5 objects would be removed"))))
    assert result.code == 3
    assert "4 of 5 objects would be removed" in result.out
    assert "trimtab app explain shop --environment production" in result.out


def test_a_superseded_commit_names_the_one_that_took_its_place(line: Line) -> None:
    result = line("status", OURS, server=Server(status=view(deployment("superseded", superseded_by=LATER))))
    assert result.code == 0
    assert "superseded by bbbbbbbbbb 3 minutes ago" in result.out


def test_an_application_that_the_commit_left_alone_is_named_with_what_runs(line: Line) -> None:
    other = deployment("failed", application="blog", changed=False, revision=LATER)
    result = line("status", OURS, server=Server(status=view(deployment(), other)))
    assert result.code == 0, "what the commit did not touch is not its failure"
    assert "this commit changes nothing here; what runs is bbbbbbbbbb" in result.out


def test_a_commit_that_was_not_seen_yet_is_no_failure(line: Line) -> None:
    result = line("status", OURS, server=Server(status=view(seen=None, settled=False)))
    assert result.code == 0
    assert "has not been seen" in result.out
    assert "--wait healthy" in result.out


def test_what_is_wrong_in_git_is_shown_with_file_line_and_remedy(line: Line) -> None:
    wrong = ProblemView("shop/web.yaml", 3, "spec.replicas", "expected a number", "Write 3")
    result = line("status", OURS, server=Server(status=view(errors=[wrong])))
    assert result.code == 1
    assert "  shop/web.yaml:3: spec.replicas: expected a number\n      Write 3\n" in result.out


def test_json_is_the_documented_shape(line: Line) -> None:
    result = line("status", OURS, "--output", "json", server=Server(status=view(deployment("failed", object=WEB))))
    document = json.loads(result.out)
    assert result.code == 1
    assert document["revision"] == OURS
    [shown] = document["deployments"]
    assert shown["phase"] == "failed"
    assert shown["since"] == "2026-01-31T11:57:00Z"
    assert shown["object"] == {"apiVersion": "host.trimtab.dev/v1", "kind": "Process", "namespace": "", "name": "web"}
    assert {"application", "environment", "health", "message", "lastLogLine", "supersededBy"} <= shown.keys()


def test_hostile_text_does_not_reach_the_terminal(line: Line) -> None:
    hostile = deployment("failed", message="\x1b]0;pwned\x07\x1b[2Jgone\u202e", last_log_line="\x9b31mred")
    text = line("status", OURS, server=Server(status=view(hostile)))
    assert "gone" in text.out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text.out)
    document = line("status", OURS, "--output", "json", server=Server(status=view(hostile)))
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(document.out)
    assert json.loads(document.out)["deployments"][0]["message"] == hostile.message, "escaped, not changed"


def test_a_commit_that_changed_nothing_has_nothing_to_fail(line: Line) -> None:
    server = Server(status=view(deployment("failed", changed=False, revision=LATER)))
    assert line("status", OURS, server=server).code == 0


def test_without_a_commit_everything_counts(line: Line) -> None:
    server = Server(status=view(deployment(), deployment("failed", application="blog", changed=False)))
    assert line("status", server=server).code == 1


def test_what_became_healthy_and_then_broke_is_a_failure(line: Line) -> None:
    broken = deployment(health=HealthStatus.DEGRADED, object=WEB, message="exited with status 1")
    result = line("status", OURS, server=Server(status=view(broken)))
    assert result.code == 1
    assert "Process/web: exited with status 1" in result.out


def in_turn(*answers: StatusView | Exception) -> Server:
    left = list(answers)

    def answer(*_: Any) -> StatusView:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Server(wait_status=answer)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)


@pytest.mark.usefixtures("quick")
class TestWaiting:
    @pytest.mark.parametrize(
        ("last", "code"), [("healthy", 0), ("failed", 1), ("held", 3), ("superseded", 1), ("reverted", 1)], ids=str
    )
    def test_the_answer_becomes_the_exit_code(self, line: Line, last: str, code: int) -> None:
        server = in_turn(view(seen=None), view(deployment("applying"), settled=False), view(deployment(last)))
        assert line("status", OURS, "--wait", "healthy", server=server).code == code
        assert len(server.asked) == 3

    def test_an_application_that_a_commit_took_away_is_done_when_it_is_gone(self, line: Line) -> None:
        server = in_turn(view(deployment("superseded", superseded_by="")))
        result = line("status", OURS, "--wait", "healthy", server=server)
        assert result.code == 0
        assert "shop in production: removed 3 minutes ago" in result.out

    def test_the_time_being_over_is_a_failure_that_shows_how_far_it_came(self, line: Line) -> None:
        server = in_turn(view(deployment("applying"), settled=False))
        result = line("status", OURS, "--wait", "healthy", "--timeout", "0.05s", server=server)
        assert result.code == 1
        assert "applying" in result.out
        assert "not healthy after" in result.err

    def test_another_application_that_is_broken_does_not_spoil_a_commit(self, line: Line) -> None:
        server = in_turn(view(deployment(), deployment("failed", application="blog", changed=False)))
        assert line("status", OURS, "--wait", "healthy", server=server).code == 0

    def test_without_a_commit_all_are_waited_for(self, line: Line) -> None:
        other = deployment("applying", application="blog", changed=False)
        server = in_turn(view(deployment(), other), view(deployment(), deployment(application="blog", changed=False)))
        assert line("status", "--wait", "healthy", server=server).code == 0
        assert len(server.asked) == 2

    def test_what_is_healthy_only_by_name_is_not_well(self, line: Line) -> None:
        server = in_turn(view(deployment(health=HealthStatus.PROGRESSING)))
        assert line("status", OURS, "--wait", "healthy", server=server).code == 1

    def test_a_restart_of_the_server_is_waited_out(self, line: Line) -> None:
        gone = UserError("no server answers")
        server = in_turn(view(seen=None), gone, TransientError("the connection broke"), view(deployment()))
        assert line("status", OURS, "--wait", "healthy", server=server).code == 0

    def test_a_server_that_never_answered_is_a_failure_at_once(self, line: Line) -> None:
        server = in_turn(UserError("no server answers"))
        assert line("status", OURS, "--wait", "healthy", server=server).code == 1
        assert len(server.asked) == 1


def commit_in(folder: Path) -> str:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    return subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_head_branches_and_short_ids_mean_what_they_mean_in_the_current_directory(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = commit_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    server = Server(status=view())
    for name in ("HEAD", "main", revision[:8], revision):
        line("status", name, server=server)
    assert [arguments for _, arguments, _ in server.asked] == [(revision,)] * 4


def test_a_name_that_means_nothing_here_goes_to_the_server_as_it_is(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = Server(status=view())
    for name in ("release-7", "HEAD", "--", ""):
        line("status", *([name] if name != "--" else []), server=server)
    assert [arguments[0] for _, arguments, _ in server.asked] == ["release-7", "HEAD", "", ""]


def test_a_duration_that_is_none_is_a_usage_error(line: Line) -> None:
    result = line("status", "--timeout", "soon", server=Server(status=view()))
    assert result.code == 2
    assert "90s, 5m, 1h30m or 2d" in result.err
