"""What every Hosting keeps to: repositories on disk and those in memory give the same answers to the same history."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from trimtab.core.decide.signatures import SERVER
from trimtab.core.model.errors import NotFound, TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import SigningKeys
from trimtab.git.hosting import GitHosting
from trimtab.git.hosting.signing import NO_SIGNING, Signing
from trimtab.ports.hosting import Combined, Conflict, Conflicts, Hosting, Merged, Person, RefUpdate, Way
from trimtab.testing.hosting import FakeHosting

ANN = Person("Ann", "ann@example.org", datetime(2026, 3, 1, 12, tzinfo=UTC))
BOT = Person("Trimtab", "trimtab@localhost", datetime(2026, 3, 2, 12, tzinfo=UTC))
UNKNOWN = "1" * 40
Files = Mapping[str, str]


class World(Protocol):
    """The Hosting, and a developer who writes commits into a repository of it."""

    hosting: Hosting

    def write(self, name: str, files: Files, *parents: str, message: str = "change") -> Revision:
        """A commit with exactly these files; no ref names it."""
        ...


class GitWorld:
    def __init__(self, base: Path, signing: Signing | None = None) -> None:
        self.hosting: Hosting = GitHosting(base / "repositories", signing=signing or Signing(base / "signing-key"))

    def write(self, name: str, files: Files, *parents: str, message: str = "change") -> Revision:
        repository = self.hosting.path(name)
        index = str(repository / "index-of-the-test")
        for path, content in files.items():
            blob = self._git(repository, index, "hash-object", "-w", "--stdin", stdin=content)
            self._git(repository, index, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        if not files:
            self._git(repository, index, "read-tree", "--empty")
        tree = self._git(repository, index, "write-tree")
        Path(index).unlink()
        above = [word for parent in parents for word in ("-p", parent)]
        return Revision(self._git(repository, index, "commit-tree", tree, *above, "-m", message))

    @staticmethod
    def _git(repository: Path, index: str, *arguments: str, stdin: str = "") -> str:
        who = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org"}
        who |= {"GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org"}
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_INDEX_FILE": index, **who}
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments], env=environment, input=stdin, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class MemoryWorld:
    def __init__(self, unsigning: str = "") -> None:
        self._fake = FakeHosting(unsigning=unsigning)
        self.hosting: Hosting = self._fake

    def write(self, name: str, files: Files, *parents: str, message: str = "change") -> Revision:
        return self._fake.write(name, files, *parents, message=message)


@pytest.fixture(params=["git", "memory"])
async def mute(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """One that can sign nothing."""
    made: World = GitWorld(tmp_path, NO_SIGNING) if request.param == "git" else MemoryWorld("it has no key")
    await made.hosting.create("shop")
    return made


@pytest.fixture(params=["git", "memory"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    made: World = GitWorld(tmp_path) if request.param == "git" else MemoryWorld()
    await made.hosting.create("shop")
    return made


async def main_at(world: World, revision: str, old: str = "") -> None:
    assert await world.hosting.update_refs("shop", [RefUpdate("refs/heads/main", old, revision)])


async def test_a_repository_is_made_listed_and_taken_out_of_service(world: World):
    """What is deleted is not found any more, and its name is free again."""
    made = await world.hosting.create("team.one", default_branch="trunk")
    assert (made.name, made.default_branch, made.head) == ("team.one", "trunk", "")
    assert [each.name for each in await world.hosting.list()] == ["shop", "team.one"]
    with pytest.raises(UserError, match=r"team\.one"):
        await world.hosting.create("team.one")
    aside = await world.hosting.delete("team.one")
    assert [each.name for each in await world.hosting.list()] == ["shop"]
    with pytest.raises(NotFound):
        await world.hosting.get("team.one")
    await world.hosting.create("team.one")
    assert await world.hosting.delete("team.one") != aside


@pytest.mark.parametrize("name", ["", ".hidden", "-option", "/absolute", "a/../b", "two words"])
async def test_what_no_repository_may_be_called(world: World, name: str):
    with pytest.raises(UserError):
        await world.hosting.create(name)


async def test_an_unknown_repository_is_not_found(world: World):
    for asked in (
        world.hosting.get("nope"),
        world.hosting.delete("nope"),
        world.hosting.refs("nope"),
        world.hosting.merge("nope", UNKNOWN, UNKNOWN),
        world.hosting.update_refs("nope", []),
    ):
        with pytest.raises(NotFound):
            await asked
    for ask in (world.hosting.path, world.hosting.history):
        with pytest.raises(NotFound):
            ask("nope")


async def test_refs_move_all_or_none(world: World):
    """A ref that is not where the caller believes it to be keeps all of them where they are."""
    one, two = world.write("shop", {"a": "1"}), world.write("shop", {"a": "2"})
    await main_at(world, one)
    changes = [RefUpdate("refs/changes/1/1", "", two), RefUpdate("refs/heads/main", two, two)]
    assert not await world.hosting.update_refs("shop", changes)
    assert await world.hosting.refs("shop") == {"refs/heads/main": one}
    changes = [RefUpdate("refs/changes/1/1", "", two), RefUpdate("refs/heads/main", one, two)]
    assert await world.hosting.update_refs("shop", changes)
    assert await world.hosting.refs("shop") == {"refs/changes/1/1": two, "refs/heads/main": two}
    assert await world.hosting.refs("shop", "refs/changes/") == {"refs/changes/1/1": two}
    assert await world.hosting.update_refs("shop", [RefUpdate("refs/changes/1/1", two, "")])
    assert (await world.hosting.get("shop")).head == two
    assert await world.hosting.refs("shop") == {"refs/heads/main": two}


async def test_a_ref_names_what_is_there(world: World):
    with pytest.raises(UserError):
        await world.hosting.update_refs("shop", [RefUpdate("refs/heads/main", "", UNKNOWN)])
    assert await world.hosting.refs("shop") == {}


async def test_the_default_branch_changes_to_one_that_is_there(world: World):
    one = world.write("shop", {"a": "1"})
    await world.hosting.update_refs("shop", [RefUpdate("refs/heads/trunk", "", one)])
    with pytest.raises(UserError):
        await world.hosting.set_default_branch("shop", "nope")
    await world.hosting.set_default_branch("shop", "trunk")
    assert (await world.hosting.get("shop")).default_branch == "trunk"


async def test_moved_refs_wake_whoever_watches(world: World):
    wakes = world.hosting.wakes()
    first = asyncio.ensure_future(anext(wakes))
    await asyncio.sleep(0)
    await main_at(world, world.write("shop", {"a": "1"}))
    async with asyncio.timeout(5):
        assert await first == "shop"
    await wakes.aclose()  # type: ignore[attr-defined]


async def test_history_of_commits(world: World):
    """Log, ancestry, the common base and changed paths, over a merge."""
    base = world.write("shop", {"a": "1", "b/c": "1"}, message="base")
    left = world.write("shop", {"a": "2", "b/c": "1"}, base, message="left\n\nwith a body")
    right = world.write("shop", {"a": "1", "b/d": "1"}, base, message="right")
    merge = world.write("shop", {"a": "2", "b/d": "1"}, left, right, message="merge")
    history = world.hosting.history("shop")
    assert next(each.subject for each in await history.log(merge, without=[base])) == "merge"
    assert {each.revision for each in await history.log(merge, without=[left])} == {merge, right}
    assert len(await history.log(merge, commits_max=2)) == 2
    assert (await history.contains(base, merge), await history.contains(left, right)) == (True, False)
    assert await history.contains(left, left)
    assert await history.base(left, right) == base
    assert await history.changed_paths(base, merge) == {"a", "b/c", "b/d"}
    assert await history.changed_paths("", base) == {"a", "b/c"}
    assert await history.changed_paths(base, merge, paths_max=2) is None
    assert history.commit(merge).parents == (left, right)
    assert history.commit(left).message == "left\n\nwith a body\n"
    assert history.tree(right).read("b/d", bytes_max=10) == b"1"
    assert (history.has(left), history.has(UNKNOWN), history.peel(left), history.peel(UNKNOWN)) == (True, False, left, None)
    with pytest.raises(UserError):
        history.commit(UNKNOWN)


async def test_histories_that_share_nothing_have_no_base(world: World):
    one, two = world.write("shop", {"a": "1"}), world.write("shop", {"a": "1"}, message="other")
    assert await world.hosting.history("shop").base(one, two) is None


async def test_a_merge_shows_its_tree_before_there_is_a_commit(world: World):
    base = world.write("shop", {"a": "1", "b": "1", "c": "1"})
    ours, theirs = world.write("shop", {"a": "2", "b": "1", "c": "1"}, base), world.write("shop", {"a": "1", "b": "2"}, base)
    merged = await world.hosting.merge("shop", ours, theirs)
    assert isinstance(merged, Merged)
    tree = world.hosting.history("shop").tree(merged.tree)
    assert {entry.path: tree.read(entry.path, bytes_max=10) for entry in tree.walk("")} == {"a": b"2", "b": b"2"}
    assert await world.hosting.history("shop").changed_paths(ours, merged.tree) == {"b", "c"}
    assert await world.hosting.refs("shop") == {}


async def test_conflicts_are_all_named_with_their_reason(world: World):
    base = world.write("shop", {"a": "1", "b": "1", "c": "1"})
    ours = world.write("shop", {"a": "2", "b": "2", "c": "1", "d": "1"}, base)
    theirs = world.write("shop", {"a": "3", "c": "1", "d": "2"}, base)
    expected = Conflicts((Conflict("a", "content"), Conflict("b", "modify/delete"), Conflict("d", "add/add")))
    assert await world.hosting.merge("shop", ours, theirs) == expected
    assert await world.hosting.combine("shop", "merge", onto=ours, change=theirs, message="no", committer=BOT) == expected


@pytest.mark.parametrize("way", ["merge", "squash"])
async def test_combining_makes_one_commit(world: World, way: str):
    """A merge has both parents, a squash one; the tree is the same, and no ref moves."""
    base = world.write("shop", {"a": "1", "b": "1"})
    ours = world.write("shop", {"a": "2", "b": "1"}, base)
    theirs = world.write("shop", {"a": "1", "b": "3"}, world.write("shop", {"a": "1", "b": "2"}, base))
    message = "Bring b to 3\n\nApproved-by: Rae\n"
    made = await world.hosting.combine(
        "shop",
        way,
        onto=ours,
        change=theirs,
        message=message,
        committer=BOT,
        author=ANN,  # type: ignore[arg-type]
    )
    assert isinstance(made, Combined)
    commit = world.hosting.history("shop").commit(made.revision)
    assert commit.parents == ((ours, theirs) if way == "merge" else (ours,))
    assert (commit.tree, commit.message, commit.author, commit.committer) == (made.tree, message, ANN, BOT)
    merged = await world.hosting.merge("shop", ours, theirs)
    assert merged == Merged(made.tree)
    assert await world.hosting.refs("shop") == {}


async def test_a_rebase_keeps_authors_and_messages(world: World):
    base = world.write("shop", {"a": "1", "b": "1"})
    ours = world.write("shop", {"a": "2", "b": "1"}, base)
    first = world.write("shop", {"a": "1", "b": "2"}, base, message="first")
    second = world.write("shop", {"a": "1", "b": "3"}, first, message="second")
    made = await world.hosting.combine("shop", "rebase", onto=ours, change=second, message="second\n\nChange: 7", committer=BOT)
    assert isinstance(made, Combined)
    history = world.hosting.history("shop")
    line = await history.log(made.revision, without=[ours])
    assert [each.message for each in line] == ["second\n\nChange: 7\n", "first\n"]
    assert [each.committer for each in line] == [BOT, BOT]
    assert [each.author for each in line] == [history.commit(second).author, history.commit(first).author]
    assert history.tree(made.revision).read("a", bytes_max=9) + history.tree(made.revision).read("b", bytes_max=9) == b"23"


async def test_a_rebase_says_which_commit_does_not_fit(world: World):
    base = world.write("shop", {"a": "1", "b": "1"})
    ours = world.write("shop", {"a": "2", "b": "1"}, base)
    first = world.write("shop", {"a": "1", "b": "2"}, base)
    second = world.write("shop", {"a": "3", "b": "2"}, first)
    made = await world.hosting.combine("shop", "rebase", onto=ours, change=second, message="", committer=BOT)
    assert made == Conflicts((Conflict("a", "content"),), second)


async def test_a_history_with_merges_is_not_rebased(world: World):
    base = world.write("shop", {"a": "1"})
    merge = world.write("shop", {"a": "1", "b": "1"}, world.write("shop", {"b": "1"}, base), base)
    onto = world.write("shop", {"a": "2"}, base)
    with pytest.raises(UserError, match="not linear"):
        await world.hosting.combine("shop", "rebase", onto=onto, change=merge, message="", committer=BOT)


async def test_a_commit_is_written_from_a_tree(world: World):
    base = world.write("shop", {"a": "1"})
    tree = world.hosting.history("shop").commit(base).tree
    made = await world.hosting.commit("shop", tree=tree, parents=[base], message="again", author=ANN, committer=BOT)
    commit = world.hosting.history("shop").commit(made)
    assert (commit.tree, commit.parents, commit.message, commit.author) == (tree, (base,), "again\n", ANN)
    for tree_id, parents, message in ((UNKNOWN, [], "x"), (tree, [UNKNOWN], "x"), (tree, [], " \n")):
        with pytest.raises(UserError):
            await world.hosting.commit("shop", tree=tree_id, parents=parents, message=message, author=ANN, committer=BOT)


@pytest.mark.parametrize(("way", "written"), [("merge", 1), ("squash", 1), ("rebase", 2)])
async def test_each_commit_that_a_merge_writes_is_signed_where_that_is_wanted(world: World, way: Way, written: int) -> None:
    """And is told as the server's by whoever believes its key; the commits of the Change, and a merge without, are unsigned."""
    base = world.write("shop", {"a": "1"})
    one = world.write("shop", {"a": "1", "b": "1"}, base, message="one")
    two = world.write("shop", {"a": "1", "b": "2"}, one, message="two")
    other = world.write("shop", {"a": "2"}, base)
    hosting, believed = world.hosting, SigningKeys(ssh=((SERVER, world.hosting.signer().key),))
    for sign, state in ((True, "good"), (False, "unsigned")):
        made = await hosting.combine("shop", way, onto=other, change=two, message=f"sign: {sign}", committer=BOT, sign=sign)
        assert isinstance(made, Combined)
        new = await hosting.history("shop").log(made.revision, without=(other, two))
        assert len(new) == written
        for commit in new if sign or way != "rebase" else new[:1]:
            found = await hosting.signature("shop", commit.revision, believed)
            assert (found.state, found.user) == (state, SERVER if sign else "")
            assert (await hosting.signature("shop", commit.revision, SigningKeys())).state == ("unknown" if sign else "unsigned")
    assert (await hosting.signature("shop", two, believed)).state == "unsigned"


async def test_who_cannot_sign_says_why_and_merges_what_needs_no_signature(mute: World) -> None:
    hosting = mute.hosting
    assert (hosting.signer().key, hosting.signer().problem) == ("", "it has no key")
    base = mute.write("shop", {"a": "1"})
    change = mute.write("shop", {"a": "2"}, base)
    with pytest.raises(TransientError, match="it has no key"):
        await hosting.combine("shop", "merge", onto=base, change=change, message="m", committer=BOT, sign=True)
    assert isinstance(await hosting.combine("shop", "merge", onto=base, change=change, message="m", committer=BOT), Combined)
