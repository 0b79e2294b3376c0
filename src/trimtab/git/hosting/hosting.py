"""`GitHosting`: the port Hosting over bare repositories below one directory. Each method finds its Place and delegates.

A repository appears whole or not at all: it is made in `.new` and renamed. One that is deleted is renamed into `.deleted`, where
nobody finds it but the person who may yet want it back.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from trimtab.core.model.errors import NotFound, TransientError, UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.git import remote
from trimtab.git.command import Git, GitSettings
from trimtab.git.failures import failure
from trimtab.git.mirrors import REMOTE_HEAD, REMOTE_NOTES, Mirror
from trimtab.git.objects import Objects
from trimtab.git.signatures import Signatures
from trimtab.git.text import shown
from trimtab.ports.hosting import HOSTED, Combined, Conflicts, HostedRepository, Merged, Person, RefUpdate, Signer, Way

from . import writing
from .history import GitHistory
from .names import PARTS_MAX, wrong_name, wrong_ref
from .places import REMEDY, Place
from .quarantine import sweep
from .signing import NO_SIGNING, Signing

T = TypeVar("T")
NEW, DELETED = ".new", ".deleted"


class GitHosting:
    """``root`` is a directory of our own (``DATA/repositories``); nobody else writes there. Use it from one event loop.

    >>> async def example(hosting: GitHosting) -> str:
    ...     await hosting.create("team/shop")
    ...     return str(hosting.path("team/shop"))
    """

    def __init__(self, root: Path, settings: GitSettings | None = None, *, signing: Signing = NO_SIGNING) -> None:
        """``signing`` is what merges are signed with."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root = root
        self.git = Git(root / ".git-settings", settings or GitSettings())
        self._signing = signing
        self._signatures = Signatures(root / ".git-settings" / "keys", self.git)
        self._places: dict[str, Place] = {}
        self._naming = asyncio.Lock()
        self._watchers: set[asyncio.Queue[str]] = set()
        shutil.rmtree(root / NEW, ignore_errors=True)
        for name in self._names():
            sweep(self._at(name))

    async def create(self, name: str, *, default_branch: str = "main") -> HostedRepository:
        if wrong := wrong_ref(f"refs/heads/{default_branch}"):
            raise UserError(f"create {shown(name)}: no branch may be called {shown(default_branch)}: {wrong}")

        async def make(fresh: Path) -> None:
            fresh.mkdir(parents=True, mode=0o700)
            branch = f"--initial-branch={default_branch}"
            result = await self.git.local(fresh, "init", "--quiet", "--bare", "--template=", branch)
            if result.code:
                raise failure(f"create {name}", result, known=True)

        return await self._make("create", name, make)

    async def import_(self, name: str, source: str) -> HostedRepository:
        here = source.startswith(HOSTED)
        parsed = remote.parse(str(self.path(source.removeprefix(HOSTED))) if here else source)

        async def make(fresh: Path) -> None:
            mirror = Mirror(fresh.parent, parsed, self.git)
            await mirror.fetch()
            mirror.path.rename(fresh)
            await self._as_ours(fresh)

        return await self._make("import", name, make)

    async def delete(self, name: str) -> Path:
        place = self._place(name)
        aside = self.root / DELETED
        flat = name.replace("/", "+")
        with _disk(f"delete {name}"):
            aside.mkdir(exist_ok=True, mode=0o700)
            target = next(path for n in itertools.count(1) if not (path := aside / f"{flat}.{n}.git").exists())
            place.path.rename(target)
        del self._places[name]
        self._moved(name)
        return target

    async def list(self) -> list[HostedRepository]:
        return [await self.get(name) for name in sorted(self._names())]

    async def get(self, name: str) -> HostedRepository:
        place = self._place(name)
        head = place.refs.head or "refs/heads/main"
        size = await asyncio.to_thread(_size, place.path)
        return HostedRepository(name, head.removeprefix("refs/heads/"), place.refs.ids.get(head, ""), size)

    async def set_default_branch(self, name: str, branch: str) -> None:
        place = self._place(name)
        if f"refs/heads/{branch}" not in place.refs.ids:
            raise UserError(f"{name}: there is no branch {shown(branch)} to be the default one", remedy="Push it first")
        result = await self.git.local(place.path, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        if result.code:
            raise failure(f"change the default branch of {name}", result, known=True)
        self._moved(name)

    def path(self, name: str) -> Path:
        return self._place(name).path

    def place(self, name: str) -> Place:
        """For the server beside us. Raises NotFound."""
        return self._place(name)

    def history(self, name: str) -> GitHistory:
        place = self._place(name)
        return GitHistory(place, place.objects)

    async def refs(self, name: str, prefix: str = "refs/") -> Mapping[str, str]:
        ids = self._place(name).refs.ids
        return {ref: ids[ref] for ref in sorted(ids) if ref.startswith(prefix)}

    async def update_refs(self, name: str, updates: Sequence[RefUpdate]) -> bool:
        place = self._place(name)
        for update in updates:
            if wrong := wrong_ref(update.ref):
                raise UserError(f"move {shown(update.ref)} of {name}: {wrong}", remedy="Use another name")
            if update.new and place.objects.kind(update.new) is None:
                raise UserError(f"move {shown(update.ref)} of {name}: {update.new[:12]} is not here", remedy="Push it first")
        return not updates or await place.move(updates)

    async def merge(self, name: str, ours: str, theirs: str) -> Merged | Conflicts:
        history = self.history(name)
        one, other = history.commit(ours).revision, history.commit(theirs).revision
        return await self._write(name, lambda objects: writing.merge(objects, one, other))

    async def combine(
        self,
        name: str,
        way: Way,
        *,
        onto: str,
        change: str,
        message: str,
        committer: Person,
        author: Person | None = None,
        sign: bool = False,
    ) -> Combined | Conflicts:
        history = self.history(name)
        one, other = history.commit(onto).revision, history.commit(change).revision
        wanted = writing.Combination(way, one, other, message, committer, author or committer, self._signing if sign else None)
        return await self._write(name, lambda objects: writing.combine(objects, wanted))

    def signer(self) -> Signer:
        return self._signing.signer

    async def signature(self, name: str, revision: str, keys: SigningKeys) -> Signature:
        return await self._signatures.check(self._place(name).path, self.history(name).commit(revision).revision, keys)

    async def commit(
        self, name: str, *, tree: str, parents: Sequence[str], message: str, author: Person, committer: Person
    ) -> Revision:
        return await self._write(name, lambda objects: writing.commit(objects, tree, parents, message, author, committer))

    async def wakes(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    async def _write(self, name: str, work: Callable[[Objects], T]) -> T:
        """In a thread, with a handle of its own: a big merge must not hold up the loop."""
        place = self._place(name)
        return await asyncio.to_thread(lambda: work(Objects(place.path, place.title, remedy=REMEDY)))

    async def _make(self, act: str, name: str, make: Callable[[Path], object]) -> HostedRepository:
        async with self._naming:
            if wrong := wrong_name(name):
                raise UserError(f"{act} a repository {shown(name)!r}: {wrong}", remedy="Choose another name")
            target = self._at(name)
            if target.exists():
                raise UserError(f"{act} {name}: there is a repository of this name", remedy="Choose another name")
            fresh = self.root / NEW / "fresh.git"
            try:
                with _disk(f"{act} {name}"):
                    shutil.rmtree(fresh.parent, ignore_errors=True)
                    await make(fresh)  # type: ignore[misc]
                    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    fresh.rename(target)
            finally:
                await asyncio.to_thread(shutil.rmtree, fresh.parent, ignore_errors=True)
        self._moved(name)
        return await self.get(name)

    async def _as_ours(self, fresh: Path) -> None:
        """A mirror keeps the other's HEAD and notes apart; here they are our own."""
        place = Place("import", fresh, self.git, lambda _: None)
        ids = place.refs.ids
        notes = [(ref, f"refs/notes/{ref.rpartition('/')[2]}") for ref in ids if ref.startswith(REMOTE_NOTES)]
        updates = [RefUpdate(ref, ids[ref], "") for ref in ids if ref.startswith(("refs/remote/", REMOTE_HEAD))]
        updates += [RefUpdate(ours, "", ids[theirs]) for theirs, ours in notes]
        if updates:
            await place.move(updates)

    def _moved(self, name: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(name)

    def _place(self, name: str) -> Place:
        place = self._places.get(name)
        if place is not None and place.path.exists():
            return place
        if wrong_name(name) or not (self._at(name) / "HEAD").is_file():
            raise NotFound(f"there is no hosted repository {shown(name)!r}", remedy="`trimtab repository list` shows them all")
        place = self._places[name] = Place(name, self._at(name), self.git, self._moved)
        return place

    def _at(self, name: str) -> Path:
        return self.root / f"{name}.git"

    def _names(self) -> Iterator[str]:
        pending = [(self.root, "")]
        while pending:
            directory, prefix = pending.pop()
            for entry in os.scandir(directory):
                name = prefix + entry.name
                if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
                    continue
                if entry.name.endswith(".git"):
                    yield name.removesuffix(".git")
                elif name.count("/") < PARTS_MAX - 1:
                    pending.append((Path(entry.path), f"{name}/"))


class _disk:  # noqa: N801 - reads as a verb: with _disk("create shop")
    """Trouble of the file system, in words."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise TransientError(
                f"{self._doing}: {error.strerror or error}", remedy="Look at the disk and its permissions"
            ) from error


def _size(path: Path) -> int:
    total = 0
    for directory, _, files in os.walk(path / "objects"):
        for name in files:
            try:
                total += os.stat(os.path.join(directory, name)).st_size  # noqa: PTH116, PTH118 - many files
            except OSError:
                continue
    return total
