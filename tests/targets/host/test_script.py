"""What the shell is given: no word from a repository may become more than a word."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.targets.host import script
from trimtab.targets.host.kinds import ProcessSpec, TaskSpec

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def test_references_are_expanded_as_kubernetes_does() -> None:
    """Known names are replaced, unknown ones stay, a doubled dollar escapes."""
    values = {"PORT": "80"}
    assert script.expand("--port=$(PORT) $(OTHER) $$(PORT) $$ $PORT", values) == "--port=80 $(OTHER) $(PORT) $ $PORT"


def test_addresses_become_variables() -> None:
    """Names of processes and ports are made into names that a shell takes."""
    assert script.variable("my-api", "http", "address") == "TRIMTAB_MY_API_HTTP_ADDRESS"


def test_one_port_is_also_called_port() -> None:
    """PORT is set when there is no doubt which one is meant."""
    spec = ProcessSpec(command=["x"], environment={"URL": "http://$(TRIMTAB_API_HTTP_ADDRESS)/", "AGAIN": "$(URL)v1"})
    values = script.environment(
        spec, instance="i/x", ports={"http": 81}, addresses={"TRIMTAB_API_HTTP_ADDRESS": "a:1"}, tree="/t"
    )
    assert values == {
        "PORT": "81",
        "TRIMTAB_PORT_HTTP": "81",
        "TRIMTAB_TREE": "/t",
        "TRIMTAB_API_HTTP_ADDRESS": "a:1",
        "TRIMTAB_INSTANCE": "i/x",
        "URL": "http://a:1/",
        "AGAIN": "http://a:1/v1",
    }
    assert "PORT" not in script.environment(spec, instance="i", ports={"a": 1, "b": 2}, addresses={}, tree="")


def run(directory: Path, text: str, before: str) -> subprocess.CompletedProcess[bytes]:
    (directory / "instances" / "x").mkdir(parents=True, exist_ok=True)
    (directory / "instances/x/run").write_text(text)
    (directory / "instances/x/environment").write_text(before)
    return subprocess.run(["/bin/sh", "instances/x/run"], cwd=directory, env={"PATH": os.environ["PATH"]}, check=False)


@settings(max_examples=30)
@given(argument=words, value=words)
def test_words_survive_the_shell(tmp_path_factory, argument: str, value: str) -> None:
    """Whatever stands in arguments and environment arrives as it is."""
    tmp_path = tmp_path_factory.mktemp("script")
    spec = ProcessSpec(
        command=["sh", "-c", 'printf "%s" "$1" >argument; printf "%s" "$VALUE" >value'],
        args=["sh", argument],
        environment={"VALUE": value},
    )
    values = script.environment(spec, instance="i", ports={}, addresses={}, tree="")
    before = script.preamble(spec, values, directory=str(tmp_path))
    run(tmp_path, script.process_script(spec, values, place="instances/x"), before)
    assert (tmp_path / "argument").read_bytes().decode() == script.expand(argument, values)
    assert (tmp_path / "value").read_bytes().decode() == script.expand(value, {})


def test_secrets_are_read_at_the_start_and_stand_nowhere(tmp_path: Path) -> None:
    """The value reaches the process and is in no script."""
    (tmp_path / "secret").write_text("it's $(hidden)\n")
    spec = ProcessSpec(command=["sh", "-c", 'printf "%s" "$TOKEN" >seen'], secret_environment={"TOKEN": str(tmp_path / "secret")})
    before, text = script.preamble(spec, {}, directory=str(tmp_path)), script.process_script(spec, {}, place="instances/x")
    assert run(tmp_path, text, before).returncode == 0
    assert (tmp_path / "seen").read_text() == "it's $(hidden)"
    assert "hidden" not in before + text


def test_a_missing_secret_is_told(tmp_path: Path) -> None:
    """The exit status is 78, and the log names the variable and the file."""
    spec = ProcessSpec(command=["true"], secret_environment={"TOKEN": "/nowhere/token"})
    done = run(tmp_path, script.process_script(spec, {}, place="instances/x"), script.preamble(spec, {}, directory=str(tmp_path)))
    assert done.returncode == 78
    assert "cannot read the value of TOKEN from /nowhere/token" in (tmp_path / "instances/x/log").read_text()


def test_a_task_runs_once_however_often_it_is_started(tmp_path: Path) -> None:
    """The second start of the same run is refused; the exit status is written by the run itself."""
    spec = TaskSpec(command=["sh", "-c", "echo ran >>count; exit 3"])
    text, before = script.task_script(spec, {}, place="instances/x"), script.preamble(spec, {}, directory=str(tmp_path))
    assert run(tmp_path, text, before).returncode == 3
    assert run(tmp_path, text, before).returncode == 78
    assert (tmp_path / "count").read_text() == "ran\n"
    assert (tmp_path / "instances/x/exit").read_text() == "3\n"
