"""Looks up in repositories what Generators ask for: directories and files at the heads that are followed.

Only what changed is read: a folder whose tree has the same id as before holds the same things, and a file of the same id says the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from trimtab.core.decide import documents
from trimtab.core.decide.elements import ELEMENTS_MAX, Ask, FoundFile, Seen, Unknown
from trimtab.core.decide.globs import Globs, State
from trimtab.core.model.errors import Problem, TrimtabError, UserError
from trimtab.core.model.names import Revision
from trimtab.core.model.text import without_credentials
from trimtab.ports.git import Repositories, Tree

from .sources import Place
from .world import World

FILE_BYTES_MAX = 1 << 20
FOLDERS_MAX = 100_000
"""Folders that are looked into for one Generator's patterns."""
REMEMBERED_MAX = 200_000

_Match = tuple[str, str]
"""A path, relative to the folder that is looked into, and the id of what stands there."""


@dataclass
class Lookup:
    """What one `Ask` has seen so far, by the ids of trees and files. Forgetting it costs time only."""

    folders: dict[tuple[str, State, State], tuple[_Match, ...]] = field(default_factory=dict)
    files: dict[str, FoundFile] = field(default_factory=dict)

    def look(self, tree: Tree, ask: Ask) -> Seen:
        """Raises TrimtabError when something of it cannot be read."""
        root = tree.entry("")
        if len(self.folders) > REMEMBERED_MAX:
            self.folders.clear()
        search = _Search(tree, ask, self.folders)
        found = search.within("", root.id if root is not None else "", search.include.start, search.exclude.start)
        if len(found) > ELEMENTS_MAX:
            raise UserError(f"these patterns have more than {ELEMENTS_MAX} matches", remedy="Use narrower ones")
        if not ask.files:
            return Seen(directories=tuple(sorted(path for path, _ in found)))
        self.files = {path: self._file(tree, path, id_) for path, id_ in sorted(found)}
        return Seen(files=tuple(self.files.values()))

    def _file(self, tree: Tree, path: str, id_: str) -> FoundFile:
        known = self.files.get(path)
        return known if known is not None and known.id == id_ else _read(tree, path, id_)


def _read(tree: Tree, path: str, id_: str) -> FoundFile:
    try:
        data = tree.read(path, bytes_max=FILE_BYTES_MAX)
    except UserError as error:
        return FoundFile(path, id_, problems=(Problem(error.message, path, remedy=error.remedy),))
    read = documents.read(data, path)
    values = tuple(document.value for document in read.documents)
    if not values and not read.problems:
        return FoundFile(path, id_, problems=(Problem("the file says nothing", path, remedy="Write fields, or remove it"),))
    return FoundFile(path, id_, values, tuple(read.problems))


class _Search:
    def __init__(self, tree: Tree, ask: Ask, known: dict[tuple[str, State, State], tuple[_Match, ...]]) -> None:
        self._tree = tree
        self._files = ask.files
        self._known = known
        self._folders = 0
        self.include, self.exclude = Globs(ask.include), Globs(ask.exclude)

    def within(self, path: str, id_: str, include: State, exclude: State) -> tuple[_Match, ...]:
        known = self._known.get((id_, include, exclude))
        if known is None:
            known = self._known[id_, include, exclude] = tuple(self._matches(path, include, exclude))
        return known

    def _matches(self, path: str, include: State, exclude: State) -> Iterator[_Match]:
        self._folders += 1
        if self._folders > FOLDERS_MAX:
            raise UserError(f"these patterns lead into more than {FOLDERS_MAX} folders", remedy="Use narrower ones")
        for entry in self._tree.entries(path):
            name = entry.path.rpartition("/")[2]
            inside, outside = self.include.step(include, name), self.exclude.step(exclude, name)
            if not inside or self.exclude.matches(outside) or entry.type not in ("tree", "blob"):
                continue
            if self.include.matches(inside) and (entry.type == "blob") == self._files:
                yield name, entry.id
            if entry.type == "tree":
                below = self.within(entry.path, entry.id, inside, outside)
                yield from ((f"{name}/{inner}", inner_id) for inner, inner_id in below)


def look_here(tree: Tree, ask: Ask) -> Seen | Unknown:
    """What ``ask`` asks of the configuration repository itself, at the commit that ``tree`` is of; of others nothing is known here."""
    if ask.repository or ask.revision:
        return Unknown(
            f"{without_credentials(ask.repository) or 'the repository'} {ask.revision} is not read without a server".replace(
                "  ", " "
            ),
            "What is made of it is left out here; ask a server: trimtab app plan",
        )
    try:
        return Lookup().look(tree, ask)
    except TrimtabError as error:
        return Unknown(error.message, error.remedy)


class Generating:
    def __init__(self, world: World, repositories: Repositories, home: str) -> None:
        """``home`` is the configuration repository."""
        self._world = world
        self._repositories = repositories
        self._home = home
        self._lookups: dict[Ask, Lookup] = {}
        self._seen: dict[Ask, tuple[Revision, Seen]] = {}

    def place(self, ask: Ask) -> Place:
        return (ask.repository or self._home, ask.revision)

    def look(self, asks: Iterable[Ask]) -> dict[Ask, Seen | Unknown]:
        """The answers, at the heads as they are now."""
        found = {ask: self._look(ask) for ask in asks}
        self._lookups = {ask: lookup for ask, lookup in self._lookups.items() if ask in found}
        self._seen = {ask: seen for ask, seen in self._seen.items() if ask in found}
        return found

    def suppose(self, asks: Iterable[Ask], places: Collection[Place], tree: Tree) -> dict[Ask, Seen | Unknown]:
        """The answers, were ``tree`` the head at ``places``. Nothing of it is remembered."""
        return {ask: _answer(Lookup(), tree, ask) if self.place(ask) in places else self._look(ask) for ask in asks}

    def _look(self, ask: Ask) -> Seen | Unknown:
        head = self._world.heads.get(self.place(ask))
        if head is None or head.revision is None:
            if head is None or not head.problem:
                return Unknown()
            return Unknown(f"{without_credentials(head.repository)}: {head.problem}", head.remedy)
        known = self._seen.get(ask)
        if known is not None and known[0] == head.revision:
            return known[1]
        try:
            tree = self._repositories.tree(head.repository, head.revision)
        except TrimtabError as error:
            return Unknown(error.message, error.remedy)
        seen = _answer(self._lookups.setdefault(ask, Lookup()), tree, ask)
        if isinstance(seen, Seen):
            self._seen[ask] = (head.revision, seen)
        return seen


def _answer(lookup: Lookup, tree: Tree, ask: Ask) -> Seen | Unknown:
    try:
        return lookup.look(tree, ask)
    except TrimtabError as error:
        return Unknown(error.message, error.remedy)
