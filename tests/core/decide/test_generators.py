"""Applications from elements: what a template may say, what is kept when something is in doubt, how many may go at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.decide.configuration import configured, parse
from trimtab.core.decide.elements import Ask, FoundFile, Seen, Unknown
from trimtab.core.decide.generators import Memory
from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem

DIRECTORIES = Ask("", "", False, ("apps/*",))
FILES = Ask("", "", True, ("teams/*.yaml",))
TEMPLATE = {"metadata": {"name": "${path.basename}"}, "spec": {"source": {"path": "${path}"}}}


def generator(*generate: dict[str, Any], template: Any = TEMPLATE, name: str = "all", **spec: Any) -> dict[str, Any]:
    return {"kind": "Generator", "metadata": {"name": name}, "spec": {"generate": list(generate), "template": template, **spec}}


def environment(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Environment", "metadata": {"name": name, "labels": labels}}


def application(name: str) -> dict[str, Any]:
    return {"kind": "Application", "metadata": {"name": name}, "spec": {"source": {"path": "written"}}}


EACH_DIRECTORY = {"directories": {"include": ["apps/*"]}}
EACH_FILE = {"files": {"include": ["teams/*.yaml"]}}


def there(*paths: str) -> dict[Ask, Seen | Unknown]:
    return {DIRECTORIES: Seen(directories=tuple(f"apps/{path}" for path in paths))}


def teams(**documents: Any) -> dict[Ask, Seen | Unknown]:
    files = (FoundFile(f"teams/{name}.yaml", name, (value,)) for name, value in documents.items())
    return {FILES: Seen(files=tuple(files))}


def made(
    *documents: dict[str, Any],
    found: Mapping[Ask, Seen | Unknown],
    before: Configuration | None = None,
    alive: frozenset[str] = frozenset(),
) -> Configuration:
    files = {
        f".trimtab/{one['kind'].lower()}-{one['metadata']['name']}.json": msgspec.json.encode(
            {"apiVersion": "trimtab.dev/v1", **one}
        )
        for one in documents
    }
    reading = parse(files)
    before = before or Configuration()
    memory = Memory()
    result = configured(reading, before, found=found, alive=alive, memory=memory)
    # What is remembered saves work and changes nothing; what is stored is what was decided.
    assert configured(reading, before, found=found, alive=alive, memory=memory) == result
    assert msgspec.json.decode(msgspec.json.encode(result), type=Configuration) == result
    return result


def paths(configuration: Configuration) -> dict[str, str]:
    return {name: one.spec.source.path for name, one in configuration.applications.items()}


# --- elements and templates ---------------------------------------------------------------------------------------------------------


def test_each_directory_is_an_application() -> None:
    """With its path; and it is known where it comes from."""
    found = made(generator(EACH_DIRECTORY), found=there("cart", "shop"))
    assert found.problems == ()
    assert paths(found) == {"cart": "apps/cart", "shop": "apps/shop"}
    assert str(found.generated["shop"]) == "generator all: apps/shop"


def test_values_of_a_file_keep_their_type() -> None:
    """A text that is one name and nothing else becomes the value; within other text it becomes words."""
    template = {
        "metadata": {"name": "${file.team.name}-${file.number}", "labels": {"from": "${path}/${path.filename}"}},
        "spec": {"adopt": "${file.adopt}", "environments": "${file.places}", "progressDeadlineSeconds": "${file.number}"},
    }
    value = {"team": {"name": "web"}, "number": 7, "adopt": True, "places": [{"name": "host", "path": "x"}]}
    found = made(generator(EACH_FILE, template=template), found=teams(web=value))
    assert found.problems == ()
    one = found.applications["web-7"]
    assert (one.spec.adopt, one.spec.progress_deadline_seconds, one.spec.environments[0].path) == (True, 7, "x")
    assert one.metadata.labels == {"from": "teams/web.yaml"}


def test_each_environment_and_each_literal_element() -> None:
    """Labels by their name, dots and slashes included."""
    places = {"environments": {"matchLabels": {"tier": "edge"}}}
    template = {
        "metadata": {"name": "agent-${environment.name}"},
        "spec": {
            "source": {"path": "${environment.labels.example.com/zone}"},
            "environments": [{"name": "${environment.name}"}],
        },
    }
    fleet = [environment("a", tier="edge", **{"example.com/zone": "west"}), environment("b")]
    found = made(*fleet, generator(places, template=template), found={})
    assert paths(found) == {"agent-a": "west"}
    literal = {"elements": [{"name": "x", "at": "p"}, {"name": "y", "at": "q"}]}
    template = {"metadata": {"name": "${element.name}"}, "spec": {"source": {"path": "${element.at}"}}}
    assert paths(made(generator(literal, template=template), found={})) == {"x": "p", "y": "q"}


def test_a_matrix_is_each_of_the_one_with_each_of_the_other() -> None:
    """Every directory in every environment."""
    matrix = {"matrix": [EACH_DIRECTORY, {"environments": {}}]}
    template = {
        "metadata": {"name": "${path.basename}-${environment.name}"},
        "spec": {"source": {"path": "${path}"}, "environments": [{"name": "${environment.name}"}]},
    }
    found = made(environment("a"), environment("b"), generator(matrix, template=template), found=there("cart", "shop"))
    assert found.problems == ()
    assert sorted(found.applications) == ["cart-a", "cart-b", "shop-a", "shop-b"]
    assert found.generated["shop-a"].element == "apps/shop × a"


def test_in_an_entry_the_environment_is_that_of_the_entry() -> None:
    """A template that selects fills in each directory, and each environment's own path of it."""
    entries = [{"selector": {}, "path": "${path}/${environment.labels.region}"}]
    template = {"metadata": {"name": "${path.basename}"}, "spec": {"environments": entries}}
    found = made(environment("a", region="eu"), generator(EACH_DIRECTORY, template=template), found=there("shop"))
    assert [one.path for one in found.applications["shop"].spec.environments] == ["apps/shop/eu"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"generate": [{}]}, "spec.generate[0]", "exactly one of these is wanted here"),
        ({"generate": [{**EACH_FILE, **EACH_DIRECTORY}]}, "spec.generate[0]", "exactly one of these is wanted here"),
        ({"generate": [{"matrix": [EACH_FILE]}]}, "spec.generate[0].matrix", "a matrix is of two"),
        (
            {"generate": [{"directories": {"include": ["../x"]}}]},
            "spec.generate[0].directories.include[0]",
            "no path can be like",
        ),
        ({"template": {"metadata": {"name": "x"}, "spec": {"sauce": {}}}}, "spec.template.spec.sauce", 'no field "sauce" here'),
        ({"template": {"spec": {}}}, "spec.template.metadata", '"metadata" is missing'),
        ({"template": {"metadata": {"name": "X"}}}, "spec.template.metadata.name", "does not fit"),
    ],
)
def test_mistakes_of_the_document_stand_where_they_are(spec: dict[str, Any], field: str, message: str) -> None:
    """Whatever elements there will be."""
    one = generator(EACH_DIRECTORY)
    found = made({**one, "spec": {**one["spec"], **spec}}, found={})
    assert [(each.field, message in each.message) for each in found.problems] == [(field, True)]
    assert found.doubtful == ("Generator/all",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("${file.nmae}", "${file.nmae} is not known here"),
        ("${file.nothing}", "${file.nothing} stands for nothing"),
        ("${file.name", "${ is not closed"),
        ("a-${file.list}", "${file.list} is a list, which cannot stand within a text"),
        ("${file.list}", "text is wanted here, not a list"),
        ("${file.bad}", '"Not a name" does not fit'),
    ],
)
def test_what_cannot_be_filled_in_is_a_mistake_of_that_element(name: str, message: str) -> None:
    """The others go on; it is told which element it is."""
    value = {"name": "web", "nothing": None, "list": [1], "bad": "Not a name", "fine": "fine"}
    template = {"metadata": {"name": name}, "spec": {}}
    found = made(generator(EACH_FILE, {"elements": [{}]}, template=template), found=teams(web=value))
    text = str(found.problems[0])
    assert (message in text, "teams/web.yaml" in text, "spec.template.metadata.name" in text) == (True, True, True)


