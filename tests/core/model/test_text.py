"""Hostile text cannot act on a terminal, and names can still be recognised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.text import escaped, is_safe_line, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1b]52;c;never closed", "52;c;never closed"),
        ("\x9b31mred", "red"),
        ("a\rb\x08c\x00d", "abcd"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("\x1bcreset", "reset"),
        ("\ud800x\udcff", "x"),
        ("日本語 é 😀", "日本語 é 😀"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """Escapes, control characters and direction overrides go; words stay."""
    assert printable(text) == shown


def test_bounds_and_lines() -> None:
    """Long text is cut, and one_line makes one line."""
    assert printable("x" * 50, characters_max=10) == "x" * 10 + "…"
    assert one_line(" a\r\n b\tc ") == "a  b c"
    assert len(one_line("y\n" * 10_000)) <= 501


def test_escaped() -> None:
    """Names are shown with what is unsafe by its number."""
    assert escaped("a\x1b[31m\u202e\udcff\n.yaml") == "a\\x1b[31m\\u202e\\xff\\x0a.yaml"
    assert escaped("z" * 300).endswith("…")


@given(st.text())
def test_nothing_unsafe_is_left(text: str) -> None:
    """Whatever comes in, what comes out has no control characters and stays the same when shown again."""
    for made in (printable(text), one_line(text), escaped(text)):
        assert not any((ord(char) < 32 and char not in "\t\n") or 0x7F <= ord(char) < 0xA0 for char in made)
        assert printable(made) == made
    assert is_safe_line(escaped(text))
