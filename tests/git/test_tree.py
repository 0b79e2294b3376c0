"""Trees are read from the object database, whatever their names are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.git import GitRepositories
from trimtab.git.command import GitSettings
from trimtab.git.text import last_words, masked, shown


async def _tree(repositories, source):
    await repositories.fetch(str(source.path))
    head = await repositories.resolve(str(source.path), "")
    return repositories.tree(str(source.path), head.revision)


async def test_entries_say_what_stands_where(repositories, source):
    """Files, executables, directories, links and submodules, each as what it is."""
    (source.path / "run").write_text("#!/bin/sh\n")
    (source.path / "run").chmod(0o755)
    (source.path / "link").symlink_to("apps/web.yaml")
    other = source.head()
    source.git("update-index", "--add", "--cacheinfo", f"160000,{other},lib")
    source.git("add", "run", "link")
    source.git("commit", "--quiet", "-m", "more")
    tree = await _tree(repositories, source)
    assert [(e.path, e.type, e.size, e.executable) for e in tree.entries("")] == [
        ("a.yaml", "blob", 8, False),
        ("apps", "tree", 0, False),
        ("lib", "submodule", 0, False),
        ("link", "link", 0, False),
        ("run", "blob", 10, True),
    ]
    assert tree.entry("apps").id == source.head("HEAD:apps")
    assert tree.entry("").id == source.head("HEAD^{tree}")
    assert tree.entry("lib").id == other
    assert [entry.path for entry in tree.walk("")] == ["a.yaml", "apps/web.yaml", "lib", "link", "run"]
    assert (tree.repository, tree.revision) == (str(source.path), source.head())


async def test_files_are_found_in_whatever_order_they_are_asked_for(repositories, source):
    """What was asked before, beside it or elsewhere, there or not, changes no answer."""
    source.save({"apps/deep/one.yaml": "a: 1\n", "apps/two.yaml": "a: 2\n", "one.yaml": "a: 3\n"})
    paths = [
        "apps/deep/one.yaml",
        "one.yaml",
        "apps/one.yaml",
        "apps/two.yaml",
        "apps/deep",
        "apps",
        "",
        "/one.yaml",
        "deep/one.yaml",
    ]
    tree = await _tree(repositories, source)
    fresh = {path: repositories.tree(tree.repository, tree.revision).entry(path) for path in paths}
    assert [fresh[path] is None for path in paths] == [False, False, True, False, False, False, False, True, True]
    for first in paths:
        for second in paths:
            assert (tree.entry(first), tree.entry(second)) == (fresh[first], fresh[second])
    assert tree.read("apps/two.yaml", bytes_max=100) == b"a: 2\n"


async def test_links_are_never_followed(repositories, source):
    """A path through a link leads nowhere, and a link has no content."""
    (source.path / "link").symlink_to("apps")
    source.save({})
    tree = await _tree(repositories, source)
    assert tree.entry("link/web.yaml") is None
    with pytest.raises(UserError, match=r"read link at .*: there is no such file"):
        tree.read("link", bytes_max=100)
    with pytest.raises(UserError, match=r"list link at .*: there is no such directory"):
        tree.entries("link")


@pytest.mark.parametrize("path", ["nope", "a.yaml/x", "../a.yaml", "apps/../a.yaml", "/a.yaml", "apps/", "apps//web.yaml", "."])
async def test_only_exact_paths_lead_somewhere(repositories, source, path):
    """There is one spelling of a path; everything else is missing."""
    tree = await _tree(repositories, source)
    assert tree.entry(path) is None
    assert list(tree.walk(path)) == []
    with pytest.raises(UserError):
        tree.entries(path)


async def test_a_file_larger_than_the_bound_is_refused(repositories, source):
    """The size is checked before the content is read."""
    source.save({"big": b"x" * 1000})
    tree = await _tree(repositories, source)
    assert len(tree.read("big", bytes_max=1000)) == 1000
    with pytest.raises(UserError, match="has 1000 bytes, more than the 999 allowed"):
        tree.read("big", bytes_max=999)


async def test_order_is_by_bytes(repositories, source):
    """A directory sorts by its name in a listing, and by its files' paths in a walk."""
    source.save({"b.x": "1", "b/y": "2", "b-z": "3", "B": "4"})
    tree = await _tree(repositories, source)
    assert [entry.path for entry in tree.entries("")] == ["B", "a.yaml", "apps", "b", "b-z", "b.x"]
    assert [entry.path for entry in tree.walk("")] == ["B", "a.yaml", "apps/web.yaml", "b-z", "b.x", "b/y"]


