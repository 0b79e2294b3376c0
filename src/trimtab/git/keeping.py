"""Commits that were resolved lately stay in the mirror, whatever happens to the branch they came from.

Each gets a ref, so that neither prune nor gc takes its objects; the bound drops the one that was not asked for the longest.
"""

from __future__ import annotations

from collections import OrderedDict

import pygit2

from trimtab.core.model.errors import UserError

from . import refs
from .mirrors import KEEP, Mirror

KEPT_MAX = 128


class Kept:
    def __init__(self, mirror: Mirror, *, kept_max: int = KEPT_MAX) -> None:
        self._mirror, self._max = mirror, kept_max
        self._kept: OrderedDict[str, None] | None = None
        self._generation = mirror.generation

    def keep(self, commit: str) -> None:
        """Costs nothing when it is kept already. A disk that takes no ref is no reason not to go on."""
        kept = self._load()
        if commit not in kept:
            try:
                self._mirror.objects.repository.references.create(KEEP + commit, commit, force=True)
            except (pygit2.GitError, OSError):
                return
        kept[commit] = None
        kept.move_to_end(commit)
        while len(kept) > self._max:
            self._drop(kept.popitem(last=False)[0])

    def _load(self) -> OrderedDict[str, None]:
        if self._kept is None or self._generation != self._mirror.generation:
            self._generation = self._mirror.generation
            found = refs.read(self._mirror.path, (KEEP,))
            commits = [name.removeprefix(KEEP) for name in found.ids] if found else []
            self._kept = OrderedDict.fromkeys(sorted(commits, key=self._seconds))
        return self._kept

    def _seconds(self, commit: str) -> int:
        try:
            return self._mirror.objects.commit(commit).seconds
        except UserError:
            return 0

    def _drop(self, commit: str) -> None:
        try:
            self._mirror.objects.repository.references.delete(KEEP + commit)
        except (KeyError, pygit2.GitError, OSError):
            return
