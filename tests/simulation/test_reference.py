"""The page about the simulation names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.testing.changes import laws as changes
from trimtab.testing.changes import stories
from trimtab.testing.defects import DEFECTS
from trimtab.testing.laws import sentences

PAGE = (Path(__file__).parents[2] / "docs/reference/simulation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "sentence"), sentences().items(), ids=sentences())
def test_a_law_stands_on_the_page_in_its_own_words(name: str, sentence: str) -> None:
    """Name and sentence are those of the code."""
    assert f"| `{name}` | {sentence} |" in PAGE


@pytest.mark.parametrize(("name", "sentence"), changes.sentences().items(), ids=changes.sentences())
def test_a_law_of_changes_stands_on_the_page_in_its_own_words(name: str, sentence: str) -> None:
    """Name and sentence are those of the code."""
    assert f"| `{name}` | {sentence} |" in PAGE


@pytest.mark.parametrize("story", [story.__doc__ for story in stories.OPERATIONS])
def test_what_happens_in_plays_with_changes_stands_on_the_page(story: str) -> None:
    """In the words of the code."""
    assert f"- {story}\n" in PAGE


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_stands_on_the_page_in_its_own_words(defect: object) -> None:
    """Name and sentence are those of the code."""
    assert f"| `{defect.name}` | {defect.sentence} |" in PAGE  # type: ignore[attr-defined]
