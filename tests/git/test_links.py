"""Links are judged as the kernel would follow them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.git.links import leaves

NAMES = ("a", "b", "c")
targets = st.lists(st.sampled_from([*NAMES, "..", "."]), min_size=1, max_size=5).map("/".join)
link_sets = st.dictionaries(
    st.lists(st.sampled_from(["d", "e"]), max_size=2).flatmap(
        lambda up: st.sampled_from(NAMES).map(lambda name: "/".join([*up, name]))
    ),
    targets,
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize(
    ("links", "path", "expected"),
    [
        ({"a": "b"}, "a", False),
        ({"a": "/etc/passwd"}, "a", True),
        ({"a": ".."}, "a", True),
        ({"d/a": ".."}, "d/a", False),
        ({"d/a": "../.."}, "d/a", True),
        ({"d/a": "../e/../d/./x"}, "d/a", False),
        ({"up": "d/e", "x": "up/../../.."}, "x", True),
        ({"d/e/top": "../..", "x": "d/e/top/../y"}, "x", True),
        ({"a": "b", "b": "a"}, "a", True),
        ({"a": "a"}, "a", True),
        ({"a": "b", "b": "/etc"}, "a", True),
        ({"a": "missing/deep"}, "a", False),
    ],
)
def test_table(links: dict[str, str], path: str, expected: bool):
    """A link may go up as long as it stays inside, through other links too."""
    assert leaves(links, path) is expected


@given(link_sets)
def test_what_is_let_through_stays_inside_on_a_real_file_system(links: dict[str, str]):
    """Whatever the kernel makes of a link that was let through, it is inside the directory."""
    with tempfile.TemporaryDirectory() as base:
        root = Path(base).resolve() / "p" / "q" / "root"
        (root / "d" / "e").mkdir(parents=True)
        (root / "e" / "d").mkdir(parents=True)
        (root / "d" / "d").mkdir()
        (root / "e" / "e").mkdir()
        for path, target in links.items():
            (root / path).symlink_to(target)
        for path in links:
            if not leaves(links, path):
                assert os.path.realpath(root / path).startswith(str(root))
