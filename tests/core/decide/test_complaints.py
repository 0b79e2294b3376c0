"""What an external checker says, in each of the ways that it may say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.complaints import complaints
from trimtab.core.model.errors import Problem

CONFTEST = b'[{"filename": "web.yaml", "successes": 1, "failures": [{"msg": "no limits"}], "warnings": [{"msg": "old"}]}]'


@pytest.mark.parametrize(
    ("code", "output", "found"),
    [
        (0, b"", ()),
        (0, b"all is well\n", ()),
        (0, b"[]", ()),
        (1, b"one\n\ntwo\n", (Problem("one"), Problem("two"))),
        (1, b'["one"]', (Problem("one"),)),
        (0, b'["one"]', (Problem("one"),)),
        (1, CONFTEST, (Problem("no limits", "web.yaml"),)),
        (1, b'[{"message": "no", "file": "a.yaml", "line": 3, "remedy": "do"}]', (Problem("no", "a.yaml", 3, remedy="do"),)),
        (1, b'{"message": "no", "line": true}', (Problem("no"),)),
        (1, b'{"message": "\\u001b[31mred"}', (Problem("red"),)),
    ],
)
def test_what_is_said_is_read(code: int, output: bytes, found: tuple[Problem, ...]) -> None:
    assert complaints("c", code, output, b"") == found


def test_a_checker_that_fails_without_a_word_is_against_it() -> None:
    (problem,) = complaints("c", 3, b"", b"no such module\n")
    assert problem.message == "checker c failed with 3: no such module"


@given(st.integers(0, 255), st.binary(max_size=200), st.binary(max_size=50))
def test_no_output_makes_it_fail_and_a_failing_code_is_never_a_pass(code: int, output: bytes, errors: bytes) -> None:
    found = complaints("c", code, output, errors)
    if code and output.strip() in (b"", b"[]", b"{}", b"null"):
        assert found
