"""Version ranges: the laws of order, the comparators, and pre-releases only when asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.semver import Version, best, parse_range, version

# semver.org, 11: an example of each step of precedence.
ASCENDING = [
    *("0.0.1", "0.1.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
    *("1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "2.0.0"),
]

numbers = st.integers(0, 30)
labels = st.one_of(st.integers(0, 12).map(str), st.sampled_from(["alpha", "beta", "rc", "x-1"]))
versions = st.builds(Version, numbers, numbers, numbers, st.lists(labels, max_size=3).map(tuple))
releases = st.builds(Version, numbers, numbers, numbers)


def text(found: Version) -> str:
    return f"{found.major}.{found.minor}.{found.patch}" + (f"-{'.'.join(found.pre)}" if found.pre else "")


def admits(expression: str, candidate: str) -> bool:
    wanted, found = parse_range(expression), version(candidate)
    assert wanted is not None
    assert found is not None
    return wanted.admits(found)


def test_precedence_is_that_of_the_standard():
    """The standard's own examples sort as it says."""
    assert sorted(sorted(ASCENDING), key=version) == ASCENDING


@given(versions)
def test_a_version_reads_back(found: Version):
    """What is written is what is read, with and without v and build metadata."""
    assert version(text(found)) == found
    assert version(f"v{text(found)}+build.7") == found


@given(versions, versions)
def test_order_is_total(one: Version, other: Version):
    """Of two versions exactly one of less, equal, greater holds."""
    assert [one < other, one == other, one > other].count(True) == 1


@given(releases, releases)
def test_caret_keeps_the_first_part_that_is_not_zero(low: Version, other: Version):
    """^ admits what is not older and does not break."""
    same = (
        other.major == low.major
        and (low.major > 0 or other.minor == low.minor)
        and (low.major > 0 or low.minor > 0 or other.patch == low.patch)
    )
    assert admits(f"^{text(low)}", text(other)) == (other >= low and same)


@given(releases, releases)
def test_tilde_keeps_major_and_minor(low: Version, other: Version):
    """~ admits patches."""
    assert admits(f"~{text(low)}", text(other)) == (other >= low and other.core[:2] == low.core[:2])


@given(versions, versions)
def test_plain_comparisons_agree_with_the_order(bound: Version, other: Version):
    """Each comparison admits what the order says, except pre-releases that were not asked for."""
    asked = not other.pre or (bool(bound.pre) and other.core == bound.core)
    assert admits(f">={text(bound)}", text(other)) == (other >= bound and asked)
    assert admits(f"<={text(bound)}", text(other)) == (other <= bound and asked)
    assert admits(f">{text(bound)}", text(other)) == (other > bound and asked)
    assert admits(f"={text(bound)}", text(other)) == (other == bound)


@given(st.lists(versions, max_size=20), releases)
def test_the_best_is_admitted_and_none_is_better(candidates: list[Version], low: Version):
    """What is chosen is the greatest of those that the range admits."""
    tags = [f"v{text(found)}" for found in candidates]
    wanted = parse_range(f"^{text(low)}")
    assert wanted is not None
    admitted = [found for found in candidates if wanted.admits(found)]
    chosen = best(tags, wanted)
    assert (chosen and version(chosen)) == (max(admitted) if admitted else None)


@given(st.text(max_size=30))
def test_any_text_is_read_or_not(expression: str):
    """No text makes the parser fail."""
    parse_range(expression)
    version(expression)


@pytest.mark.parametrize(
    ("expression", "yes", "no"),
    [
        ("^1.2", "1.2.0 1.9.9", "1.1.9 2.0.0 1.3.0-rc.1 2.0.0-rc.1"),
        ("^0.3", "0.3.0 0.3.9", "0.4.0 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
        ("^0", "0.0.0 0.9.0", "1.0.0"),
        ("^1", "1.0.0 1.9.0", "0.9.0 2.0.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0 1.1.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        (">=1.2 <2", "1.2.0 1.99.0", "1.1.0 2.0.0 2.0.0-rc.1"),
        (">= 1.2, < 2", "1.2.0 1.99.0", "1.1.0 2.0.0"),
        (">1.2", "1.3.0 2.0.0", "1.2.0 1.2.9"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
        ("<1.2", "1.1.9", "1.2.0 1.2.0-rc.1"),
        ("1.x", "1.0.0 1.9.0", "2.0.0 0.9.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("v1.2.X", "1.2.9", "1.3.0"),
        ("*", "0.0.1 9.0.0", "1.0.0-rc.1"),
        ("1.2.3", "1.2.3 1.2.3+build", "1.2.4 1.2.3-rc.1"),
        ("=v1.2.3", "v1.2.3", "1.2.4"),
        ("1", "1.0.0 1.7.0", "2.0.0"),
        ("1.2 || ^3", "1.2.7 3.1.0", "2.0.0 4.0.0"),
        (">=2.0.0-rc.1", "2.0.0-rc.1 2.0.0-rc.2 2.0.0 3.0.0", "2.0.0-beta 2.1.0-rc.1"),
        ("^2.0.0-rc.1", "2.0.0-rc.1 2.4.0", "3.0.0-rc.1 2.0.0-beta"),
        ("1.0.0-beta", "1.0.0-beta", "1.0.0 1.0.0-beta.2"),
    ],
)
def test_ranges(expression: str, yes: str, no: str):
    """The table of comparators."""
    assert [candidate for candidate in yes.split() if not admits(expression, candidate)] == []
    assert [candidate for candidate in no.split() if admits(expression, candidate)] == []


@pytest.mark.parametrize("expression", ["", "main", "feature/x", "1.2.3.4", "^", ">=", "1.2 ||", "01.2", "^v", "1..2", "x" * 300])
def test_what_is_no_range(expression: str):
    """Names of branches and broken ranges are not read as ranges."""
    assert parse_range(expression) is None


@pytest.mark.parametrize("tag", ["1.2", "web/v1.2.3", "1.2.3-", "01.2.3", "release-1.2.3", "V1.2.3", "1.2.3-01"])
def test_what_is_no_version(tag: str):
    """Only whole versions count."""
    assert version(tag) is None


def test_of_two_spellings_the_one_with_v_is_taken():
    """The choice between equal versions does not depend on their order."""
    wanted = parse_range("^1")
    assert wanted is not None
    assert best(["1.0.0", "v1.0.0"], wanted) == best(["v1.0.0", "1.0.0"], wanted) == "v1.0.0"
