"""One repository that lives here: where it is, what its refs are, and the one way in which they move.

    data/repositories/NAME.git            bare, written by this process alone
        objects/incoming-…                quarantine of a push that is under way
    data/repositories/.new, .deleted      being imported; taken out of service

Refs are read from the files and kept in memory for as long as nothing there has changed, so an unchanged poll reads a few directory
times. All moves go through `move`: one at a time for a repository, all refs of a call in one transaction of git, durable.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from trimtab.core.model.errors import TransientError, UserError
from trimtab.git import refs
from trimtab.git.command import Git
from trimtab.git.failures import failure
from trimtab.git.objects import Objects
from trimtab.git.refs import Refs
from trimtab.git.text import shown
from trimtab.ports.hosting import HOSTED, RefUpdate

ALL = ("refs/",)
REMEDY = "Look at the disk, run `git fsck` there, and take the repository from a backup if need be"
State = tuple[object, ...]


class Place:
    def __init__(self, name: str, path: Path, git: Git, moved: Callable[[str], None]) -> None:
        """``moved`` hears the name each time that refs have moved."""
        self.name, self.path, self.git = name, path, git
        self.pushes = 0  # under way; housekeeping does not begin meanwhile
        self.upkeep: asyncio.Task[None] | None = None
        self._moved = moved
        self._moving = asyncio.Lock()
        self._moves = 0
        self._refs: tuple[State, Refs] | None = None
        self._objects: Objects | None = None

    @property
    def title(self) -> str:
        return f"{HOSTED}{self.name}"

    @property
    def objects(self) -> Objects:
        if self._objects is None:
            self._objects = Objects(self.path, self.title, remedy=REMEDY)
        return self._objects

    def wake(self) -> None:
        """Whoever watches has a look: housekeeping waits for the end of a push."""
        self._moved(self.name)

    async def interrupt(self) -> None:
        """End the housekeeping that is at work; it comes back by itself."""
        if self.upkeep is not None:
            self.upkeep.cancel()
            await asyncio.wait([self.upkeep])

    def refresh(self) -> None:
        """Packs have come or gone."""
        if self._objects is not None:
            self._objects.reopen()

    @property
    def state(self) -> State:
        """Equal as long as no ref has moved, by us or by somebody who works in the directory."""
        return (self._moves, *_times(self.path))

    @property
    def refs(self) -> Refs:
        """All refs. Raises TransientError when they cannot be read."""
        state = self.state
        if self._refs is None or self._refs[0] != state:
            found = refs.read(self.path, ALL)
            if found is None:
                raise TransientError(f"{self.title}: its refs cannot be read", remedy=REMEDY)
            self._refs = (state, found)
        return self._refs[1]

    async def move(self, updates: Sequence[RefUpdate], before: Callable[[], None] | None = None) -> bool:
        """All of them or none; False when one is not at its ``old``. ``before`` is done when it is clear that they are, and only then.

        Raises UserError for names that exclude each other, TransientError when the disk does not take it. Nothing has moved then.
        """
        async with self._moving:
            ids = self.refs.ids
            if any(ids.get(update.ref, "") != update.old for update in updates):
                return False
            _exclusive(self.title, ids, updates)
            if before is not None:
                before()
            # Not to be cancelled half way: the caller must know whether they have moved.
            await asyncio.shield(asyncio.ensure_future(self._write(updates)))
            return True

    async def _write(self, updates: Sequence[RefUpdate]) -> None:
        doing = (
            f"move {len(updates)} refs of {self.title}" if len(updates) != 1 else f"move {shown(updates[0].ref)} of {self.title}"
        )
        try:
            result = await self.git.local(self.path, "update-ref", "--stdin", "-z", "--no-deref", stdin=_transaction(updates))
        finally:
            self._moves += 1
        if result.code:
            raise failure(doing, result, known=True)
        self._moved(self.name)


def _transaction(updates: Sequence[RefUpdate]) -> bytes:
    lines = [b"start\0"]
    for update in updates:
        ref = update.ref.encode("utf-8", "surrogateescape")
        old = (update.old or "0" * 40).encode()
        if update.new:
            lines.append(b"update %s\0%s\0%s\0" % (ref, update.new.encode(), old))
        else:
            lines.append(b"delete %s\0%s\0" % (ref, old))
    return b"".join([*lines, b"commit\0"])


def _exclusive(title: str, ids: Mapping[str, str], updates: Sequence[RefUpdate]) -> None:
    """Git keeps refs as files: ``a`` and ``a/b`` cannot both be there. Raises UserError."""
    if len({update.ref for update in updates}) != len(updates):
        raise UserError(f"move refs of {title}: one of them twice", remedy="Name each once")
    gone = {update.ref for update in updates if not update.new}
    fresh = {update.ref for update in updates if update.new and not update.old}
    there = (ids.keys() | fresh) - gone
    for ref in sorted(fresh):
        above = {ref[:at] for at, letter in enumerate(ref) if letter == "/"}
        if above & there or any(name.startswith(f"{ref}/") for name in there):
            raise UserError(f"make {shown(ref)} in {title}: another ref has a part of this name", remedy="Choose another name")


def _times(path: Path) -> Iterator[tuple[str, int, int]]:
    """The directories below refs/ and the files beside it. Git replaces files by renaming, which shows in the directory's time."""
    for name in ("HEAD", "packed-refs"):
        try:
            stat = (path / name).stat()
        except OSError:
            continue
        yield name, stat.st_mtime_ns, stat.st_ino
    pending = [str(path / "refs")]
    while pending:
        directory = pending.pop()
        try:
            stat = os.stat(directory)  # noqa: PTH116 - the hot path of every poll
            pending += [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        yield directory, stat.st_mtime_ns, stat.st_ino
