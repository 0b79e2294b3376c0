"""What somebody with a token and bad intentions may send, and what an unlucky machine does: each gets a clear line, and changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.model.errors import NotFound, TransientError, UserError
from trimtab.git.command import GitSettings
from trimtab.git.hosting import GitHosting, Limits
from trimtab.git.hosting.names import not_pushed, wrong_name, wrong_ref
from trimtab.git.hosting.packets import FLUSH, packet
from trimtab.git.hosting.slots import Slots
from trimtab.ports.hosting import RefUpdate

from .conftest import Serve, Served, Work
from .test_server import ask

ZERO = "0" * 40
CAPABILITIES = "report-status-v2 side-band-64k push-options"


def a_push(*updates: tuple[str, str, str], pack: bytes = b"", options: tuple[str, ...] = ()) -> bytes:
    """The body of a push, as bytes."""
    rows = [f"{old} {new} {ref}" for old, new, ref in updates]
    rows[0] += f"\0{CAPABILITIES}"
    head = b"".join(packet(row.encode("utf-8", "surrogateescape")) for row in rows) + FLUSH
    return head + b"".join(packet(option.encode()) for option in options) + FLUSH + pack


def a_pack(*objects: tuple[int, bytes], claim: int | None = None, sizes: int | None = None) -> bytes:
    """A pack of whole objects (1 commit, 2 tree, 3 blob), which may claim another number of them, or other sizes."""
    body = b"PACK" + struct.pack(">II", 2, len(objects) if claim is None else claim)
    for kind, data in objects:
        size = len(data) if sizes is None else sizes
        byte, size = (kind << 4) | (size & 15), size >> 4
        while size:
            body += bytes([byte | 0x80])
            byte, size = size & 0x7F, size >> 7
        body += bytes([byte]) + zlib.compress(data, 9)
    return body + hashlib.sha1(body).digest()


def object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def a_commit(tree: bytes) -> bytes:
    who = b"Eve <eve@example.org> 1700000000 +0000"
    return b"tree %s\nauthor %s\ncommitter %s\n\nhello\n" % (object_id("tree", tree).encode(), who, who)


def tree_with(*rows: tuple[bytes, bytes, bytes]) -> bytes:
    """Rows of mode, name and content of the blob there."""
    ids = [bytes.fromhex(object_id("blob", content)) for _, _, content in rows]
    return b"".join(mode + b" " + name + b"\0" + id_ for (mode, name, _), id_ in zip(rows, ids, strict=True))


async def send(served: Served, body: bytes, name: str = "shop") -> str:
    """What the server says to a push that git itself would never send."""
    headers = {"Content_Type": "application/x-git-receive-pack-request"}
    status, answer = await ask(served, "POST", f"/git/{name}.git/git-receive-pack", body, **headers)
    return f"{status} {answer.decode(errors='replace')}"


async def unchanged(served: Served, work: Work) -> None:
    """The repository is as it was, and sound, and takes the next push."""
    assert await served.hosting.refs("shop") == {"refs/heads/main": await work.head()}
    assert served.left_over == []
    await Work(served.hosting.path("shop")).git("fsck", "--strict")
    await work.commit("afterwards", a="afterwards\n")
    await work.git("push", "--quiet", "origin", "HEAD:main")


# --- names ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/git/../../etc/passwd",
        "/git/..%2f..%2fetc.git/info/refs?service=git-upload-pack",
        "/git/%2e%2e/shop.git/info/refs?service=git-upload-pack",
        "/git/.new/fresh.git/info/refs?service=git-upload-pack",
        "/git/.deleted/shop.1.git/info/refs?service=git-upload-pack",
        "/git//etc/shop.git/info/refs?service=git-upload-pack",
        "/git/shop.git/objects/../../../etc/passwd",
        "/git/shop.git/HEAD",
        "/git/shop.git/config",
        "/git/--upload-pack=touch.git/info/refs?service=git-upload-pack",
        "/git/shop%00.git/info/refs?service=git-upload-pack",
        "/git/shop.git/info/refs?service=git-shell",
    ],
)
async def test_no_path_leads_out_of_the_repositories(served: Served, work: Work, path: str):
    status, answer = await ask(served, "GET", path)
    assert status in (403, 404)
    assert b"root:" not in answer


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", ".", "a", "-x", "a.git", "", "~", "b.lock", "é", "\0"]), max_size=5).map("/".join)
)
def test_a_repository_name_that_is_allowed_stays_below_its_directory(name: str):
    """Law: whatever passes is a relative path of plain parts, and none of them can be an option or one of ours."""
    if wrong_name(name):
        return
    place = Path(os.path.normpath(f"/data/repositories/{name}.git"))
    assert str(place) == f"/data/repositories/{name}.git"
    assert all(part[0].isalnum() and part.isascii() for part in name.split("/"))


@given(st.text(max_size=60).map("refs/heads/".__add__) | st.text(max_size=30))
def test_a_ref_name_that_is_allowed_is_one_for_git_too(ref: str):
    """Law: nothing that passes has a character of a shell, a terminal or an option in it, and git's own rules hold."""
    if wrong_ref(ref):
        return
    assert ref.startswith("refs/")
    assert all(ord(letter) > 32 and letter not in "~^:?*[\\\x7f\"'`$;&|<>(){}" for letter in ref)
    assert ".." not in ref
    assert "@{" not in ref
    assert not any(part.startswith(("-", ".")) or part.endswith((".lock", ".")) for part in ref.split("/"))


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("refs/heads/--upload-pack=x", "dash"),
        ("refs/heads/-f", "dash"),
        ("refs/heads/../../config", "dots"),
        ("refs/heads/a..b", "dots"),
        ("refs/heads/main.lock", "lock"),
        ("refs/heads/a b", "character"),
        ("refs/heads/\x1b[2J", "character"),
        ("refs/heads/$(reboot)", "character"),
        ("refs/heads/\u202egnp", "character"),
        ("refs/heads/" + "a" * 300, "longer"),
        ("refs/heads//a", "empty"),
        ("HEAD", "begins with"),
        ("refs/heads/HEAD", "HEAD"),
        ("refs/changes/1/1", "kept by the server"),
        ("refs/trimtab/keep/1", "kept by the server"),
        ("refs/notes/trimtab", "kept by the server"),
        ("refs/remotes/origin/main", "push to"),
        ("refs/replace/" + "1" * 40, "push to"),
    ],
)
async def test_refs_that_nobody_may_push_to(served: Served, work: Work, ref: str, words: str):
    head = await work.head()
    assert words in not_pushed(ref)
    assert words in await send(served, a_push((ZERO, head, ref), pack=a_pack()))
    await unchanged(served, work)


