"""Which of Argo CD's sync options are told to have no effect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.targets.kubernetes.options import NOTES_MAX, SUPPORTED, notes
from trimtab.targets.kubernetes.ownership import OPTIONS
from trimtab.testing.factories import manifest

PAGE = (Path(__file__).parents[3] / "docs/reference/kubernetes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Prune=false", []),
        (" prune=FALSE , ServerSideApply=true,", []),
        ("Prune=true,Validate=true", []),
        ("Validate=false", ["Validate=false"]),
        ("Prune=fasle,PruneLast=true", ["Prune=fasle"]),
        ("CreateNamespace=true, ServerSideApply=false", ["CreateNamespace=true", "ServerSideApply=false"]),
        ("x" * 200, ["x" * 60 + "…"]),
        ("", []),
    ],
)
def test_an_option_without_effect_is_told_and_one_that_counts_is_not(said: str, expected: list[str]) -> None:
    """Nor what is so anyway. In the words of Git, bounded; the field is named, and the remedy lists those that count."""
    found = notes([manifest("ConfigMap", "a", annotations={OPTIONS: said} if said else None)])
    assert [re.search(r'"(.*)" has no effect here', one.message)[1] for one in found] == expected  # type: ignore[index]
    assert all(one.field.endswith(OPTIONS) and all(option in one.remedy for option in SUPPORTED) for one in found)


def test_so_many_are_told_as_anybody_reads() -> None:
    many = [manifest("ConfigMap", f"a{number}", annotations={OPTIONS: "Nonsense=true"}) for number in range(100)]
    assert len(notes(many)) == NOTES_MAX


def test_each_option_that_counts_stands_on_the_page() -> None:
    assert [option for option in SUPPORTED if f"`{option}`" not in PAGE] == []
