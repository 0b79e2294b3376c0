"""In which Environments an Application runs: selectors over labels, read from documents as people write them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.decide.configuration import read
from trimtab.core.decide.selection import selects
from trimtab.core.model.config import Configuration, Fleet
from trimtab.core.model.selector import Requirement, Selector

EUROPE = {"region": "eu", "ring": "2"}


def environment(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Environment", "metadata": {"name": name, "labels": labels}}


def application(*environments: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "Application", "metadata": {"name": "shop"}, "spec": {"environments": list(environments), **spec}}


def configured(*documents: dict[str, Any], before: Configuration | None = None) -> Configuration:
    """Each document in a file of its name."""
    files = {
        f".trimtab/{one['kind'].lower()}-{one['metadata']['name']}.json": msgspec.json.encode(
            {"apiVersion": "trimtab.dev/v1", **one}
        )
        for one in documents
    }
    made = read(files, before or Configuration())
    # What is stored is what was decided.
    assert msgspec.json.decode(msgspec.json.encode(made), type=Configuration) == made
    return made


def placed(configuration: Configuration) -> dict[str, str]:
    """Environments of shop in order, with their paths."""
    found = configuration.applications.get("shop")
    return {one.name: one.path for one in found.spec.environments} if found else {}


FLEET = [environment("b", **EUROPE), environment("a", region="eu", ring="10"), environment("c", region="us", ring="1")]
EU = {"selector": {"matchLabels": {"region": "eu"}}}


def test_every_environment_with_the_labels_is_one_that_it_runs_in() -> None:
    """By name, when nothing else is said; one after the other."""
    made = configured(*FLEET, application(EU))
    assert made.problems == ()
    assert list(placed(made)) == ["a", "b"]
    assert made.fleets == {"shop": (Fleet(("a", "b")),)}


def test_a_name_that_is_written_out_wins_over_the_selector() -> None:
    """It has its own path, and is no member of the fleet."""
    made = configured(*FLEET, application({"name": "a", "path": "special"}, {**EU, "path": "common"}))
    assert placed(made) == {"a": "special", "b": "common"}
    assert made.fleets["shop"][0].members == ("b",)


def test_paths_and_revisions_name_the_environment_and_its_labels() -> None:
    """Filled in for each."""
    made = configured(*FLEET, application({**EU, "path": "shop/${environment.labels.region}/${environment.name}"}))
    assert placed(made) == {"a": "shop/eu/a", "b": "shop/eu/b"}


def test_a_label_that_is_not_there_is_a_mistake_with_its_place() -> None:
    """What it declared before stays."""
    before = configured(*FLEET, application(EU))
    made = configured(*FLEET, application({**EU, "path": "${environment.labels.zone}"}), before=before)
    assert "${environment.labels.zone} is not known here (environment a)" in str(made.problems[0])
    assert (made.problems[0].field, made.problems[0].line) == ("spec.environments[0].path", 1)
    assert placed(made) == {"a": "", "b": ""}


def test_after_names_an_environment_or_a_fleet() -> None:
    """A fleet stands for all of its members."""
    entries = [{**EU, "fleet": "europe"}, {"selector": {"matchLabels": {"region": "us"}}, "after": ["europe"]}]
    made = configured(*FLEET, application(*entries))
    assert made.applications["shop"].spec.environments[2].after == ["a", "b"]
    assert made.fleets["shop"][0].name == "europe"


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        ({}, Fleet(("a", "b", "c"))),
        ({"orderByLabel": "ring"}, Fleet(("c", "b", "a"))),
        ({"order": ["b"]}, Fleet(("b", "a", "c"))),
        ({"order": ["a"], "orderByLabel": "ring"}, Fleet(("a", "c", "b"))),
        ({"maxUnavailable": "50%"}, Fleet(("a", "b", "c"), max_unavailable=1)),
        ({"maxUnavailable": "70%"}, Fleet(("a", "b", "c"), max_unavailable=2)),
        ({"steps": [1, "50%", "100%"]}, Fleet(("a", "b", "c"), steps=(1, 2))),
        ({"steps": ["10%", 1], "pauseSeconds": 60}, Fleet(("a", "b", "c"), steps=(1,), pause_seconds=60)),
    ],
)
def test_order_and_steps(rollout: dict[str, Any], expected: Fleet) -> None:
    """Names first, then by label with numbers by size, then by name; shares come to counts, at least one."""
    made = configured(*FLEET, application({"selector": {}, "rollout": rollout}))
    assert made.problems == ()
    assert made.fleets["shop"] == (expected,)


@pytest.mark.parametrize(
    ("entry", "field", "message"),
    [
        ({"path": "x"}, "spec.environments[0].name", 'the field "name" is missing'),
        ({"name": "a", "selector": {}}, "spec.environments[0].selector", "a name or a selector, not both"),
        ({"name": "a", "fleet": "g"}, "spec.environments[0].fleet", "fleet is for entries with a selector"),
        ({"selector": {}, "after": ["nowhere"]}, "spec.environments[0].after[0]", "does not run in nowhere"),
        ({"selector": {}, "fleet": "g", "after": ["g"]}, "spec.environments[0].after[0]", "g cannot come after itself"),
        ({"selector": {}, "fleet": "a"}, "spec.environments[0].fleet", "a is already the name of another entry"),
        ({"selector": {}, "rollout": {"order": ["d"]}}, "spec.environments[0].rollout.order[0]", "there is no Environment d"),
        ({"selector": {}, "rollout": {"maxUnavailable": 0}}, "spec.environments[0].rollout.maxUnavailable", ""),
        ({"selector": {}, "rollout": {"maxUnavailable": "0%"}}, "spec.environments[0].rollout.maxUnavailable", "does not fit"),
        ({"selector": {"matchLabel": {}}}, "spec.environments[0].selector.matchLabel", 'no field "matchLabel"'),
        (
            {"selector": {"matchExpressions": [{"key": "region", "operator": "In"}]}},
            "spec.environments[0].selector.matchExpressions[0].values",
            "In needs values",
        ),
    ],
)
def test_mistakes_stand_where_they_are(entry: dict[str, Any], field: str, message: str) -> None:
    """And the application is not declared by such a document."""
    made = configured(*FLEET, application(entry))
    assert [(one.field, message in one.message) for one in made.problems] == [(field, True)]
    assert "shop" not in made.applications


def test_two_selectors_have_no_environment_in_common() -> None:
    """Which of the two would hold is nobody's guess."""
    made = configured(*FLEET, application(EU, {"selector": {"matchLabels": {"ring": "2"}}}))
    assert "the environment b is selected twice, also by entry 1" in made.problems[0].message


