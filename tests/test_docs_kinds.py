"""docs/reference/health-kinds.md lists every custom kind that has a rule of health, and no other. DOCS_WRITE=1 writes the page."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from trimtab.targets.kubernetes.healths import custom

CASES = Path(__file__).parent / "targets" / "kubernetes" / "health" / "cases"
PAGE = Path(__file__).parent.parent / "docs" / "reference" / "health-kinds.md"


INTRODUCTION = """\
{kinds} kinds of {groups} API groups break the convention, or use words of their own, and have a rule from their project's documentation of the status
fields. Statuses of {cases} of them stand as cases in `tests/targets/kubernetes/health/cases`, at least one well and one not well for each rule; kinds that
say it alike share a rule. All other kinds are judged by [the conditions convention](kubernetes.md#health), or by [a rule of yours](../howto/write-a-health-rule.md).

Of {every} groups every kind is judged by one rule, and so is every kind of a group that ends in one of: {families}.
"""


def trades() -> Iterator[tuple[str, dict[str, list[str]]]]:
    """What each module is about, in its own words, and the kinds of each group that it has rules for."""
    for found in sorted(pkgutil.iter_modules(custom.__path__), key=lambda module: module.name):
        module = importlib.import_module(f"{custom.__name__}.{found.name}")
        title = (module.__doc__ or "").splitlines()[0].rstrip(".").partition(":")[0]
        yield title, {group: sorted(kinds) for group, kinds in sorted(module.TABLE.items())}


def cases() -> int:
    """How many of the kinds have statuses of their own among the cases."""
    documents = [one for path in CASES.glob("custom-*.yaml") for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return len({(one["apiVersion"].partition("/")[0], one["kind"]) for one in documents})


def page() -> str:
    named = [(group, kind) for group, kinds in custom.TABLE.items() for kind in kinds if kind != "*"]
    every = sorted(group for group, kinds in custom.TABLE.items() if "*" in kinds)
    groups_named = len({group for group, _ in named})
    families = ", ".join(f"`{name}`" for name in sorted(custom.FAMILIES))
    lines = [
        "# Custom kinds with a rule of health",
        "",
        *INTRODUCTION.format(
            kinds=len(named), groups=groups_named, cases=cases(), every=len(every), families=families
        ).splitlines(),
        "",
    ]
    for title, groups in trades():
        lines += [f"## {title}", "", "| group | kinds |", "|---|---|"]
        lines += [
            f"| `{group}` | {', '.join('all' if kind == '*' else kind for kind in kinds)} |" for group, kinds in groups.items()
        ]
        lines.append("")
    return "\n".join(lines)


def test_the_page_names_every_custom_kind_that_has_a_rule() -> None:
    if os.environ.get("DOCS_WRITE") == "1":
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


def test_more_than_a_hundred_custom_kinds_are_known() -> None:
    assert sum(kind != "*" for kinds in custom.TABLE.values() for kind in kinds) >= 100
