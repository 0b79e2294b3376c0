"""Unified diffs of two trees: what git would apply, bounded, and what is no text is named and not shown."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.core.model.changeviews import EnvironmentPlanView, FileDiffView
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.plan import FieldChange
from trimtab.core.model.views import PlanView, StepView
from trimtab.engine.changes.approved import Snapshot, since
from trimtab.engine.changes.differing import FILES_MAX, LINES_MAX, file_diffs
from trimtab.testing.trees import MemoryTree


def diffs(before: dict[str, bytes], after: dict[str, bytes]) -> tuple[list[FileDiffView], bool]:
    return asyncio.run(file_diffs(MemoryTree(before), MemoryTree(after), {*before, *after}))


def test_files_come_by_path_with_what_became_of_them() -> None:
    found, more = diffs({"b": b"one\n", "a": b"x\n"}, {"b": b"two\n", "c/d": b"y"})
    assert [(one.path, one.status, one.note) for one in found] == [
        ("a", "removed", ""),
        ("b", "changed", ""),
        ("c/d", "added", ""),
    ]
    assert found[1].diff == "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-one\n+two\n"
    assert found[2].diff == "--- /dev/null\n+++ b/c/d\n@@ -0,0 +1 @@\n+y\n\\ No newline at end of file\n"
    assert not more


def test_what_is_no_text_or_too_large_is_named_and_not_shown() -> None:
    found, _ = diffs({}, {"a": b"\0", "b": b"\xff\xfe", "c": b"x" * 300_000, "d": b"x\n" * (LINES_MAX + 1)})
    assert [one.diff for one in found] == ["", "", "", ""]
    assert [one.note for one in found][:2] == ["binary", "binary"]
    assert found[3].note == f"more than {LINES_MAX} lines"
    assert all(one.note for one in found)


def test_more_files_than_are_shown_are_told() -> None:
    found, more = diffs({}, {f"f{number:04}": b"x\n" for number in range(FILES_MAX + 1)})
    assert (len(found), more) == (FILES_MAX, True)


def test_a_file_that_is_made_to_be_compared_for_long_is_not() -> None:
    """Thousands of lines that are all alike: one side stands below the other."""
    began = time.monotonic()
    [found], _ = diffs({"a": b"x\ny\n" * 990}, {"a": b"y\nx\n" * 990})
    assert time.monotonic() - began < 2
    assert found.diff.count("\n-") == found.diff.count("\n+") - 1 == 1_980


LINES = st.lists(st.sampled_from(["a", "b", "c", "", " d"]), max_size=12).map(lambda lines: "\n".join(lines).encode())


@settings(max_examples=25, deadline=None)
@given(LINES, LINES)
def test_git_applies_what_is_shown(before: bytes, after: bytes) -> None:
    found, _ = diffs({"f": before, "g": b"g"}, {"f": after, "g": b"g"})
    [shown] = [one for one in found if one.path == "f"]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "f").write_bytes(before)
        if shown.diff:
            subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=shown.diff.encode(), cwd=name, check=True)
        assert (Path(name) / "f").read_bytes() == after


def step(name: str, to: int) -> StepView:
    return StepView("update", ObjectRef("v1", "Process", "", name), "shop", "production", [FieldChange("/replicas", 1, to)])


def plan(*steps: StepView) -> EnvironmentPlanView:
    return EnvironmentPlanView("production", "sha256:b", PlanView("sha256:b", list(steps), [], []), [], since="", dropped=[])


def test_the_difference_since_an_approval_has_what_is_new_other_or_gone() -> None:
    approved = Snapshot("sha256:a", plan(step("same", 2), step("other", 2), step("gone", 2)).plan)
    found = since(plan(step("same", 2), step("other", 3), step("new", 2)), approved)
    assert [one.object.name for one in found.plan.steps] == ["other", "new"]
    assert [one.object.name for one in found.dropped] == ["gone"]
    assert (found.since, found.hash) == ("sha256:a", "sha256:b")