def test_a_dollar_can_be_written() -> None:
    """Twice the dollar is the brace itself."""
    template = {"metadata": {"name": "x", "annotations": {"a": "$${path} $5 ${path}"}}}
    found = made(generator(EACH_DIRECTORY, template=template), found=there("shop"))
    assert found.applications["x"].metadata.annotations == {"a": "${path} $5 apps/shop"}


# --- names ------------------------------------------------------------------------------------------------------------------------------


def test_a_name_that_two_elements_would_have_is_that_of_the_one_that_had_it() -> None:
    """The other is reported, and a third goes on."""
    template = {"metadata": {"name": "${file.name}"}, "spec": {"source": {"path": "${path.filename}"}}}
    one, other, third = {"name": "shop"}, {"name": "shop"}, {"name": "cart"}
    before = made(generator(EACH_FILE, template=template), found=teams(b=one))
    found = made(generator(EACH_FILE, template=template), found=teams(a=other, b=one, c=third), before=before)
    assert paths(found) == {"shop": "b.yaml", "cart": "c.yaml"}
    assert "teams/a.yaml, teams/b.yaml would all be the application shop; it is that of teams/b.yaml" in found.problems[0].message


def test_what_people_wrote_has_its_name() -> None:
    """An element with the name of a declared application is reported at the generator."""
    found = made(generator(EACH_DIRECTORY), application("shop"), found=there("cart", "shop"))
    assert paths(found) == {"cart": "apps/cart", "shop": "written"}
    assert "the name shop is that of the one in .trimtab/application-shop.json" in found.problems[0].message
    assert list(found.generated) == ["cart"]


