"""CODEOWNERS as the forges read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.owners import Dialect, Owned, dialect_of, parse

ADA = ("@ada",)


def owners(text: str, path: str, dialect: Dialect = Dialect.GITHUB) -> tuple[str, ...]:
    found = parse(text, dialect=dialect).of(path)
    return found[0].owners if found else ()


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*", "a/b/c.yaml", True),
        ("*.yaml", "a/b/c.yaml", True),
        ("*.yaml", "a/b/c.yml", False),
        ("/build/logs/", "build/logs/today.txt", True),
        ("/build/logs/", "other/build/logs/today.txt", False),
        ("docs/*", "docs/start.md", True),
        ("docs/*", "docs/deep/start.md", False),
        ("apps/", "x/apps/y/z", True),
        ("apps/", "apps", False),
        ("/docs/", "docs/deep/start.md", True),
        ("**/logs", "a/b/logs/x", True),
        ("/apps/github", "apps/github", True),
        ("/apps/github", "apps/github/x.yaml", True),
        ("/apps/git", "apps/github", False),
        ("apps/*/production", "apps/shop/production/web.yaml", True),
        ("apps/*/production", "apps/a/b/production/web.yaml", False),
        ("/apps/**/production/", "apps/a/b/production/web.yaml", True),
        ("web?.yaml", "web1.yaml", True),
        ("web?.yaml", "web.yaml", False),
        ("a.b", "aXb", False),
    ],
)
def test_a_pattern_matches_as_on_github(pattern: str, path: str, matches: bool) -> None:
    assert (owners(f"{pattern} @ada", path) == ADA) is matches


@pytest.mark.parametrize(("dialect", "matches"), [(Dialect.GITHUB, False), (Dialect.GITLAB, True)])
def test_a_path_with_a_slash_inside_counts_from_anywhere_on_gitlab_only(dialect: Dialect, matches: bool) -> None:
    assert (owners("docs/start.md @ada", "old/docs/start.md", dialect) == ADA) is matches


def test_the_last_line_that_matches_counts_even_without_owners() -> None:
    text = "* @all\n/apps/ @ada @org/sre\n/apps/free/\n"
    assert owners(text, "x") == ("@all",)
    assert owners(text, "apps/shop/web.yaml") == ("@ada", "@org/sre")
    assert parse(text).of("apps/free/x")[0].owners == ()
    assert parse(text).asked(["apps/free/x"]) == {}


def test_comments_addresses_and_escaped_blanks() -> None:
    text = "# all of it\n/my\\ docs/ ada@example.org @rob # the two of them\n"
    assert owners(text, "my docs/start.md") == ("ada@example.org", "@rob")


def test_every_section_of_gitlab_asks_for_itself() -> None:
    text = "* @all\n[Database][2] @dba @rob\n/db/\n/db/free @ada\n^[Docs]\n*.md @writer\n[database]\n/schema/\n"
    found = parse(text)
    assert found.of("db/start.md") == (
        Owned("", ("@all",), 1, False, 1),
        Owned("Database", ("@dba", "@rob"), 2, False, 3),
        Owned("Docs", ("@writer",), 1, True, 6),
    )
    assert found.of("schema/x")[1].owners == ("@dba", "@rob")
    assert [owned.section for owned in found.asked(["db/start.md"])] == ["", "Database"]


def test_an_exclusion_takes_a_path_out_of_its_section() -> None:
    text = "[Ruby]\n*.rb @ada\n!/config/**/*.rb\n"
    assert dialect_of(text) == Dialect.GITLAB
    assert parse(text).of("config/a/x.rb") == ()
    assert parse(text).of("x.rb")[0].owners == ADA


def test_a_wrong_line_is_told_and_counts_for_nothing() -> None:
    found = parse("*.yaml ada\n!x @ada\n* @all\n", dialect=Dialect.GITHUB)
    assert [(problem.line, problem.message) for problem in found.problems] == [
        (1, "ada is no owner: write @name, @organisation/team or an address"),
        (2, "!x: GitHub knows no exclusions, sections or character ranges"),
    ]
    assert found.of("a.yaml")[0].owners == ("@all",)


def test_what_is_asked_for_many_paths_is_asked_once() -> None:
    found = parse("/a/ @ada\n/b/ @rob\n").asked(["a/1", "a/2", "b/1", "c"])
    assert {owned.owners: paths for owned, paths in found.items()} == {ADA: ("a/1", "a/2"), ("@rob",): ("b/1",)}


@given(st.text(max_size=200), st.text(max_size=50), st.sampled_from(Dialect))
def test_no_text_makes_it_fail(text: str, path: str, dialect: Dialect) -> None:
    parse(text, dialect=dialect).asked([path])


@given(st.lists(st.sampled_from(["a", "b", "*", "**", "a*"]), min_size=1, max_size=4), st.booleans())
def test_what_a_pattern_owns_it_owns_with_all_below(parts: list[str], anchored: bool) -> None:
    pattern = ("/" if anchored else "") + "/".join(parts)
    found = parse(f"{pattern} @ada")
    path = "/".join("ab"[: 1 + (part == "**")] if "*" in part else part for part in parts)
    if not pattern.endswith("/*") and pattern != "/*" and found.of(path):
        assert found.of(f"{path}/below/it")
