"""What a tree would come to that nobody has merged: which Keys it touches, and their content. Nothing of it is remembered."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import TransientError
from trimtab.core.model.names import Key
from trimtab.ports.git import Repositories, Tree

from .declaring import Declarer
from .sources import Part, Place, Wish, wish_of
from .world import GONE, Content, World


class Supposing:
    """On top of what ``declarer`` has made of the heads as they are."""

    def __init__(self, world: World, repositories: Repositories, declarer: Declarer) -> None:
        self._world, self._repositories, self._declarer = world, repositories, declarer

    async def configuration(self, places: Collection[Place], tree: Tree) -> Configuration:
        """What would be declared, were ``tree`` the head at ``places``."""
        return await self._declarer.configuring.supposed(places, tree)

    def wishes_of(self, configuration: Configuration) -> dict[Key, Wish]:
        """What ``configuration`` asks to be rendered."""
        home, _ = self._declarer.home
        return {
            Key(placement.name, name): wish_of(Key(placement.name, name), application, placement, home)
            for name, application in configuration.applications.items()
            for placement in application.spec.environments
        }

    def affected_by(
        self, wishes: Mapping[Key, Wish], places: Collection[Place], tree: Tree, paths: Collection[str] | None
    ) -> list[Key]:
        """The Keys of ``wishes`` whose content may be another, were ``tree`` the head at ``places``; ``paths`` are the files in which it
        differs from the one that is (None: any).
        """
        other = {key for key, wish in wishes.items() if self._declarer.wishes.get(key) != wish}
        followers = {key for key, wish in wishes.items() if not wish.places.isdisjoint(places)}
        if paths is not None:
            touched = {key for repository in {one for one, _ in places} for key in self._declarer.readers.of(repository, paths)}
            # What could not be rendered since the start, or at the newest head, may read any path.
            touched |= {key for key in followers if not self._declarer.readers.knows(key) or self._declarer.tries_again(key)}
        else:
            touched = {key for key in followers if any(not self._declarer.current(key, place, tree) for place in places)}
        return sorted(other | (followers & touched))

    async def foresee(self, key: Key, wish: Wish, places: Collection[Place], tree: Tree, configuration: Configuration) -> Content:
        """The content of ``key``, were ``tree`` the head at ``places``. Raises TrimtabError."""
        trees = [tree if part.place in places else self._head_tree(part) for part in wish.parts]
        if self._declarer.contents.emptied(key, wish, trees[0]):
            return GONE
        return await self._declarer.contents.joined(key, wish, trees, configuration)

    def undeclared_in(self, configuration: Configuration, wishes: Mapping[Key, Wish]) -> list[Key]:
        """The Keys that run now, and that ``configuration`` wants no more."""
        if not configuration.complete:
            return []
        doubtful = frozenset(configuration.doubtful)
        gone = self._declarer.wishes.keys() - wishes.keys()
        return sorted(key for key in gone if f"Application/{key.application}" not in doubtful)

    def _head_tree(self, part: Part) -> Tree:
        head = self._world.heads.get(part.place)
        if head is None or head.revision is None:
            raise TransientError(
                f"render {part.request.application}: {part.repository} has not been fetched",
                remedy="It is followed once the change is merged; merge the declaration of the source first",
            )
        return self._repositories.tree(part.repository, head.revision)
