"""Which ignore rules speak of an object, and what they leave of it."""

from __future__ import annotations

from trimtab.core.decide.ignoring import as_before, expressions, leave
from trimtab.core.model.config import Application, ApplicationSpec, Configuration, Ignore, Metadata
from trimtab.core.model.errors import Problem
from trimtab.core.model.leaving import Leave
from trimtab.testing.factories import manifest

WEB = manifest("Process", "web")


def test_rules_speak_of_what_they_name() -> None:
    """An empty group, kind or name is every one; several rules count together, each thing once."""
    rules = [
        *(Ignore(["/spec/replicas"]), Ignore(["/a"], kind="Task"), Ignore(["/b"], kind="Process", name="web")),
        *(Ignore(writers=["vpa-*"]), Ignore(["/b"], writers=["vpa-*"])),
    ]
    assert leave(rules, WEB, lambda _: False) == Leave(("/spec/replicas", "/b"), ("vpa-*",))
    assert not leave(rules[1:2], WEB, lambda _: True)


def test_a_rule_with_an_expression_counts_where_it_is_true() -> None:
    """It is asked about the objects that the rest of the rule names, and no others."""
    rules = [Ignore(["/a"], when="x"), Ignore(["/b"], when="y"), Ignore(["/c"], kind="Task", when="z")]
    assert expressions(rules, WEB.ref) == ("x", "y")
    assert leave(rules, WEB, {"x": True, "y": False}.__getitem__) == Leave(("/a",))


def test_a_document_with_a_wrong_rule_says_what_it_said_before() -> None:
    """The others are new, the problem is told, and the document is in doubt."""

    def declared(path: str) -> dict[str, Application]:
        return {name: Application(Metadata(name), ApplicationSpec(project=path)) for name in ("a", "b")}

    made = as_before(
        Configuration(applications=declared("new")),
        Configuration(applications=declared("old")),
        {"Application/a"},
        [Problem("x")],
    )
    assert {name: one.spec.project for name, one in made.applications.items()} == {"a": "old", "b": "new"}
    assert (made.doubtful, [one.message for one in made.problems]) == (("Application/a",), ["x"])
