"""Plain rendering: which files are read, what becomes of their objects, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.manifest import Content
from trimtab.render import plain
from trimtab.testing.trees import Link, MemoryTree, Node, Submodule


def process(name: str, spec: str = "{command: /bin/true}", kind: str = "Process") -> str:
    return f"apiVersion: host.trimtab.dev/v1\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n"


def names(files: dict[str, Node], path: str = "app") -> list[str]:
    return [manifest.ref.name for manifest in plain.render(MemoryTree(files), path, DEFAULT)]


def problems(files: dict[str, Node], path: str = "app") -> tuple[Problem, ...]:
    with pytest.raises(UserError) as caught:
        plain.render(MemoryTree(files), path, DEFAULT)
    return caught.value.problems


def only(files: dict[str, Node], path: str = "app") -> Problem:
    (problem,) = problems(files, path)
    assert problem.remedy
    return problem


def test_every_file_below_the_path_in_order() -> None:
    """YAML and JSON files below the path are read in order of path, others and hidden ones are not."""
    files: dict[str, Node] = {
        "app/z.yaml": process("z"),
        "app/a/b.yml": process("b"),
        "app/c.json": '{"apiVersion": "v1", "kind": "X", "metadata": {"name": "c"}}',
        "app/README.md": "kind: nothing",
        "app/.hidden.yaml": process("other"),
        "app/.github/x.yaml": process("other"),
        "app/kustomization.yaml": "resources: [z.yaml]",
        "app/empty.yaml": "# nothing\n---\n---\n{}\n",
        "other/x.yaml": process("other"),
    }
    assert names(files) == ["b", "c", "z"]
    assert names(files, "") == ["b", "c", "z", "other"]


def test_each_manifest_knows_its_place() -> None:
    """A Manifest knows the file and the line that its document starts at."""
    text = "# a comment\n\n" + process("one") + "---\n" + process("two")
    found = plain.render(MemoryTree({"app/x.yaml": text}), "app", DEFAULT)
    assert [(one.file, one.line) for one in found] == [("app/x.yaml", 3), ("app/x.yaml", 9)]


def test_lists_are_taken_apart() -> None:
    """The items of a List, however deep, are Manifests with lines of their own."""
    text = """apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: A
    metadata: {name: one}
  - apiVersion: v1
    kind: BList
    items:
      - apiVersion: v1
        kind: B
        metadata: {name: two, namespace: here}
