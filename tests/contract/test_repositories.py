"""What every Repositories keeps to: mirrors of real remotes and those in memory give the same answers to the same history."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.git import GitRepositories
from trimtab.ports.git import Repositories
from trimtab.testing.git import FakeRemotes, FakeRepositories

Files = Mapping[str, str | None]
UNKNOWN = Revision("1" * 40)


class World(Protocol):
    """A remote that people push to, and the Repositories that mirrors it."""

    url: str
    repositories: Repositories

    def commit(self, files: Files, *, branch: str = "main") -> Revision: ...

    def force_push(self, files: Files) -> Revision: ...

    def branch(self, name: str, revision: Revision) -> None: ...

    def delete_branch(self, name: str) -> None: ...

    def tag(self, name: str, revision: Revision) -> None: ...

    def notes(self, revision: Revision) -> list[str]: ...

    def vanish(self) -> None: ...

    def come_back(self) -> None: ...


class GitWorld:
    def __init__(self, base: Path) -> None:
        self._bare, self._work = base / "remote.git", base / "work"
        self.url = str(self._bare)
        self.repositories: Repositories = GitRepositories(base / "data")
        self._git(base, "init", "--quiet", "--bare", "--initial-branch=main", self.url)
        self._git(base, "clone", "--quiet", self.url, str(self._work))

    def commit(self, files: Files, *, branch: str = "main") -> Revision:
        known = (
            subprocess.run(["git", "rev-parse", "--verify", "-q", branch], cwd=self._work, capture_output=True).returncode == 0
        )
        self._git(self._work, "switch", "--quiet", *([branch] if known else ["--orphan", branch]))
        for path, content in files.items():
            place = self._work / path
            place.unlink(missing_ok=True)
            if content is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(content)
        self._git(self._work, "add", "--all")
        self._git(self._work, "commit", "--quiet", "--allow-empty", "-m", "change")
        self._git(self._work, "push", "--quiet", "--force", "origin", branch)
        return Revision(self._git(self._work, "rev-parse", "HEAD"))

    def force_push(self, files: Files) -> Revision:
        self._git(self._work, "reset", "--quiet", "--hard", "HEAD~1")
        return self.commit(files)

    def branch(self, name: str, revision: Revision) -> None:
        self._git(self._bare, "update-ref", f"refs/heads/{name}", revision)

    def delete_branch(self, name: str) -> None:
        self._git(self._bare, "update-ref", "-d", f"refs/heads/{name}")

    def tag(self, name: str, revision: Revision) -> None:
        self._git(self._bare, "update-ref", f"refs/tags/{name}", revision)

    def notes(self, revision: Revision) -> list[str]:
        return self._git(self._bare, "notes", "--ref=trimtab", "show", revision).splitlines()

    def vanish(self) -> None:
        self._bare.rename(self._bare.with_name("away"))

    def come_back(self) -> None:
        self._bare.with_name("away").rename(self._bare)

    @staticmethod
    def _git(directory: Path, *arguments: str) -> str:
        person = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        done = subprocess.run(["git", *person, *arguments], cwd=directory, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class MemoryWorld:
    def __init__(self) -> None:
        remotes = FakeRemotes()
        self._remote = remotes.get()
        self.url = self._remote.url
        self.repositories: Repositories = FakeRepositories(remotes)  # type: ignore[assignment]

    def commit(self, files: Files, *, branch: str = "main") -> Revision:
        return self._remote.commit(files, branch=branch)

    def force_push(self, files: Files) -> Revision:
        return self._remote.force_push(files)

    def branch(self, name: str, revision: Revision) -> None:
        self._remote.set_branch(name, revision)

    def delete_branch(self, name: str) -> None:
        self._remote.delete_branch(name)

    def tag(self, name: str, revision: Revision) -> None:
        self._remote.tag(name, revision)

    def notes(self, revision: Revision) -> list[str]:
        return list(self._remote.notes[revision])

    def vanish(self) -> None:
        self._remote.vanish()

    def come_back(self) -> None:
        self._remote.repair()


@pytest.fixture(params=["git", "memory"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made: World = GitWorld(tmp_path) if request.param == "git" else MemoryWorld()
    yield made
    if isinstance(made.repositories, GitRepositories):
        await made.repositories.close()


async def test_fetch_says_whether_anything_moved(world: World):
    """True for the first fetch of something and for every change of a branch or tag; False otherwise."""
    first = world.commit({"a": "1"})
    assert await world.repositories.fetch(world.url)
    assert not await world.repositories.fetch(world.url)
    world.commit({"a": "2"})
    assert await world.repositories.fetch(world.url)
    world.tag("v1.0.0", first)
    assert await world.repositories.fetch(world.url)
    world.branch("side", first)
    assert await world.repositories.fetch(world.url)
    world.delete_branch("side")
    assert await world.repositories.fetch(world.url)
    assert not await world.repositories.fetch(world.url)


async def test_resolve(world: World):
    """Default branch, branch, tag and full id; a branch moves only with a fetch."""
    first = world.commit({"a": "1"})
    second = world.commit({"a": "2"})
    world.branch("side", first)
    world.tag("v1.0.0", first)
    await world.repositories.fetch(world.url)
    heads = [await world.repositories.resolve(world.url, name) for name in ("", "main", "side", "v1.0.0", first)]
    assert [(head.revision, head.ref) for head in heads] == [
        (second, "refs/heads/main"),
        (second, "refs/heads/main"),
        (first, "refs/heads/side"),
        (first, "refs/tags/v1.0.0"),
        (first, ""),
    ]
    third = world.commit({"a": "3"})
    assert (await world.repositories.resolve(world.url, "")).revision == second
    await world.repositories.fetch(world.url)
    assert (await world.repositories.resolve(world.url, "")).revision == third


async def test_what_does_not_resolve(world: World):
    """Unknown names, unknown ids and a repository without a commit are the user's to mend."""
    await world.repositories.fetch(world.url)
    with pytest.raises(UserError):
        await world.repositories.resolve(world.url, "")
    world.commit({"a": "1"})
    await world.repositories.fetch(world.url)
    for name in ("nope", UNKNOWN):
        with pytest.raises(UserError):
            await world.repositories.resolve(world.url, name)