def test_what_is_generated_is_checked_as_if_it_were_written() -> None:
    """An environment that is not there is told with the application and the place in the template."""
    template = {**TEMPLATE, "spec": {"environments": [{"name": "nowhere"}]}}
    found = made(generator(EACH_DIRECTORY, template=template), found=there("shop"))
    assert "application shop: there is no Environment nowhere" in found.problems[0].message
    assert found.problems[0].field == "spec.template.spec.environments[0].name"
    assert found.doubtful == ("Application/shop",)


def test_limits_of_a_project_hold_for_what_is_generated() -> None:
    """Also when the element says which Project it is of, which it may in the configuration repository."""
    project = {"kind": "Project", "metadata": {"name": "team"}, "spec": {"environments": ["staging"]}}
    template = {"metadata": {"name": "${file.name}"}, "spec": {"project": "${file.project}"}}
    elements = teams(one={"name": "one", "project": "team"}, two={"name": "two", "project": "default"})
    found = made(generator(EACH_FILE, template=template), project, found=elements)
    assert list(found.applications) == ["two"]
    assert "application one: the Project team does not allow the environment host" in found.problems[0].message


@pytest.mark.parametrize("spec", [{"project": "${file.project}"}, {"project": "p-${path.basename}"}, "${file.spec}"])
def test_another_repository_does_not_choose_the_project(spec: Any) -> None:
    """By a field, by a part of one, or by a whole spec; neither alone nor in a matrix."""
    template = {"metadata": {"name": "${path.basename}"}, "spec": spec}
    elsewhere = {"files": {"include": ["*.yaml"], "repository": "https://git.example.com/team"}}
    for generate in (elsewhere, {"matrix": [EACH_DIRECTORY, elsewhere]}):
        found = made(generator(generate, template=template), found={})
        assert "another repository cannot choose the Project" in str(found.problems)
        fixed = made(generator(generate, template={**template, "spec": {"project": "team"}}), found={})
        assert "cannot choose" not in str(fixed.problems)


# --- nothing is taken away by mistake ---------------------------------------------------------------------------------------------------

BEFORE = made(generator(EACH_DIRECTORY), found=there("cart", "shop"))


@pytest.mark.parametrize("answer", [{}, {DIRECTORIES: Unknown()}, {DIRECTORIES: Unknown("it is gone", "Bring it back")}])
def test_what_cannot_be_read_takes_nothing_away(answer: dict[Ask, Seen | Unknown]) -> None:
    """All that was made stays as it was and is in doubt; where it is only not read yet, nothing is reported."""
    found = made(generator(EACH_DIRECTORY), found=answer, before=BEFORE)
    assert paths(found) == paths(BEFORE)
    assert found.doubtful == ("Application/cart", "Application/shop", "Generator/all")
    assert [one.message for one in found.problems] == (
        ["it is gone"] if answer.get(DIRECTORIES) == Unknown("it is gone", "Bring it back") else []
    )
    again = made(generator(EACH_DIRECTORY), found=answer, before=found)
    assert (again.applications, again.generated) == (found.applications, found.generated)


def test_an_empty_answer_takes_nothing_away() -> None:
    """It is reported."""
    found = made(generator(EACH_DIRECTORY), found=there(), before=BEFORE)
    assert paths(found) == paths(BEFORE)
    assert "nothing is found here; what it made before stays" in found.problems[0].message


def test_a_file_that_cannot_be_understood_keeps_what_it_made() -> None:
    """The others go on, new ones too, and nothing else goes meanwhile."""
    template = {"metadata": {"name": "${file.name}"}, "spec": {"source": {"path": "${file.at}"}}}
    documents = {name: {"name": name, "at": "old"} for name in ("a", "b", "c")}
    before = made(generator(EACH_FILE, template=template), found=teams(**documents))
    broken = FoundFile("teams/a.yaml", "x", problems=(Problem("this is no YAML", "teams/a.yaml", 3),))
    others = [FoundFile(f"teams/{name}.yaml", name, ({"name": name, "at": "new"},)) for name in ("b", "d")]
    found = made(generator(EACH_FILE, template=template), found={FILES: Seen(files=(broken, *others))}, before=before)
    assert paths(found) == {"a": "old", "b": "new", "c": "old", "d": "new"}
    assert found.doubtful == ("Application/a", "Application/c", "Generator/all")
    assert [str(one) for one in found.problems] == ["teams/a.yaml:3: this is no YAML"]