"""
    found = plain.render(MemoryTree({"app/x.yaml": text}), "app", DEFAULT)
    assert [(one.ref.name, one.ref.namespace, one.line) for one in found] == [("one", "", 4), ("two", "here", 10)]


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("replicas: 3\n", 1, "", "neither apiVersion nor kind"),
        ("- a\n- b\n", 1, "", "a list"),
        ("just text\n", 1, "", "single value"),
        ("kind: X\nmetadata: {name: a}\n", 1, "apiVersion", "is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", 1, "kind", "is missing"),
        ("apiVersion: v1\nkind: X\n", 1, "metadata", "is missing"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  labels: {}\n", 3, "metadata.name", "is missing"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  name: 12\n", 4, "metadata.name", "not text"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  name: ../../x\n", 4, "metadata.name", "not valid"),
        ('apiVersion: v1\nkind: X\nmetadata:\n  name: "a\\e[31m"\n', 4, "metadata.name", "a\\x1b[31m"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  generateName: a-\n", 4, "metadata.generateName", "each apply"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  name: a\n  namespace: [b]\n", 5, "metadata.namespace", "not text"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  name: a\n  annotations:\n    b: 1\n", 6, "metadata.annotations.b", "not text"),
        ("apiVersion: v/1/2\nkind: X\nmetadata: {name: a}\n", 1, "apiVersion", "not valid"),
        (
            'apiVersion: v1\nkind: X\nmetadata:\n  name: a\n  annotations:\n    trimtab.dev/wave: "first"\n',
            6,
            "metadata.annotations.trimtab.dev/wave",
            "no whole number",
        ),
        (
            "apiVersion: v1\nkind: X\nmetadata:\n  name: a\n  annotations:\n    trimtab.dev/hook: before\n",
            6,
            "metadata.annotations.trimtab.dev/hook",
            '"before" is not known',
        ),
        ("a:\n\tb: 1\n", 2, "", "tab"),
        ("a: 1\nb: 2\na: 3\n", 3, "a", "first at line 1"),
    ],
)
def test_what_an_object_must_have(text: str, line: int, field: str, words: str) -> None:
    """What is wrong with an object is told with file, line, field and remedy."""
    problem = only({"app/x.yaml": text})
    assert (problem.file, problem.line, problem.field) == ("app/x.yaml", line, field)
    assert words in problem.message


def test_all_problems_at_once_and_nothing_rendered() -> None:
    """Each thing that is wrong is told, in order of file and line, and a half-read directory gives nothing."""
    found = problems({"app/b.yaml": "x: 1\n---\ny: 2\n", "app/a.yaml": "{", "app/good.yaml": process("a")})
    assert [(one.file, one.line) for one in found] == [("app/a.yaml", 2), ("app/b.yaml", 1), ("app/b.yaml", 3)]


def test_two_of_one_name() -> None:
    """Two Manifests of one identity are an error that names both places; another version of the group is the same identity."""
    text = process("web").replace("dev/v1", "dev/v2")
    problem = only({"app/a.yaml": process("web"), "app/b.yaml": "\n" + text})
    assert problem.file == "app/b.yaml"
    assert problem.line == 2
    assert "app/a.yaml:1" in problem.message


def test_content_becomes_an_object_id() -> None:
    """spec.tree and spec.file of Trimtab's own groups are resolved relative to the file, or to the root with a slash."""
    files: dict[str, Node] = {
        "app/a.yaml": process("a", "{tree: web}"),
        "app/sub/b.yaml": process("b", "{file: ../motd.txt}", "File"),
        "app/c.yaml": process("c", "{tree: /shared/lib/}"),
        "app/d.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: d}\nspec: {tree: nowhere}\n",
        "app/web/index.html": "hello",
        "app/motd.txt": "hi",
        "shared/lib/x": "1",
    }
    tree = MemoryTree(files, repository="r")
    found = {one.ref.name: one.content for one in plain.render(tree, "app", DEFAULT)}

    def content(path: str, kind: str) -> tuple[Content, ...]:
        entry = tree.entry(path)
        assert entry is not None
        return (Content(path, kind, entry.id, "r"),)

    assert found == {
        "a": content("app/web", "tree"),
        "b": content("app/motd.txt", "blob"),
        "c": content("shared/lib", "tree"),
        "d": (),
    }


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{tree: missing}", "there is no directory app/missing"),
        ("{file: a.yaml/x}", "there is no file"),
        ("{tree: ../../etc}", "leaves the repository"),
        ("{tree: a.yaml}", "is a file, not a directory"),
        ("{file: dir}", "is a directory, not a file"),
        ("{file: dir/link}", "is a symbolic link"),
        ("{tree: dir/module}", "is a submodule"),
        ("{tree: 5}", "no path"),
        ("{file: lfs.bin}", "Git LFS"),
        ("{tree: big}", "big/lfs.bin is a pointer of Git LFS"),
        ('{tree: "a\\u202eb"}', "control or formatting characters"),
    ],
)
def test_content_that_cannot_be_had(spec: str, words: str) -> None:
    """Content that is missing, leaves the repository or is of the wrong sort is an error at the field's line."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4" * 64 + "\nsize 12345\n"
    files: dict[str, Node] = {
        "app/a.yaml": process("a", f"\n  {spec}"),
        "app/.x": "",
        "app/lfs.bin": pointer,
        "app/big/lfs.bin": pointer,
        "app/good.yaml": process("good", "{tree: dir}"),
        "app/dir/link": Link("/etc/passwd"),
        "app/dir/module": Submodule(),
    }
    problem = only(files)
    assert words in problem.message
    assert (problem.file, problem.line) == ("app/a.yaml", 6)


def test_content_is_not_taken_for_manifests() -> None:
    """Files inside content may be anything: YAML that is no manifest, links, broken text."""
    files: dict[str, Node] = {
        "app/a.yaml": process("a", "{tree: web}"),
        "app/f.yaml": process("f", "{file: settings.yaml}", "File"),
        "app/settings.yaml": "debug: true",
        "app/web/config.yaml": "broken: [",
        "app/web/link": Link("config.yaml"),
        "app/web/manifest.yaml": process("inner", "{tree: missing}"),
        "app/web/x": "",
        "app/web/X": "",
    }
    assert names(files) == ["a", "f"]


def test_a_manifest_inside_its_own_content_still_counts() -> None:
    """A Process whose tree is the directory that it is declared in is rendered all the same."""
    assert names({"app/a.yaml": process("a", "{tree: .}"), "app/run.sh": ""}) == ["a"]
    assert names({"app/x/a.yaml": process("a", "{tree: ../y}"), "app/y/b.yaml": process("b", "{tree: ../x}")}) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "node", "words"),
    [
        ("app/link.yaml", Link("x.yaml"), "symbolic link"),
        ("app/out", Link("../../etc/passwd"), "symbolic link"),
        ("app/module", Submodule(), "submodule"),
        ("app/lfs.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        ("app/big.yaml", b" " * (DEFAULT.file_bytes + 1), "bytes; at most"),
        ("app/nul.yaml", b"a: \0\n", "\\x00"),
        ("app/latin.yaml", b"a: 1\nb: \xe9\n", "not UTF-8"),
        ("app/X.YAML", "", "only in upper and lower case"),
        ("app/Sub/y", "", "only in upper and lower case"),
    ],
)
def test_strays(name: str, node: Node, words: str) -> None:
    """Links, submodules, LFS pointers, unreadable files and colliding names are errors that name the file."""
    problem = only({"app/x.yaml": process("x"), "app/sub/z": "", name: node})
    assert words in problem.message


def test_hostile_names_are_shown_escaped() -> None:
    """A file name with control characters or bytes that are not UTF-8 is refused and shown by numbers."""
    assert only({"app/a\x1b[31m.yaml": process("a")}).file == "app/a\\x1b[31m.yaml"
    assert only({"app/b\udcff.yaml": process("a")}).file == "app/b\\xff.yaml"


def test_bounds() -> None:
    """Too many files, bytes or objects are an error, not a long wait."""
    tree = MemoryTree({f"app/{index}.yaml": process(f"p{index}") for index in range(5)})
    for limits in (replace(DEFAULT, files=4), replace(DEFAULT, source_bytes=200), replace(DEFAULT, manifests=4)):
        with pytest.raises(UserError):
            plain.render(tree, "app", limits)
    with pytest.raises(UserError, match="smaller directory"):
        plain.render(MemoryTree({f"app/{index}": "" for index in range(50)}), "app", replace(DEFAULT, files=4))


def test_nothing_is_a_result() -> None:
    """A directory without manifests renders to nothing, which is not an error here."""
    assert names({"app/README": ""}) == []


def test_a_hook_without_a_name_gets_one_by_its_content() -> None:
    """The same at each rendering, so that it is known again; another content, another name."""
    text = "apiVersion: v1\nkind: X\nmetadata:\n  generateName: a-\n  annotations: {argocd.argoproj.io/hook: PreSync}\nspec: {n: %d}\n"
    one, same, other = (plain.render(MemoryTree({"app/x.yaml": text % number}), "app", DEFAULT)[0] for number in (1, 1, 2))
    assert one == same
    assert one.ref.name.startswith("a-")
    assert len({one.ref.name, other.ref.name}) == 2
    assert one.body["metadata"]["name"] == one.ref.name
    assert "generateName" not in one.body["metadata"]