async def test_nothing_is_known_before_the_first_fetch(world: World):
    """Every question about a repository that was not fetched is the user's mistake."""
    commit = world.commit({"a": "1"})
    with pytest.raises(UserError):
        await world.repositories.resolve(world.url, "")
    with pytest.raises(UserError):
        world.repositories.tree(world.url, commit)
    with pytest.raises(UserError):
        await world.repositories.expand(world.url, commit[:8])


async def test_trees(world: World):
    """A tree is that of its commit, whatever has come since."""
    first = world.commit({"a": "1", "d/b": "two"})
    second = world.commit({"a": None, "d/c": "three"})
    await world.repositories.fetch(world.url)
    old, new = world.repositories.tree(world.url, first), world.repositories.tree(world.url, second)
    assert [entry.path for entry in old.walk("")] == ["a", "d/b"]
    assert [entry.path for entry in new.entries("d")] == ["d/b", "d/c"]
    assert old.read("d/b", bytes_max=3) == new.read("d/b", bytes_max=3) == b"two"
    assert old.entry("d/b") == new.entry("d/b")
    assert new.entry("a") is None
    assert old.entry("d") != new.entry("d")
    assert list(new.walk("nope")) == []
    with pytest.raises(UserError):
        old.read("d/b", bytes_max=2)
    with pytest.raises(UserError):
        old.read("d", bytes_max=100)
    with pytest.raises(UserError):
        old.entries("a")
    with pytest.raises(UserError):
        world.repositories.tree(world.url, UNKNOWN)


