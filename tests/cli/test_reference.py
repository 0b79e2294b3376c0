"""docs/reference/cli.md names every command with every argument and option, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from trimtab.cli import session
from trimtab.cli.main import COMMANDS
from trimtab.cli.plans import SIGNS

from .test_main import ALL

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {
    " ".join(re.findall(r"\b[a-z]+\b", title.partition("[")[0].replace("trimtab ", ""))): (title, body)
    for title, body in re.findall(r"^### `(trimtab [^`]+)`\n(.*?)(?=^### |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
}
LEAVES = {" ".join(path): command for path, command, _ in ALL if not isinstance(command, click.Group)}


def test_the_page_has_a_section_for_each_command_and_no_other() -> None:
    assert SECTIONS.keys() == LEAVES.keys()


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_a_section_names_every_argument_and_option_and_no_other(name: str) -> None:
    title, body = SECTIONS[name]
    options = [one for one in LEAVES[name].params if isinstance(one, click.Option)]
    written = set(re.findall(r"`(--?[a-z][-a-z]*)", body))
    assert written == {spelling for one in options for spelling in (*one.opts, *one.secondary_opts)}
    arguments = [one.make_metavar(click.Context(LEAVES[name])) for one in LEAVES[name].params if isinstance(one, click.Argument)]
    assert all(re.sub(r"[\[\]{}]", "", one) in title or one.startswith("{") for one in arguments)


def test_the_exit_codes_are_those_of_the_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}
    assert codes == {session.DONE, session.FAILED, session.USAGE, session.DIFFERENT, session.INTERRUPTED}


def test_the_signs_of_a_plan_are_explained() -> None:
    assert [sign for sign in SIGNS.values() if f"`{sign}` " not in PAGE] == []


def test_the_list_of_commands_says_what_each_command_says_of_itself() -> None:
    assert all(line.endswith((".", "?")) for _, line in COMMANDS.values())
