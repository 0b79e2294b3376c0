"""`trimtab demo`, for real: what it shows is true, it says so when it is not, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.cli.demo.command import play
from trimtab.cli.demo.stage import TRIMTAB
from trimtab.cli.demo.story import Story

SECONDS_MAX = 60
COMMAND_SECONDS_MAX = 120
HOSTILE = """
[commit]
    gpgSign = true
    template = /nonexistent
[core]
    hooksPath = hooks
    editor = false
[user]
    useConfigOnly = true
[init]
    templateDir = template
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: the path of a unix socket has a bound."""
    with tempfile.TemporaryDirectory(prefix="demo-") as path:
        yield Path(path)


def environment(place: Path, **own: str) -> dict[str, str]:
    """No home, no terminal, settings of git that would spoil every commit, and a server that is none of ours."""
    settings = place / "gitconfig"
    settings.write_text(HOSTILE)
    (place / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "HOME" and not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": str(settings),
        "GIT_DIR": "/nonexistent",
        "TMPDIR": str(place / "tmp"),
        "TRIMTAB_SERVER": "http://127.0.0.1:1",
        "TRIMTAB_TOKEN": "none",
        "http_proxy": "http://127.0.0.1:1",
        **own,
    }


def trimtab(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*TRIMTAB, *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "TRIMTAB_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def test_the_demo_shows_the_whole_loop_in_under_a_minute_and_leaves_nothing_behind(place: Path) -> None:
    command = [*TRIMTAB, "demo"]
    done = subprocess.run(
        command,
        env=environment(place),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    shown, _, summary = done.stdout.partition("Shown and checked in ")
    for line in (
        "$ git clone --quiet --template= http://127.0.0.1:",
        "$ git commit -am 'Release 2'",
        "$ git push -o change",
        "remote:   ✗ policy/thrift",
        "ben $ trimtab change approve 1 --yes --environment production",
        "ben $ trimtab change merge 1 --wait",
        "Approved-by: Ben Bell <ben@example.org>",
        "$ trimtab status HEAD --wait healthy --timeout 60s",
        "$ kill -9 ",
        "last log line: not ready: the api answers 404 to /discounts",
        "lifted by: approving this plan: trimtab change approve 4",
        "$ git revert --no-edit -m 1 HEAD",
        "production, since you approved sha256:",
        "$ trimtab audit verify",
        "$ git log --first-parent --notes=trimtab",
    ):
        assert line in shown, line
    assert int(summary.partition(" s\n")[0]) < SECONDS_MAX
    claims = [line for line in summary.splitlines() if line.startswith("  ✓ ")]
    assert len(claims) >= 30
    for claim in (
        "release 2 serves in staging",
        "took its place",
        "the price list is what Git says again",
        "0 failed",
        "4 of 4",
        "so it is not merged",
    ):
        assert any(claim in line for line in claims), claim
    assert "Everything that ran has ended. Its directory is removed." in summary
    assert [line for line in done.stdout.splitlines() if len(line) > 80 or "\x1b" in line] == []
    assert list((place / "tmp").iterdir()) == []


def test_it_says_what_is_untrue_and_ends_with_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where somebody has told Trimtab to leave production alone, an edited file is not put back."""

    def meddle(moment: str) -> None:
        if moment == "before the price list is edited":
            trimtab(place / "demo" / "data", "app", "suspend", "shop", "--reason", "a test", "--for", "1h").check_returncode()

    view = play(place / "demo", keep=True, meddle=meddle, patience_seconds=4.0)
    assert not view.ok
    assert [check.claim for check in view.checks if not check.ok] == ["an edited file is put back"]
    assert 'what was seen last: b\'{"coffee": 0.01}' in view.checks[-1].measured
    shown = capsys.readouterr().out
    assert "✗ NOT TRUE: an edited file is put back" in shown
    assert "The last lines of the server's log" in shown
    assert f"Everything that ran has ended. {place / 'demo'} stays." in shown


def test_a_failed_demo_is_exit_code_1_and_a_document_for_programs(place: Path) -> None:
    """Where there is no git, the first thing that is untrue is that it can be run."""
    command = [*TRIMTAB, "demo", "--output", "json"]
    done = subprocess.run(
        command, env=environment(place, PATH=str(place)), capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, check=False
    )
    assert done.returncode == 1
    [check] = json.loads(done.stdout)["checks"]
    assert (check["ok"], check["measured"]) == (False, "there is no git; install it")
    assert list((place / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_cleans_up_when_it_is_told_to_end(place: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen([*TRIMTAB, "demo"], env=environment(place), stdout=subprocess.PIPE, text=True)
    with demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "staging is open" in line:
                break
        demo.send_signal(number)
        rest = demo.stdout.read()
    assert demo.returncode == 130
    assert "Interrupted. Everything that was started is ended now." in rest
    assert list((place / "tmp").iterdir()) == []


def test_kept_it_goes_on_running_and_says_what_to_type(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Story, "play", Story.begin)
    view = play(place / "demo", keep=True)
    shown = capsys.readouterr().out
    data = place / "demo" / "data"
    status = trimtab(data, "status", "--output", "json")
    down = trimtab(data, "down")
    assert (view.ok, view.directory) == (True, str(place / "demo"))
    assert {one["phase"] for one in json.loads(status.stdout)["deployments"]} == {"healthy"}
    assert down.returncode == 0
    for line in (f"export TRIMTAB_DATA={data}", "trimtab down ", "trimtab status HEAD --wait healthy"):
        assert line in shown
    assert sys.executable in (place / "demo" / "shop" / "staging" / "web.yaml").read_text()
