"""Files: whole, inside allowed roots, never through a link, and put back when somebody touches them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from trimtab.core.model.errors import TransientError, UserError
from trimtab.core.model.manifest import Content
from trimtab.core.model.names import Key
from trimtab.core.model.observed import Scope
from trimtab.core.model.plan import Action, Applied, Failed, Step
from trimtab.targets.host import files
from trimtab.targets.host.files import Place, locate, look, put

from .conftest import World, manifest


def file(path: str, content: str = "hello\n", name: str = "note", **spec: object):
    return manifest("File", name, {"path": path, "content": content, **spec})


@pytest.fixture
def root(tmp_path: Path, world: World) -> Path:
    """An allowed root of the Environment."""
    made = tmp_path / "etc"
    made.mkdir()
    world.allow(made)
    world.targets.get("host", world.environment)
    return made


async def test_a_file_appears_with_content_and_mode(world: World, root: Path) -> None:
    """Directories in between are made; what is observed equals what is previewed."""
    wanted = file(str(root / "a/b/note"), mode="0640")
    seen = await world.run(wanted)
    assert (root / "a/b/note").read_text() == "hello\n"
    assert (root / "a/b/note").stat().st_mode & 0o7777 == 0o640
    assert seen.body == (await world.target.preview([wanted])).bodies[wanted.identity]


async def test_a_relative_path_is_below_the_first_root(world: World) -> None:
    """Without allowed roots it is the Environment's own directory."""
    seen = await world.run(file("note"))
    assert Path(seen.status["path"]) == world.data / "host/files/host/note"


async def test_drift_is_seen_as_it_is(world: World, root: Path) -> None:
    """Content and mode are those on the disk; a deleted file is not there."""
    wanted = file(str(root / "note"))
    await world.run(wanted)
    (root / "note").write_text("edited")
    (root / "note").chmod(0o600)
    seen = await world.look(wanted.ref)
    assert seen is not None
    assert seen.body["spec"] == {"path": str(root / "note"), "mode": "0600", "content": "edited"}
    (root / "note").unlink()
    assert await world.look(wanted.ref) is None


async def test_an_edited_file_is_told_at_once(world: World, root: Path) -> None:
    """The watch yields the application's Key in a few milliseconds; the earlier content is kept when it is put back."""
    wanted = file(str(root / "note"))
    await world.run(wanted)
    watch = world.target.watch()
    key = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.02)
    begin = time.monotonic()
    (root / "note").write_text("edited")
    assert await asyncio.wait_for(key, 2) == Key("host", "shop")
    await world.run(wanted)
    assert time.monotonic() - begin < 0.2
    assert (root / "note").read_text() == "hello\n"
    kept = world.data / "host/previous/host/~note" / hashlib.sha256(b"edited").hexdigest()
    assert kept.read_text() == "edited"
    await watch.aclose()


async def test_a_file_of_the_repository_is_copied(world: World, root: Path) -> None:
    """Binary or large content is shown by its digest."""
    data = bytes(range(256))
    world.contents.of["b1"] = data
    wanted = manifest(
        "File", "logo", {"path": str(root / "logo"), "file": "logo.bin"}, content=(Content("logo.bin", "blob", "b1", "repo"),)
    )
    seen = await world.run(wanted)
    assert (root / "logo").read_bytes() == data
    assert seen.body["spec"] == {
        "path": str(root / "logo"),
        "mode": "0644",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": 256,
    }
    assert seen.body == (await world.target.preview([wanted])).bodies[wanted.identity]


@pytest.mark.parametrize("path", ["/etc/passwd", "{root}/../outside", "{root}x/note", "../note"])
async def test_a_path_outside_the_roots_is_refused(world: World, root: Path, path: str) -> None:
    """In the preview already, with file and line; and again by apply."""
    wanted = file(path.format(root=root))
    (problem,) = (await world.target.preview([wanted])).problems
    assert (problem.file, problem.line) == ("shop.yaml", 1)
    step = Step(Action.CREATE, wanted.ref, "shop", "host", manifest=wanted)
    outcome = await world.target.apply(step, "r1")
    assert isinstance(outcome, Failed)
    assert not outcome.transient


async def test_a_linked_directory_is_refused(world: World, root: Path, tmp_path: Path) -> None:
    """A link below the root may lead anywhere; nothing is written through it."""
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    outcome = await world.apply(file(str(root / "link/note")))
    assert isinstance(outcome, Failed)
    assert "is a symbolic link" in outcome.message
    assert not any((tmp_path / "outside").iterdir())


