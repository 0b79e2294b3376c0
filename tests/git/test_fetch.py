"""Mirrors follow their remotes, keep what they had, and say what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.git import GitRepositories, command
from trimtab.git.command import GitSettings
from trimtab.plumbing.processes import run


def _files(repositories: GitRepositories, repository: str, revision: str) -> list[str]:
    return [entry.path for entry in repositories.tree(repository, Revision(revision)).walk("")]


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


async def test_a_first_fetch_makes_the_mirror(repositories, source):
    """The first fetch says that something moved, the second that nothing did."""
    assert await repositories.fetch(str(source.path))
    assert not await repositories.fetch(str(source.path))
    head = await repositories.resolve(str(source.path), "")
    assert (head.revision, head.ref) == (source.head(), "refs/heads/main")
    assert _files(repositories, str(source.path), head.revision) == ["a.yaml", "apps/web.yaml"]


@pytest.mark.parametrize("form", ["{}", "{}/.git", "file://{}", "file://localhost{}"])
async def test_forms_of_a_path(repositories, source, form):
    """A work tree, its git directory and file URLs all work."""
    name = form.format(source.path)
    assert await repositories.fetch(name)
    new = source.commit(b="new")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "main")).revision == new
    assert not await repositories.fetch(name)


async def test_a_bare_repository_named_without_its_suffix(repositories, bare):
    """What git itself would find is found."""
    assert await repositories.fetch(str(bare.path).removesuffix(".git"))


async def test_a_linked_work_tree_has_its_own_head(repositories, source, tmp_path):
    """The default branch of a linked work tree is the one that is checked out there."""
    source.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    assert await repositories.fetch(str(tmp_path / "linked"))
    assert (await repositories.resolve(str(tmp_path / "linked"), "")).ref == "refs/heads/side"


async def test_packed_refs_are_seen(repositories, source):
    """Packing refs moves nothing; a change after it does."""
    name = str(source.path)
    source.git("tag", "v1.0.0")
    await repositories.fetch(name)
    source.git("pack-refs", "--all")
    assert not await repositories.fetch(name)
    new = source.commit(b="new")
    source.git("pack-refs", "--all")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == new
    assert (await repositories.resolve(name, "v1.0.0")).revision == source.head("v1.0.0")


async def test_an_unchanged_repository_on_this_disk_costs_no_process(repositories, source, monkeypatch):
    """A poll of what did not move is answered without git."""
    name = str(source.path)
    await repositories.fetch(name)
    started = []

    async def counted(*arguments, **named):
        started.append(arguments)
        return await run(*arguments, **named)

    monkeypatch.setattr(command, "run", counted)
    assert not await repositories.fetch(name)
    assert started == []
    source.commit(b="new")
    assert await repositories.fetch(name)
    assert started != []


async def test_what_a_force_push_took_away_stays_readable(repositories, source):
    """The mirror follows the branch, and still reads what it had resolved, even after garbage collection."""
    name = str(source.path)
    lost = source.commit(b="lost")
    await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == lost
    source.git("reset", "--quiet", "--hard", "HEAD~1")
    new = source.commit(c="new")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == new
    mirror = next((repositories._directory).glob("*.git"))
    _git("-C", str(mirror), "gc", "--quiet", "--prune=now")
    assert "b.yaml" in _files(repositories, name, lost)
    assert not await repositories.contains(name, Revision(lost), Revision(new))
    assert await repositories.contains(name, Revision(source.head("HEAD~1")), Revision(new))


async def test_a_deleted_branch_is_reported_and_its_commits_stay(repositories, source):
    """A branch that is gone does not resolve; its tree is still there."""
    name = str(source.path)
    source.git("switch", "--quiet", "-c", "side")
    side = source.commit(b="side")
    source.git("switch", "--quiet", "main")
    await repositories.fetch(name)
    await repositories.resolve(name, "side")
    source.git("branch", "--quiet", "-D", "side")
    assert await repositories.fetch(name)
    with pytest.raises(UserError, match="no branch, tag or commit side"):
        await repositories.resolve(name, "side")
    assert "b.yaml" in _files(repositories, name, side)


async def test_a_branch_may_become_a_directory_of_branches(repositories, source):
    """`a` gives way to `a/b` in one fetch."""
    name = str(source.path)
    source.git("branch", "a")
    await repositories.fetch(name)
    source.git("branch", "-D", "a")
    source.git("branch", "a/b")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "a/b")).ref == "refs/heads/a/b"


async def test_a_renamed_default_branch_is_followed(repositories, source):
    """When HEAD names another branch, so does the empty revision."""
    name = str(source.path)
    await repositories.fetch(name)
    source.git("branch", "-m", "main", "trunk")
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).ref == "refs/heads/trunk"


async def test_a_detached_head_does_not_move_the_default_branch(repositories, source):
    """A developer who looks at an old commit changes nothing."""
    name = str(source.path)
    new = source.commit(b="new")
    await repositories.fetch(name)
    source.git("switch", "--quiet", "--detach", "HEAD~1")
    await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == new


async def test_a_repository_whose_head_was_always_detached(repositories, source):
    """With no branch known before, the detached commit is what the empty revision means."""
    source.git("switch", "--quiet", "--detach")
    source.git("branch", "-D", "main")
    await repositories.fetch(str(source.path))
    head = await repositories.resolve(str(source.path), "")
    assert (head.revision, head.ref) == (source.head(), "")


async def test_an_empty_repository(repositories, make):
    """Nothing to fetch is no error; resolving says what to do; the first commit is seen."""
    empty = make("empty")
    await repositories.fetch(str(empty.path))
    with pytest.raises(UserError, match=r"has no commit yet\. Commit something"):
        await repositories.resolve(str(empty.path), "")
    first = empty.commit(a="x")
    assert await repositories.fetch(str(empty.path))
    assert (await repositories.resolve(str(empty.path), "")).revision == first


async def test_a_head_that_names_no_branch(repositories, bare):
    """An unborn default branch is named, with the branches that there are."""
    bare.git("symbolic-ref", "HEAD", "refs/heads/master")
    await repositories.fetch(str(bare.path))
    with pytest.raises(UserError, match=r"default branch master does not exist.*main"):
        await repositories.resolve(str(bare.path), "")
    assert (await repositories.resolve(str(bare.path), "main")).revision == bare.head("main")


async def test_calls_at_the_same_time_share_a_fetch(repositories, source, monkeypatch):
    """Ten who ask at once cost two fetches at most, and all see the commit that was there when they asked."""
    name = str(source.path)
    await repositories.fetch(name)
    calls = []
    real = repositories._git.remote

    async def counted(*arguments, **options):
        calls.append(arguments)
        return await real(*arguments, **options)

    monkeypatch.setattr(repositories._git, "remote", counted)
    new = source.commit(b="new")
    results = await asyncio.gather(*(repositories.fetch(name) for _ in range(10)))
    assert any(results)
    assert len(calls) == 1
    assert (await repositories.resolve(name, "")).revision == new


async def test_a_vanished_remote_is_transient_and_what_was_there_stays(repositories, source):
    """The mirror reads on when the remote is gone, and recovers when it is back."""
    name = str(source.path)
    await repositories.fetch(name)
    head = source.head()
    away = source.path.rename(source.path.with_name("away"))
    with pytest.raises(TransientError, match="there is no such path"):
        await repositories.fetch(name)
    assert _files(repositories, name, head) == ["a.yaml", "apps/web.yaml"]
    away.rename(source.path)
    assert not await repositories.fetch(name)


async def test_a_path_that_never_was_is_the_users_mistake(repositories, tmp_path):
    """A wrong path and a directory that is no repository say so, and leave nothing behind."""
    with pytest.raises(UserError, match="there is no such path"):
        await repositories.fetch(str(tmp_path / "nowhere"))
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match="no Git repository at this path"):
        await repositories.fetch(str(tmp_path / "plain"))
    with pytest.raises(UserError, match="not fetched yet"):
        await repositories.resolve(str(tmp_path / "plain"), "")
    assert list(repositories._directory.iterdir()) == []


async def test_a_corrupt_remote_is_transient_and_what_was_there_stays(repositories, source):
    """A remote that lost an object is reported with git's words; the mirror reads on."""
    name = str(source.path)
    await repositories.fetch(name)
    head = source.head()
    source.commit(b="broken")
    lost = source.head("HEAD:b.yaml")
    (source.path / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(TransientError, match=f"fetch {name}: .*"):
        await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == head
    assert _files(repositories, name, head) == ["a.yaml", "apps/web.yaml"]


def _damage(repositories) -> None:
    """Overwrite every object of every pack, as a bad disk would."""
    for pack in repositories._directory.glob("*.git/objects/pack/*.pack"):
        pack.chmod(0o644)
        data = pack.read_bytes()
        pack.write_bytes(data[:12] + bytes(byte ^ 0x55 for byte in data[12:-20]) + data[-20:])


async def test_a_corrupt_mirror_is_replaced(repositories, source):
    """What cannot be read from the mirror is there again after the next fetch, with the notes that only the mirror had."""
    name = str(source.path)
    await repositories.fetch(name)
    _damage(repositories)
    with pytest.raises(TransientError, match="cannot be read"):
        await repositories.resolve(name, "")
    await repositories.fetch(name)
    head = await repositories.resolve(name, "")
    assert repositories.tree(name, head.revision).read("a.yaml", bytes_max=100) == b"kind: A\n"
    assert [path.suffix for path in repositories._directory.iterdir()] == [".git"]


async def test_a_corrupt_mirror_is_kept_until_its_successor_is_complete(repositories, source):
    """While the remote cannot be cloned, what is left of the old mirror still reads."""
    name = str(source.path)
    await repositories.fetch(name)
    old = source.head()
    blob = source.commit(b="new") and source.head("HEAD:b.yaml")
    kept = repositories.tree(name, Revision(old))
    assert kept.read("apps/web.yaml", bytes_max=100) == b"kind: Web\n"
    next(iter(repositories._mirrors.values())).objects.damaged = True
    (next(repositories._directory.glob("*.git")) / "config").write_text("[broken")
    (source.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(TransientError, match="fetch"):
        await repositories.fetch(name)
    assert kept.read("a.yaml", bytes_max=100) == b"kind: A\n"
    assert [path.suffix for path in repositories._directory.iterdir()] == [".git"]


async def test_a_mirror_that_was_deleted_is_made_again(repositories, source):
    """Losing the mirror's directory costs one clone."""
    name = str(source.path)
    await repositories.fetch(name)
    shutil.rmtree(next(repositories._directory.glob("*.git")))
    await repositories.fetch(name)
    assert _files(repositories, name, source.head()) == ["a.yaml", "apps/web.yaml"]


async def test_mirrors_outlive_the_process(repositories, source, tmp_path):
    """A second GitRepositories on the same directory reads without a fetch."""
    name = str(source.path)
    await repositories.fetch(name)
    again = GitRepositories(tmp_path / "data" / "git")
    assert (await again.resolve(name, "")).revision == source.head()
    assert not await again.fetch(name)
    await again.close()


async def test_a_fetch_that_takes_too_long_is_ended(source, tmp_path):
    """The time-out is an error that says so, and the call returns soon after it."""
    slow = tmp_path / "slow-ssh"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    made = GitRepositories(tmp_path / "data", GitSettings(ssh_command=str(slow), clone_timeout_seconds=0.3))
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"git fetch ssh://host.invalid/repository.git: gave up after 0\.3 s"):
        await made.fetch("ssh://host.invalid/repository.git")
    assert time.monotonic() - started < 5
    await made.close()


@pytest.mark.parametrize(
    "repository",
    [
        "ext::sh -c touch% /x",
        "fd::3",
        "--upload-pack=touch x",
        "-x",
        "git://host/x",
        "ftp://host/x",
        "ssh://-oProxyCommand=x/y",
        "-oProxyCommand=x:y",
        "https:///x",
        "file://otherhost/x",
        "",
        "a\nb",
        "rsync::x",
    ],
)
async def test_forbidden_transports(repositories, repository):
    """What could run a command or be taken for an option is refused before git is started."""
    with pytest.raises(UserError, match="repository"):
        await repositories.fetch(repository)


async def test_objects_that_fsck_refuses_are_named(repositories, source):
    """A tree with ".." in it does not get into the mirror; the error names the object."""
    blob = source.blob(b"x")
    bad = source.raw_tree(("100644", "blob", b"..", blob))
    source.commit_tree(bad)
    with pytest.raises(UserError, match=f"git refuses what the repository holds.*{bad}: contains '..'"):
        await repositories.fetch(str(source.path))


async def test_old_honest_history_is_accepted(repositories, source):
    """A commit with an odd date, as old tools wrote them, is no reason to refuse a repository."""
    tree = source.head("HEAD^{tree}")
    raw = f"tree {tree}\nauthor Ann<ann@example.org> 0 +051800\ncommitter Ann <ann@example.org> 1 +0000\n\nold\n"
    commit = source.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw.encode())
    source.git("update-ref", "refs/heads/main", commit)
    await repositories.fetch(str(source.path))
    assert (await repositories.resolve(str(source.path), "")).revision == commit


