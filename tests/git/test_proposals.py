"""A commit of ours on a branch: exact, on top of what is there, and never by force."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from trimtab.core.model.errors import UserError

AUTHOR = "Zoë <zoe@example.org>"


async def test_a_directory_goes_back_to_what_it_was(repositories, source, bare):
    """The commit changes that path only, has the author and message, and the next fetch sees it."""
    old = source.head("HEAD:apps")
    source.commit(apps__web="broken", apps__new="x", other="keep")
    source.git("push", "--quiet", "origin", "main")
    name = str(bare.path)
    await repositories.fetch(name)
    commit = await repositories.propose(name, "main", "Roll back apps\n\nBecause.", AUTHOR, {"apps": old})
    assert bare.head("main") == commit
    assert bare.head("main:apps") == old
    assert bare.head("main~1") == source.head()
    assert bare.git("log", "-1", "--format=%an <%ae>|%B", "main") == f"{AUTHOR}|Roll back apps\n\nBecause."
    assert bare.git("diff", "--name-only", "main~1", "main").splitlines() == ["apps/new.yaml", "apps/web.yaml"]
    assert repositories.tree(name, commit).entry("apps").id == old
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == commit
    bare.git("fsck", "--strict")


async def test_several_edits_at_once(repositories, source, bare):
    """Setting, removing, and directories that become empty."""
    name = str(bare.path)
    await repositories.fetch(name)
    blob = source.head("HEAD:a.yaml")
    commit = await repositories.propose(name, "", "edit", AUTHOR, {"apps/web.yaml": None, "x/y/z.yaml": blob, "a.yaml": None})
    assert bare.git("ls-tree", "-r", "--name-only", commit).splitlines() == ["x/y/z.yaml"]


async def test_a_file_keeps_its_mode(repositories, source, bare):
    """An executable stays one."""
    (source.path / "run").write_text("old")
    (source.path / "run").chmod(0o755)
    old = source.save({}) and source.head("HEAD:run")
    source.save({"run": "new"})
    source.git("push", "--quiet", "origin", "main")
    await repositories.fetch(str(bare.path))
    commit = await repositories.propose(str(bare.path), "main", "back", AUTHOR, {"run": old})
    assert bare.git("ls-tree", commit, "run").startswith("100755 ")


async def test_the_root_can_be_set(repositories, source, bare):
    """The empty path is the whole tree."""
    old = source.head("HEAD^{tree}")
    source.commit(b="x")
    source.git("push", "--quiet", "origin", "main")
    await repositories.fetch(str(bare.path))
    commit = await repositories.propose(str(bare.path), "", "back", AUTHOR, {"": old})
    assert bare.head(f"{commit}^{{tree}}") == old


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("Ann", "Ann <trimtab@localhost>"),
        ("<a@b>", "Trimtab <a@b>"),
        ("", "Trimtab <trimtab@localhost>"),
        ("Ann\nparent 1 <a@b>", "Ann parent 1 <a@b>"),
        ("A <b> <c>", "Trimtab <trimtab@localhost>"),
        ("A\0 <a@b>", "A\\x00 <a@b>"),
    ],
)
async def test_an_author_of_any_shape(repositories, source, bare, author, expected):
    """What is no name and address becomes ours; nothing can be smuggled into the commit's header."""
    await repositories.fetch(str(bare.path))
    commit = await repositories.propose(str(bare.path), "", "x", author, {"a.yaml": None})
    assert bare.git("log", "-1", "--format=%an <%ae>", commit) == expected
    assert bare.head(f"{commit}~1") == source.head()


async def test_nothing_to_change_is_no_commit(repositories, source, bare):
    """What is so already gives the head back."""
    await repositories.fetch(str(bare.path))
    head = bare.head("main")
    assert await repositories.propose(str(bare.path), "main", "x", AUTHOR, {"apps": source.head("HEAD:apps")}) == head
    assert bare.head("main") == head


