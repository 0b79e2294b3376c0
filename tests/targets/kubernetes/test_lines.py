"""Lines are the same however the bytes are cut on their way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.targets.kubernetes.lines import Pieces, Whole


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return (data[start:end] for start, end in itertools.pairwise(edges))


TEXT = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", "ü".encode()]), max_size=30).map(b"".join)


@given(TEXT, st.lists(st.integers(0, 100), max_size=6))
def test_whole_lines_do_not_depend_on_the_cuts(data: bytes, places: list[int]) -> None:
    lines = Whole(1_000)
    found = [line for piece in cut(data, places) for line in lines.feed(piece)]
    assert found == [line for line in data.split(b"\n")[:-1] if line]


@given(TEXT, st.lists(st.integers(0, 100), max_size=6))
def test_lines_of_a_log_do_not_depend_on_the_cuts(data: bytes, places: list[int]) -> None:
    lines = Pieces(1_000)
    found = [line for piece in cut(data, places) for line in lines.feed(piece)] + lines.end()
    *complete, last = data.split(b"\n")
    assert found == [line.removesuffix(b"\r") for line in [*complete, *([last] if last else [])]]


def test_a_line_of_three_mebibytes_arrives_and_one_without_end_does_not_fill_the_memory() -> None:
    lines = Whole(4 << 20)
    assert lines.feed(b"x" * (3 << 20)) == []
    assert [len(line) for line in lines.feed(b"y\nz\n")] == [(3 << 20) + 1, 1]
    lines.feed(b"x" * (3 << 20))
    with pytest.raises(ValueError, match="more than"):
        lines.feed(b"x" * (2 << 20))


@given(st.integers(1, 50), st.integers(1, 10))
def test_a_long_line_of_a_log_comes_in_pieces(length: int, most: int) -> None:
    lines = Pieces(most)
    found = lines.feed(b"x" * length) + lines.feed(b"\n")
    assert b"".join(found) == b"x" * length
    assert all(len(piece) <= most for piece in found)