def test_a_generator_that_is_wrong_keeps_what_it_made() -> None:
    """Whatever directories there are now."""
    found = made({**generator(EACH_DIRECTORY), "spec": {"generate": []}}, found=there("new"), before=BEFORE)
    assert paths(found) == paths(BEFORE)


def test_an_element_that_is_gone_makes_its_application_undeclared() -> None:
    """It leaves, as long as something of it is left; a few may always go."""
    found = made(generator(EACH_DIRECTORY), found=there("cart"), before=BEFORE, alive=frozenset({"shop"}))
    assert (paths(found), found.problems, found.doubtful) == ({"cart": "apps/cart"}, (), ())
    assert {name: one.held for name, one in found.leaving.items()} == {"shop": ""}
    assert made(generator(EACH_DIRECTORY), found=there("cart"), before=found).leaving == {}


MANY = [f"app-{number}" for number in range(8)]


def test_too_many_at_once_are_held() -> None:
    """More than half, and more than three; and they stay held when another commit comes along."""
    before = made(generator(EACH_DIRECTORY), found=there(*MANY))
    found = made(generator(EACH_DIRECTORY), found=there(*MANY[:3]), before=before, alive=frozenset(MANY))
    reason = "5 of 8 applications of the generator all would go, more than its budget of 50 % (and 3)"
    assert {name: one.held for name, one in found.leaving.items()} == dict.fromkeys(MANY[3:], reason)
    later = made(generator(EACH_DIRECTORY), application("other"), found=there(*MANY[:3]), before=found, alive=frozenset(MANY))
    assert later.leaving == found.leaving
    back = made(generator(EACH_DIRECTORY), found=there(*MANY[:7]), before=later, alive=frozenset(MANY))
    assert back.leaving.keys() == {"app-7"}
    assert back.leaving["app-7"].held == ""


def test_a_few_in_each_of_several_commits_add_up() -> None:
    """While what went first is not gone yet."""
    found = made(generator(EACH_DIRECTORY), found=there(*MANY))
    for left in (6, 4, 2):
        found = made(generator(EACH_DIRECTORY), found=there(*MANY[:left]), before=found, alive=frozenset(MANY))
    assert {bool(one.held) for one in found.leaving.values()} == {True}


def test_a_generator_that_is_gone_lets_all_go_and_they_are_held() -> None:
    """By the budget that it had, also after the next commit; and what another one makes, or people write, is not gone."""
    before = made(generator(EACH_DIRECTORY), found=there(*MANY))
    found = made(application("app-0"), found={}, before=before, alive=frozenset(MANY))
    assert found.leaving.keys() == set(MANY[1:])
    assert all(one.held for one in found.leaving.values())
    assert made(application("app-0"), found={}, before=found, alive=frozenset(MANY)).leaving == found.leaving
    assert made(generator(EACH_DIRECTORY, name="new"), found=there(*MANY), before=before, alive=frozenset(MANY)).leaving == {}


# --- laws -------------------------------------------------------------------------------------------------------------------------------

NAMES = st.sets(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=6)
ANSWERS = st.one_of(NAMES, st.just("unknown"))


@settings(max_examples=100, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=6))
def test_law_only_a_full_answer_takes_away(answers: list[Any]) -> None:
    """After any answers: what is declared is what the last answer says, or, where that is unknown or empty, also all before it."""
    configuration, expected = Configuration(), set[str]()
    for answer in answers:
        if answer == "unknown":
            found: dict[Ask, Seen | Unknown] = {DIRECTORIES: Unknown("gone")}
        else:
            found = there(*sorted(answer))
            expected = answer or expected
        configuration = made(generator(EACH_DIRECTORY), found=found, before=configuration, alive=frozenset("abcdef"))
        assert set(configuration.applications) == expected
        assert not configuration.leaving.keys() & expected


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=5), st.integers(0, 100), st.integers(0, 4))
def test_law_more_than_the_budget_is_always_held(answers: list[set[str]], percent: int, applications: int) -> None:
    """Whatever came before: of what goes, either no more than the budget goes unheld, or all of it is held."""
    configuration = Configuration()
    one = generator(EACH_DIRECTORY, removal={"percent": percent, "applications": applications})
    for answer in answers:
        known = configuration.generated.keys() | configuration.leaving.keys()
        found = there("always", *sorted(answer))
        configuration = made(one, found=found, before=configuration, alive=frozenset({"always", *"abcdef"}))
        gone = known - configuration.applications.keys()
        held = {name for name, each in configuration.leaving.items() if each.held}
        assert configuration.leaving.keys() == gone
        too_many = len(gone) > applications and len(gone) * 100 > len(known) * percent
        assert held == (gone if too_many else set())