async def test_what_the_system_keeps_is_neither_moved_nor_deleted_by_a_client(served: Served, work: Work):
    """Its refs are read by all who may read, except those that are hidden."""
    head = await work.head()
    kept = [RefUpdate("refs/changes/1/1", "", head), RefUpdate("refs/trimtab/secret", "", head)]
    assert await served.hosting.update_refs("shop", kept)
    listed = await work.git("ls-remote", "origin")
    assert "refs/changes/1/1" in listed
    assert "refs/trimtab" not in listed
    for spec in (":refs/changes/1/1", "+HEAD~0:refs/changes/1/1"):
        assert (await work.run("push", "origin", spec)).code
    assert "kept by the server" in await send(served, a_push((head, ZERO, "refs/changes/1/1")))
    assert (await served.hosting.refs("shop"))["refs/changes/1/1"] == head


# --- objects ----------------------------------------------------------------------------------------------------------------------

HOSTILE_TREES = {
    "dot git": (tree_with((b"100644", b".git", b"x")), "hasDotgit"),
    "dot git in capitals": (tree_with((b"100644", b".GiT", b"x")), "hasDotgit"),
    "short name of NTFS": (tree_with((b"100644", b"git~1", b"x")), "hasDotgit"),
    "ignored by HFS": (tree_with((b"100644", b".g\xe2\x80\x8cit", b"x")), "hasDotgit"),
    "stream of NTFS": (tree_with((b"100644", b".git::$INDEX_ALLOCATION", b"x")), "hasDotgit"),
    "dot dot": (tree_with((b"100644", b"..", b"x")), "hasDotdot"),
    "dot": (tree_with((b"100644", b".", b"x")), "hasDot"),
    "slash": (tree_with((b"100644", b"a/b", b"x")), "fullPathname"),
    "zero-padded mode": (tree_with((b"0100644", b"a", b"x")), "zeroPaddedFilemode"),
    "twice": (tree_with((b"100644", b"a", b"x"), (b"100644", b"a", b"x")), "duplicateEntries"),
    "linked .gitmodules": (tree_with((b"120000", b".gitmodules", b"x")), "gitmodulesSymlink"),
}


