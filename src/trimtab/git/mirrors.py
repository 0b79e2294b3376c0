"""One bare mirror: made, brought up to date, mended. The only place that fetches.

In goes a Remote; what comes out is a directory with the remote's branches and tags, whose objects stay readable through
force-pushes, deleted branches and a remote that is gone. A remote on the same disk whose refs did not move costs no process.
A mirror is made beside its place and renamed there when it is whole; a damaged one is kept until its successor is.

    refs/heads/*, refs/tags/*       the remote's, as they are there
    HEAD                            the remote's default branch
    refs/remote/HEAD                the commit of the remote's HEAD at the last fetch
    refs/notes/trimtab              our notes; refs/remote/notes/* those of the remote (notes.py)
    refs/trimtab/keep/<id>          what was resolved lately: collected by nobody (keeping.py)
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

from trimtab.core.model.errors import TransientError, UserError
from trimtab.plumbing.processes import Finished

from . import refs
from .command import Git
from .failures import damaged, failure, locked
from .objects import Objects
from .refs import Refs
from .remote import Remote
from .turns import Turns

REMOTE_HEAD = "refs/remote/HEAD"
REMOTE_NOTES = "refs/remote/notes/trimtab"
NOTES = "refs/notes/trimtab"
KEEP = "refs/trimtab/keep/"
STALE_SECONDS = 30.0
UNBORN = "trimtab-unborn"
MEND_SECONDS = 600.0
CHECK_SECONDS = 600.0

_SPECS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+refs/notes/trimtab*:refs/remote/notes/trimtab*")
_HEAD_SPEC = f"+HEAD:{REMOTE_HEAD}"
_FETCH = (
    "fetch",
    "--quiet",
    "--prune",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
)
_SYMREF = re.compile(r"^ref: (refs/heads/[^\s]+)\tHEAD$", re.MULTILINE)
_PREFIXES = (*refs.FOLLOWED, "refs/remote/")


class Mirror:
    """``path`` is where the mirror is; it may not exist before the first `fetch`."""

    def __init__(self, directory: Path, remote: Remote, git: Git) -> None:
        self.remote, self.git = remote, git
        self.path = directory / f"{remote.slug}.git"
        self._partial, self._old = self.path.with_suffix(".partial"), self.path.with_suffix(".old")
        self._turns = Turns(self._fetch)
        self._seen: Refs | None = None  # the remote's refs that the mirror surely has
        self._refs: Refs | None = None
        self._objects: Objects | None = None
        self._suspect = False  # it could not even be opened
        self._mended_at: float | None = None
        self.generation = 0  # counts the times that another mirror took this one's place
        if self._old.exists() and not self.exists:  # stopped between the two renames of `_swap`
            self._old.rename(self.path)

    @property
    def exists(self) -> bool:
        return (self.path / "HEAD").is_file()

    @property
    def may_push(self) -> bool:
        """False for a repository on this disk that is another user's: our files would lock its owner out, and its hooks would run
        as us.
        """
        if self.remote.path is None:
            return True
        directory = refs.git_directory(self.remote.path)
        return directory is not None and directory.stat().st_uid == os.geteuid()

    @property
    def objects(self) -> Objects:
        """Raises UserError before the first fetch."""
        if self._objects is None:
            if not self.exists:
                raise UserError(f"{self.remote.name}: not fetched yet", remedy="Fetch it first")
            try:
                self._objects = Objects(self.path, self.remote.name)
            except TransientError:
                self._suspect = True
                raise
        return self._objects

    @property
    def refs(self) -> Refs:
        """Branches and tags as of the last fetch. Raises UserError before the first."""
        if self._refs is None:
            if not self.exists:
                raise UserError(f"{self.remote.name}: not fetched yet", remedy="Fetch it first")
            found = refs.read(self.path)
            if found is None:
                self._suspect = True
                raise TransientError(f"{self.remote.name}: the refs of its mirror cannot be read: {self.path}")
            self._refs = found
        return self._refs

    async def fetch(self) -> bool:
        """True when a branch, a tag or the default branch moved. Calls at the same time share a fetch that begins after them."""
        return await self._turns.run()

    async def _fetch(self) -> bool:
        source = self._source()
        if source is not None and source == self._seen and self.exists and not self._damaged:
            return False
        before = refs.read(self.path) if self.exists else None
        try:
            await self._update(source)
        except OSError as error:
            raise TransientError(f"fetch {self.remote.name}: {error.strerror or error}: {self.path}") from error
        finally:
            self._refs = None
        self._seen = source
        return self.refs != before

    async def _update(self, source: Refs | None) -> None:
        if not self.exists:
            await self._clone(source)
            return
        if (self._damaged or refs.read(self.path) is None) and await self._mend(source):
            return
        result = await self._pull(self.path, source, self.git.settings.fetch_timeout_seconds)
        if result.code and locked(result) and await asyncio.to_thread(_unlock, self.path):
            result = await self._pull(self.path, source, self.git.settings.fetch_timeout_seconds)
        if result.code == 0:
            self.objects.reopen()
        elif not (damaged(result) and await self._mend(source)):
            raise failure(f"fetch {self.remote.name}", result, known=True)

    def _source(self) -> Refs | None:
        """The remote's refs where they can be had for nothing. Raises UserError or TransientError when nothing is there."""
        if self.remote.path is None:
            return None
        doing = f"fetch {self.remote.name}"
        error = TransientError if self.exists else UserError
        try:
            directory = refs.git_directory(self.remote.path)
        except PermissionError as denied:
            raise error(f"{doing}: permission denied", remedy="Let the user that runs Trimtab read it") from denied
        except OSError as odd:
            raise error(f"{doing}: {odd.strerror or odd}", remedy="Correct the path") from odd
        if directory is not None:
            return refs.read(directory)
        if self.remote.path.exists():
            raise error(f"{doing}: there is no Git repository at this path", remedy="Correct the path, or run `git init` there")
        raise error(f"{doing}: there is no such path", remedy="Correct the path")

    @property
    def _damaged(self) -> bool:
        return self._suspect or (self._objects is not None and self._objects.damaged)

    def _sound(self) -> None:
        self._suspect = False
        if self._objects is not None:
            self._objects.damaged = False

    async def _pull(self, directory: Path, source: Refs | None, timeout_seconds: float) -> Finished:
        """One `git fetch` into ``directory``; and the default branch, where it may have changed."""
        headed = source is None or bool(source.detached) or source.head in source.ids
        result = await self._fetch_specs(directory, headed, timeout_seconds)
        if headed and result.code and b"remote ref HEAD" in result.stderr:  # empty, or HEAD names a branch that is not there
            headed = False
            result = await self._fetch_specs(directory, headed, timeout_seconds)
        if result.code == 0:
            await self._follow_head(directory, source, headed)
        return result

    async def _fetch_specs(self, directory: Path, headed: bool, timeout_seconds: float) -> Finished:
        specs = (*_SPECS, _HEAD_SPEC) if headed else _SPECS
        return await self.git.remote(directory, self.remote, *_FETCH, self.remote.url, *specs, timeout_seconds=timeout_seconds)

    async def _follow_head(self, directory: Path, source: Refs | None, headed: bool) -> None:
        ours = refs.read(directory, _PREFIXES)
        commit = ours.ids.get(REMOTE_HEAD, "") if ours and headed else ""
        head = source.head if source else ""
        if source is None:
            if ours and commit and ours.ids.get(ours.head) == commit:
                return  # HEAD and the branch that we follow are at one commit: no need to ask which branch it is
            head = await self._ask_head(directory)
        if head:
            _write_head(directory, f"ref: {head}")
        elif commit and not (ours and ours.head in ours.ids):
            # Detached: a rebase or a look at an old tag in a work tree. The branch that we followed stays, if there is one.
            _write_head(directory, commit)

    async def _ask_head(self, directory: Path) -> str:
        result = await self.git.remote(
            directory, self.remote, "ls-remote", "--symref", self.remote.url, "HEAD", timeout_seconds=60.0
        )
        found = _SYMREF.search(result.stdout.decode("utf-8", "surrogateescape"))
        return found.group(1) if found else ""

    async def _clone(self, source: Refs | None) -> None:
        """A whole new mirror, in place of the old one if there is one."""
        try:
            await asyncio.to_thread(shutil.rmtree, self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True, mode=0o700)
            made = await self.git.local(self._partial, "init", "--quiet", "--bare", "--template=", f"--initial-branch={UNBORN}")
            result = made if made.code else await self._pull(self._partial, source, self.git.settings.clone_timeout_seconds)
            if result.code:
                raise failure(f"fetch {self.remote.name}", result, known=self.exists)
            if self.exists:
                await self._carry_over()
            self._swap()
        finally:
            await asyncio.to_thread(shutil.rmtree, self._partial, ignore_errors=True)
            if self.exists:
                await asyncio.to_thread(shutil.rmtree, self._old, ignore_errors=True)

    def _swap(self) -> None:
        if self.path.exists():
            self.path.rename(self._old)
        self._partial.rename(self.path)
        self.generation += 1
        self._refs = None
        if self._objects is not None:  # kept: Trees that are in use read through it
            self._objects.reopen()
        self._sound()

    async def _carry_over(self) -> None:
        """What only the old mirror has: notes that were not pushed and commits that were force-pushed away. As far as readable."""
        for name in (NOTES, f"{KEEP}*"):
            await self.git.local(
                self._partial, *_FETCH[:2], "--no-tags", "--no-write-fetch-head", str(self.path), f"+{name}:{name}"
            )

    async def _mend(self, source: Refs | None) -> bool:
        """Check our mirror; True when it was damaged and a new one stands in its place. Not more often than once in a while."""
        now = asyncio.get_running_loop().time()
        if self._mended_at is not None and now - self._mended_at < MEND_SECONDS:
            return False
        self._mended_at = now
        checked = await self.git.local(
            self.path, "fsck", "--no-dangling", "--no-progress", "--no-reflogs", timeout_seconds=CHECK_SECONDS
        )
        if checked.code == 0:
            self._sound()
            return False
        await self._clone(source)
        return True


def _write_head(directory: Path, content: str) -> None:
    fresh = directory / "HEAD.new"
    fresh.write_text(content + "\n", encoding="utf-8", errors="surrogateescape")
    fresh.replace(directory / "HEAD")


def _unlock(directory: Path) -> bool:
    """Remove the lock files that a killed git has left; True when there were any. Ours are held for moments only."""
    probe = directory / "now"
    probe.write_bytes(b"")
    now = probe.stat().st_mtime  # the file system's own clock
    probe.unlink()
    locks = [*directory.glob("*.lock"), *(directory / "refs").rglob("*.lock"), *(directory / "objects" / "info").rglob("*.lock")]
    stale = [lock for lock in locks if now - lock.stat().st_mtime > STALE_SECONDS]
    for lock in stale:
        lock.unlink(missing_ok=True)
    return bool(stale)
