"""What a revision expression means in a mirror: a default branch, branch, tag, full id, version range, or (for people) a short id.

Refs and objects come in, a Head goes out. A ref of that very name wins over a range that looks the same.
"""

from __future__ import annotations

import difflib
import re

import pygit2

from trimtab.core.decide import semver
from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.ports.git import Head

from .mirrors import UNBORN, Mirror
from .refs import ID
from .text import shown

_SHORT = re.compile(r"[0-9a-fA-F]{4,40}")
_SHOWN_MAX = 10


def resolve(mirror: Mirror, expression: str) -> Head:
    """Raises UserError when nothing in the mirror matches."""
    if not expression:
        return _default(mirror)
    for name in _names(expression):
        if name in mirror.refs.ids:
            return _peeled(mirror, name)
    if ID.fullmatch(expression):
        mirror.objects.commit(expression)
        return Head(Revision(expression))
    wanted = semver.parse_range(expression)
    if wanted is not None:
        return _newest(mirror, expression, wanted)
    raise _nothing(mirror, expression)


async def expand(mirror: Mirror, abbreviation: str) -> Revision:
    """As `resolve`, and short ids too. A branch or tag wins over a short id of the same spelling."""
    if abbreviation in ("HEAD", "@"):
        return _default(mirror).revision
    known = any(name in mirror.refs.ids for name in _names(abbreviation))
    if known or not _SHORT.fullmatch(abbreviation) or len(abbreviation) == 40:
        return resolve(mirror, abbreviation.lower() if not known and len(abbreviation) == 40 else abbreviation).revision
    return await _by_prefix(mirror, abbreviation.lower())


def _default(mirror: Mirror) -> Head:
    found = mirror.refs
    if found.detached:
        return Head(Revision(found.detached))
    if found.head in found.ids:
        return _peeled(mirror, found.head)
    name = mirror.remote.name
    branches = sorted(ref.removeprefix("refs/heads/") for ref in found.ids if ref.startswith("refs/heads/"))
    if not branches:
        raise UserError(f"{name}: the repository has no commit yet", remedy="Commit something and push it")
    head = found.head.removeprefix("refs/heads/")
    missing = "it names no default branch" if head == UNBORN else f"its default branch {shown(head)} does not exist"
    raise UserError(f"{name}: {missing}", remedy=f"Set a revision ({_listed(branches)}), or the repository's default branch")


def _names(expression: str) -> tuple[str, ...]:
    if expression.startswith("refs/"):
        return (expression,)
    return (f"refs/heads/{expression}", f"refs/tags/{expression}")


def _peeled(mirror: Mirror, name: str) -> Head:
    commit = mirror.objects.peeled(mirror.refs.ids[name])
    if commit is None:
        raise UserError(f"{mirror.remote.name}: {shown(name)} is not a commit", remedy="Name a branch, or a tag of a commit")
    return Head(Revision(commit), name)


def _newest(mirror: Mirror, expression: str, wanted: semver.Range) -> Head:
    tags = [name.removeprefix("refs/tags/") for name in mirror.refs.ids if name.startswith("refs/tags/")]
    best = semver.best(tags, wanted)
    if best is not None:
        return _peeled(mirror, f"refs/tags/{best}")
    versions = sorted((found, tag) for tag in tags if (found := semver.version(tag)) is not None)
    newest = f"; the newest version is {shown(versions[-1][1])}" if versions else "; there are no version tags"
    raise UserError(
        f"{mirror.remote.name}: no branch or tag {shown(expression)}, and no tag within that range of versions{newest}",
        remedy="Push such a tag, or widen the range",
    )


def _nothing(mirror: Mirror, expression: str) -> UserError:
    names = sorted(name.split("/", 2)[2] for name in mirror.refs.ids)
    near = difflib.get_close_matches(expression, names[:5000], n=1)
    hint = (
        f"Did you mean {shown(near[0])}?" if near else f"There are: {_listed(names)}" if names else "Commit something and push it"
    )
    return UserError(f"{mirror.remote.name}: there is no branch, tag or commit {shown(expression)}", remedy=hint)


async def _by_prefix(mirror: Mirror, prefix: str) -> Revision:
    """The one commit whose id begins so; trees and files of such an id do not count."""
    try:
        candidates = [str(mirror.objects.repository.expand_id(prefix))]
    except KeyError:
        candidates = []
    except (ValueError, pygit2.GitError):  # several objects
        listed = await mirror.git.local(mirror.path, "rev-parse", f"--disambiguate={prefix}")
        candidates = listed.stdout.decode("ascii", "replace").split()
    commits = [found for found in candidates if mirror.objects.kind(found) == "commit"]
    if len(commits) > 1:
        raise UserError(
            f"{mirror.remote.name}: the id {prefix} is short for {len(commits)} commits", remedy="Give more of its characters"
        )
    if not commits:
        raise _nothing(mirror, prefix)
    return Revision(commits[0])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(shown(name) for name in names[:_SHOWN_MAX]) + more
