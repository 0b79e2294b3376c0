"""What other Environments have to do with the objects of one look, because their targets are the same place.

It is asked only about what an Application has and wants no more, and about what it wants and is another Environment's. An Environment
that has not answered yet could be any place: what it may want is not removed, and nothing that it may see is changed while it acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from trimtab.core.decide.abroad import Abroad, Owning, stance
from trimtab.core.model.errors import TrimtabError
from trimtab.core.model.names import Identity, Key, name_of
from trimtab.core.model.observed import Observed, Owner
from trimtab.ports.target import Target

from .world import World


class Neighbours:
    """For one look at ``key``. ``target`` gives that of an Environment and raises TrimtabError."""

    def __init__(self, world: World, key: Key, target: Callable[[str], Target]) -> None:
        self._world, self._key, self._target = world, key, target
        self._places: dict[str, tuple[str, Target | None]] = {}

    def of(self, unwanted: Iterable[Identity], wanted: Mapping[Identity, Observed]) -> dict[Identity, Abroad]:
        """``unwanted`` is what we have and want no more, ``wanted`` what we want and somebody has."""
        found = {identity: self._claims(identity) for identity in unwanted}
        return {identity: one for identity, one in found.items() if one != Abroad()} | {
            identity: self._owner(identity, one.owner)
            for identity, one in wanted.items()
            if one.owner is not None
            and one.owner.installation == self._world.installation
            and one.owner.environment != self._key.environment
        }

    def wanted(self, identity: Identity) -> bool:
        """Whether this very object is wanted in another Environment."""
        return any(self.same(identity, *place) for place in self._world.claimed_elsewhere(self._key.environment, identity))

    def same(self, identity: Identity, environment: str, theirs: Identity) -> bool | None:
        """Whether ``theirs`` in ``environment`` is our object ``identity``; None: it is not known."""
        if name_of(identity) != name_of(theirs):
            return False
        together = self._together(environment)
        if not together:
            return together
        here, there = self._at(self._key.environment)[1], self._at(environment)[1]
        assert here is not None and there is not None, "a place that is known has a target"  # noqa: PT018
        one, other = here.called(identity), there.called(theirs)
        return one == other if one and other else None

    def _together(self, environment: str) -> bool | None:
        here, there = self._at(self._key.environment)[0], self._at(environment)[0]
        return here == there if here and there else None

    def _at(self, environment: str) -> tuple[str, Target | None]:
        if environment not in self._places:
            try:
                target = self._target(environment)
                self._places[environment] = (target.place(), target)
            except TrimtabError:
                self._places[environment] = ("", None)
        return self._places[environment]

    def _claims(self, identity: Identity) -> Abroad:
        found: dict[bool | None, list[Key]] = {True: [], False: [], None: []}
        for environment, theirs in self._world.claimed_elsewhere(self._key.environment, identity):
            names = self._world.claimants(environment, [theirs])
            found[self.same(identity, environment, theirs)] += [Key(environment, name) for name in names]
        return Abroad(tuple(sorted(found[True])), tuple(sorted(found[None])), tuple(self._unread(identity)))

    def _unread(self, identity: Identity) -> Iterator[Key]:
        """Who may want it elsewhere, and cannot be rendered since it was let go here."""
        since = self._world.let_go.get((self._key.environment, identity), 0)
        for key in self._world.unrendered():
            failed = self._world.failed_at.get(key)
            later = failed is None or failed >= since
            if later and key.environment != self._key.environment and self._together(key.environment) is not False:
                yield key

    def _owner(self, identity: Identity, owner: Owner) -> Abroad:
        key = Key(owner.environment, owner.application)
        said, why = stance(
            Owning(
                suspended=bool(self._world.suspended(key.environment, [key.application])),
                doubts=(*self._world.doubts_of(key), *self._apart(key)),
                newest=self._has(identity, key, self._world.newest_wishes(key)),
                running=self._has(identity, key, self._world.running_wishes(key)),
                here=identity in (self._world.newest_wishes(self._key) or ()),
            )
        )
        return Abroad(stance=said, why=why)

    def _apart(self, key: Key) -> Iterator[str]:
        if self._together(key.environment) is False:
            yield f"{key.environment} is at another place by now"

    def _has(self, identity: Identity, key: Key, identities: frozenset[Identity] | None) -> bool | None:
        if identities is None:
            return None
        answers = {self.same(identity, key.environment, theirs) for theirs in identities if name_of(theirs) == name_of(identity)}
        return True if True in answers else None if None in answers else False
