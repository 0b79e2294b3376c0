"""Reading Trimtab's own configuration: strict, all mistakes at once, and what was declared before stays where something is wrong."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.configuration import read, zero_configuration
from trimtab.core.model.config import Application, Configuration, Environment, Origin, Placement, Project
from trimtab.core.model.errors import Problem
from trimtab.core.model.names import Key

EMPTY = Configuration()
FILE = ".trimtab/all.yaml"


def document(kind: str, name: str, spec: str = "{}") -> str:
    return f"apiVersion: trimtab.dev/v1\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n"


def app(name: str, spec: str = "{}") -> str:
    return document("Application", name, spec)


def configured(*texts: str, before: Configuration = EMPTY) -> Configuration:
    return read({FILE: "---\n".join(texts).encode()}, before)


def only(configuration: Configuration) -> Problem:
    (problem,) = configuration.problems
    assert problem.remedy
    assert problem.line
    return problem


def test_what_is_declared() -> None:
    """Documents of all kinds, in several files, become the Configuration, with the place of each."""
    spec = """
  source: {path: apps/shop}
  environments:
    - name: staging
    - {name: host, after: [staging]}
  dependsOn: [database]
"""
    found = read(
        {
            ".trimtab/a.yaml": (document("Environment", "staging") + "---\n" + app("shop", spec)).encode(),
            ".trimtab/deep/b.yml": app("database").replace("spec: {}", "spec:").encode(),
            ".trimtab/README.md": b"not yaml: [",
        },
        EMPTY,
    )
    assert found.problems == ()
    assert found.complete
    assert set(found.environments) == {"staging", "host"}
    assert set(found.projects) == {"default"}
    assert found.applications["shop"].spec.environments == [Placement("staging"), Placement("host", after=["staging"])]
    assert found.applications["database"].spec.environments == [Placement("host")]
    assert found.origins["Application/shop"] == Origin(".trimtab/a.yaml", 7)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Configuration) == found


@pytest.mark.parametrize(
    ("text", "line", "field", "message", "remedy"),
    [
        (app("a", "{sorce: {}}"), 5, "spec.sorce", 'no field "sorce"', 'Did you mean "source"?'),
        (app("a", "{source: {renderer: plane}}"), 5, "spec.source.renderer", '"plane"', 'Did you mean "plain"?'),
        (app("a", "{source: {path: 5}}"), 5, "spec.source.path", "text is wanted here, not 5", "quotes"),
        (app("a", "{adopt: 'yes'}"), 5, "spec.adopt", "true or false", "true or false"),
        (app("a", "{dependsOn: b}"), 5, "spec.dependsOn", "a list is wanted", '"- "'),
        (app("a", "\n  environments:\n    - name: host\n    - {}"), 8, "spec.environments[1].name", "missing", 'Add "name"'),
        (app("a", "{environments: []}"), 5, "spec.environments", "empty", "leave the field out"),
        (app("a", "{progressDeadlineSeconds: 0}"), 5, "spec.progressDeadlineSeconds", "out of bounds", "at least 1"),
        (app("a", "{ignore: [{pointers: [spec]}]}"), 5, "spec.ignore[0].pointers[0]", "does not fit", "slash"),
        (app("a", "[]"), 5, "spec", "a mapping is wanted here, not a list", "source"),
        (app("Shop_1"), 4, "metadata.name", '"Shop_1" does not fit', "lower-case"),
        (app("no"), 4, "metadata.name", "text is wanted here, not false", "quotes"),
        (app("a").replace("Application", "Aplication"), 2, "kind", 'no kind "Aplication"', 'Did you mean "Application"?'),
        (app("a").replace("trimtab.dev/v1", "trimtab.dev/v2"), 1, "apiVersion", "trimtab.dev/v2", "trimtab.dev/v1"),
        ("kind: Application\nmetadata:\n  name: a\n", 1, "apiVersion", "missing", "trimtab.dev/v1"),
        ("- a list\n", 1, "", "not a list", "schema"),
        (app("a") + "spec: {}\n", 6, "spec", "first at line 5", "Keep one"),
        (app("a", "\n\tx: 1"), 6, "", "tab", "spaces"),
        (app("a", "{environments: [{name: prod}]}"), 5, "spec.environments[0].name", "no Environment prod", "host"),
        (app("a", "{environments: [{name: host}, {name: host}]}"), 5, "spec.environments[1].name", "twice", "Keep one"),
        (app("a", "{environments: [{name: host, after: [host]}]}"), 5, "spec.environments[0].after[0]", "itself", "Remove"),
        (
            app("a", "{environments: [{name: host, after: [prod]}]}"),
            5,
            "spec.environments[0].after[0]",
            "not run in prod",
            "host",
        ),
        (app("a", "{dependsOn: [b]}"), 5, "spec.dependsOn[0]", "no Application b", "Declare"),
        (app("a", "{dependsOn: [a]}"), 5, "spec.dependsOn[0]", "itself", "Remove"),
        (app("a", "{project: none}"), 5, "spec.project", "no Project none", "default"),
        (app("a", "{source: {path: ../x}}"), 5, "spec.source.path", "leaves the repository", "root"),
        (app("a", '{source: {repository: "--upload-pack=x"}}'), 5, "spec.source.repository", "dash", "without"),
        (app("a", '{source: {path: "a\\e[2Jb"}}'), 5, "spec.source.path", "\\x1b[2Jb", "Remove"),
    ],
)
def test_mistakes(text: str, line: int, field: str, message: str, remedy: str) -> None:
    """Each mistake is told with its file, line, field and what to write instead."""
    found = configured(text)
    problem = only(found)
    assert (problem.file, problem.line, problem.field) == (FILE, line, field)
    assert message in problem.message
    assert remedy in problem.remedy
    assert found.applications == {}


def test_all_mistakes_at_once() -> None:
    """One document may have several mistakes, and all of them are told."""
    found = configured(app("a", "{sorce: 1, adopt: 5, source: {pth: x}}"), app("b", "{project: p}"))
    assert [problem.field for problem in found.problems] == ["spec.sorce", "spec.adopt", "spec.source.pth", "spec.project"]


def test_a_bad_document_keeps_what_it_declared_before() -> None:
    """A document that went bad stays as it was, the others move on, and nothing is missing."""
    before = configured(app("a", "{source: {path: old}}"), app("b", "{source: {path: old}}"))
    found = configured(app("a", "{source: {path: new}, oops: 1}"), app("b", "{source: {path: new}}"), before=before)
    assert found.applications["a"].spec.source.path == "old"
    assert found.applications["b"].spec.source.path == "new"
    assert found.doubtful == ("Application/a",)
    assert found.complete
    again = configured(app("a", "{oops: 1}"), app("b"), before=found)
    assert again.applications["a"].spec.source.path == "old"


def test_while_a_file_cannot_be_read_nothing_is_gone() -> None:
    """Of a broken file nobody knows what it declares: everything stays, and the Configuration is not complete."""
    files = {".trimtab/a.yaml": (app("a") + "---\n" + app("b")).encode(), ".trimtab/c.yaml": app("c").encode()}
    before = read(files, EMPTY)
    for broken in (b"\0", b"a: [", b"kind: Aplication\n", b"x" * 9_000_000, (app("a") + "---\nb: [").encode()):
        found = read({**files, ".trimtab/a.yaml": broken, ".trimtab/c.yaml": b""}, before)
        assert set(found.applications) == {"a", "b", "c"}, "c may have moved into the file that cannot be read"
        assert not found.complete
        assert "Application/b" in found.doubtful
        assert found.problems
        mended = read({".trimtab/a.yaml": app("a").encode()}, found)
        assert (set(mended.applications), mended.complete, mended.doubtful) == ({"a"}, True, ())


def test_two_of_one_name() -> None:
    """A name that is declared twice is reported at the second place and stays as it was before."""
    before = configured(app("a", "{source: {path: old}}"))
    files = {".trimtab/x.yaml": app("a").encode(), ".trimtab/y.yaml": app("a").encode()}
    found = read(files, before)
    problem = only(found)
    assert (problem.file, problem.line) == (".trimtab/y.yaml", 4)
    assert ".trimtab/x.yaml:1" in problem.message
    assert found.applications["a"].spec.source.path == "old"
    assert read(files, EMPTY).applications == {}


def test_a_circle_of_dependencies_is_named_whole() -> None:
    """Each Application of a circle is told the whole circle; what depends on the circle from outside is told so too."""
    found = configured(app("a", "{dependsOn: [b]}"), app("b", "{dependsOn: [c]}"), app("c", "{dependsOn: [a]}"), app("d"))
    assert set(found.applications) == {"d"}
    assert [(problem.line, problem.field) for problem in found.problems] == [
        (5, "spec.dependsOn[0]"),
        (11, "spec.dependsOn[0]"),
        (17, "spec.dependsOn[0]"),
    ]
    for problem in found.problems:
        assert all(name in problem.message for name in ("a@host", "b@host", "c@host"))


def test_a_circle_of_promotion_and_dependency() -> None:
    """`after` and `dependsOn` together can make a circle, too."""
    environments = document("Environment", "one") + "---\n" + document("Environment", "two")
    found = configured(
        environments,
        app("a", "{environments: [{name: one, after: [two]}, {name: two, after: [one]}]}"),
        app("b", "{environments: [{name: one}, {name: two, after: [one]}], dependsOn: [c]}"),
        app("c", "{environments: [{name: one, after: [two]}, {name: two}], dependsOn: [b]}"),
    )
    assert found.applications == {}
    words = {problem.line: problem.message for problem in found.problems}
    assert "a@one" in words[17]
    assert "a@two" in words[17]
    assert all(name in words[23] for name in ("b@", "c@"))


def test_a_circle_made_by_what_stays_from_before() -> None:
    """A new document that makes a circle with a kept one gives way."""
    before = configured(app("a", "{dependsOn: [b]}"), app("b"))
    found = configured(app("a", "{oops: 1}"), app("b", "{dependsOn: [a]}"), before=before)
    assert found.applications["a"].spec.depends_on == ["b"]
    assert found.applications["b"].spec.depends_on == []
    assert found.doubtful == ("Application/a", "Application/b")


def test_a_reference_to_what_is_wrong() -> None:
    """Who refers to a wrong document that was never right is told so; who refers to one that was right is not disturbed."""
    text = (document("Environment", "prod", "{oops: 1}"), app("a", "{environments: [{name: prod}]}"))
    found = configured(*text)
    assert found.applications == {}
    assert "declared, but wrong" in found.problems[1].message
    found = configured(*text, before=configured(document("Environment", "prod")))
    assert set(found.applications) == {"a"}
    assert len(found.problems) == 1


def test_an_environment_that_goes_away_under_an_application() -> None:
    """The Application stays where it was, doubtful, and the mistake is told."""
    placed = app("a", "{environments: [{name: prod}]}")
    before = configured(document("Environment", "prod"), placed)
    found = configured(placed, before=before)
    assert set(found.applications) == {"a"}
    assert found.doubtful == ("Application/a",)
    assert "no Environment prod" in only(found).message


def test_limits_of_a_project() -> None:
    """A Project limits repositories and Environments by patterns; the repository of the configuration itself is always allowed."""
    limits = document("Project", "p", "{repositories: ['https://git.example/shop/*'], environments: ['stag*']}")
    staging = document("Environment", "staging")
    good = app("a", "{project: p, environments: [{name: staging}], source: {repository: 'https://git.example/shop/x'}}")
    own = app("o", "{project: p, environments: [{name: staging}]}")
    bad = app("b", "{project: p, source: {repository: 'https://elsewhere.example/x'}}")
    found = configured(limits, staging, good, own, bad)
    assert set(found.applications) == {"a", "o"}
    assert [problem.field for problem in found.problems] == ["spec.source.repository", "spec.environments[0].name"]


def test_a_project_may_name_environments_by_their_labels() -> None:
    """With patterns, both must hold; a selector of an Application brings it nowhere that its Project may not be."""
    texts = [
        document("Environment", name).replace("  name:", f"  labels: {{tier: {tier}}}\n  name:")
        for name, tier in (("one", "test"), ("two", "test"), ("live", "production"))
    ]
    texts.append(document("Project", "p", "{environments: ['*o*'], environmentSelector: {matchLabels: {tier: test}}}"))
    for names, denied in ((["one", "two"], []), (["one", "live"], ["live"]), (["host"], ["host"])):
        entries = ", ".join(f"{{name: {name}}}" for name in names)
        found = configured(*texts, app("a", f"{{project: p, environments: [{entries}]}}"))
        assert [one.message for one in found.problems] == [
            f"the Project p does not allow the environment {name}" for name in denied
        ]
        assert (set(found.applications) == {"a"}) == (not denied)
    found = configured(*texts, app("a", "{project: p, environments: [{selector: {}}]}"))
    assert found.applications == {}
    assert "does not allow the environment live" in found.problems[0].message


def test_limits_hold_for_each_of_several_sources_and_for_charts() -> None:
    """The second one is no way round, nor is a chart, nor an address that climbs."""
    limits = document("Project", "p", "{repositories: ['https://git.example/shop/*']}")
    fine = "{repository: 'https://git.example/shop/x', name: fine}"
    for source, field in (
        ("{repository: 'https://elsewhere.example/x'}", "spec.sources[1].repository"),
        ("{repository: 'https://git.example/shop/../x'}", "spec.sources[1].repository"),
        ("{chart: {repository: 'https://elsewhere.example', name: x, version: '1.0.0'}}", "spec.sources[1].chart.repository"),
    ):
        found = configured(limits, app("a", f"{{project: p, sources: [{fine}, {source}]}}"))
        assert found.applications == {}
        assert only(found).field == field


def test_a_project_that_cannot_be_read_is_no_leave_to_do_everything() -> None:
    """The Project `default` too: it is always there, but what it limits is not known while its document is wrong."""
    found = configured(document("Project", "default", "{environments: 5}"), app("a"))
    assert found.applications == {}
    assert [problem.field for problem in found.problems] == ["spec.environments", "spec.project"]
    good = configured(document("Project", "default", "{environments: [staging]}"))
    found = configured(document("Project", "default", "{environments: 5}"), app("a"), before=good)
    assert found.applications == {}
    assert found.projects["default"].spec.environments == ["staging"]


def test_dependency_without_a_common_environment() -> None:
    """A dependency on an Application that runs nowhere near is an error."""
    found = configured(document("Environment", "x"), app("a", "{dependsOn: [b]}"), app("b", "{environments: [{name: x}]}"))
    assert set(found.applications) == {"b"}
    assert "no environment that a runs in" in only(found).message


TWO = document("Environment", "one") + "---\n" + document("Environment", "two")


def test_a_dependency_on_an_application_in_another_environment() -> None:
    """For all of its Environments, or for one of them; what stands in Git beside it is what is waited for."""
    b = app("b", "{environments: [{name: one}]}")
    a = app("a", "{environments: [{name: two, dependsOn: [b@one]}, {name: one}]}")
    found = configured(TWO, b, a, app("c", "{environments: [{name: two}], dependsOn: [b@one]}"))
    assert found.problems == ()
    needs = {(one.name, place.name): one.needs(place) for one in found.applications.values() for place in one.spec.environments}
    other = (Key("one", "b"),)
    assert needs == {("a", "two"): other, ("a", "one"): (), ("b", "one"): (), ("c", "two"): other}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ("{environments: [{name: two}], dependsOn: [b@two]}", "spec.dependsOn[0]", "b does not run in the environment two"),
        (
            "{environments: [{name: one}, {name: two, dependsOn: [b@three]}]}",
            "spec.environments[1].dependsOn[0]",
            "does not run in the",
        ),
        (
            "{environments: [{name: one}, {name: two, dependsOn: [b]}]}",
            "spec.environments[1].dependsOn[0]",
            "no environment that a",
        ),
        ("{environments: [{name: one}], dependsOn: [a@two]}", "spec.dependsOn[0]", "cannot depend on itself"),
        ("{environments: [{name: one}], dependsOn: [c@one]}", "spec.dependsOn[0]", "no Application c"),
        ("{environments: [{name: one}], dependsOn: ['b@']}", "spec.dependsOn[0]", "does not fit"),
    ],
)
def test_a_dependency_that_leads_nowhere_is_told_where_it_stands(spec: str, field: str, words: str) -> None:
    found = configured(TWO, app("b", "{environments: [{name: one}]}"), app("a", spec))
    assert set(found.applications) == {"b"}
    problem = only(found)
    assert (problem.field, words in problem.message) == (field, True), problem


def test_a_circle_through_two_environments_is_named_whole() -> None:
    """It is none within either of them."""
    found = configured(
        TWO,
        app("a", "{environments: [{name: one}], dependsOn: [b@two]}"),
        app("b", "{environments: [{name: two, dependsOn: [a@one]}]}"),
    )
    assert found.applications == {}
    assert [problem.field for problem in found.problems] == ["spec.dependsOn[0]", "spec.environments[0].dependsOn[0]"]
    assert all("a@one needs b@two" in problem.message or "b@two needs a@one" in problem.message for problem in found.problems)


def test_what_is_gone_is_gone() -> None:
    """A document that is deleted is no longer declared, when everything can be read."""
    before = configured(app("a"), app("b"))
    found = configured(app("a"), before=before)
    assert set(found.applications) == {"a"}
    assert found.complete
    assert read({}, before) == Configuration(environments=found.environments, projects=found.projects)


def test_zero_configuration() -> None:
    """Each top folder is an Application of its name in the Environment host."""
    found = zero_configuration(["shop", "My App!", "x"])
    assert {name: one.spec.source.path for name, one in found.applications.items()} == {
        "my-app": "My App!",
        "shop": "shop",
        "x": "x",
    }
    assert [one.name for one in found.applications["shop"].spec.environments] == ["host"]
    assert isinstance(found.environments["host"], Environment)
    assert isinstance(found.projects["default"], Project)
    assert zero_configuration([""]).applications["root"].spec.source.path == "."


def test_zero_configuration_with_colliding_names() -> None:
    """Of two folders that come to one name, the one of exactly that name wins; the other is a Problem."""
    found = zero_configuration(["Shop", "shop", "SHOP"])
    assert found.applications["shop"].spec.source.path == "shop"
    assert [problem.file for problem in found.problems] == ["SHOP", "Shop"]


WORDS = st.sampled_from(
    ["apiVersion", "kind", "metadata", "name", "spec", "source", "path", "environments", "dependsOn", "after", "trimtab.dev/v1",
     "Application", "Environment", "host", "a", "b", "on", "5", "~", "[", "]", "{", "}", ":", "- ", "\n", "\n  ", "---\n", ", ", "&x ", "*x", "<<", "\t", '"', "'"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=60).map("".join) | st.text(max_size=200), st.binary(max_size=60))
def test_reading_never_raises_and_good_documents_survive(text: str, noise: bytes) -> None:
    """Whatever stands in other files, a good document is read, and what is wrong has a file, a message and a remedy."""
    found = read(
        {".trimtab/noise.yaml": text.encode(), ".trimtab/z.yaml": app("survivor").encode(), ".trimtab/b.json": noise}, EMPTY
    )
    assert isinstance(found.applications["survivor"], Application) or "survivor" in text
    assert all(problem.file and problem.message and problem.remedy for problem in found.problems)
    msgspec.json.encode(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\x7f"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "path", "source", "environments", "after", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_a_bad_spec_never_loses_what_was_before(spec: object) -> None:
    """Whatever the spec of one document is, the Application of before or a new one is there."""
    before = configured(app("a"), app("b"))
    bad = {"apiVersion": "trimtab.dev/v1", "kind": "Application", "metadata": {"name": "a"}, "spec": spec}
    found = read({".trimtab/a.json": json.dumps(bad).encode(), ".trimtab/b.yaml": app("b").encode()}, before)
    assert set(found.applications) == {"a", "b"}
    assert found.complete
    assert bool(found.problems) == bool(found.doubtful)


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ("{source: {path: a}, sources: [{path: b}]}", "spec.sources", "both source and sources"),
        ("{sources: [{name: a}, {name: a}]}", "spec.sources[1].name", "there twice"),
        ("{sources: [{path: a}, {path: ../b}]}", "spec.sources[1].path", "leaves the repository"),
        ("{source: {chart: {repository: 'https://x', version: '1'}}}", "spec.source.chart.name", "missing"),
        ("{source: {chart: {repository: x, name: a, version: '1'}}}", "spec.source.chart.repository", "no address"),
        (
            "{source: {renderer: plain, chart: {repository: 'oci://x', name: a, version: '1'}}}",
            "spec.source.renderer",
            "not rendered by",
        ),
        ("{source: {renderer: plugin}}", "spec.source.plugin.name", "no plugin"),
        ("{sources: [{renderer: none}]}", "spec.sources[0]", "no source is rendered"),
    ],
)
def test_sources_that_cannot_be_meant(spec: str, field: str, words: str) -> None:
    problem = only(configured(app("shop", spec)))
    assert (problem.field, words in problem.message) == (field, True), problem


def test_a_project_limits_every_source_and_chart() -> None:
    """Not only the first."""
    project = document("Project", "web", "{repositories: ['https://ours/*']}")
    chart = "{chart: {repository: 'https://theirs/x', name: a, version: '1'}}"
    problem = only(configured(project, app("shop", f"{{project: web, sources: [{{path: a}}, {chart}]}}")))
    assert (problem.field, problem.remedy) == ("spec.sources[1].chart.repository", "Allowed: https://ours/*")
