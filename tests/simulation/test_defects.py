"""The simulation can fail: every deliberate defect is caught by a law."""

from __future__ import annotations

import pytest

from trimtab.testing.defects import DEFECTS, hunt


@pytest.mark.parametrize("name", DEFECTS)
def test_a_deliberate_defect_is_caught(name: str) -> None:
    """Within the documented number of seeds, counted from 0, some law does not hold any more."""
    assert hunt(DEFECTS[name]).law