@pytest.mark.parametrize("hostile", HOSTILE_TREES)
async def test_trees_that_would_hurt_a_checkout_are_refused(served: Served, work: Work, hostile: str):
    tree, words = HOSTILE_TREES[hostile]
    commit = a_commit(tree)
    pack = a_pack((1, commit), (2, tree), (3, b"x"))
    said = await send(served, a_push((ZERO, object_id("commit", commit), "refs/heads/evil"), pack=pack))
    assert "Nothing was taken" in said
    assert words in said
    await unchanged(served, work)


@pytest.mark.parametrize(
    "content",
    [
        b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch\n',
        b'[submodule "x"]\n\tpath = -x\n\turl = ssh://a/b\n',
        b'[submodule "../../x"]\n\tpath = x\n\turl = ssh://a/b\n',
        b'[submodule "x"]\n\tpath = x\n\turl = ssh://a/b\n\tupdate = !touch x\n',
    ],
)
async def test_hostile_gitmodules_are_refused(served: Served, work: Work, content: bytes):
    tree = tree_with((b"100644", b".gitmodules", content))
    commit = a_commit(tree)
    pack = a_pack((1, commit), (2, tree), (3, content))
    said = await send(served, a_push((ZERO, object_id("commit", commit), "refs/heads/evil"), pack=pack))
    assert "gitmodules" in said
    assert "Nothing was taken" in said
    await unchanged(served, work)


async def test_a_small_pack_that_unpacks_to_something_huge(serve: Serve):
    """At the size that its header promises, before a byte is unpacked; or, for a file that is streamed, by its size after."""
    served = await serve(Limits(object_bytes=4 << 20, memory_bytes=16 << 20, stream_bytes=1 << 20))
    work = await with_main(served)
    huge = bytes(64 << 20)
    for kind, name in ((2, "tree"), (3, "blob")):
        pack = a_pack((kind, huge))
        assert len(pack) < 100_000
        said = await send(served, a_push((ZERO, object_id(name, huge), "refs/tags/bomb"), pack=pack))
        assert "Nothing was taken" in said
        assert "larger than allowed" in said or "more than the 4194304 allowed" in said
    await unchanged(served, work)


async def test_a_pack_that_promises_more_than_it_has(served: Served, work: Work):
    """Four thousand million objects, an object of a terabyte, a pack cut short, and noise."""
    tree = tree_with((b"100644", b"a", b"x"))
    commit = a_commit(tree)
    whole = a_pack((1, commit), (2, tree), (3, b"x"))
    update = (ZERO, object_id("commit", commit), "refs/heads/evil")
    for pack in (
        a_pack((1, commit), claim=0xFFFFFFFF),
        a_pack((1, commit), sizes=1 << 40),
        whole[:-30],
        whole[:40],
        b"",
        os.urandom(5000),
        a_pack((1, commit)),
    ):
        assert "Nothing was taken" in await send(served, a_push(update, pack=pack))
    await unchanged(served, work)


