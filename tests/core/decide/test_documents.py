"""YAML and JSON are read as kubectl reads them, and whatever is wrong has a place and a remedy."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.decide.documents import read
from trimtab.core.decide.positions import line_of, lines_of
from trimtab.core.decide.writing import dump, dump_all
from trimtab.core.model.errors import Problem
from trimtab.core.model.limits import DEFAULT


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE = load("kubectl_scalars")
ROWS: list[tuple[str, Any]] = ORACLE.ROWS


def ours(text: str) -> Any:
    """A document of the table as we read it: its value, or ERROR."""
    found = read(f"zz:\n  {text}\n".encode(), "x.yaml")
    if found.problems:
        assert all(problem.message and problem.remedy and problem.line >= 1 for problem in found.problems)
        return ORACLE.ERROR
    return found.documents[0].value["zz"]


def value(text: str, file: str = "x.yaml") -> Any:
    (document,) = read(text.encode(), file).documents
    return document.value


def only(data: bytes | str, file: str = "x.yaml") -> Problem:
    (problem,) = read(data.encode() if isinstance(data, str) else data, file).problems
    assert problem.remedy
    return problem


@pytest.mark.parametrize(("text", "expected"), ROWS, ids=[text for text, _ in ROWS])
def test_as_kubectl_reads_it(text: str, expected: Any) -> None:
    """Each row of the oracle table is read with the same value and the same type."""
    found = ours(text)
    assert json.dumps(found, sort_keys=True, default=repr) == json.dumps(expected, sort_keys=True, default=repr)


@pytest.mark.parametrize("kubectl", [found for found in [shutil.which("kubectl")] if found])
def test_the_table_is_still_true(kubectl: str) -> None:
    """Where kubectl is installed, the table is what it says today."""
    for text, expected in ROWS[:12]:
        document = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\nzz:\n  {text}\n"
        arguments = [kubectl, "label", "--local", "-o", "json", "-f", "-", "a=b"]
        finished = subprocess.run(arguments, input=document.encode(), capture_output=True, check=False)
        assert json.loads(finished.stdout)["zz"] == expected


def test_documents_with_their_lines() -> None:
    """Each document that is not empty comes with the line that it starts at."""
    found = read(b"# c\n\na: 1\n---\n---\n# nothing\n--- # x\nb: 2\n...\n---\n- c\n", "x.yaml")
    assert [(one.value, one.line) for one in found.documents] == [({"a": 1}, 3), ({"b": 2}, 8), (["c"], 11)]


def test_json() -> None:
    """JSON files are read with tabs, escapes and characters beyond the basic plane; the same rules of duplicates hold."""
    text = '{\n\t"a": "\\ud83d\\ude00 \\/ \\\\ud83d \\u00e9",\n\t"b": [1, 1.5, 1e3, true, null],\n\t"c": {"d": {}}\n}\n'
    assert value(text, "x.json") == json.loads(text)
    problem = only('{"a": 1,\n "a": 2}', "x.json")
    assert (problem.line, problem.field) == (2, "a")


def test_a_byte_order_mark_is_accepted() -> None:
    """A BOM at the start is no part of the first key."""
    assert value("\ufeffa: 1\n") == {"a": 1}


def test_duplicate_keys_name_both_places() -> None:
    """A key that is there twice is an error with both lines, also when only its text is the same."""
    problem = only("x: 1\n---\na:\n  b:\n    on: 1\n    c: 2\n    true: 3\n")
    assert (problem.line, problem.field) == (7, "a.b.true")
    assert "first at line 5" in problem.message


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a: 1\n\tb: 2\n", 2, "tab"),
        (b"a:\n\tb: 2\n", 2, "tab"),
        (b"a: 1\nb: \x00\n", 2, "\\x00"),
        (b"a: 1\n\nb: \x1b[31m\n", 3, "\\x1b"),
        (b"a: 1\nb: caf\xe9\n", 2, "not UTF-8: the byte \\xe9"),
        ("a: 1\nb: \u0080\n".encode(), 2, "unreadable text"),
        ("a: 1\n".encode("utf-16"), 1, "control character"),
        (b"a: [1, 2\nb: 3\n", 2, "not YAML"),
        (b"a: b: c\n", 1, "mapping values are not allowed"),
        (b"a: *x\n", 1, 'no anchor "x"'),
        (b"a: &x [*x]\n", 1, "contains itself"),
        (b"a: @x\n", 1, "cannot start any token"),
        (b"? [a]\n: b\n", 1, "a key is a mapping or a list"),
        (b"~: b\n", 1, "empty or null"),
        (b"a: .inf\n", 1, ".inf is not a number"),
        (b"%YAML 3.0\n---\na: 1\n", 1, "not YAML"),
        (b"a: 'open\n", 2, "not YAML"),
        (b'a: "\\ud800"\n', 1, "not YAML"),
        (b"a: !!int x\n", 1, "!!int"),
        (b"<<: 5\n", 1, "needs a mapping"),
    ],
)
def test_what_cannot_be_read(data: bytes, line: int, words: str) -> None:
    """Unreadable text is told with its line, what is wrong and a remedy."""
    problem = only(data)
    assert (problem.file, problem.line) == ("x.yaml", line)
    assert words in problem.message


def test_a_bad_document_does_not_hide_the_others() -> None:
    """The documents before and after a broken one are read, each with its own line."""
    found = read(b"a: 1\n---\nb: [\n---\nc: 3\n---\nd: 1\nd: 2\n---\ne: 5\n", "x.yaml")
    assert [(one.value, one.line) for one in found.documents] == [({"a": 1}, 1), ({"c": 3}, 5), ({"e": 5}, 10)]
    assert [problem.line for problem in found.problems] == [4, 8]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)),
        "a: &a {k: " + "x" * 100_000 + "}\nb: [" + ", ".join(["*a"] * 1000) + "]\n",
        "a: &a0 {k: v}\n" + "".join(f"b{i}: &a{i + 1} {{<<: *a{i}, k{i}: [*a{i}, *a{i}]}}\n" for i in range(60)),
    ],
)
def test_alias_bombs(text: str) -> None:
    """Aliases that would expand without bound are refused at once."""
    start = time.monotonic()
    problem = only(text)
    assert "aliases expand" in problem.message
    assert time.monotonic() - start < 5


def test_harmless_aliases() -> None:
    """Anchors and aliases that people use are read."""
    assert value("a: &x {p: 1}\nb: {<<: *x, q: 2}\nc: *x\n&k key: *k\n") == {
        "a": {"p": 1}, "b": {"p": 1, "q": 2}, "c": {"p": 1}, "key": "key",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 5_000, "".join(" " * i + "a:\n" for i in range(500)), "- " * 3_000 + "x"]
)
def test_nesting(text: str) -> None:
    """Deep nesting is refused, never a crash."""
    problem = only(text)
    assert "deeper" in problem.message or "not YAML" in problem.message


def test_bounds() -> None:
    """A file of 100 MB, or with too many documents, is refused without being read."""
    start = time.monotonic()
    assert "bytes; at most" in only(b"#" * 100_000_000).message
    assert time.monotonic() - start < 1
    few = replace(DEFAULT, documents=3)
    assert read(b"a: 1\n---\nb: 1\n---\nc: 1\n", "x", limits=few).problems == []
    assert "more than 3 documents" in read(b"a: 1\n---\n" * 5, "x", limits=few).problems[0].message


def test_lines_of_fields() -> None:
    """The line of a field is found in its own document; of a field that is not written, that of what is nearest above it."""
    data = b"a: 1\n---\nspec:\n  list:\n    - name: x\n      on: 1\n    - {name: y,\n       k: z}\n"
    assert line_of(data, "x", 3, ("spec", "list", 0, "true")) == 6
    assert line_of(data, "x", 3, ("spec", "list", 1, "k")) == 8
    assert line_of(data, "x", 3, ("spec", "list", 1, "missing", "deeper")) == 7
    assert line_of(data, "x", 3, ("nothing",)) == 3
    assert line_of(b"\0", "x", 3, ("a",)) == 3
    assert lines_of(data, "x", 1, [("a",), ("spec",)]) == {("a",): 1, ("spec",): 1}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["y", "on", "1e3", "0o7", "0899", "1_000", "~", "", "=", "<<", "- a", "a: b", "x\n y\n", " \n", "a\n\n", "12:30:45", "2001-01-01", ".inf", "#", "!x", "*a", "---", "a\n---\nb", "\tx\n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["y", "<<", "1", "~", "a b"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_what_is_written_reads_back(given_value: Any) -> None:
    """Every JSON value that is written as YAML reads back as the same value of the same types."""
    (back, line), *more = read(dump_all([given_value, {"end": 1}]).encode(), "x.yaml").documents
    if given_value is None:
        assert (back, more) == ({"end": 1}, [])
        return
    assert json.dumps(back, sort_keys=True) == json.dumps(_normal(given_value), sort_keys=True)
    assert line >= 1
    assert not given_value or value(dump(given_value)) == back


def _normal(one: Any) -> Any:
    """1.0 is 1 in JSON."""
    match one:
        case dict():
            return {name: _normal(inner) for name, inner in one.items()}
        case list():
            return [_normal(inner) for inner in one]
        case float() if one.is_integer() and -(2**63) <= int(one) < 2**63:
            return value(f"a: {one!r}")["a"]
        case _:
            return one


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_nothing_escapes(data: bytes) -> None:
    """Whatever the bytes are, there are values and Problems, and nothing is raised."""
    for file in ("x.yaml", "x.json"):
        found = read(data, file)
        assert all(problem.message and problem.remedy and problem.file == file for problem in found.problems)
        json.dumps([one.value for one in found.documents])
        for document in found.documents:
            assert line_of(data, file, document.line, ("a", 0)) >= 1


SNIPPETS = st.sampled_from(["a", "b", ": ", "- ", "\n", "  ", "&a ", "*a", "<<: ", "{", "}", "[", "]", ",", "? ", "!!str ", "!x ", "|\n", ">-\n", "---\n", "...\n", "'", '"', "#", "\t", "%YAML 1.1\n", "0x1", "1e3", "~"])  # fmt: skip


@given(st.lists(SNIPPETS, max_size=40).map("".join))
def test_nothing_escapes_from_near_yaml(text: str) -> None:
    """Text that is nearly YAML gives values or Problems with lines inside the file."""
    found = read(text.encode(), "x.yaml")
    assert found.problems or all(document.value is not None for document in found.documents)
    for problem in found.problems:
        assert 1 <= problem.line <= text.count("\n") + 2
