"""What a Project forbids."""

from __future__ import annotations

import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.limits import glob, outside_of
from trimtab.core.model.config import Metadata, Project, ProjectSpec
from trimtab.testing.factories import manifest


def project(*kinds: str) -> Project:
    return Project(Metadata("web"), ProjectSpec(kinds=list(kinds)))


def test_without_a_list_every_kind_is_allowed() -> None:
    """No project, or one that names no kinds, forbids nothing."""
    assert outside_of(None, [manifest("Process", "web")]) == []
    assert outside_of(project(), [manifest("Process", "web")]) == []


def test_a_kind_that_is_not_listed_is_a_problem_where_it_stands() -> None:
    """The problem names file, line, project and what would be allowed."""
    (problem,) = outside_of(project("Proc*", "*/Task"), [manifest("Process", "web"), manifest("File", "motd", line=7)])
    assert (problem.file, problem.line, problem.field) == ("apps/motd.yaml", 7, "kind")
    assert problem.message == "File/motd: project web does not allow this kind"
    assert problem.remedy == "Allowed: Proc*, */Task"


def test_a_pattern_with_a_slash_is_about_group_and_kind() -> None:
    """`group/Kind` tells kinds of one name apart."""
    assert outside_of(project("host.trimtab.dev/File"), [manifest("File", "motd")]) == []
    assert outside_of(project("v1/File"), [manifest("File", "motd")]) != []


@given(st.text("ab*?.[", max_size=6), st.text("ab.[", max_size=6))
def test_patterns_mean_what_shells_mean_by_star_and_question_mark(pattern: str, text: str) -> None:
    """Brackets are themselves; all else is as in fnmatch."""
    assert glob(pattern, text) == fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
