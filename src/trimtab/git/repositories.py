"""`GitRepositories`: the ports Repositories and Contents over mirrors below one directory. Each method finds its mirror and delegates."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from pathlib import Path

from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys
from trimtab.ports.git import Head, Tree
from trimtab.ports.hosting import HOSTED

from . import contents, differences, proposals, remote, revisions, watching
from .command import Git, GitSettings
from .hosting.names import wrong_name
from .keeping import Kept
from .maintenance import Maintenance
from .mirrors import Mirror
from .notes import Notes
from .objects import Objects
from .signatures import Signatures
from .text import shown
from .tree import GitTree


class GitRepositories:
    """``root`` is a directory of our own (``DATA/git``); nobody else writes there. Use it from one event loop, and `close` it.

    >>> async def example() -> Revision:
    ...     repositories = GitRepositories(Path("data/git"), fetch_timeout_seconds=30)
    ...     await repositories.fetch("https://example.org/shop.git")
    ...     return (await repositories.resolve("https://example.org/shop.git", "^1.2")).revision
    """

    def __init__(
        self,
        root: Path,
        settings: GitSettings | None = None,
        *,
        fetch_timeout_seconds: float | None = None,
        hosted: Path | None = None,
    ) -> None:
        """``hosted`` is where the repositories are that live here: ``hosted:NAME`` is read from there."""
        settings = settings or GitSettings()
        if fetch_timeout_seconds is not None:
            settings = GitSettings(**{**vars(settings), "fetch_timeout_seconds": fetch_timeout_seconds})
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._git = Git(root, settings)
        self._directory = root / "mirrors"
        self._directory.mkdir(exist_ok=True, mode=0o700)
        self._mirrors: dict[str, Mirror] = {}
        self._kept: dict[Mirror, Kept] = {}
        self._notes: dict[Mirror, Notes] = {}
        self._maintenance = Maintenance(self._git)
        self._signatures = Signatures(root / "keys", self._git)
        self._hosted = hosted
        self._parse = lru_cache(maxsize=4096)(self._remote)

    async def fetch(self, repository: str) -> bool:
        mirror = self._mirror(repository)
        moved = await mirror.fetch()
        if moved:
            self._maintenance.moved(mirror)
        return moved

    async def resolve(self, repository: str, revision: str) -> Head:
        mirror = self._mirror(repository)
        head = revisions.resolve(mirror, revision)
        self._kept[mirror].keep(head.revision)
        return head

    def tree(self, repository: str, revision: Revision) -> Tree:
        objects = self._mirror(repository).objects
        return GitTree(repository, revision, objects.commit(revision).tree, objects)

    async def changed_paths(
        self, repository: str, old: Revision, new: Revision, *, paths_max: int = 10_000
    ) -> frozenset[str] | None:
        objects = self._mirror(repository).objects
        after = objects.commit(new).tree
        if objects.kind(old) != "commit":
            return None
        return differences.changed_paths(objects, objects.commit(old).tree, after, paths_max=paths_max)

    async def contains(self, repository: str, ancestor: Revision, descendant: Revision) -> bool:
        mirror = self._mirror(repository)
        if any(mirror.objects.kind(commit) != "commit" for commit in (ancestor, descendant)):
            return False
        if ancestor == descendant:
            return True
        result = await self._git.local(mirror.path, "merge-base", "--is-ancestor", ancestor, descendant)
        return result.code == 0

    async def signature(self, repository: str, revision: Revision, keys: SigningKeys) -> Signature:
        mirror = self._mirror(repository)
        mirror.objects.commit(revision)
        return await self._signatures.check(mirror.path, revision, keys)

    async def expand(self, repository: str, abbreviation: str) -> Revision:
        return await revisions.expand(self._mirror(repository), abbreviation)

    async def note(self, repository: str, revision: Revision, lines: tuple[str, ...]) -> None:
        await self._notes[self._mirror(repository)].add(revision, lines)

    async def propose(
        self, repository: str, branch: str, message: str, author: str, edits: Mapping[str, str | None], *, to: str = ""
    ) -> Revision:
        return await proposals.propose(self._mirror(repository), proposals.Proposal(branch, message, author, edits, to))

    async def watch(self, repository: str) -> AsyncIterator[None]:
        async for _ in watching.watch(self._parse(repository)):
            yield

    async def materialise(self, repository: str, object_id: str, destination: Path) -> None:
        mirror = self._mirror(repository)
        mirror.objects.kind(object_id)  # raises before a thread is started where there is no mirror
        stop = threading.Event()
        try:
            # In a thread, with a handle of its own: a big tree must not hold up the loop.
            own = Objects(mirror.path, mirror.remote.name)
            await asyncio.to_thread(contents.materialise, own, object_id, destination, stop=stop)
        finally:
            stop.set()

    async def close(self) -> None:
        """End what runs in the background."""
        await self._maintenance.close()

    def _remote(self, repository: str) -> remote.Remote:
        if not repository.startswith(HOSTED):
            return remote.parse(repository)
        name = repository.removeprefix(HOSTED)
        if self._hosted is None or wrong_name(name):
            raise UserError(
                f"repository {shown(repository)}: no repository of this name can live here", remedy="Correct the name"
            )
        path = self._hosted / f"{name}.git"
        return dataclasses.replace(remote.parse(str(path)), name=repository)

    def _mirror(self, repository: str) -> Mirror:
        parsed = self._parse(repository)
        mirror = self._mirrors.get(parsed.slug)
        if mirror is None:
            mirror = self._mirrors[parsed.slug] = Mirror(self._directory, parsed, self._git)
            self._kept[mirror] = Kept(mirror)
            self._notes[mirror] = Notes(mirror)
        return mirror