async def test_a_chain_of_ten_thousand_differences(serve: Serve):
    """Each a little more than the one before it: it is unpacked within bounds, or refused; the server stays well."""
    served = await serve(Limits(cpu_seconds=20))
    work = await with_main(served)
    body, content, count = b"", b"x" * 1000, 10_000
    body += bytes([0xB0 | (len(content) & 15), len(content) >> 4]) + zlib.compress(content)
    distance = len(body)
    for number in range(count):
        grown = content + b"%d" % number
        delta = _varint(len(content)) + _varint(len(grown)) + _copy(len(content)) + bytes([len(b"%d" % number)]) + b"%d" % number
        entry = bytes([0xE0 | (len(delta) & 15)]) if len(delta) < 16 else bytes([0xE0 | (len(delta) & 15), len(delta) >> 4])
        entry += _offset(distance) + zlib.compress(delta)
        body, content, distance = body + entry, grown, len(entry)
    head = b"PACK" + struct.pack(">II", 2, count + 1)
    pack = head + body + hashlib.sha1(head + body).digest()
    said = await send(served, a_push((ZERO, object_id("blob", content), "refs/tags/deep"), pack=pack))
    assert "ok refs/tags/deep" in said or "Nothing was taken" in said
    if "ok refs/tags/deep" in said:
        deep = object_id("blob", content)
        assert await served.hosting.update_refs("shop", [RefUpdate("refs/tags/deep", deep, "")])
    await unchanged(served, work)


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _copy(size: int) -> bytes:
    return bytes([0x80 | 0x10 | 0x20 | 0x40, size & 0xFF, size >> 8 & 0xFF, size >> 16])


def _offset(distance: int) -> bytes:
    out = bytes([distance & 0x7F])
    while distance := distance >> 7:
        distance -= 1
        out = bytes([0x80 | distance & 0x7F]) + out
    return out


async def test_a_push_that_is_larger_than_allowed_says_so(serve: Serve):
    """Git reads the line, although it was still sending."""
    served = await serve(Limits(pack_bytes=200_000))
    work = await with_main(served)
    (work.path / "big").write_bytes(os.urandom(300_000))
    await work.git("add", "big")
    await work.git("commit", "--quiet", "-m", "big")
    done = await work.run("-c", "http.postBuffer=65536", "push", "origin", "HEAD:main")
    assert "the push is larger than" in done.err
    await work.git("reset", "--quiet", "--hard", "HEAD~1")
    await unchanged(served, work)


async def test_objects_that_were_left_out(served: Served, work: Work):
    """A commit whose files are nowhere is refused; so is a ref to what was not sent at all."""
    tree = tree_with((b"100644", b"a", b"not sent"))
    commit = a_commit(tree)
    pack = a_pack((1, commit), (2, tree))
    said = await send(served, a_push((ZERO, object_id("commit", commit), "refs/heads/evil"), pack=pack))
    assert "Nothing was taken" in said
    said = await send(served, a_push((ZERO, "1" * 40, "refs/heads/evil"), pack=a_pack()))
    assert "Nothing was taken" in said
    await unchanged(served, work)


async def test_a_branch_names_a_commit(served: Served, work: Work):
    pack = a_pack((3, b"just a file"))
    said = await send(served, a_push((ZERO, object_id("blob", b"just a file"), "refs/heads/file"), pack=pack))
    assert "a branch names a commit" in said
    await unchanged(served, work)


# --- numbers ----------------------------------------------------------------------------------------------------------------------


