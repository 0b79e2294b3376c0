"""Merging several at once: the longest run that holds is found in few trials."""

from __future__ import annotations

from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.train import TRAIN_MAX, Train


def run(waiting: int, culprit: int) -> tuple[int, int]:
    """How many go and how many trials it took, when every run with ``culprit`` (from 1; beyond ``waiting``: nobody) fails."""
    train, trials = Train.of(waiting), 0
    while train.trial:
        length = train.trial
        train, trials = train.tried(length, held=length < culprit), trials + 1
    return train.holds, trials


def test_one_goes_without_a_trial() -> None:
    assert run(1, 2) == (1, 0)


def test_all_go_after_one_trial_when_they_hold_together() -> None:
    assert run(8, 9) == (8, 1)


@given(st.integers(1, TRAIN_MAX + 5), st.integers(2, TRAIN_MAX + 6))
def test_exactly_those_before_the_culprit_go(waiting: int, culprit: int) -> None:
    together = min(waiting, TRAIN_MAX)
    goes, trials = run(waiting, culprit)
    assert goes == min(culprit - 1, together)
    assert trials <= 1 + ceil(log2(together)) if together > 1 else trials == 0