async def test_names_that_are_not_utf8_come_with_surrogate_escapes(repositories, source):
    """Such a file can be listed and read."""
    blob = source.blob(b"x")
    source.commit_tree(source.raw_tree(("100644", "blob", b"caf\xe9", blob), ("100644", "blob", b"back\\slash", blob)))
    tree = await _tree(repositories, source)
    assert [entry.path for entry in tree.entries("")] == ["back\\slash", "caf\udce9"]
    assert tree.read("caf\udce9", bytes_max=10) == b"x"


async def test_hostile_names_are_entries_like_others(source, tmp_path):
    """Where fsck is off, names such as ".." are listed, and lead to nothing but their own object."""
    made = GitRepositories(tmp_path / "data", GitSettings(fsck=False))
    blob = source.blob(b"x")
    source.commit_tree(source.raw_tree(("100644", "blob", b"..", blob), ("040000", "tree", b".git", source.head("HEAD:apps"))))
    tree = await _tree(made, source)
    assert [(entry.path, entry.type) for entry in tree.entries("")] == [("..", "blob"), (".git", "tree")]
    await made.close()


async def test_an_unknown_commit_is_the_users_mistake(repositories, source):
    """A tree of a commit that is not there is not made."""
    await repositories.fetch(str(source.path))
    with pytest.raises(UserError, match="there is no commit 1111111"):
        repositories.tree(str(source.path), Revision("1" * 40))
    with pytest.raises(UserError, match="there is no commit"):
        repositories.tree(str(source.path), Revision(source.head("HEAD:apps")))


async def test_changed_paths_are_those_of_git(repositories, source):
    """Added, removed, changed, and a file that became a directory."""
    old = source.commit(b="1", c="2", d__e="3", d__f="4")
    (source.path / "c.yaml").unlink()
    (source.path / "b.yaml").unlink()
    new = source.save({"b.yaml/inner": "x", "d/e.yaml": "changed", "new": "n"})
    name = str(source.path)
    await repositories.fetch(name)
    expected = frozenset(source.git("diff", "--name-only", "--no-renames", old, new).splitlines())
    assert await repositories.changed_paths(name, Revision(old), Revision(new)) == expected
    assert await repositories.changed_paths(name, Revision(old), Revision(old)) == frozenset()
    assert await repositories.changed_paths(name, Revision(old), Revision(new), paths_max=2) is None
    assert await repositories.changed_paths(name, Revision("1" * 40), Revision(new)) is None


async def test_trees_that_stand_for_more_than_there_is(repositories, source, tmp_path):
    """Shared subtrees that unfold to a hundred million directories, or nest without end, are refused in bounded time."""
    wide = source.git("mktree", stdin=b"")
    for _ in range(8):
        wide = source.raw_tree(*(("040000", "tree", b"%d" % number, wide) for number in range(10)))
    deep = source.raw_tree(("100644", "blob", b"x", source.blob(b"x")))
    for _ in range(300):
        deep = source.git("hash-object", "-t", "tree", "-w", "--stdin", stdin=b"40000 d\0" + bytes.fromhex(deep))
    old = source.head()
    source.commit_tree(source.raw_tree(("040000", "tree", b"deep", deep), ("040000", "tree", b"wide", wide)))
    tree = await _tree(repositories, source)
    for path in ("deep", "wide"):
        with pytest.raises(UserError, match=f"walk {path} at .*too many directories"):
            list(tree.walk(path))
        with pytest.raises(UserError, match="materialise"):
            await repositories.materialise(tree.repository, tree.entry(path).id, tmp_path / "out")
    assert await repositories.changed_paths(tree.repository, Revision(old), tree.revision) is None


def test_git_is_heard_without_credentials_and_escapes():
    """The last verdict of git, on one line, masked."""
    stderr = (
        b"remote: \x1b[31mhello\x1b[0m\nfatal: unable to access 'https://me:hush@example.org/x.git/': no\r\n\nPlease make sure\n"
    )
    assert last_words(stderr) == "unable to access 'https://***@example.org/x.git/': no"
    assert last_words(b"odd \x1b]0;title\x07 words\n") == "odd  words"
    assert last_words(b"") == ""
    assert masked("ssh://git@host/x and https://a:b@c/d") == "ssh://***@host/x and https://***@c/d"


@given(st.text())
def test_names_are_shown_on_one_printable_line(name: str):
    """Whatever a name holds, what is shown is printable and bounded."""
    assert shown(name).isprintable()
    assert len(shown(name)) <= 300
