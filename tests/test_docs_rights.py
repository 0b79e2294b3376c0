"""docs/reference/rights.md has the table of roles and actions as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.core.decide.rights import ROLES
from trimtab.core.model.rights import Action

PAGE = (Path(__file__).parent.parent / "docs" / "reference" / "rights.md").read_text(encoding="utf-8")


def test_the_table_of_roles_is_that_of_the_code() -> None:
    """Each role has its row, each action its column, and `yes` stands exactly where the role gives the action."""
    (head,) = re.findall(r"^\| role \| (.*) \|$", PAGE, flags=re.MULTILINE)
    columns = head.split(" | ")
    assert columns == [str(action) for action in Action]
    rows = {
        role: cells.split("|") for role, cells in re.findall(r"^\| `(\w+)` \|((?:(?: yes)? \|){7})$", PAGE, flags=re.MULTILINE)
    }
    assert {
        role: frozenset(Action(column) for column, cell in zip(columns, cells, strict=False) if cell.strip() == "yes")
        for role, cells in rows.items()
    } == ROLES


def test_every_action_is_explained() -> None:
    """Each action has a row that says what it is."""
    assert [action for action in Action if f"\n| `{action}` | " not in PAGE] == []