async def test_a_sha256_repository_is_refused_in_words(repositories, tmp_path):
    """The error says what is not supported."""
    _git("init", "--quiet", "--object-format=sha256", str(tmp_path / "new"))
    options = ["-C", str(tmp_path / "new"), "-c", "user.name=a", "-c", "user.email=a@b"]
    _git(*options, "commit", "-q", "--allow-empty", "-m", "x")
    with pytest.raises(UserError, match="SHA-256"):
        await repositories.fetch(str(tmp_path / "new"))


async def test_hooks_and_configuration_of_the_user_are_not_used(repositories, source, monkeypatch, tmp_path):
    """A global configuration that would rewrite the URL has no say."""
    config = tmp_path / "evil"
    config.write_text(f'[url "/nowhere"]\n\tinsteadOf = {source.path}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert await repositories.fetch(str(source.path))


async def test_maintenance_writes_the_commit_graph(repositories, source):
    """After a fetch the commit graph with changed paths is written, in the background."""
    await repositories.fetch(str(source.path))
    mirror = next(iter(repositories._mirrors.values()))
    await repositories._maintenance.graph(mirror)
    await repositories._maintenance.collect(mirror)
    assert (mirror.path / "objects" / "info" / "commit-graphs" / "commit-graph-chain").exists()
    assert _files(repositories, str(source.path), source.head()) == ["a.yaml", "apps/web.yaml"]


@pytest.mark.parametrize(
    ("file", "content"), [("HEAD", ""), ("config", "[broken"), ("refs/heads/main", ""), ("packed-refs", "???")]
)
async def test_a_mirror_whose_own_files_are_damaged(source, tmp_path, file, content):
    """What a power cut leaves behind is mended by the next fetch, in a new process too."""
    name = str(source.path)
    first = GitRepositories(tmp_path / "data")
    await first.fetch(name)
    await first.close()
    (next((tmp_path / "data" / "mirrors").glob("*.git")) / file).write_text(content)
    again = GitRepositories(tmp_path / "data")
    await again.fetch(name)
    assert (await again.resolve(name, "")).revision == source.head()
    assert _files(again, name, source.head()) == ["a.yaml", "apps/web.yaml"]
    await again.close()


async def test_locks_of_a_killed_git_are_cleared(repositories, source):
    """An old lock file does not stop the fetches for ever; a fresh one is somebody's, and is waited for."""
    name = str(source.path)
    await repositories.fetch(name)
    source.commit(b="1")
    lock = next(repositories._directory.glob("*.git")) / "refs" / "heads" / "main.lock"
    lock.touch()
    with pytest.raises(TransientError, match=r"main\.lock"):
        await repositories.fetch(name)
    os.utime(lock, (0, 0))
    assert await repositories.fetch(name)
    assert (await repositories.resolve(name, "")).revision == source.head()


async def test_a_cancelled_fetch_leaves_no_process(source, tmp_path):
    """When nobody waits for it any more, git and its helpers end."""
    pid = tmp_path / "pid"
    slow = tmp_path / "slow-ssh"
    slow.write_text(f"#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 60\n")
    slow.chmod(0o755)
    made = GitRepositories(tmp_path / "data", GitSettings(ssh_command=str(slow)))
    asked = [asyncio.create_task(made.fetch("ssh://host.invalid/x.git")) for _ in range(2)]
    while not pid.exists():
        await asyncio.sleep(0.01)
    asked[0].cancel()
    await asyncio.sleep(0.05)
    assert _runs(pid.read_text().strip())
    asked[1].cancel()
    await asyncio.wait(asked)
    deadline = time.monotonic() + 3
    while _runs(pid.read_text().strip()) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not _runs(pid.read_text().strip())
    assert list(made._directory.iterdir()) == []
    await made.close()


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_repository_that_may_not_be_read(repositories, source, monkeypatch):
    """Permission denied is the user's mistake at first, and passing trouble later."""
    name = str(source.path)

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("trimtab.git.refs.git_directory", denied)
        with pytest.raises(UserError, match="permission denied"):
            await repositories.fetch(name)
    await repositories.fetch(name)
    monkeypatch.setattr("trimtab.git.refs.git_directory", denied)
    with pytest.raises(TransientError, match="permission denied"):
        await repositories.fetch(name)


async def test_a_disk_that_takes_nothing(repositories, source):
    """A mirror that cannot be written is passing trouble, and is named."""
    repositories._directory.rmdir()
    repositories._directory.write_text("in the way")
    with pytest.raises(TransientError, match=r"fetch .*: (Not a directory|File exists): .*mirrors"):
        await repositories.fetch(str(source.path))
