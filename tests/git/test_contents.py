"""Trees and blobs are put on disk whole, read-only, and only when nothing in them leads out."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.git import GitRepositories
from trimtab.git.command import GitSettings


@pytest.fixture
async def write(repositories, source, tmp_path):
    """Materialise an object of ``source`` at tmp_path/out."""

    async def materialise(object_id, place="out", using=repositories):
        await using.fetch(str(source.path))
        await using.materialise(str(source.path), object_id, tmp_path / place)
        return tmp_path / place

    return materialise


def _modes(root):
    return {str(path.relative_to(root)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in sorted(root.rglob("*"))}


async def test_a_tree(write, source):
    """Content, modes, links; directories stay removable."""
    (source.path / "bin").mkdir()
    (source.path / "bin" / "run").write_text("#!/bin/sh\n")
    (source.path / "bin" / "run").chmod(0o755)
    (source.path / "bin" / "up").symlink_to("../apps/web.yaml")
    (source.path / "dangling").symlink_to("nowhere")
    source.save({"caf\udce9": b"\0binary"})
    old = os.umask(0o077)
    try:
        out = await write(source.head("HEAD^{tree}"))
    finally:
        os.umask(old)
    assert (out / "bin" / "up").read_text() == "kind: Web\n"
    assert (out / "dangling").readlink().name == "nowhere"
    assert (out / "caf\udce9").read_bytes() == b"\0binary"
    modes = _modes(out)
    assert modes["bin/run"] == "0o555"
    assert modes["a.yaml"] == "0o444"
    assert os.access(out / "bin", os.W_OK)
    assert sorted(path.name for path in out.parent.iterdir() if "partial" in path.name) == []


async def test_a_blob(write, source):
    """A single file is written read-only."""
    out = await write(source.head("HEAD:a.yaml"))
    assert out.read_bytes() == b"kind: A\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o444


async def test_an_empty_tree(write, source):
    """Nothing in it is a directory with nothing in it."""
    source.git("rm", "-rq", ".")
    source.save({})
    assert list((await write(source.head("HEAD^{tree}"))).iterdir()) == []


async def test_what_is_there_already_is_not_touched(write, source, tmp_path):
    """An existing destination is refused, even a dangling link."""
    (tmp_path / "out").symlink_to("nowhere")
    for object_id in (source.head("HEAD^{tree}"), source.head("HEAD:a.yaml")):
        with pytest.raises(UserError, match="is there already"):
            await write(object_id)
    assert (tmp_path / "out").is_symlink()


async def test_an_unknown_object(write, source):
    """An id that the mirror does not have, or a commit, is refused."""
    for object_id in ("1" * 40, source.head(), "nonsense"):
        with pytest.raises(UserError, match="no such tree or file"):
            await write(object_id)


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../../x", "a/../../x", "self"])
async def test_links_that_lead_out(write, source, tmp_path, target):
    """The link and its target are named, and nothing is written."""
    (source.path / "self").symlink_to(target)
    source.save({"a/b": "x"})
    with pytest.raises(UserError, match="the link self leads out of the directory, to"):
        await write(source.head("HEAD^{tree}"))
    assert not (tmp_path / "out").exists()


async def test_a_link_that_leads_out_of_the_subtree_only(write, source):
    """What is inside the repository may still be outside of the directory that is put in place."""
    (source.path / "apps" / "shared").symlink_to("../a.yaml")
    source.save({})
    with pytest.raises(UserError, match="the link shared leads out"):
        await write(source.head("HEAD:apps"))


async def test_submodules_and_large_file_pointers(write, source):
    """Both are refused with the path and with what to do."""
    source.git("update-index", "--add", "--cacheinfo", f"160000,{source.head()},libs/x")
    source.git("commit", "--quiet", "-m", "submodule")
    with pytest.raises(UserError, match=r"libs/x is a submodule.*not supported"):
        await write(source.head("HEAD^{tree}"))
    source.git("rm", "-q", "--cached", "libs/x")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    source.save({"img/logo.png": pointer})
    with pytest.raises(UserError, match=r"img/logo.png is a Git LFS pointer.*LFS is not supported"):
        await write(source.head("HEAD^{tree}"))
    with pytest.raises(UserError, match="is a Git LFS pointer"):
        await write(source.head("HEAD:img/logo.png"))


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT"])
async def test_hostile_names(write, source, tmp_path, name):
    """Names that would leave the directory, or make it a repository, are refused even where fsck let them in."""
    made = GitRepositories(tmp_path / "data2", GitSettings(fsck=False))
    source.commit_tree(source.raw_tree(("100644", "blob", name, source.blob(b"x"))))
    with pytest.raises(UserError, match="is not allowed in a tree"):
        await write(source.head("main^{tree}"), using=made)
    await made.close()


async def test_a_name_that_is_both_a_link_and_a_directory(write, source, tmp_path):
    """Two entries of one name cannot be used to write through a link."""
    made = GitRepositories(tmp_path / "data2", GitSettings(fsck=False))
    link = source.blob(str(tmp_path / "victim").encode())
    (tmp_path / "victim").mkdir()
    below = source.raw_tree(("100644", "blob", b"owned", source.blob(b"x")))
    raw = b"120000 x\0" + bytes.fromhex(link) + b"40000 x\0" + bytes.fromhex(below)
    tree = source.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)
    source.commit_tree(tree)
    with pytest.raises(UserError):
        await write(tree, using=made)
    assert list((tmp_path / "victim").iterdir()) == []
    await made.close()


async def test_a_directory_that_takes_nothing(write, source, tmp_path):
    """A place that cannot be written is transient and named."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransientError, match=r"materialise .*: File exists: .*/file"):
        await write(source.head("HEAD^{tree}"), place="file/out")


async def test_many_at_once(repositories, source, tmp_path):
    """Several trees are written side by side, each whole."""
    source.save({f"many/{number}": str(number) for number in range(200)})
    await repositories.fetch(str(source.path))
    tree = source.head("HEAD:many")
    await asyncio.gather(*(repositories.materialise(str(source.path), tree, tmp_path / f"out{n}") for n in range(8)))
    assert all(len(list((tmp_path / f"out{n}").iterdir())) == 200 for n in range(8))
