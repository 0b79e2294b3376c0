"""The chain that proves what was decided: nothing can be altered, taken out or slipped in."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.trail import broken, linked, trails
from trimtab.core.model.event import Event
from trimtab.core.model.trail import Link

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def event(kind: str = "change.approved", message: str = "sue approved it", **fields: object) -> Event:
    made = Event(kind, NOW, message, environment="production", data={"change": 7, "who": "sue"})
    return msgspec.structs.replace(made, **fields)


def chain(*messages: str) -> list[Link]:
    links: list[Link] = []
    for message in messages:
        links.append(linked(event(message=message), "change/7", links[-1] if links else None))
    return links


def test_what_happens_to_a_change_is_on_its_trail_and_on_that_of_the_environment() -> None:
    assert trails(event()) == ("change/7", "environment/production")
    assert trails(event(environment="")) == ("change/7",)
    assert trails(event("deployment.healthy", data={})) == ("environment/production",)


def test_single_steps_and_looks_are_on_no_trail() -> None:
    assert trails(event("step.applied", data={})) == ()
    assert trails(event("deployment.healthy", environment="", data={})) == ()


def test_a_chain_that_nobody_touched_holds() -> None:
    assert list(broken(chain("one", "two", "three"))) == []


def test_a_chain_can_be_verified_in_pieces() -> None:
    links = chain("one", "two", "three")
    assert list(broken(links[2:], last=links[1])) == []


def test_a_link_survives_the_disk() -> None:
    (link,) = chain("one")
    assert list(broken([msgspec.json.decode(msgspec.json.encode(link), type=Link)])) == []


@given(st.lists(st.text(max_size=5), min_size=2, max_size=6), st.data())
def test_whatever_is_altered_taken_out_or_swapped_is_found(messages: list[str], data: st.DataObject) -> None:
    links = chain(*messages)
    at = data.draw(st.integers(0, len(links) - 1))
    match data.draw(st.sampled_from(["alter", "forge", "drop", "swap"])):
        case "alter":
            links[at] = msgspec.structs.replace(links[at], message=links[at].message + "!")
        case "forge":  # with a right hash of its own: the next one gives it away
            at = min(at, len(links) - 2)
            previous = links[at - 1] if at else None
            links[at] = linked(event(message=links[at].message + "!"), "change/7", previous)
        case "drop":
            del links[min(at, len(links) - 2)]
        case "swap":
            at = min(at, len(links) - 2)
            links[at], links[at + 1] = links[at + 1], links[at]
    assert list(broken(links))
