"""Commands that ask no server: schema, completion, serve, down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trimtab.core.model.errors import TransientError
from trimtab.core.model.rendering import RenderSettings

from .conftest import Line


@pytest.mark.parametrize("kind", ["Application", "Environment", "Project", "Process", "File", "Task"])
def test_every_kind_has_a_strict_schema_of_whole_documents(line: Line, kind: str) -> None:
    result = line("schema", kind.lower())
    assert result.code == 0
    schema = json.loads(result.out)
    assert schema["title"] == kind
    assert schema["properties"]["kind"]["const"] == kind
    assert schema["properties"]["apiVersion"]["const"].endswith("trimtab.dev/v1")
    assert schema["required"][:2] == ["apiVersion", "kind"]
    assert schema["additionalProperties"] is False
    assert "metadata" in schema["properties"]


def test_every_reference_in_a_schema_can_be_followed(line: Line) -> None:
    for kind in ("Application", "Process"):
        text = line("schema", kind).out
        schema = json.loads(text)
        names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
        assert names <= schema["$defs"].keys()


def test_a_kind_that_there_is_not_is_a_failure_that_lists_them(line: Line) -> None:
    result = line("schema", "Deployment")
    assert result.code == 1
    assert "The kinds are Environment, Application, Project" in result.err
    assert "Process, File, Task" in result.err


TRIMTAB = [sys.executable, "-c", "from trimtab.cli.main import main; main()"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_one_that_the_shell_understands(line: Line, shell: str) -> None:
    result = line("completion", shell)
    assert result.code == 0
    assert "_TRIMTAB_COMPLETE" in result.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.out, text=True, check=True)


def completed(words: str, prelude: str = "") -> list[str]:
    """What bash would offer after ``words``, of which the last is not finished."""
    code = f"{prelude}\nfrom trimtab.cli.main import main; main()"
    environment = os.environ | {
        "_TRIMTAB_COMPLETE": "bash_complete",
        "COMP_WORDS": f"trimtab {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return [answer.partition(",")[2] for answer in result.stdout.splitlines() if answer]


def test_commands_and_options_complete() -> None:
    assert completed("st") == ["status"]
    assert completed("app ro") == ["rollback"]
    assert "--environment" in completed("app plan --env")


def test_names_of_applications_come_from_a_running_server() -> None:
    prelude = """
import trimtab.cli.session as session
from types import SimpleNamespace as S
names = ["shop", "shed", "blog", "sh\\x1b[2J"]
answer = S(applications=[S(name=name) for name in names])
session._connect = lambda data, server: S(applications=lambda: answer)
session.Session.__init__.__kwdefaults__["connect"] = session._connect
"""
    assert completed("app show sh", prelude) == ["shed", "shop"]


def test_without_a_server_names_complete_to_nothing_and_quietly() -> None:
    assert completed("app show sh") == []


class Called(SimpleNamespace):
    """Stands in for `trimtab.wiring`."""


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> Called:
    found = Called(asked=[])
    monkeypatch.setitem(sys.modules, "trimtab.wiring", found)
    return found


def test_serve_passes_on_what_it_is_told(line: Line, wiring: Called, tmp_path: Path) -> None:
    def serve(**settings: Any) -> int:
        wiring.asked.append(settings)
        return 0

    wiring.serve = serve
    told = ["--listen", "unix:s", "--poll-seconds", "5", "--public-url", "https://t.example", "--trusted-proxy", "10.0.0.1"]
    told += ["--reachable", "--installation", "platform"]
    told += ["--plugin", "cue=cue export", "--plugin-network", "cue"]
    result = line("serve", "--repository", "r", "--data", str(tmp_path), *told)
    assert result.code == 0
    assert wiring.asked == [
        {
            "repository": "r",
            "data": str(tmp_path),
            "listen": "unix:s",
            "reachable": True,
            "installation": "platform",
            "poll_seconds": 5.0,
            "log_format": "text",
            "public_url": "https://t.example",
            "allowed_hosts": (),
            "trusted_proxies": ("10.0.0.1",),
            "rendering": RenderSettings("", ("cue=cue export",), ("cue",)),
            "checkers": (),
        }
    ]


def test_serve_without_a_repository_is_a_usage_error(line: Line, wiring: Called) -> None:
    assert line("serve", "--data", "d").code == 2


def test_down_tells_what_it_ended(line: Line, wiring: Called) -> None:
    wiring.down = lambda data: f"ended what ran in {data}"
    assert line("down", "--data", "d") == (0, "ended what ran in d\n", "")
    assert json.loads(line("down", "--data", "d", "--output", "json").out) == {"message": "ended what ran in d"}


def test_down_that_fails_says_why(line: Line, wiring: Called) -> None:
    def down(_: str) -> str:
        raise TransientError("end Process/web: it still runs", remedy="Try again")

    wiring.down = down
    assert line("down", "--data", "d") == (1, "", "trimtab: end Process/web: it still runs\nTry again\n")
