"""`trimtab plan`, `trimtab app plan` and `trimtab render`: what would change, what would be applied."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange
from trimtab.core.model.rendering import DETECTED
from trimtab.core.model.views import HoldView, ManifestView, PlanView, ProblemView, RenderView, SourceView, StepView

from .conftest import Line, Server

WEB = ObjectRef("host.trimtab.dev/v1", "Process", "", "web")
CONFIG = ObjectRef("host.trimtab.dev/v1", "File", "", "config")
HASH = "sha256:" + "1" * 64
WRONG = ProblemView("shop/web.yaml", 7, "spec.command", "is missing", "Add spec.command")


def step(action: str, *changes: FieldChange, ref: ObjectRef = WEB) -> StepView:
    return StepView(action, ref, "shop", "production", list(changes))


def plan(*steps: StepView, holds: list[HoldView] | None = None, errors: list[ProblemView] | None = None) -> PlanView:
    return PlanView(HASH, list(steps), holds or [], errors or [])


def test_nothing_to_do_is_in_sync(line: Line) -> None:
    assert line("app", "plan", "shop", server=Server(plan=plan())) == (0, "Nothing would change.\n", "")


def test_every_object_has_a_sign_and_every_field_its_two_values(line: Line) -> None:
    changes = [
        FieldChange("/spec/replicas", 1, 3),
        FieldChange("/spec/args", None, ["-v"]),
        FieldChange("/spec/env/A", "x", None),
    ]
    view = plan(step("update", *changes), step("remove", ref=CONFIG), step("create", FieldChange("/kind", None, "x")))
    result = line("app", "plan", "shop", server=Server(plan=view))
    assert result.code == 3
    assert result.out.splitlines() == [
        "shop in production",
        "  ~ update Process/web",
        "      ~ /spec/replicas: 1 → 3",
        '      + /spec/args: ["-v"]',
        '      - /spec/env/A: "x"',
        "  - remove File/config",
        "  + create Process/web",
        "1 to create, 1 to update, 1 to remove.",
        f"plan {HASH}",
    ]


def test_what_stands_in_no_file_is_not_said_to_be_wrong_in_git(line: Line) -> None:
    """A kubeconfig that is missing, a right that is: the one who asks has to mend that, and not whoever committed."""
    away = ProblemView("", 0, "", "find a cluster: there is no kubeconfig", "Set KUBECONFIG to a file")
    result = line("app", "plan", "shop", server=Server(plan=plan(errors=[away])))
    assert result.code == 1
    assert result.out.splitlines()[:3] == [
        "This cannot be planned:",
        "  find a cluster: there is no kubeconfig",
        "      Set KUBECONFIG to a file",
    ]


def test_a_hold_says_why_and_gives_the_command_that_lifts_it(line: Line) -> None:
    hold = HoldView(CONFIG, "beyond the removal budget", "approval of this plan", "shop", "production", HASH)
    result = line("app", "plan", "shop", server=Server(plan=plan(holds=[hold])))
    assert result.code == 3
    assert "held File/config in shop@production: beyond the removal budget" in result.out
    assert f"trimtab app approve shop {HASH} --environment production" in result.out
    assert "1 held." in result.out


def test_what_is_wrong_in_git_is_a_failure_and_not_an_empty_plan(line: Line) -> None:
    result = line("app", "plan", "shop", server=Server(plan=plan(errors=[WRONG])))
    assert result.code == 1
    assert "shop/web.yaml:7: spec.command: is missing" in result.out
    assert "Nothing else would change." in result.out


def test_the_environment_is_passed_on(line: Line) -> None:
    server = Server(plan=plan())
    line("app", "plan", "shop", "-e", "staging", server=server)
    assert server.asked == [("plan", ("shop",), {"environment": "staging"})]


def test_colours_are_for_terminals_and_not_for_those_who_want_none(
    line: Line, terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(plan=plan(step("remove")))
    assert "\x1b[31m- remove Process/web\x1b[0m" in line("app", "plan", "shop", server=server).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in line("app", "plan", "shop", server=server).out
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b" in line("app", "plan", "shop", server=server).out


class Wiring(SimpleNamespace):
    """Stands in for `trimtab.wiring`; remembers its calls."""


@pytest.fixture
def wiring(monkeypatch: pytest.MonkeyPatch) -> Wiring:
    found = Wiring(asked=[])
    monkeypatch.setitem(sys.modules, "trimtab.wiring", found)
    return found


def answering(wiring: Wiring, name: str, view: Any) -> None:
    def answer(*arguments: Any) -> Any:
        wiring.asked.append(arguments)
        return view

    setattr(wiring, name, answer)


def test_a_directory_is_planned_without_a_server(line: Line, wiring: Wiring, tmp_path: Path) -> None:
    answering(wiring, "offline_plan", plan(step("create")))
    result = line("plan", str(tmp_path), "--environment", "production", "--data", "state", "--output", "json")
    assert result.code == 3
    assert wiring.asked == [(str(tmp_path), "production", "state", DETECTED)]
    assert line.connected == []
    document = json.loads(result.out)
    assert document["hash"] == HASH
    assert document["steps"][0]["action"] == "create"
    assert document["steps"][0]["object"] == {
        "apiVersion": "host.trimtab.dev/v1",
        "kind": "Process",
        "namespace": "",
        "name": "web",
    }


BODY = {"apiVersion": "host.trimtab.dev/v1", "kind": "Process", "metadata": {"name": "web"}, "spec": {"command": ["y", "1e3"]}}
MANIFEST = ManifestView("host.trimtab.dev/v1", "Process", "", "web", SourceView("shop/web.yaml", 3), BODY)


def test_a_render_prints_yaml_with_the_place_of_each_object(line: Line, wiring: Wiring, tmp_path: Path) -> None:
    answering(wiring, "offline_render", RenderView([MANIFEST], []))
    result = line("render", str(tmp_path))
    assert result.code == 0
    assert result.out.startswith("---\n# shop/web.yaml:3\napiVersion: host.trimtab.dev/v1\nkind: Process\n")
    assert '- "y"\n' in result.out, "what kubectl would take for something else is in quotes"


def test_a_render_that_went_wrong_is_a_failure_and_tells_the_place(line: Line, wiring: Wiring, tmp_path: Path) -> None:
    answering(wiring, "offline_render", RenderView([MANIFEST], [WRONG]))
    result = line("render", str(tmp_path))
    assert result.code == 1
    assert "shop/web.yaml:7: spec.command: is missing" in result.err
    document = line("render", str(tmp_path), "--output", "json")
    assert document.code == 1
    assert json.loads(document.out) == {
        "manifests": [
            {
                "apiVersion": "host.trimtab.dev/v1",
                "kind": "Process",
                "namespace": "",
                "name": "web",
                "source": {"file": "shop/web.yaml", "line": 3},
                "object": BODY,
            }
        ],
        "errors": [
            {
                "file": "shop/web.yaml",
                "line": 7,
                "field": "spec.command",
                "message": "is missing",
                "remedy": "Add spec.command",
            }
        ],
    }


def test_a_path_that_is_not_there_is_a_usage_error(line: Line, tmp_path: Path) -> None:
    assert line("render", str(tmp_path / "none")).code == 2
    assert line("plan", str(tmp_path / "none")).code == 2
