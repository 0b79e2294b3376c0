"""External checkers as real programs: what they read, what they say, and what becomes of those that misbehave."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from trimtab.core.model.errors import UserError
from trimtab.wiring.checkers import CommandCheckers

VALUES: dict[str, Any] = {"policy": "limits", "subjects": [{"object": {"kind": "Deployment", "metadata": {"name": "web"}}}]}


def checkers(tmp_path: Path, script: str, *, seconds: float = 20) -> CommandCheckers:
    file = tmp_path / "check.py"
    file.write_text(f"import json, sys\ngiven = json.load(sys.stdin)\n{script}\n")
    return CommandCheckers([f"limits={sys.executable} {file}"], seconds=seconds)


async def said(tmp_path: Path, script: str, **options: Any) -> list[str]:
    return [problem.message for problem in await checkers(tmp_path, script, **options).check("limits", VALUES)]


async def test_it_reads_what_it_is_asked_about_and_passes(tmp_path: Path) -> None:
    assert await said(tmp_path, "assert given['subjects'][0]['object']['metadata']['name'] == 'web'") == []


async def test_what_it_prints_is_said(tmp_path: Path) -> None:
    assert await said(tmp_path, "print(json.dumps([{'message': 'no limits'}])); sys.exit(1)") == ["no limits"]


async def test_one_that_breaks_counts_against_it(tmp_path: Path) -> None:
    (message,) = await said(tmp_path, "raise SystemExit('no such rule')")
    assert message == "checker limits failed with 1: no such rule"


async def test_one_that_does_not_end_is_ended_and_counts_against_it(tmp_path: Path) -> None:
    (message,) = await said(tmp_path, "import time; time.sleep(60)", seconds=0.5)
    assert "killed after 0.5 s" in message


async def test_it_sees_nothing_of_the_servers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_TOKEN", "hunter2")
    assert await said(tmp_path, "import os; print(json.dumps([k for k in os.environ if 'TRIMTAB' in k]))") == []


async def test_one_that_was_not_given_counts_against_it_and_names_those_that_were(tmp_path: Path) -> None:
    (problem,) = await checkers(tmp_path, "").check("other", VALUES)
    assert problem.message == "this server has no checker called other"
    assert "Checkers: limits." in problem.remedy


async def test_a_program_that_is_not_there_counts_against_it() -> None:
    (problem,) = await CommandCheckers(["gone=/no/such/program"]).check("gone", VALUES)
    assert problem.message == "checker gone: there is no /no/such/program on this machine"


@pytest.mark.parametrize("text", ["limits", "=x", "Limits=x", "limits=", "limits='x"])
def test_what_is_no_checker_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(UserError):
        CommandCheckers([text])
