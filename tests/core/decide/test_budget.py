"""How much one commit may remove."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.budget import held_because
from trimtab.core.model.config import RemovalBudget

COUNTS = st.integers(0, 200)
BUDGETS = st.builds(
    RemovalBudget, percent=st.integers(0, 100), objects=st.integers(0, 20), empty_render=st.sampled_from(["hold", "allow"])
)


def asked(budget: RemovalBudget | None = None, **counts: Any) -> str:
    given_ = {"removals": 0, "owned": 10, "desired": 10, "removed_elsewhere": 0, "owned_in_environment": 10, **counts}
    return held_because(budget or RemovalBudget(), **given_)


@pytest.mark.parametrize(("removals", "held"), [(3, False), (5, False), (6, True), (10, True)])
def test_more_than_half_and_more_than_three_is_held(removals: int, held: bool) -> None:
    """The default budget lets up to three objects or up to half of them go."""
    assert bool(asked(removals=removals)) is held


def test_an_emptied_application_is_held_even_within_the_budget() -> None:
    """One object that is all there is counts as everything, unless the environment allows it."""
    assert "nothing would be left" in asked(removals=1, owned=1, desired=0)
    assert asked(RemovalBudget(empty_render="allow"), removals=1, owned=1, desired=0) == ""


def test_the_environment_is_asked_too() -> None:
    """A little from each of many applications is as dangerous as much from one."""
    said = asked(removals=3, owned=4, removed_elsewhere=9, owned_in_environment=16)
    assert "12 of 16 objects of the environment" in said


@given(BUDGETS, COUNTS, COUNTS, COUNTS)
def test_without_a_removal_nothing_is_held(budget: RemovalBudget, owned: int, elsewhere: int, desired: int) -> None:
    """Whatever others remove, who removes nothing is not held."""
    assert asked(budget, owned=owned, removed_elsewhere=elsewhere, desired=desired) == ""


@given(BUDGETS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_removing_more_is_never_easier(budget: RemovalBudget, removals: int, more: int, owned: int, elsewhere: int) -> None:
    """What is held stays held when more is to go."""
    counts = {"owned": owned, "removed_elsewhere": elsewhere, "owned_in_environment": owned + elsewhere}
    if asked(budget, removals=removals, **counts):
        assert asked(budget, removals=removals + more, **counts)
