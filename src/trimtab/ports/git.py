"""Reading repositories: fetch, resolve, trees at a Revision, notes. One implementation, `trimtab.git`; one fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from trimtab.core.model.names import Revision
from trimtab.core.model.signature import Signature, SigningKeys


class TreeEntry(msgspec.Struct, frozen=True):
    """``path`` is relative to the repository's root. ``size`` is in bytes (0 for all but blobs)."""

    path: str
    type: Literal["blob", "tree", "link", "submodule"]
    id: str
    size: int = 0
    executable: bool = False


class Tree(Protocol):
    """The files of one Revision, read from the object database; nothing is checked out. Paths use forward slashes, "" is the root."""

    @property
    def repository(self) -> str:
        """The repository's URL or path as configured."""
        ...

    @property
    def revision(self) -> Revision: ...

    def entry(self, path: str) -> TreeEntry | None:
        """What stands at ``path``; None when nothing does. Never follows links."""
        ...

    def entries(self, path: str) -> list[TreeEntry]:
        """The direct children of a directory, sorted by name. Names that are not UTF-8 come with surrogate escapes.

        Raises UserError when ``path`` is no directory.
        """
        ...

    def walk(self, path: str) -> Iterator[TreeEntry]:
        """All blobs, links and submodules below ``path``, sorted by path. Empty when there is nothing."""
        ...

    def read(self, path: str, *, bytes_max: int) -> bytes:
        """A blob's content. Raises UserError when it is missing, no file, or larger than ``bytes_max``."""
        ...


class Head(msgspec.Struct, frozen=True):
    """What a revision expression means now. ``ref`` is the full ref name ("" for a commit id), ``default`` the default branch."""

    revision: Revision
    ref: str = ""


class Repositories(Protocol):
    """Bare mirrors of remotes. ``repository`` is a URL or a path; every method accepts any that configuration names."""

    async def fetch(self, repository: str) -> bool:
        """Bring the mirror up to date; True when any ref moved. The mirror is created at the first call.

        What the mirror held stays readable whatever happens. Raises TransientError (remote gone, slow, corrupt) or UserError
        (no such path, not a repository, forbidden transport).
        """
        ...

    async def resolve(self, repository: str, revision: str) -> Head:
        """The commit that ``revision`` ("" = default branch; branch; tag; full id; semver range) names in the mirror.

        Raises UserError when nothing in the mirror matches (deleted branch, empty repository, no tag in the range).
        """
        ...

    def tree(self, repository: str, revision: Revision) -> Tree:
        """Raises UserError when the mirror does not have that commit."""
        ...

    async def changed_paths(
        self, repository: str, old: Revision, new: Revision, *, paths_max: int = 10_000
    ) -> frozenset[str] | None:
        """Paths of files that differ between two commits; None when there are more than ``paths_max`` or ``old`` is gone."""
        ...

    async def contains(self, repository: str, ancestor: Revision, descendant: Revision) -> bool:
        """True when ``ancestor`` is reachable from ``descendant`` (or is it). False when either is unknown."""
        ...

    async def signature(self, repository: str, revision: Revision, keys: SigningKeys) -> Signature:
        """Who signed the commit, judged by ``keys`` alone. Raises TransientError when that cannot be found out now."""
        ...

    async def expand(self, repository: str, abbreviation: str) -> Revision:
        """The full id for an abbreviated id, branch or tag. Raises UserError when none or several match."""
        ...

    async def note(self, repository: str, revision: Revision, lines: tuple[str, ...]) -> None:
        """Append ``lines`` to the commit's note in refs/notes/trimtab (once: an equal line is not added again) and push it where
        the remote permits; a remote that refuses is no error. Raises TransientError when even the mirror could not be written.
        """
        ...

    async def propose(
        self, repository: str, branch: str, message: str, author: str, edits: Mapping[str, str | None], *, to: str = ""
    ) -> Revision:
        """Commit on top of ``branch`` ("" = default branch) of the remote and push it, without force: each path of ``edits`` becomes
        the tree or blob with that id, which the mirror must have, or goes (None); "" is the root. ``author`` reads
        ``Name <email>``. ``to`` is another branch to push it to, made when it is not there. Returns the new commit, or the head itself when nothing would change. The next `fetch` sees it.

        Raises UserError when an edit is impossible or the remote refuses (the remedy has the plain git commands that do the same),
        TransientError when it does not answer or the branch keeps moving.
        """
        ...

    def watch(self, repository: str) -> AsyncIterator[None]:
        """Yields when the refs of a repository on the same disk may have moved. Ends at once for a remote one."""
        ...


class Contents(Protocol):
    """Content of repositories by object id, for targets that put it in place."""

    async def materialise(self, repository: str, object_id: str, destination: Path) -> None:
        """Write the tree or blob to ``destination``, which must not exist: files read-only, executables executable, links inside the
        tree kept, links that leave it refused. Appears whole or not at all. Raises UserError or TransientError.
        """
        ...
