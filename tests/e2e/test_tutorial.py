"""docs/tutorial.md is true: it is typed in as it stands, and prints what it says."""

from __future__ import annotations

from .console import ROOT, opened


def test_the_tutorial_does_what_it_says() -> None:
    with opened(ROOT / "docs" / "tutorial.md") as page:
        page.type_in()