async def test_a_push_of_too_many_refs(serve: Serve):
    """In one push, or over time."""
    served = await serve(Limits(updates=20, refs=5))
    work = await with_main(served)
    head = await work.head()
    many = [(ZERO, head, f"refs/heads/b{number}") for number in range(21)]
    assert "400" in await send(served, a_push(*many, pack=a_pack()))
    assert "its 5 refs already" in await send(served, a_push(*many[:20], pack=a_pack()))
    assert len(await served.hosting.refs("shop")) == 5
    done = await work.run("push", "--quiet", "origin", "HEAD:one-more")
    assert "its 5 refs already" in done.err


async def test_push_options_are_lines_and_few(served: Served, work: Work):
    """Line breaks and escapes in them reach nobody's terminal or record."""
    head = await work.head()
    hostile = ("title=one\ntwo\r\nthree", "x=\x1b[2J\x1b]0;owned\x07", "y=\u202eevil", "-o", "z" * 900)
    await send(served, a_push((ZERO, head, "refs/heads/side"), pack=a_pack(), options=hostile))
    seen = served.engine.pushes[-1].options
    assert seen[:4] == ("title=one two three", "x=", "y=evil", "-o")
    assert not any(ord(letter) < 32 for option in seen for letter in option)
    too_many = tuple(f"o{number}" for number in range(65))
    assert "400" in await send(served, a_push((ZERO, head, "refs/heads/other"), pack=a_pack(), options=too_many))
    assert "refs/heads/other" not in await served.hosting.refs("shop")


@pytest.mark.parametrize(
    "body",
    [
        b"zzzz",
        b"0003",
        b"fff1" + b"x" * 65521,
        b"0010not an update",
        b"0006\x00\x00",
        packet(b"0" * 40),
        b"00000000",
        b"\xff" * 4,
    ],
)
async def test_what_is_not_the_protocol(served: Served, work: Work, body: bytes):
    said = await send(served, body)
    assert said[:3] in ("400", "200")
    await unchanged(served, work)


async def test_a_request_that_unpacks_to_something_huge(serve: Serve):
    """gzip, a megabyte of which becomes a gigabyte."""
    import gzip

    served = await serve(Limits(request_bytes=1 << 20))
    await with_main(served)
    headers = {"Content_Type": "application/x-git-upload-pack-request", "Content_Encoding": "gzip"}
    bomb = gzip.compress(bytes(200 << 20))
    status, _ = await ask(served, "POST", "/git/shop.git/git-upload-pack", bomb, **headers)
    assert status in (413, 503)
    status, _ = await ask(served, "POST", "/git/shop.git/git-upload-pack", b"no gzip", **headers)
    assert status == 400


# --- time and place ---------------------------------------------------------------------------------------------------------------


async def test_a_client_that_sends_nothing_more_is_let_go(serve: Serve):
    """So is one that sends a byte now and then; the others are served meanwhile."""
    served = await serve(Limits(idle_seconds=0.5, rate_bytes=100_000))
    work = await with_main(served)
    head = await work.head()
    part = a_push((head, "1" * 40, "refs/heads/main"), pack=b"PACK")
    host, port = served.address.split(":")
    lines = [
        "POST /git/shop.git/git-receive-pack HTTP/1.1",
        f"Host: {served.address}",
        "Authorization: Basic YW5uOmFubg==",
        "Content-Type: application/x-git-receive-pack-request",
        "Content-Length: 1000000",
        "",
        "",
    ]
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join(lines).encode() + part)
    other, trickle = await asyncio.open_connection(host, int(port))
    trickle.write("\r\n".join(lines).encode() + part)

    async def dribble() -> None:
        while True:
            trickle.write(b"x")
            await asyncio.sleep(0.1)

    dribbling = asyncio.ensure_future(dribble())
    async with asyncio.timeout(15):
        assert b" 408 " in await reader.readline()
        assert b" 408 " in await other.readline()
    dribbling.cancel()
    for each in (writer, trickle):
        each.close()
    await asyncio.sleep(0.1)
    await unchanged(served, work)


