"""Objects of a push, apart from the repository until they are known to be sound: received, checked, taken over or thrown away.

A stream of bytes goes in; a directory of objects comes out that only this push can see, or a Rejected with a line for its sender. git's
own `index-pack` unpacks, with its strictest checks, and writes one pack, which is on the disk when it ends. Taking over is two or
three renames, the index last, so that no reader ever sees half of it; a crash leaves a directory that `sweep` removes.

What keeps a small pack from becoming a big trouble: its bytes are counted (`--max-input-size`); no single allocation may pass a bound
(`GIT_ALLOC_LIMIT`, which catches what a header promises before a byte is unpacked); larger files are streamed, and measured after; and the
processor's time is limited by the kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trimtab.core.model.errors import TransientError
from trimtab.git.text import last_words
from trimtab.plumbing.streaming import Streamed

from .history import quarantined
from .limits import MIB, Limits
from .places import Place

PREFIX = "incoming-"
COMPRESSION_MAX = 1000
"""zlib makes things smaller by this at most; a pack that is smaller than an object's bound by so much need not be measured."""


class Rejected(Exception):  # noqa: N818
    """``line`` is for the person who pushed."""

    def __init__(self, line: str) -> None:
        self.line = line
        super().__init__(line)


@dataclass
class Quarantine:
    """``path`` is an object directory. ``bytes`` is what came."""

    place: Place
    limits: Limits
    path: Path
    bytes: int = 0

    def indexer(self) -> Streamed:
        """The program that the pack is written to; ask `received` for what it says at the end."""
        arguments = ("index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={self.limits.pack_bytes}")
        return self._program(*arguments)

    async def received(self, indexer: Streamed) -> None:
        """After the last byte. Raises Rejected, or TransientError when it is our disk and not their pack."""
        code = await indexer.wait(self.limits.check_seconds)
        if code:
            raise _verdict(code, indexer.stderr, self.limits)
        if self.bytes * COMPRESSION_MAX > self.limits.object_bytes:
            await self._measured()

    async def connected(self, ids: list[str]) -> None:
        """Every object that the ids lead to is here or in the repository. Raises Rejected."""
        arguments = ("rev-list", "--objects", "--quiet", "--stdin", "--not", "--all")
        async with self._program(*arguments) as program:
            await program.write("".join(f"{each}\n" for each in ids).encode())
            await program.end_input()
            if await program.wait(self.limits.check_seconds):
                words = last_words(program.stderr)
                raise Rejected(f"objects are missing ({words}); push from a clone with the whole history: git fetch --unshallow")

    def take_over(self) -> None:
        """Into the repository. Raises TransientError when the disk does not take it; then some objects may be there that nobody names."""
        target = self.place.path / "objects" / "pack"
        try:
            target.mkdir(exist_ok=True)
            packed = sorted((self.path / "pack").glob("pack-*"), key=lambda file: (file.suffix == ".idx", file.name))
            for file in packed:
                file.rename(target / file.name)
            _sync(target)
        except OSError as error:
            raise TransientError(f"{self.place.title}: {error.strerror or error}", remedy="Look at the server's disk") from error

    async def _measured(self) -> None:
        """No object is larger than it may be."""
        arguments = ("cat-file", "--batch-all-objects", "--unordered", "--buffer", "--batch-check=%(objectsize) %(objectname)")
        async with self._program(*arguments, alone=True) as program:
            await program.end_input()
            rest = b""
            while chunk := await program.read(MIB, self.limits.check_seconds):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    size, _, name = line.partition(b" ")
                    if int(size) > self.limits.object_bytes:
                        raise Rejected(
                            f"object {name.decode()} has {int(size)} bytes, more than the {self.limits.object_bytes} allowed"
                        )
            if await program.wait(self.limits.check_seconds):
                raise TransientError(f"{self.place.title}: {last_words(program.stderr)}")

    def _program(self, *arguments: str, alone: bool = False) -> Streamed:
        git = self.place.git
        options = (("core.bigFileThreshold", str(self.limits.stream_bytes)), ("pack.threads", "2"), ("core.fsync", "all"))
        environment = {**git.environment(*options), **quarantined(self.place.path, self.path)}
        environment["GIT_ALLOC_LIMIT"] = str(self.limits.memory_bytes)
        if alone:
            del environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"]
        limits = {resource.RLIMIT_CPU: self.limits.cpu_seconds}
        return Streamed([git.settings.program, "-C", str(self.place.path), *arguments], environment=environment, limits=limits)


@asynccontextmanager
async def quarantine(place: Place, limits: Limits) -> AsyncIterator[Quarantine]:
    """A directory of its own below the repository's objects, gone at the end. Raises TransientError when there is no room for it."""
    path = place.path / "objects" / f"{PREFIX}{secrets.token_hex(8)}"
    try:
        (path / "pack").mkdir(parents=True)
    except OSError as error:
        raise TransientError(f"{place.title}: {error.strerror or error}", remedy="Look at the server's disk") from error
    try:
        yield Quarantine(place, limits, path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(repository: Path) -> None:
    """Remove what pushes have left that did not come to their end; none may be under way."""
    for left in (repository / "objects").glob(f"{PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    for lock in [*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock")]:
        with contextlib.suppress(OSError):
            lock.unlink()
    sweep_packs(repository)


def sweep_packs(repository: Path) -> None:
    """Remove what git has left that was killed while it packed; none may be at work."""
    packs = repository / "objects" / "pack"
    for left in [*packs.glob("tmp_*"), *packs.glob(".tmp-*")]:
        with contextlib.suppress(OSError):
            left.unlink()


_FSCK = re.compile(rb"(?:error in|object) ([0-9a-f]{40})?[^\n]*?: ([A-Za-z]+): ([^\r\n]{1,160})")
_DISK = re.compile(
    rb"No space left|Read-only file system|Disk quota|unable to (?:create|write)|cannot (?:create|write)|write error", re.I
)


def _verdict(code: int, stderr: bytes, limits: Limits) -> Exception:
    """What a failed index-pack means, in a line."""
    if _DISK.search(stderr):
        return TransientError(f"the server cannot store it: {last_words(_DISK.search(stderr)[0])}", remedy="Tell whoever runs it")  # type: ignore[index]
    if b"exceeds maximum allowed size" in stderr:
        return Rejected(f"the push is larger than the {limits.pack_bytes // MIB} MiB allowed; push fewer commits at a time")
    if b"attempting to allocate" in stderr or b"Out of memory" in stderr or b"out of memory" in stderr:
        return Rejected("an object in it, or their number, is larger than allowed")
    if code in (-24, -9):
        return Rejected(f"checking it took more than the {limits.cpu_seconds} s allowed")
    if found := _FSCK.search(stderr):
        return Rejected(f"object {(found[1] or b'?').decode()[:12]} is refused: {last_words(found[3])} ({found[2].decode()})")
    return Rejected(f"the pack is damaged or incomplete: {last_words(stderr)}")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
