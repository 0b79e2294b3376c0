"""Notes are appended, pushed where permitted, and never lose anybody's line."""

from __future__ import annotations

import asyncio
import stat

import pytest

from trimtab.core.model.errors import UserError
from trimtab.git import GitRepositories


def _note(repository, commit):
    return repository.git("notes", "--ref=trimtab", "show", commit).splitlines()


@pytest.fixture
async def name(repositories, source):
    await repositories.fetch(str(source.path))
    return str(source.path)


async def test_a_line_is_appended_and_pushed(repositories, source, name):
    """The note stands in the repository itself, where `git log --notes=trimtab` shows it."""
    head = source.head()
    await repositories.note(name, head, ("one",))
    await repositories.note(name, head, ("two", "three"))
    assert _note(source, head) == ["one", "two", "three"]
    assert "three" in source.git("log", "-1", "--notes=trimtab")
    assert not await repositories.fetch(name)


async def test_an_equal_line_is_added_once(repositories, source, name):
    """Saying it twice changes nothing."""
    head = source.head()
    await repositories.note(name, head, ("one", "one"))
    before = source.head("refs/notes/trimtab")
    await repositories.note(name, head, ("one",))
    assert _note(source, head) == ["one"]
    assert source.head("refs/notes/trimtab") == before


async def test_a_newline_in_a_line_does_not_make_two(repositories, source, name):
    """One line stays one line."""
    await repositories.note(name, source.head(), ("a\nb\r\nc",))
    assert _note(source, source.head()) == ["a b c"]


async def test_many_at_once_share_pushes(repositories, source, name, monkeypatch):
    """Fifty notes at once all arrive, with far fewer pushes."""
    calls = []
    real = repositories._git.remote

    async def counted(*arguments, **options):
        calls.append(arguments)
        return await real(*arguments, **options)

    monkeypatch.setattr(repositories._git, "remote", counted)
    head = source.head()
    await asyncio.gather(*(repositories.note(name, head, (f"line {number}",)) for number in range(50)))
    assert sorted(_note(source, head)) == sorted(f"line {number}" for number in range(50))
    assert len(calls) <= 4


async def test_two_writers_lose_nothing(source, tmp_path):
    """Two servers that write notes of the same commits at once both keep all of theirs."""
    commits = [source.head(), source.commit(b="1"), source.commit(c="2")]
    writers = [GitRepositories(tmp_path / f"data{number}") for number in range(2)]
    name = str(source.path)
    for writer in writers:
        await writer.fetch(name)

    async def write(number):
        for round_ in range(4):
            for commit in commits:
                await writers[number].note(name, commit, (f"writer {number} round {round_}",))

    await asyncio.gather(write(0), write(1))
    for writer in writers:  # whoever gave up after many attempts sends the rest along now
        await writer.note(name, commits[0], (f"end {writers.index(writer)}",))
    for commit in commits:
        lines = [line for line in _note(source, commit) if line.startswith("writer")]
        assert sorted(lines) == sorted(f"writer {number} round {round_}" for number in range(2) for round_ in range(4))
    for writer in writers:
        await writer.close()


async def test_notes_that_git_wrote_are_kept(repositories, source, name):
    """Notes of others, in git's own layout with fan-out, are read, kept and appended to."""
    tree = source.head("HEAD^{tree}")
    commits = [source.git("commit-tree", tree, "-m", str(number)) for number in range(300)]
    rows = "commit refs/notes/trimtab\ncommitter A <a@b> 1 +0000\ndata 0\n"
    rows += "".join(f"N inline {commit}\ndata 6\nfirst\n\n" for commit in commits)
    source.git("fast-import", "--quiet", stdin=rows.encode())
    assert "/" in source.git("ls-tree", "-r", "--name-only", "refs/notes/trimtab").splitlines()[0]
    source.git("update-ref", "refs/heads/one", commits[0])
    await repositories.fetch(name)
    await repositories.note(name, commits[0], ("second",))
    await repositories.note(name, source.head(), ("new",))
    assert _note(source, commits[0]) == ["first", "second"]
    assert _note(source, commits[299]) == ["first"]
    assert _note(source, source.head()) == ["new"]
    source.git("notes", "--ref=trimtab", "append", "-m", "by hand", commits[0])
    assert [line for line in _note(source, commits[0]) if line] == ["first", "second", "by hand"]


async def test_a_remote_that_refuses_is_no_error(repositories, bare):
    """The note stays in the mirror, the remote is asked again only later, and then gets all of it."""
    hook = bare.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no notes here >&2\nexit 1\n")
    hook.chmod(0o755)
    name = str(bare.path)
    await repositories.fetch(name)
    head = bare.head("main")
    await repositories.note(name, head, ("one",))
    await repositories.note(name, head, ("two",))
    assert bare.git("for-each-ref", "refs/notes") == ""
    hook.unlink()
    repositories._notes[repositories._mirror(name)]._quiet_until = 0
    await repositories.note(name, head, ("three",))
    assert _note(bare, head) == ["one", "two", "three"]


async def test_a_vanished_remote_is_no_error(repositories, source, name):
    """Without the remote the note is kept in the mirror."""
    head = source.head()
    away = source.path.rename(source.path.with_name("away"))
    await repositories.note(name, head, ("one",))
    away.rename(source.path)
    repositories._notes[repositories._mirror(name)]._quiet_until = 0
    await repositories.note(name, head, ("two",))
    assert _note(source, head) == ["one", "two"]


async def test_another_users_repository_is_not_written(repositories, source, name, monkeypatch):
    """Files of ours in somebody else's repository would lock its owner out."""
    monkeypatch.setattr("os.geteuid", lambda: source.path.stat().st_uid + 1)
    await repositories.note(name, source.head(), ("one",))
    assert source.git("for-each-ref", "refs/notes") == ""


async def test_a_note_for_an_unknown_commit(repositories, source, name):
    """There is nothing to attach it to."""
    with pytest.raises(UserError, match="there is no commit"):
        await repositories.note(name, "1" * 40, ("one",))


async def test_notes_survive_a_restart(repositories, source, name, tmp_path):
    """A second process goes on where the first ended, whether or not the remote has it."""
    head = source.head()
    source.path.chmod(stat.S_IRWXU)
    await repositories.note(name, head, ("one",))
    again = GitRepositories(tmp_path / "data" / "git")
    await again.note(name, head, ("two",))
    assert _note(source, head) == ["one", "two"]
    await again.close()
