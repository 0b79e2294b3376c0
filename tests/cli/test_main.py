"""The command itself: its list, its exit codes, how errors look, and how little it starts with (bench/cli.py has the times)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from trimtab.cli.lazy import LazyGroup
from trimtab.cli.main import root
from trimtab.core.model.errors import Problem, Refused, TransientError, UserError
from trimtab.core.model.views import ApplicationsView

from .conftest import Line, Server

GONE = TransientError(
    "no server answers at unix:/run/trimtab.sock", remedy="Start one: trimtab serve --repository URL --data DIR"
)
WRONG = UserError("shop cannot be rendered", problems=[Problem("no such kind", "shop/web.yaml", 7, "kind", "Write Process")])


def commands(group: click.Group = root, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command, str]]:
    """Every command with its path and, where a table has one, its line in the list."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*prefix, name), command, group.table[name][1] if isinstance(group, LazyGroup) else ""
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))


ALL = list(commands())


@pytest.mark.parametrize(("path", "command"), [(path, command) for path, command, _ in ALL], ids=lambda value: str(value))
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...], command: click.Command, line: Line) -> None:
    assert command.help
    assert isinstance(command, click.Group) or "Example:\n  " in command.help.replace("\b\n", "")
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    result = line(*path, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: trimtab {' '.join(path)}")


@pytest.mark.parametrize("path", [path for path, command, _ in ALL if not isinstance(command, click.Group)], ids=str)
def test_every_command_that_answers_can_answer_in_json(path: tuple[str, ...]) -> None:
    [command] = [command for other, command, _ in ALL if other == path]
    if path not in {("serve",), ("completion",)}:
        assert "--output" in [name for parameter in command.params for name in parameter.opts]


def test_without_a_command_the_list_is_shown(line: Line) -> None:
    result = line("--help")
    assert result.code == 0
    assert all(path[0] in result.out for path, _, _ in ALL)


def test_a_command_that_there_is_not_is_a_usage_error_that_names_the_nearest(line: Line) -> None:
    result = line("statsu")
    assert (result.code, result.out) == (2, "")
    assert "Did you mean 'status'?" in result.err
    assert line("app", "remove").code == 2


@pytest.mark.parametrize("arguments", [["status", "--nonsense"], ["app", "show"], ["status", "--output", "xml"], ["--nonsense"]])
def test_wrong_use_is_told_on_the_standard_error(line: Line, arguments: list[str]) -> None:
    result = line(*arguments, server=Server())
    assert (result.code, result.out) == (2, "")
    assert "Error: " in result.err


def test_an_error_is_told_with_its_place_and_its_remedy(line: Line) -> None:
    result = line("app", "list", server=Server(applications=WRONG))
    assert result == (1, "", "trimtab: shop cannot be rendered\n  shop/web.yaml:7: kind: no such kind\n      Write Process\n")


def test_an_error_that_is_one_problem_is_told_once(line: Line) -> None:
    result = line("app", "list", server=GONE)
    assert result == (1, "", f"trimtab: {GONE.message}\n{GONE.remedy}\n")


def test_an_error_is_json_where_json_was_asked_for(line: Line) -> None:
    result = line("app", "list", "--output", "json", server=Server(applications=WRONG))
    assert (result.code, result.err) == (1, "")
    assert json.loads(result.out) == {
        "message": "shop cannot be rendered",
        "remedy": "",
        "errors": [{"file": "shop/web.yaml", "line": 7, "field": "kind", "message": "no such kind", "remedy": "Write Process"}],
    }


def test_a_refusal_and_a_broken_disk_are_failures_without_a_traceback(line: Line) -> None:
    for error in (Refused("approval is not yours", remedy="Ask Ada"), OSError(28, "No space left on device", "x")):
        result = line("app", "list", server=Server(applications=error))
        assert result.code == 1
        assert "Traceback" not in result.err


def test_a_defect_of_ours_says_so_and_shows_where(line: Line) -> None:
    result = line("app", "list", server=Server(applications=KeyError("x")))
    assert result.code == 1
    assert "Traceback" in result.err
    assert "a defect in Trimtab: KeyError" in result.err


def test_hostile_text_in_an_error_does_not_reach_the_terminal(line: Line) -> None:
    hostile = UserError("\x1b[2Jgone", remedy="\x9b31mred", problems=[Problem("\x07ring", "\x1b]0;x\x07file", 1)])
    result = line("app", "list", server=Server(applications=hostile))
    assert not {"\x1b", "\x07", "\x9b"} & set(result.err)


def test_an_interrupt_ends_it_with_130(line: Line) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    assert line("app", "list", server=Server(applications=interrupted)).code == 130


def test_data_and_server_are_taken_from_options_before_the_environment(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(applications=ApplicationsView([]))
    line("app", "list", server=server)
    assert line.connected == [(None, None)]
    monkeypatch.setenv("TRIMTAB_DATA", "/srv/one")
    monkeypatch.setenv("TRIMTAB_SERVER", "http://127.0.0.1:1")
    line("app", "list", server=server)
    assert line.connected == [("/srv/one", "http://127.0.0.1:1")]
    line("app", "list", "--data", "/srv/two", "--server", "http://127.0.0.1:2", server=server)
    assert line.connected == [("/srv/two", "http://127.0.0.1:2")]


# In a process of its own

TRIMTAB = [sys.executable, "-c", "from trimtab.cli.main import main; main()"]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = subprocess.Popen([*TRIMTAB, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    error = command.stderr.read()
    command.stderr.close()
    assert (command.wait(), error) == (0, b"")


def test_a_screen_that_knows_no_unicode_is_no_error() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = subprocess.run([*TRIMTAB, "statusé"], env=environment, capture_output=True, check=False)
    assert result.returncode == 2


LIGHT = "print(sorted({name.partition('.')[0] for name in sys.modules} & {HEAVY!r}))"
HEAVY = {"aiohttp", "alembic", "asyncio", "pygit2", "rich", "sqlalchemy", "starlette", "supervisor", "uvicorn", "yaml"}


@pytest.mark.parametrize("arguments", [["--help"], ["app", "--help"], ["status", "--help"], ["status"]], ids=" ".join)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    code = f"import sys; from trimtab.cli.main import run; run({arguments!r}); {LIGHT.replace('{HEAVY!r}', repr(HEAVY))}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIMTAB_")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[-1] == "[]"
