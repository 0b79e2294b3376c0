"""The course in examples/: each README is typed in as it stands, against a real server, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .console import ROOT, opened

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
ON_A_CLUSTER = {"06-kubernetes", "08-hooks-and-waves", "09-two-clusters", "10-overlays", "11-own-kinds"}
"""Typed in by tests/kubernetes/test_example.py."""
INDEX = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.name not in ON_A_CLUSTER], ids=lambda path: path.name)
def test_an_example_does_what_its_page_says(example: Path) -> None:
    with opened(example / "README.md") as page:
        page.type_in()


def test_every_block_of_commands_of_the_course_is_one_that_is_typed_in() -> None:
    """What is on a cluster is typed in by the tests of clusters; a block of another kind would be shown and never tried."""
    typed = (ROOT / "tests/kubernetes/test_example.py").read_text(encoding="utf-8")
    assert set(re.findall(r"\"examples/([\w-]+)/README\.md\"", typed)) == ON_A_CLUSTER
    for example in EXAMPLES:
        kinds = re.findall(r"^```(.+)$", (example / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(kinds) <= {"console", "console server", "yaml", "text"}, example.name


def test_the_course_lists_every_example_in_order() -> None:
    assert re.findall(r"\]\((\d\d-[a-z-]+)/README\.md\)", INDEX) == [path.name for path in EXAMPLES]


def test_the_examples_are_numbered_from_one() -> None:
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]