async def test_one_user_does_not_take_every_place():
    """Three of one wait behind their own two; another comes in at once; what is left is nothing."""
    slots = Slots(3, each=2)
    inside: list[str] = []
    over = asyncio.Event()

    async def visit(user: str) -> None:
        async with slots.of(user):
            inside.append(user)
            await over.wait()

    visits = [asyncio.ensure_future(visit(user)) for user in ("eve", "eve", "eve", "ann")]
    await asyncio.sleep(0.01)
    assert inside == ["eve", "eve", "ann"]
    over.set()
    await asyncio.gather(*visits)
    assert inside == ["eve", "eve", "ann", "eve"]
    assert slots._own == {}


async def test_a_push_whose_sender_dies_leaves_nothing(served: Served, work: Work):
    """At any byte of it."""
    tree = tree_with((b"100644", b"a", b"x"))
    commit = a_commit(tree)
    body = a_push(
        (ZERO, object_id("commit", commit), "refs/heads/evil"), pack=a_pack((1, commit), (2, tree), (3, os.urandom(100_000)))
    )
    host, port = served.address.split(":")
    head = (
        f"POST /git/shop.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YW5uOmFubg==\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for cut in (10, 100, 300, 5000, len(body) - 1):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body[:cut])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()
    async with asyncio.timeout(10):
        while served.left_over or served.hosting.place("shop").pushes:
            await asyncio.sleep(0.05)
    await unchanged(served, work)


async def test_a_server_that_was_killed_half_way_sweeps_when_it_starts(served: Served, work: Work):
    """Quarantines and lock files of a push that never ended."""
    path = served.hosting.path("shop")
    (path / "objects" / "incoming-1234" / "pack").mkdir(parents=True)
    (path / "objects" / "incoming-1234" / "pack" / "tmp_pack_x").write_bytes(b"x")
    (path / "packed-refs.lock").write_bytes(b"")
    (path / "refs" / "heads" / "main.lock").write_bytes(b"")
    again = GitHosting(served.hosting.root)
    assert await again.update_refs("shop", [RefUpdate("refs/heads/side", "", await work.head())])
    assert served.left_over == []


async def test_a_disk_that_takes_nothing_more(serve: Serve, tmp_path: Path):
    """The pusher reads that it is the server's disk; the repository is as it was, and takes the next small push."""
    program = tmp_path / "git-on-a-small-disk"
    program.write_text("#!/bin/bash\ntrap '' XFSZ; ulimit -f 1000; exec git \"$@\"\n")  # writing fails past a megabyte
    program.chmod(0o755)
    served = await serve(git=GitSettings(program=str(program)))
    work = await with_main(served)
    (work.path / "big").write_bytes(os.urandom(3_000_000))
    await work.git("add", "big")
    await work.git("commit", "--quiet", "-m", "big")
    done = await work.run("push", "origin", "HEAD:main")
    assert done.code == 1
    assert "the server cannot store it" in done.err
    await work.git("reset", "--quiet", "--hard", "HEAD~1")
    assert list((served.hosting.path("shop") / "objects" / "pack").glob("tmp_*")) == []
    await unchanged(served, work)


async def test_a_repository_that_is_read_only(served: Served, work: Work, monkeypatch: pytest.MonkeyPatch):
    """Whatever step the disk refuses, the push is refused with it and no ref has moved."""
    before = await served.hosting.refs("shop")
    await work.commit("second", a="2\n")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        done = await work.run("push", "origin", "HEAD:main")
    assert "Read-only file system" in done.err
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        done = await work.run("push", "origin", "HEAD:main")
    assert done.code
    assert await served.hosting.refs("shop") == before
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises((TransientError, UserError)):
            await served.hosting.create("another")
    with pytest.raises(NotFound):
        await served.hosting.get("another")


async def with_main(served: Served) -> Work:
    await served.hosting.create("shop")
    work = await served.clone("shop")
    await work.commit("first", a="1\n")
    await work.git("push", "--quiet", "origin", "HEAD:main")
    return work
