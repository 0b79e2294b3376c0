"""Rendering and planning without a server: what Generators make and selectors choose is there too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from trimtab.core.model.errors import UserError
from trimtab.wiring.offline import offline_doctor, offline_plan, offline_render

TEMPLATE = {"metadata": {"name": "${path.basename}"}, "spec": {"source": {"path": "${path}"}, "environments": [{"selector": {}}]}}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two environments, and a generator over apps/, in a directory that nobody has committed."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".trimtab").mkdir()
    documents = [
        {"kind": "Environment", "metadata": {"name": "east"}},
        {"kind": "Environment", "metadata": {"name": "west"}},
        {
            "kind": "Generator",
            "metadata": {"name": "all"},
            "spec": {"generate": [{"directories": {"include": ["apps/*"]}}], "template": TEMPLATE},
        },
    ]
    for one in documents:
        file = tmp_path / ".trimtab" / f"{one['kind']}-{one['metadata']['name']}.json"  # type: ignore[index]
        file.write_text(json.dumps({"apiVersion": "trimtab.dev/v1", **one}))
    for name in ("cart", "shop"):
        (tmp_path / "apps" / name).mkdir(parents=True)
        body = {"apiVersion": "host.trimtab.dev/v1", "kind": "Process", "metadata": {"name": name}, "spec": {"command": ["true"]}}
        (tmp_path / "apps" / name / "process.json").write_text(json.dumps(body))
    return tmp_path


def test_what_a_generator_makes_is_rendered_and_planned(repository: Path) -> None:
    """Each directory in each environment; also when only one of the directories is asked about."""
    rendered = offline_render(str(repository))
    assert (sorted(one.name for one in rendered.manifests), rendered.errors) == (["cart", "cart", "shop", "shop"], [])
    assert [one.name for one in offline_render(str(repository / "apps" / "shop"), "west").manifests] == ["shop"]
    planned = offline_plan(str(repository), "east")
    assert [(step.action, step.application, step.environment) for step in planned.steps] == [
        ("create", "cart", "east"),
        ("create", "shop", "east"),
    ]


def test_another_repository_is_not_read_and_that_is_told(repository: Path) -> None:
    """What is made of it is left out, and not taken for nothing."""
    file = repository / ".trimtab" / "Generator-all.json"
    file.write_text(file.read_text().replace('"include"', '"repository": "https://git.example/teams.git", "include"'))
    rendered = offline_render(str(repository))
    assert rendered.manifests == []
    assert "https://git.example/teams.git is not read without a server" in rendered.errors[0].message


def test_an_environment_that_nobody_declares_is_an_error_and_not_one_without_changes(repository: Path) -> None:
    """A slip in its name would be a green light otherwise; while documents are wrong, those are told instead."""
    for ask in (offline_plan, offline_render, offline_doctor):
        with pytest.raises(UserError, match="find environment eats: nobody declares it") as caught:
            ask(str(repository), "eats")
        assert caught.value.remedy == "There are: east, host, west"
    (repository / ".trimtab" / "Environment-north.json").write_text('{"apiVersion": "trimtab.dev/v1", "kind": "Environmentt"}')
    assert "Environmentt" in str(offline_plan(str(repository), "north").errors)
