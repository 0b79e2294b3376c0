"""Repositories in memory."""

from __future__ import annotations

import asyncio

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.testing.faults import Fault, Faults
from trimtab.testing.git import URL, FakeRemotes, FakeRepositories
from trimtab.testing.time import VirtualClock, run

FILES = {"apps/web/a.json": "{}", "README": "hello"}


async def mirrored(repositories: FakeRepositories | None = None) -> FakeRepositories:
    made = repositories or FakeRepositories()
    made.remotes.get().commit(FILES)
    await made.fetch(URL)
    return made


async def test_a_mirror_shows_what_the_last_fetch_saw() -> None:
    """A new commit is not there before the fetch that brings it; a fetch tells whether anything moved."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    old = remote.head()
    new = remote.commit({"README": "hello again"})
    assert (await repositories.resolve(URL, "")).revision == old
    with pytest.raises(UserError, match="does not have that commit"):
        repositories.tree(URL, new)
    assert await repositories.fetch(URL)
    assert not await repositories.fetch(URL)
    head = await repositories.resolve(URL, "main")
    assert (head.revision, head.ref) == (new, "refs/heads/main")
    assert repositories.tree(URL, new).read("README", bytes_max=100) == b"hello again"
    assert repositories.tree(URL, old).read("README", bytes_max=100) == b"hello"


async def test_equal_histories_have_equal_ids_and_others_do_not() -> None:
    """Revisions look like Git's and follow from what was committed."""
    one, other = (FakeRemotes().get() for _ in range(2))
    assert one.commit(FILES) == other.commit(FILES)
    assert one.commit({"a": "1"}) != one.commit({"a": "1"})
    assert len(one.head()) == 40
    int(one.head(), 16)


async def test_changed_paths_tell_what_differs() -> None:
    """Added, changed and removed files, both ways; None when there are too many or a commit is unknown."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    old = remote.head()
    new = remote.commit({"README": None, "apps/web/a.json": "[]", "b": "1"})
    await repositories.fetch(URL)
    changed = frozenset({"README", "apps/web/a.json", "b"})
    assert await repositories.changed_paths(URL, old, new) == changed
    assert await repositories.changed_paths(URL, new, old) == changed
    assert await repositories.changed_paths(URL, new, new) == frozenset()
    assert await repositories.changed_paths(URL, old, new, paths_max=2) is None
    assert await repositories.changed_paths(URL, old, old[::-1]) is None


async def test_a_force_push_takes_commits_off_the_branch() -> None:
    """What was overwritten is no ancestor of the head any more, yet stays readable in the mirror."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    first = remote.head()
    lost = remote.commit({"a": "1"})
    await repositories.fetch(URL)
    head = remote.force_push({"a": "2"})
    await repositories.fetch(URL)
    assert not await repositories.contains(URL, lost, head)
    assert await repositories.contains(URL, first, head)
    assert await repositories.contains(URL, head, head)
    assert not await repositories.contains(URL, head, first)
    assert repositories.tree(URL, lost).read("a", bytes_max=9) == b"1"


async def test_branches_tags_and_ids_resolve() -> None:
    """A revision is a branch, a tag or a full id; one that is gone is a UserError."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    first = remote.head()
    remote.tag("v1", first)
    remote.set_branch("next", first)
    newer = remote.commit({"n": "1"}, branch="next")
    await repositories.fetch(URL)
    assert [(await repositories.resolve(URL, name)).revision for name in ("v1", "next", first)] == [first, newer, first]
    remote.delete_branch("next")
    remote.delete_branch("main")
    await repositories.fetch(URL)
    for gone in ("next", ""):
        with pytest.raises(UserError, match="no such branch"):
            await repositories.resolve(URL, gone)


async def test_an_abbreviation_names_one_commit() -> None:
    """Branch, tag or the beginning of an id; nothing and several are UserErrors."""
    repositories = await mirrored()
    head = repositories.remotes.get().head()
    assert await repositories.expand(URL, head[:7]) == await repositories.expand(URL, "main") == head
    with pytest.raises(UserError):
        await repositories.expand(URL, "f00d" if not head.startswith("f00d") else "beef")


async def test_a_remote_that_broke_leaves_the_mirror_as_it_was() -> None:
    """A vanished or corrupt remote is transient; what was fetched stays readable; one never seen is the user's error."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    head = remote.head()
    for break_ in (remote.vanish, remote.corrupt):
        break_()
        with pytest.raises(TransientError):
            await repositories.fetch(URL)
        assert (await repositories.resolve(URL, "")).revision == head
    remote.repair()
    assert not await repositories.fetch(URL)
    with pytest.raises(UserError, match="no such repository"):
        await repositories.fetch("elsewhere")
    with pytest.raises(UserError, match="not been fetched"):
        await repositories.resolve("elsewhere", "")