async def test_it_goes_on_top_of_what_others_pushed(repositories, source, bare):
    """A commit that the mirror has not seen yet is kept."""
    await repositories.fetch(str(bare.path))
    newer = source.commit(b="newer")
    source.git("push", "--quiet", "origin", "main")
    commit = await repositories.propose(str(bare.path), "main", "x", AUTHOR, {"a.yaml": None})
    assert bare.head("main~1") == newer
    assert bare.git("ls-tree", "-r", "--name-only", commit).splitlines() == ["apps/web.yaml", "b.yaml"]


async def test_it_is_tried_again_when_the_branch_moved_meanwhile(repositories, source, bare, monkeypatch):
    """Somebody who pushes between our fetch and our push is not overwritten."""
    await repositories.fetch(str(bare.path))
    real = repositories._git.remote
    pushed = []

    async def late(directory, remote, verb, *arguments, **options):
        if verb == "push" and not pushed:
            pushed.append(source.commit(b="between"))
            source.git("push", "--quiet", "origin", "main")
        return await real(directory, remote, verb, *arguments, **options)

    monkeypatch.setattr(repositories._git, "remote", late)
    await repositories.propose(str(bare.path), "main", "x", AUTHOR, {"a.yaml": None})
    assert bare.head("main~1") == pushed[0]


async def test_a_checked_out_branch_says_how_to_do_it_by_hand(repositories, source, tmp_path):
    """A work tree refuses; the commands in the remedy do the same, literally."""
    old = source.head("HEAD:apps")
    source.commit(apps__web="broken")
    name = str(source.path)
    await repositories.fetch(name)
    with pytest.raises(UserError, match="the branch is checked out there") as caught:
        await repositories.propose(name, "main", "Roll back it's apps", AUTHOR, {"apps": old})
    commands = caught.value.remedy.partition("\n")[2]
    assert f"cd {source.path}" in commands
    script = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a\nset -e\n" + commands
    await asyncio.to_thread(subprocess.run, ["sh", "-c", script], check=True, capture_output=True, cwd=tmp_path)
    assert source.head("HEAD:apps") == old
    assert source.git("status", "--porcelain") == ""
    assert source.git("log", "-1", "--format=%s") == "Roll back it's apps"


async def test_a_remote_that_refuses_is_quoted(repositories, source, bare):
    """What the remote's own hook says stands in the error."""
    hook = bare.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    await repositories.fetch(str(bare.path))
    with pytest.raises(UserError, match=r"does not accept a push to main: .*pre-receive hook declined") as caught:
        await repositories.propose(str(bare.path), "main", "x", AUTHOR, {"a.yaml": None})
    assert "git rm -r --quiet -- a.yaml" in caught.value.remedy


@pytest.mark.parametrize("path", ["../x", "a/../b", "/x", "a//b", ".git/config", "a/.GIT/x", "."])
async def test_paths_that_are_none(repositories, source, bare, path):
    """A path that could leave the tree is refused."""
    await repositories.fetch(str(bare.path))
    with pytest.raises(UserError, match="is not a path of a repository"):
        await repositories.propose(str(bare.path), "main", "x", AUTHOR, {path: source.head("HEAD:a.yaml")})


async def test_impossible_edits(repositories, source, bare):
    """Unknown objects, something below a file, an unknown branch, the root removed."""
    name = str(bare.path)
    await repositories.fetch(name)
    blob = source.head("HEAD:a.yaml")
    for edits, message in (
        ({"a.yaml": "1" * 40}, "there is no content with the id"),
        ({"a.yaml/x": blob}, "a.yaml is a file"),
        ({"": None}, "the root of a repository"),
        ({"": blob}, "the root of a repository"),
    ):
        with pytest.raises(UserError, match=message):
            await repositories.propose(name, "main", "x", AUTHOR, edits)
    with pytest.raises(UserError, match="there is no branch"):
        await repositories.propose(name, "nope", "x", AUTHOR, {"a.yaml": None})


async def test_a_proposal_can_go_to_a_branch_of_its_own(repositories, source, bare):
    """The branch that it is made on stays where it is."""
    before = source.head("HEAD")
    await repositories.fetch(str(bare.path))
    commit = await repositories.propose(str(bare.path), "main", "x", AUTHOR, {"a.yaml": None}, to="side/one")
    assert bare.git("rev-parse", "refs/heads/side/one").strip() == commit
    assert bare.git("rev-parse", "refs/heads/main").strip() == before
