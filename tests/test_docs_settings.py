"""docs/reference/settings.md names every option of the server, every variable that the code knows, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click

from trimtab.cli.serve import serve
from trimtab.engine.engine import Parts

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
PLACEHOLDERS = {"TRIMTAB_PORT_NAME", "TRIMTAB_PROCESS_PORT_ADDRESS"}
"""Names that stand for many: the code puts them together."""


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_every_option_of_the_server_has_a_row_with_its_variable_and_default() -> None:
    lines = re.findall(r"^\| `--.*$", section("The server"), flags=re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in line.split("|")] for line in lines]
    rows = {option: (variable, default) for _, option, variable, default, *_ in cells}
    options = {option.opts[0]: option for option in serve.params if isinstance(option, click.Option)}
    assert rows.keys() == options.keys()
    for name, option in options.items():
        variable, default = rows[name]
        assert variable == (option.envvar or ""), name
        if option.required:
            assert default == "required", name
        elif option.default:
            assert default in (f"{option.default}", f"{option.default:g}" if isinstance(option.default, float) else ""), name


def test_every_variable_of_ours_in_the_code_is_named_and_no_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "trimtab").rglob("*.py")]
    used = {name for text in sources for name in re.findall(r"[\"'`$(\s](_?TRIMTAB_[A-Z]+(?:_[A-Z]+)*)\b", text)}
    examples = {name for name in used if name.startswith("TRIMTAB_PORT_") or name.endswith("_ADDRESS")}
    named = set(re.findall(r"`(_?TRIMTAB_[A-Z_]+[A-Z])`", PAGE))
    assert named - PLACEHOLDERS == used - examples


def test_how_long_the_record_is_kept_is_that_of_the_code() -> None:
    fields = Parts.__dataclass_fields__
    assert f"kept for {fields['keep_events_days'].default} days" in PAGE
    assert f"newest {fields['keep_deployments'].default} Deployments" in " ".join(PAGE.split())