async def test_changed_paths(world: World):
    """What is new, gone or different; None past the bound and for a commit that is not there."""
    first = world.commit({"a": "1", "b": "1", "c": "1"})
    second = world.commit({"a": "2", "b": None, "d/e": "1"})
    await world.repositories.fetch(world.url)
    changed = world.repositories.changed_paths
    assert await changed(world.url, first, second) == {"a", "b", "d/e"}
    assert await changed(world.url, second, first) == {"a", "b", "d/e"}
    assert await changed(world.url, first, first) == frozenset()
    assert await changed(world.url, first, second, paths_max=3) == {"a", "b", "d/e"}
    assert await changed(world.url, first, second, paths_max=2) is None
    assert await changed(world.url, UNKNOWN, second) is None


async def test_a_force_push(world: World):
    """The old commit is readable still, and no ancestor of the new head."""
    first = world.commit({"a": "1"})
    lost = world.commit({"a": "2"})
    await world.repositories.fetch(world.url)
    new = world.force_push({"a": "3"})
    assert await world.repositories.fetch(world.url)
    assert (await world.repositories.resolve(world.url, "")).revision == new
    assert world.repositories.tree(world.url, lost).read("a", bytes_max=9) == b"2"
    assert not await world.repositories.contains(world.url, lost, new)
    assert await world.repositories.contains(world.url, first, new)
    assert await world.repositories.contains(world.url, new, new)
    assert not await world.repositories.contains(world.url, UNKNOWN, new)


async def test_a_deleted_branch(world: World):
    """It does not resolve any more; its commit stays."""
    world.commit({"a": "1"})
    side = world.commit({"b": "1"}, branch="side")
    await world.repositories.fetch(world.url)
    world.delete_branch("side")
    await world.repositories.fetch(world.url)
    with pytest.raises(UserError):
        await world.repositories.resolve(world.url, "side")
    assert (await world.repositories.resolve(world.url, side)).revision == side


async def test_a_vanished_remote(world: World):
    """The fetch is to be tried again; what was there reads on; it recovers."""
    commit = world.commit({"a": "1"})
    await world.repositories.fetch(world.url)
    world.vanish()
    with pytest.raises(TransientError):
        await world.repositories.fetch(world.url)
    assert (await world.repositories.resolve(world.url, "")).revision == commit
    world.come_back()
    assert not await world.repositories.fetch(world.url)


async def test_expand(world: World):
    """A short id, a branch and a tag become the full id."""
    first = world.commit({"a": "1"})
    second = world.commit({"a": "2"})
    world.tag("v1.0.0", first)
    await world.repositories.fetch(world.url)
    names = (first[:10], second, "main", "v1.0.0")
    assert [await world.repositories.expand(world.url, name) for name in names] == [first, second, second, first]
    for name in (UNKNOWN[:10], "nope"):
        with pytest.raises(UserError):
            await world.repositories.expand(world.url, name)


async def test_notes(world: World):
    """Lines are appended once each and reach the remote."""
    commit = world.commit({"a": "1"})
    await world.repositories.fetch(world.url)
    await world.repositories.note(world.url, commit, ("one",))
    await world.repositories.note(world.url, commit, ("two", "one", "three"))
    assert world.notes(commit) == ["one", "two", "three"]
    assert not await world.repositories.fetch(world.url)


async def test_watch(world: World):
    """A commit wakes whoever watches."""
    world.commit({"a": "1"})
    await world.repositories.fetch(world.url)
    wake = asyncio.ensure_future(anext(world.repositories.watch(world.url)))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(world.commit, {"a": "2"}) if isinstance(world, GitWorld) else world.commit({"a": "2"})
    await asyncio.wait_for(wake, 3)


async def test_a_commit_that_nobody_signed(world: World):
    """An ordinary commit is unsigned, whatever keys there are; one that is not there is an error."""
    revision = world.commit({"a": "1"})
    await world.repositories.fetch(world.url)
    assert await world.repositories.signature(world.url, revision, SigningKeys()) == Signature("unsigned")
    with pytest.raises(UserError):
        await world.repositories.signature(world.url, UNKNOWN, SigningKeys())
