"""Which paths of which repositories lead to which Keys: what a commit changes names the Keys that may have to be rendered anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from trimtab.core.model.names import Key

Paths = tuple[tuple[str, str], ...]
"""Each a repository and a path in it."""


class Readers:
    def __init__(self) -> None:
        self._readers: dict[str, dict[str, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._read: dict[Key, Paths] = {}

    def remember(self, key: Key, paths: Paths, *, keep: bool = False) -> None:
        """``paths`` lead to ``key``. A failed rendering keeps (``keep``) the ones that the last good one had."""
        before = self._read.get(key, ())
        for repository, path in before:
            self._readers[repository][path].discard(key)
        if keep:
            paths = (*before, *paths)
        paths = tuple(dict.fromkeys((repository, "" if path == "." else path.strip("/")) for repository, path in paths))
        for repository, path in paths:
            self._readers[repository][path].add(key)
        self._read[key] = paths

    def knows(self, key: Key) -> bool:
        """False while nothing has been read for ``key``: then any path may lead to it."""
        return key in self._read

    def of(self, repository: str, paths: Iterable[str]) -> set[Key]:
        """The Keys that any of ``paths``, or a directory above it, leads to."""
        readers = self._readers[repository]
        found: set[Key] = set()
        for path in paths:
            while True:
                found |= readers.get(path, set())
                if not path:
                    break
                path = path.rpartition("/")[0]
        return found
