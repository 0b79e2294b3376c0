"""`trimtab change` and `trimtab audit`: what is shown, what is asked for, and what the exit code says. The whole way is in tests/e2e/test_changes.py."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from trimtab.cli.completion import changes
from trimtab.cli.session import Session
from trimtab.core.decide.trail import linked
from trimtab.core.model import changeviews as views
from trimtab.core.model.change import Comment
from trimtab.core.model.event import Event
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange
from trimtab.core.model.trail import Link
from trimtab.core.model.views import HoldView, PlanView, ProblemView, StepView
from trimtab.engine.changes.options import KNOWN

from .conftest import NOON, Line, Server

HASH = "sha256:" + "a" * 64
WEB = ObjectRef("host.trimtab.dev/v1", "Process", "", "web")
PLAN = PlanView(HASH, [StepView("update", WEB, "shop", "production", [FieldChange("/spec/replicas", 2, 3)])], [], [])


def change(**fields: Any) -> views.ChangeView:
    view = views.ChangeView(
        number=12,
        repository="shop",
        path="/git/shop.git",
        ref="refs/changes/12/2",
        target="main",
        source="more",
        title="Three replicas",
        description="Two were\nnot enough.",
        author="ada",
        stage="open",
        draft=False,
        emergency="",
        head="b" * 40,
        base="a" * 40,
        merged="",
        created=NOON,
        ended=None,
        ended_by="",
        patch_sets=[views.PatchSetView(2, "b" * 40, "ada", NOON - timedelta(hours=2))],
        conflicts=[],
        environments=[views.TouchedView("production", HASH, 0, 1, 0, 0, False, ["shop"], [], [])],
        content=HASH,
        checks=[views.CheckView("render", "passed", "", [])],
        requirements=[views.RequirementView("production", "reviewers", 1, [])],
        approvals=[],
        withdrawn=[],
        wanted_by="",
        missing=["production asks for 1 more approval by reviewers"],
        unresolved=0,
        looked=NOON,
    )
    return msgspec.structs.replace(view, **fields)


def planned(**fields: Any) -> views.ChangePlanView:
    one = views.EnvironmentPlanView("production", HASH, PLAN, [], since="", dropped=[])
    return views.ChangePlanView(12, 2, "b" * 40, "a" * 40, [msgspec.structs.replace(one, **fields)])


COMMENTS = views.CommentsView(
    [
        Comment(12, 1, 1, "sue", NOON, "Is three enough?", 2, "apps/web.yaml", 7),
        Comment(12, 2, 1, "ada", NOON, "It is\x1b[31m.", 2),
    ]
)


def test_a_change_is_shown_with_what_is_missing_and_that_is_the_exit_code(line: Line) -> None:
    result = line("change", "show", "12", server=Server(change=change(), change_comments=COMMENTS))
    assert result.code == 3
    assert result.out.splitlines() == [
        "change 12: Three replicas",
        "  open, more → main of shop",
        "  by ada, patch set 2 by ada 2 hours ago (2026-01-31 10:00:00Z)",
        "",
        "    Two were",
        "    not enough.",
        "",
        "  production: 1 updated  sha256:aaaaaaaaaaaa",
        "      - 0 of 1 by reviewers",
        "  ✓ render",
        "",
        "  thread 1 at apps/web.yaml:7, open",
        f"    sue, {'a moment ago (2026-01-31 12:00:00Z)'}:",
        "      Is three enough?",
        "    ada, a moment ago (2026-01-31 12:00:00Z):",
        "      It is.",
        "",
        "  still missing:",
        "    - production asks for 1 more approval by reviewers",
    ]
    ready = Server(change=change(missing=[]), change_comments=views.CommentsView([]))
    assert (line("change", "show", "12", server=ready)).code == 0
    assert json.loads(line("change", "show", "12", "--output", "json", server=ready).out)["number"] == 12


def test_a_list_says_what_each_one_lacks_first_in_lines_that_fit(line: Line) -> None:
    rows = [
        views.ChangeRow(
            12, "shop", "main", "T" * 200, "ada", "open", True, False, False, ["production"], ["it is a draft"], NOON
        ),
        views.ChangeRow(11, "shop", "main", "Two", "rob", "open", False, False, False, [], [], NOON),
    ]
    result = line("change", "list", "--repository", "shop", server=Server(changes=views.ChangesView(rows, 11)))
    assert result.code == 0
    first, second, third, more = result.out.splitlines()
    assert first.split() == ["CHANGE", "TITLE", "AUTHOR", "STAGE", "ENVIRONMENTS", "MISSING"]
    assert "draft  production    it is a draft" in second
    assert third.split() == ["11", "Two", "rob", "open", "ready"]
    assert more == "older ones: --before 11"
    assert max(map(len, result.out.splitlines())) < 130


def test_an_approval_is_of_the_plan_that_was_shown_and_of_no_other(line: Line) -> None:
    """Named by its hash or said yes to; without a terminal nothing is asked, and nothing approved."""
    server = Server(change=change(), change_plan=planned(), change_act=change(missing=[]))
    result = line("change", "approve", "12", "--plan", HASH[:19], server=server)
    assert result.code == 0
    assert "~ update Process/web" in result.out.partition("approved: production")[0], "the plan comes before the act"
    assert server.asked[-1] == ("change_act", (12, "approve"), {"environment": "production", "hash": HASH})
    other = Server(change=change(), change_plan=planned())
    result = line("change", "approve", "12", "--plan", "sha256:" + "c" * 64, server=other)
    assert (result.code, "change_act" in {name for name, _, _ in other.asked}) == (1, False)
    assert f"the plan is {HASH} now" in result.err
    silent = Server(change=change(), change_plan=planned())
    assert line("change", "approve", "12", server=silent).code == 2
    assert "change_act" not in {name for name, _, _ in silent.asked}


def test_a_second_approval_shows_the_difference_alone(line: Line) -> None:
    gone = StepView("remove", WEB, "shop", "production", [])
    server = Server(change=change(), change_plan=planned(since=HASH, dropped=[gone]), change_act=change())
    result = line("change", "approve", "12", "--yes", server=server)
    assert "production, since you approved sha256:aaaaaaaaaaaa\n  no more:\n    - remove Process/web" in result.out.replace(
        "\n  - remove", "\n    - remove"
    )


def test_what_has_no_effect_is_told_with_its_place(line: Line) -> None:
    note = ProblemView(
        "shop/web.yaml", 3, "metadata.annotations", "the sync option has no effect here", "Those that have one: Prune=false"
    )
    result = line("change", "plan", "12", server=Server(change_plan=planned(plan=PlanView(HASH, [], [], [], notes=[note]))))
    assert result.out.splitlines() == [
        "production",
        "Without effect, and no reason to hold anything:",
        "  shop/web.yaml:3: metadata.annotations: the sync option has no effect here",
        "      Those that have one: Prune=false",
        "Nothing would change.",
    ]


def test_what_is_held_for_one_reason_is_told_at_once(line: Line) -> None:
    holds = [HoldView(msgspec.structs.replace(WEB, name=name), "nothing would be left", "approving it", "shop") for name in "ab"]
    plan = PlanView(HASH, [], holds, [])
    result = line("change", "plan", "12", server=Server(change_plan=planned(plan=plan)))
    assert result.out.splitlines() == [
        "production",
        "  held: nothing would be left",
        "      Process/a of shop",
        "      Process/b of shop",
        "    lifted by: approving it",
        "2 held.",
        f"plan {HASH}",
    ]


def test_every_option_of_a_push_is_in_the_how_to() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "propose-review-merge.md").read_text(encoding="utf-8")
    assert [option for option in KNOWN if f"-o {option}" not in page] == []


def test_numbers_of_open_changes_complete(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [views.ChangeRow(n, "shop", "main", "T", "ada", "open", False, False, False, [], [], NOON) for n in (12, 13, 7)]
    context = click.Context(click.Command("x"), obj=Session(connect=lambda *_: Server(changes=views.ChangesView(rows))))  # type: ignore[arg-type,return-value]
    assert changes(context, click.Argument(["number"]), "1") == ["12", "13"]


def test_where_several_wait_one_has_to_be_named(line: Line) -> None:
    needs = [views.RequirementView(name, "reviewers", 1, []) for name in ("production", "staging", "")]
    result = line("change", "approve", "12", "--yes", server=Server(change=change(requirements=needs)))
    assert result.code == 2
    assert "production, staging, --content" in result.err


@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ({"stage": "merged", "merged": "c" * 40, "missing": []}, 0, "change 12: merged into main as cccccccccc"),
        ({"wanted_by": "ada"}, 3, "ada wants it merged; still missing:"),
        ({"missing": []}, 1, "change 12: it was not merged"),
    ],
)
def test_merging_says_whether_it_is_merged(line: Line, after: dict[str, Any], code: int, said: str) -> None:
    result = line("change", "merge", "12", server=Server(change_act=change(**after)))
    assert (result.code, said in result.out) == (code, True)


def test_waiting_for_a_merge_ends_with_it(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.cli.change.act.PAUSE_SECONDS", 0)
    turns = iter([change(wanted_by="ada"), change(stage="merged", merged="c" * 40, missing=[])])
    server = Server(change_act=change(wanted_by="ada"), change=lambda _: next(turns))
    assert line("change", "merge", "12", "--wait", server=server).code == 0


def test_a_comment_stands_where_it_is_told_to(line: Line) -> None:
    server = Server(comment=COMMENTS, change_comments=COMMENTS, resolve=COMMENTS)
    assert line("change", "comment", "12", "Hm", "--at", "a:b.yaml:7", server=server).code == 0
    assert server.asked[0] == (
        "comment",
        (12, "Hm"),
        {"thread": 0, "file": "a:b.yaml", "line": 7, "environment": "", "object": ""},
    )
    line("change", "comment", "12", "--resolve", "1", server=server)
    assert ("resolve", (12, 1), {"resolved": True}) in server.asked
    assert line("change", "comment", "12", "Hm", "--at", "a.yaml:x", server=server).code == 2


def test_a_diff_is_one_that_git_applies(line: Line, tmp_path: Path) -> None:
    diff = "--- a/one.txt\n+++ b/one.txt\n@@ -1 +1 @@\n-one\n+two\n"
    files = [views.FileDiffView("one.txt", "changed", "", diff), views.FileDiffView("x.bin", "added", "binary", "")]
    result = line("change", "diff", "12", server=Server(change_diff=views.ChangeDiffView(12, 2, "", "", files, False)))
    assert result.out == diff + "added x.bin: binary\n"
    (tmp_path / "one.txt").write_text("one\n")
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "one.txt").read_text() == "two\n"


def test_in_a_clone_the_server_and_the_repository_are_known(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRIMTAB_SERVER", "TRIMTAB_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "more"], check=True)
    for name, url in (("origin", "https://ada@git.example.org/below/git/team/shop.git"), ("other", "git@example.org:x.git")):
        subprocess.run(["git", "remote", "add", name, url], check=True)
    server = Server(changes=views.ChangesView([]), create_change=change())
    server.url = "https://git.example.org/below"
    assert line("change", "list", server=server).out == "No changes.\n"
    assert line.connected == [(None, "https://git.example.org/below")]
    assert server.asked[-1][2]["repository"] == "team/shop"
    line("change", "create", server=server)
    assert server.asked[-1][1] == ("team/shop", "more")


def chain(*messages: str, trail: str = "environment/production") -> list[Link]:
    links: list[Link] = []
    for message in messages:
        event = Event("deployment.healthy", NOON, message, environment="production", data={"n": 1})
        links.append(linked(event, trail, links[-1] if links else None))
    return links


def trails(links: list[Link]) -> Server:
    row = views.TrailRow("environment/production", len(links), links[-1].hash)
    return Server(trails=views.TrailsView([row]), trail=lambda _: iter(links))


def test_a_trail_that_holds_is_said_to_with_its_end(line: Line) -> None:
    links = chain("one", "two")
    result = line("audit", "verify", server=trails(links))
    assert (result.code, f"✓ environment/production: 2 links, ends in {links[1].hash}" in result.out) == (0, True)
    assert line("audit", "verify", "--expect", links[0].hash, server=trails(links)).code == 0


@pytest.mark.parametrize("wrong", ["altered", "taken out", "cut off"])
def test_a_trail_that_does_not_hold_is_named(line: Line, wrong: str) -> None:
    links = chain("one", "two", "three")
    end = links[-1].hash
    if wrong == "altered":
        links[1] = msgspec.structs.replace(links[1], message="nothing")
    del links[{"altered": slice(0, 0), "taken out": slice(1, 2), "cut off": slice(2, 3)}[wrong]]
    result = line("audit", "verify", "--expect", end, server=trails(links))
    said = {"altered": "link 2 is not what was written", "taken out": "link 2 is missing", "cut off": "links were cut off"}[wrong]
    assert (result.code, said in result.out) == (1, True), result.out


def test_a_trail_that_only_the_clone_knows_is_missed(line: Line, tmp_path: Path) -> None:
    """Whether its end was cut off or all of it is gone; what is still there is no news."""
    links = chain("one", "two")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run([*git, "commit", "--allow-empty", "-qm", "Nothing"], check=True)

    def verify(trail: str, end: str, *more: str) -> tuple[int, str]:
        note = json.dumps({"trail": trail, "number": 9, "hash": end})
        subprocess.run([*git, "notes", "--ref", "trimtab", "add", "-f", "-m", note], check=True, capture_output=True)
        result = line("audit", "verify", "--clone", str(tmp_path), *more, server=trails(list(links)))
        return result.code, result.out

    assert verify("environment/production", links[0].hash)[0] == 0
    code, said = verify("environment/production", HASH)
    assert (code, "links were cut off or replaced" in said) == (1, True)
    code, said = verify("environment/staging", HASH)
    assert (code, "environment/staging: the clone knows of it" in said) == (1, True)
    assert verify("environment/staging", HASH, "--environment", "production")[0] == 0, "it was not asked for"


def test_an_export_is_lines_of_json_or_cells_that_are_text(line: Line) -> None:
    links = chain("=HYPERLINK(1)", "two")
    found = [msgspec.json.decode(one, type=Link) for one in line("audit", "export", server=trails(links)).out.splitlines()]
    assert found == links
    table = line("audit", "export", "--format", "csv", "--environment", "production", server=trails(links)).out
    assert table.startswith("trail,number,time,kind,message,")
    assert ",'=HYPERLINK(1)," in table
    none = line("audit", "export", "--since", "2027-01-01T00:00:00Z", server=trails(links))
    assert none.out == ""


def test_a_clone_that_has_no_merge_says_so(line: Line, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    commit = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm"]
    subprocess.run([*commit, "Nothing\n\nApproved-by: nobody"], check=True)
    assert line("audit", "rebuild", str(tmp_path)).out == "No merge of a change is in it.\n"
    subprocess.run([*commit, "Merge change 3: X\n\nChange: 3\nApproved-by: Sue <s@x>\nPlan-production: " + HASH], check=True)
    out = line("audit", "rebuild", str(tmp_path)).out
    assert "change 3: Merge change 3: X" in out
    assert f"  approved by Sue <s@x>\n  production: {HASH}\n" in out
    assert line("audit", "rebuild", str(tmp_path), "--revision", "nowhere").code == 1
