"""docs/life-of-a-commit.md shows the tables that stand in the code, as they stand there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "life-of-a-commit.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["core/lifecycle/reconcile.py", "core/lifecycle/change.py", "core/decide/plan.py"])
def test_the_page_shows_the_table_of_the_module(module: str) -> None:
    text = ast.get_docstring(ast.parse((ROOT / "src" / "trimtab" / module).read_text(encoding="utf-8")))
    assert text is not None
    table = [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ")]
    assert table
    assert [line for line in table if f"\n{line}\n" not in PAGE] == []