async def test_a_link_in_its_place_is_replaced_and_not_followed(world: World, root: Path, tmp_path: Path) -> None:
    """The link is drift; what it points to stays as it is."""
    wanted = file(str(root / "note"))
    await world.run(wanted)
    (tmp_path / "precious").write_text("precious")
    (root / "note").unlink()
    (root / "note").symlink_to(tmp_path / "precious")
    seen = await world.look(wanted.ref)
    assert seen is not None
    assert seen.body["spec"] == {"path": str(root / "note"), "type": "link"}
    await world.run(wanted)
    assert not (root / "note").is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_file_of_nobody_is_taken_over_only_when_declared(world: World, root: Path) -> None:
    """It is observed without an owner, not written, and kept when it is adopted."""
    (root / "note").write_text("mine")
    wanted = file(str(root / "note"))
    await world.target.preview([wanted])
    seen = await world.look(wanted.ref)
    assert seen is not None
    assert seen.owner is None
    outcome = await world.apply(wanted, action=Action.CREATE)
    assert isinstance(outcome, Failed)
    assert (root / "note").read_text() == "mine"
    assert wanted.identity not in await world.target.observe(Scope("host", None))
    assert isinstance(await world.apply(wanted, action=Action.ADOPT), Applied)
    assert (root / "note").read_text() == "hello\n"


async def test_two_objects_cannot_write_one_file(world: World, root: Path) -> None:
    """The second one is told whose it is."""
    await world.run(file(str(root / "note")))
    outcome = await world.apply(file(str(root / "note"), name="other"))
    assert isinstance(outcome, Failed)
    assert "that of File/note" in outcome.message


async def test_a_removed_file_is_gone_with_the_directories_made_for_it(world: World, root: Path) -> None:
    """What somebody changed meanwhile is kept first; other people's files keep their directory."""
    await world.run(file(str(root / "a/b/note")))
    (root / "a/b/note").write_text("edited")
    assert isinstance(await world.remove(file("x").ref), Applied)
    assert not any(root.iterdir())
    kept = world.data / "host/previous/host/~note" / hashlib.sha256(b"edited").hexdigest()
    assert kept.read_text() == "edited"
    await world.run(file(str(root / "c/note")))
    (root / "c/other").touch()
    await world.remove(file("x").ref)
    assert [path.name for path in (root / "c").iterdir()] == ["other"]


async def test_a_moved_file_leaves_its_old_place(world: World, root: Path) -> None:
    """Another path: written there first, removed here then."""
    await world.run(file(str(root / "old/note")))
    await world.run(file(str(root / "new/note")))
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["new", "new/note"]


async def test_a_missing_root_is_told(world: World, root: Path) -> None:
    """Somebody has to make it; it is tried again."""
    root.rmdir()
    outcome = await world.apply(file(str(root / "note")))
    assert isinstance(outcome, Failed)
    assert outcome.transient
    assert outcome.remedy


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Half of it was written beside; nothing of that is left, and the message says what to do."""
    place = Place(str(tmp_path), ("note",))
    put(place, b"old", 0o644, token="t" * 8, previous=tmp_path / "previous")

    def full(fd: int, data: bytes) -> int:
        os.write(fd, data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TransientError) as caught:
        put(place, b"new content", 0o644, token="u" * 8, previous=tmp_path / "previous", write=full)
    assert "No space left on device" in str(caught.value)
    assert "Free space" in str(caught.value)
    assert (tmp_path / "note").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note", "previous"]


def test_a_read_only_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not hold for root, so the kernel's answer is given for it."""

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "_replace", denied)
    with pytest.raises(TransientError) as caught:
        put(Place(str(tmp_path), ("note",)), b"x", 0o644, token="t" * 8, previous=tmp_path / "previous")
    assert "Permission denied" in str(caught.value)
    assert "permission to write there" in str(caught.value)


def test_something_else_in_its_place_is_told(tmp_path: Path) -> None:
    """A directory is not replaced by a file."""
    (tmp_path / "note").mkdir()
    with pytest.raises(UserError):
        put(Place(str(tmp_path), ("note",)), b"x", 0o644, token="t" * 8, previous=tmp_path / "previous")
    assert look(Place(str(tmp_path), ("note",))).type == "other"


def test_a_root_may_be_a_link_itself(tmp_path: Path) -> None:
    """What an administrator allows is followed; what is below it is not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    place = locate(str(tmp_path / "root/note"), [tmp_path / "root"])
    put(place, b"x", 0o644, token="t" * 8, previous=tmp_path / "previous")
    assert (tmp_path / "real/note").read_bytes() == b"x"
    assert locate(str(tmp_path / "real/note"), [tmp_path / "root"]).path == tmp_path / "root/note"