# --- nothing is taken away by mistake --------------------------------------------------------------------------------------------


def test_a_selector_that_selects_nothing_takes_nothing_away() -> None:
    """What ran by it stays, with its path, and it is reported; the document is in doubt, and its other entries go on."""
    before = configured(*FLEET, application({"name": "c"}, {**EU, "path": "${environment.name}"}))
    unlabelled = [environment("a"), environment("b"), FLEET[2]]
    made = configured(
        *unlabelled, application({"name": "c", "path": "new"}, {**EU, "path": "${environment.name}"}), before=before
    )
    assert placed(made) == {"c": "new", "a": "a", "b": "b"}
    assert made.fleets["shop"][0].members == ("a", "b")
    assert "no environment has these labels; what runs in a, b stays" in made.problems[0].message
    assert made.doubtful == ("Application/shop",)
    assert placed(configured(*unlabelled, application({"name": "c"}, EU), before=made)) == {"c": "", "a": "a", "b": "b"}


def test_an_application_whose_only_selector_selects_nothing_is_in_doubt() -> None:
    """Also when nobody remembers what it was, so that nothing counts as no longer declared."""
    made = configured(environment("a"), application(EU))
    assert made.doubtful == ("Application/shop",)
    assert "shop" not in made.applications


def test_an_environment_that_loses_the_label_leaves() -> None:
    """Readable, and on purpose: what ran there is wanted no more, and its removal is under the budget."""
    before = configured(*FLEET, application(EU))
    made = configured(environment("a"), *FLEET[0:1], application(EU), before=before)
    assert (placed(made), made.problems, made.doubtful) == ({"b": ""}, (), ())


def test_a_document_that_cannot_be_read_keeps_its_labels() -> None:
    """An Environment that is wrong in Git is selected as what it was before."""
    before = configured(*FLEET, application(EU))
    wrong = {**environment("a"), "spec": {"colour": "red"}}
    made = configured(wrong, FLEET[0], application(EU), before=before)
    assert placed(made) == {"a": "", "b": ""}
    assert made.doubtful == ("Environment/a",)


def test_an_application_that_is_wrong_runs_where_it_ran() -> None:
    """In the environments that were selected, in their fleet, whatever labels say meanwhile."""
    before = configured(*FLEET, application(EU))
    made = configured(environment("a"), FLEET[0], application(EU, colour="red"), before=before)
    assert placed(made) == {"a": "", "b": ""}
    assert made.fleets == before.fleets


# --- laws --------------------------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["", "x", "y"])
LABELS = st.dictionaries(st.sampled_from("abc"), WORDS, max_size=3)
REQUIREMENTS = st.one_of(
    st.builds(lambda key, op: Requirement(key, op), st.sampled_from("abc"), st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        lambda key, op, values: Requirement(key, op, values),
        st.sampled_from("abc"),
        st.sampled_from(["In", "NotIn"]),
        st.lists(WORDS, min_size=1, max_size=2),
    ),
)
OPPOSITE = {"In": "NotIn", "NotIn": "In", "Exists": "DoesNotExist", "DoesNotExist": "Exists"}


@given(REQUIREMENTS, LABELS)
def test_law_a_requirement_or_its_opposite_holds(requirement: Requirement, labels: dict[str, str]) -> None:
    """Exactly one of the two."""
    opposite: Any = Requirement(requirement.key, OPPOSITE[requirement.operator], requirement.values)  # type: ignore[arg-type]
    one, other = (selects(Selector(match_expressions=[each]), labels) for each in (requirement, opposite))
    assert one != other


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), LABELS, min_size=1), LABELS, st.permutations("abcdef"))
def test_law_the_order_of_documents_means_nothing(fleet: dict[str, Any], wanted: dict[str, str], order: list[str]) -> None:
    """The same environments, whichever comes first; and exactly those whose labels match."""
    selected = application({"selector": {"matchLabels": wanted}})
    documents = [environment(name, **labels) for name, labels in fleet.items()]
    made = configured(*documents, selected)
    shuffled = configured(*sorted(documents, key=lambda one: order.index(one["metadata"]["name"])), selected)
    matching = [name for name, labels in sorted(fleet.items()) if wanted.items() <= labels.items()]
    assert list(placed(made)) == matching
    assert (made.applications, made.fleets) == (shuffled.applications, shuffled.fleets)