async def test_a_fetch_whose_answer_got_lost_has_moved_the_mirror() -> None:
    """The next fetch finds nothing new, though nobody has been told: True must not be all that an engine goes by."""
    faults = Faults.none()
    repositories = await mirrored(FakeRepositories(FakeRemotes(faults)))
    new = repositories.remotes.get().commit({"a": "1"})
    faults.plan("git.fetch:after", Fault.LOST)
    with pytest.raises(TransientError):
        await repositories.fetch(URL)
    assert not await repositories.fetch(URL)
    assert (await repositories.resolve(URL, "")).revision == new


async def test_a_note_is_appended_once_and_pushed_where_that_is_allowed() -> None:
    """Equal lines are one; a remote that refuses gets it later, with the next line that it takes."""
    repositories = await mirrored()
    remote = repositories.remotes.get()
    head = remote.head()
    await repositories.note(URL, head, ("one",))
    await repositories.note(URL, head, ("one",))
    remote.read_only = True
    await repositories.note(URL, head, ("two",))
    assert repositories.notes(URL, head) == ("one", "two")
    assert remote.notes == {head: ("one",)}
    remote.read_only = False
    await repositories.note(URL, head, ("three",))
    assert remote.notes == {head: ("one", "two", "three")}


def test_the_watch_tells_of_a_push_to_a_repository_on_the_same_disk() -> None:
    """A push wakes whoever watches; a remote elsewhere has no watch to offer."""

    async def main(clock: VirtualClock) -> int:
        repositories = await mirrored()
        remote = repositories.remotes.get()
        woken = 0

        async def watch() -> None:
            nonlocal woken
            async for _ in repositories.watch(URL):
                woken += 1

        watcher = asyncio.create_task(watch())
        await clock.sleep(1)
        remote.commit({"a": "1"})
        remote.commit({"a": "2"})
        await clock.sleep(1)
        watcher.cancel()
        repositories.remotes.get("far").local = False
        assert [wake async for wake in repositories.watch("far")] == []
        return woken

    assert run(main) == 1


async def test_a_proposal_puts_a_tree_of_another_commit_in_place() -> None:
    """What is named by its id becomes what stands at the path; the rest of the branch stays, and the mirror sees it after a fetch."""
    remotes = FakeRemotes()
    remote = remotes.get(URL)
    old = remote.commit({"apps/shop/web.json": b"1", "apps/shop/db.json": b"1", "README": b"r"})
    remote.commit({"apps/shop/web.json": b"2", "apps/shop/db.json": None, "apps/shop/new.json": b"n"})
    repositories = FakeRepositories(remotes)
    await repositories.fetch(URL)
    entry = repositories.tree(URL, old).entry("apps/shop")
    assert entry is not None
    made = await repositories.propose(URL, "", "roll back", "Ada <ada@example.org>", {"apps/shop": entry.id, "README": None})
    await repositories.fetch(URL)
    assert [one.path for one in repositories.tree(URL, made).walk("")] == ["apps/shop/db.json", "apps/shop/web.json"]
    assert repositories.tree(URL, made).read("apps/shop/web.json", bytes_max=10) == b"1"
    assert await repositories.propose(URL, "", "again", "Ada <ada@example.org>", {"apps/shop": entry.id}) == made
