"""Which Deployment is one that goes back: from what was healthy, what is current, and what comes."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.lifecycle.occasion import PROVEN_MAX, occasion
from trimtab.core.lifecycle.reconcile import step
from trimtab.core.lifecycle.state import Declared, Looked, Reconciliation, Woken
from trimtab.core.model.health import HEALTHY, Health, HealthStatus
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Key
from trimtab.core.model.plan import Plan
from trimtab.testing.factories import manifest

KEY = Key("host", "shop")
NOW = datetime(2030, 1, 1, tzinfo=UTC)
WEB = manifest("Process", "web")
ILL = Health(HealthStatus.DEGRADED, "exit code 1", WEB.ref)


def content(letter: str) -> str:
    return digest([letter])


def deployed(letters: str, state: Reconciliation | None = None) -> tuple[Reconciliation, list[str]]:
    """After these contents, one after the other, and what each Deployment was: a capital has become healthy, another has not."""
    state, said = state or Reconciliation(), []
    for letter in letters:
        sequence = state.current.sequence + 1 if state.current is not None else 1
        for happening in (Declared(f"r{sequence}", sequence, content(letter.upper())), Woken()):
            state = step(KEY, state, happening, NOW).state
        said.append(state.occasion)
        health = {WEB.identity: HEALTHY if letter.isupper() else ILL}
        state = step(KEY, state, Looked(Plan("shop", "host"), health, {WEB.identity: 0}, owned=1, occasion="first"), NOW).state
    return state, said


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("ABA", "back"),
        ("ABCA", "back"),
        ("ABCB", "back"),
        ("AbA", "back"),
        ("AbcA", "back"),
        ("ABAB", "later"),
        ("ABCAB", "later"),
        ("ABaB", "back"),
        ("ABcA", "back"),
        ("ABcB", "back"),
        ("AbAb", "later"),
        ("ABC", "later"),
        ("abA", ""),
        ("abaB", ""),
    ],
)
def test_a_deployment_goes_back_when_its_content_was_healthy_before_and_others_came_after_it(letters: str, expected: str) -> None:
    """Also when they never got well. The way forward again is an upgrade, and as long as nothing was healthy, all are the first."""
    assert deployed(letters)[1][-1] == expected


def test_what_a_deployment_is_stays_what_it_was_when_the_same_content_is_begun_anew() -> None:
    """Other content came and went before it could begin: what ran of the hooks was of a Deployment that went back."""
    state, _ = deployed("ABa")
    for happening in (
        Declared("r4", 4, content("C")),
        Woken(gates=("waits for staging",)),
        Declared("r5", 5, content("A")),
        Woken(),
    ):
        state = step(KEY, state, happening, NOW).state
    assert state.current is not None
    assert (state.current.revision, state.occasion) == ("r5", "back")


def test_so_many_contents_are_remembered_and_no_more() -> None:
    """What was healthy longer ago comes back as an upgrade."""
    letters = "ABCDEFGHIJKLM"
    state, _ = deployed(letters)
    assert len(state.proven) == PROVEN_MAX == 10
    found = [letter for letter in letters if occasion(state, content(letter)) == "back"]
    assert found == list("CDEFGHIJKL")
    assert all(len(one) == 16 for one in state.proven)


def test_a_state_from_before_this_was_remembered_is_read_and_its_current_content_counts() -> None:
    state, _ = deployed("A")
    body = msgspec.json.decode(msgspec.json.encode(state))
    del body["proven"]
    old = msgspec.json.decode(msgspec.json.encode(body), type=Reconciliation)
    assert old.proven == ()
    assert deployed("BA", old)[1] == ["later", "back"]


def test_after_a_lost_store_going_back_is_an_upgrade() -> None:
    assert occasion(Reconciliation(), content("A")) == ""
    assert occasion(Reconciliation(deployed=True), content("A")) == "later"


@given(st.text(alphabet="ABCDabcd", min_size=1, max_size=20))
def test_the_line_of_what_was_healthy_holds_each_content_once_and_leads_to_what_was_healthy_last(letters: str) -> None:
    """A model of it: a list that grows by what is new and is cut at what comes back."""
    line: list[str] = []
    current, settled, state = "", False, Reconciliation()
    for letter in letters:
        name = letter.upper()
        if name == current:
            continue
        behind = line[:-1] if settled else line
        expected = "" if not line else "back" if name in behind else "later"
        state, (said,) = deployed(letter, state)
        assert said == expected
        current, settled = name, letter.isupper()
        if settled:
            line = [*line[: line.index(name)], name] if name in line else [*line, name]
    assert len(set(state.proven)) == len(state.proven)
