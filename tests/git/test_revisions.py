"""Every kind of revision leads to its commit, and what leads nowhere says what there is."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess

import pytest

from trimtab.core.model.errors import UserError


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture(scope="module")
def made(template, tmp_path_factory):
    """Branches, tags and versions to resolve."""
    source = tmp_path_factory.mktemp("history") / "source"
    shutil.copytree(template / "source", source)
    script = """
        git tag v1.0.0; git commit -q --allow-empty -m 1; git tag -a -m annotated v1.2.0; git commit -q --allow-empty -m 2
        git tag v2.0.0-rc.1; git branch feature/one; git commit -q --allow-empty -m 3; git tag tree-tag HEAD^{tree}
    """
    person = {f"GIT_{role}_{field}": "ann" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
    subprocess.run(["sh", "-ec", script], cwd=source, env={"PATH": os.environ["PATH"], **person}, check=True)
    return source


@pytest.fixture
async def history(repositories, source, made):
    shutil.rmtree(source.path)
    shutil.copytree(made, source.path)
    await repositories.fetch(str(source.path))
    return source


@pytest.mark.parametrize(
    ("expression", "same_as", "ref"),
    [
        ("", "main", "refs/heads/main"),
        ("main", "main", "refs/heads/main"),
        ("feature/one", "feature/one", "refs/heads/feature/one"),
        ("refs/heads/feature/one", "feature/one", "refs/heads/feature/one"),
        ("v1.0.0", "v1.0.0", "refs/tags/v1.0.0"),
        ("v1.2.0", "v1.2.0^{commit}", "refs/tags/v1.2.0"),
        ("^1", "v1.2.0^{commit}", "refs/tags/v1.2.0"),
        ("1.x", "v1.2.0^{commit}", "refs/tags/v1.2.0"),
        ("~1.0", "v1.0.0", "refs/tags/v1.0.0"),
        ("1.0.0", "v1.0.0", "refs/tags/v1.0.0"),
        (">=2.0.0-rc.1", "v2.0.0-rc.1", "refs/tags/v2.0.0-rc.1"),
    ],
)
async def test_resolve(repositories, history, expression, same_as, ref):
    """Default branch, branch, tag, annotated tag, range."""
    head = await repositories.resolve(str(history.path), expression)
    assert (head.revision, head.ref) == (history.head(same_as), ref)


async def test_a_full_id_is_itself(repositories, history):
    """A commit that is in the mirror resolves to itself, without a ref."""
    commit = history.head("HEAD~2")
    head = await repositories.resolve(str(history.path), commit)
    assert (head.revision, head.ref) == (commit, "")


async def test_a_branch_named_like_a_range_is_the_branch(repositories, history):
    """An exact name wins."""
    history.git("branch", "1.x", "HEAD~3")
    await repositories.fetch(str(history.path))
    assert (await repositories.resolve(str(history.path), "1.x")).ref == "refs/heads/1.x"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("mian", r"there is no branch, tag or commit mian\. Did you mean main\?"),
        ("^3", r"no tag within that range of versions; the newest version is v2\.0\.0-rc\.1"),
        ("1" * 40, "there is no commit 1111"),
        ("../../etc/passwd", "there is no branch"),
        ("zzzzzzzzzz\x1b[2J", r"there is no branch, tag or commit zzzzzzzzzz\\x1b"),
    ],
)
async def test_what_leads_nowhere(repositories, history, expression, message):
    """The error names what was asked for and what there is."""
    with pytest.raises(UserError, match=message):
        await repositories.resolve(str(history.path), expression)


async def test_a_tag_of_a_tree_is_no_revision(repositories, history):
    """A tag that leads to no commit is refused by name."""
    with pytest.raises(UserError, match="refs/tags/tree-tag is not a commit"):
        await repositories.resolve(str(history.path), "tree-tag")


async def test_expand(repositories, history):
    """Short ids, branches, tags, HEAD."""
    name, commit = str(history.path), history.head("HEAD~1")
    assert await repositories.expand(name, commit[:8]) == commit
    assert await repositories.expand(name, commit.upper()) == commit
    assert await repositories.expand(name, "HEAD") == history.head()
    assert await repositories.expand(name, "feature/one") == history.head("feature/one")
    assert await repositories.expand(name, "v1.2.0") == history.head("v1.2.0^{commit}")


@pytest.mark.parametrize("abbreviation", ["abc", "ffffffff", "1" * 40, "nonsense", "--help", ""])
async def test_expand_what_is_not_there(repositories, history, abbreviation):
    """No match is an error, except that nothing at all means the default branch."""
    if not abbreviation:
        assert await repositories.expand(str(history.path), "") == history.head()
        return
    with pytest.raises(UserError):
        await repositories.expand(str(history.path), abbreviation)


async def test_a_short_id_of_a_tree_is_no_commit(repositories, history):
    """Only commits have short ids here."""
    with pytest.raises(UserError):
        await repositories.expand(str(history.path), history.head("HEAD^{tree}")[:10])


async def test_a_short_id_of_several_objects(repositories, source):
    """A file whose id begins like a commit's does not count."""
    commit = source.head()
    contents = (str(number).encode() for number in itertools.count())
    alike = next(data for data in contents if _blob_id(data).startswith(commit[:4]))
    source.git("tag", "blob", source.blob(alike))
    await repositories.fetch(str(source.path))
    assert await repositories.expand(str(source.path), commit[:4]) == commit


async def test_contains(repositories, history):
    """Ancestors are found; the unknown is nobody's ancestor."""
    name = str(history.path)
    old, new = history.head("v1.0.0"), history.head()
    assert await repositories.contains(name, old, new)
    assert await repositories.contains(name, new, new)
    assert not await repositories.contains(name, new, old)
    assert not await repositories.contains(name, "1" * 40, new)


async def test_kept_commits_are_bounded(repositories, history):
    """Only the latest resolved commits have a ref of their own."""
    name = str(history.path)
    mirror = repositories._mirror(name)
    kept = repositories._kept[mirror]
    kept._max = 2
    for revision in ("v1.0.0", "v1.2.0", "v1.0.0", "feature/one"):
        await repositories.resolve(name, revision)
    refs = mirror.path / "refs" / "trimtab" / "keep"
    assert {path.name for path in refs.iterdir()} == {history.head("v1.0.0"), history.head("feature/one")}
