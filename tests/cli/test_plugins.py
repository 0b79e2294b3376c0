"""Plugins as the command line declares them, and what doctor says of what renders."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trimtab.core.model.errors import UserError
from trimtab.core.model.rendering import RenderSettings
from trimtab.plumbing import confined
from trimtab.render.plugin import PluginCommand
from trimtab.wiring.checks import machine
from trimtab.wiring.rendering import commands


def test_a_command_is_taken_apart_as_a_shell_would() -> None:
    """And is run without one."""
    settings = RenderSettings(plugins=("cue=cue export . --out 'yaml'", "web=curl"), plugins_with_network=("web",))
    assert commands(settings) == {
        "cue": PluginCommand(("cue", "export", ".", "--out", "yaml")),
        "web": PluginCommand(("curl",), network=True),
    }


@pytest.mark.parametrize(
    ("plugins", "network", "words"),
    [
        (("cue",), (), "NAME=COMMAND is wanted"),
        (("cue=",), (), "NAME=COMMAND is wanted"),
        (("a b=x",), (), "NAME=COMMAND is wanted"),
        (("cue='x",), (), "Close the quotes"),
        (("cue=x", "cue=y"), (), "there twice"),
        ((), ("cue",), "there is no such plugin"),
    ],
)
def test_what_no_plugin_can_be(plugins: tuple[str, ...], network: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        commands(RenderSettings(plugins=plugins, plugins_with_network=network))


async def found(tmp_path: Path, settings: RenderSettings) -> dict[str, tuple[str, str]]:
    return {finding.check: (finding.state, finding.message) for finding in await machine(tmp_path, settings)}


async def test_doctor_tells_what_renders(tmp_path: Path) -> None:
    """The libraries with their versions, and each plugin with its program."""
    told = await found(tmp_path, RenderSettings(plugins=(f"here={sys.executable}", "gone=/nowhere/x")))
    assert told["helm"] == ("ok", "helm-python-sdk 0.2.2")
    assert told["jsonnet"][1].startswith("gojsonnet ")
    assert told["isolation"][0] == "ok"
    assert told["plugin here"] == ("ok", sys.executable)
    assert told["plugin gone"] == ("failed", "there is no /nowhere/x")
    assert (await found(tmp_path, RenderSettings(helm="/nowhere/helm")))["helm"] == ("failed", "there is no /nowhere/helm")


async def test_doctor_tells_when_nothing_can_be_kept_off_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that would have to be is not run, and that is said before anybody commits one."""
    broken = tmp_path / "confined.py"
    broken.write_text(Path(confined.__file__).read_text().replace("0x10000000", "0x7"))  # what no kernel takes
    monkeypatch.setattr(confined, "__file__", str(broken))
    told = await found(
        tmp_path, RenderSettings(plugins=(f"a={sys.executable}", f"b={sys.executable}"), plugins_with_network=("b",))
    )
    assert told["isolation"][0] == "warning"
    assert told["plugin a"][0] == "failed"
    assert told["plugin b"] == ("ok", f"{sys.executable}, with the network")
