"""Every `trimtab …` that a page of the project tells people to type is a command that there is, with options that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from trimtab.cli.main import root

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    if "trimtab " in path.read_text(encoding="utf-8")
)
_BLOCKS = re.compile(r"^[ ]*```(?:console(?: server)?|sh)\n(.*?)^[ ]*```$", flags=re.MULTILINE | re.DOTALL)
_IN_TEXT = re.compile(r"(?<!`)`(trimtab (?!ready )[a-z][^`\n]*)`(?!`)")
_TYPED = re.compile(r"(?:^|[;&|(!]\s*|\$ |ssh \S+ )(trimtab (?:(?!\s[|;&#]\s?|\)).)+)")


def typed(page: str) -> list[str]:
    """The command lines of a page, without what other programs are told."""
    lines = [line.strip() for body in _BLOCKS.findall(page) for line in body.splitlines()]
    lines = [line.removeprefix("$ ") for line in lines if not re.match(r"(trimtab: |trimtab ready )", line)]
    return [found for line in lines for found in _TYPED.findall(line)] + _IN_TEXT.findall(page)


def wrong(line: str) -> str:
    """What there is not in a command line; "" when it could be typed."""
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError:
        return ""  # a quotation that goes on in the next line
    command: click.Command = root
    context = click.Context(root, info_name="trimtab")
    for word in words:
        if word.startswith("-"):
            known = {spelling for option in command.get_params(context) for spelling in (*option.opts, *option.secondary_opts)}
            if word.partition("=")[0] not in known:
                return f"{line}: {command.name} has no option {word}"
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word):
            found = command.get_command(context, word)
            if found is None:
                return f"{line}: {command.name} has no command {word}"
            command, context = found, click.Context(found, info_name=word, parent=context)
    return ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(path: Path) -> None:
    assert [problem for line in typed(path.read_text(encoding="utf-8")) if (problem := wrong(line))] == []


def test_a_command_that_there_is_not_is_found() -> None:
    assert wrong("trimtab app shwo shop") == "trimtab app shwo shop: app has no command shwo"
    assert wrong("trimtab status HEAD --wiat healthy") == "trimtab status HEAD --wiat healthy: status has no option --wiat"
    page = "```console\n$ sleep 1; trimtab app show shop | head\nshop\n```\n\nand `trimtab doctor`."
    assert typed(page) == ["trimtab app show shop", "trimtab doctor"]
