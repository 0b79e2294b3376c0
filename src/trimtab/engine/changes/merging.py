"""Moves the target branch to what was looked at, and to nothing else.

The commit is made first, named by no ref; then the branch moves from the candidate's base to it, or it does not move. Whoever crashes
between the two has merged nothing; whoever crashes after finds the commit on the branch (`looking`).
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.core.lifecycle.review import Happening, Merge, Merged, NotMerged, Review
from trimtab.core.model.errors import UserError
from trimtab.core.model.names import Revision
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Conflicts, Hosting, Person, RefUpdate, Way

from .messages import address, full_name, merge_message
from .signing import Attestor
from .surroundings import Surroundings

COMMITTER = "Trimtab"


@dataclass(frozen=True)
class Made:
    """A merge that no ref names yet."""

    revision: Revision
    tree: str


class Merger:
    """``installation`` names this Trimtab as the committer of what it merges."""

    def __init__(self, hosting: Hosting, surroundings: Surroundings, attestor: Attestor, clock: Clock, installation: str) -> None:
        self._hosting, self._surroundings, self._attestor = hosting, surroundings, attestor
        self._clock, self._installation = clock, installation

    async def merge(self, review: Review, act: Merge) -> Happening:
        """Raises TransientError when the repository cannot be written."""
        change, candidate = review.change, act.candidate
        made = await self.make(review, act, onto=candidate.base)
        if not isinstance(made, Made):
            return made
        if made.tree != candidate.tree:
            return NotMerged(f"a {self.way_of(review)} comes to other files than those that were looked at; merge it another way")
        update = RefUpdate(f"refs/heads/{change.target}", candidate.base, made.revision)
        moved = await self._hosting.update_refs(change.repository, [update])
        return Merged(made.revision) if moved else NotMerged(f"{change.target} has moved", moved=True)

    async def make(self, review: Review, act: Merge, *, onto: Revision) -> Made | NotMerged:
        """The commit that brings a Change to ``onto``; no ref names it yet."""
        change, author = review.change, review.change.author
        way, people, now = self.way_of(review), self._surroundings.people, self._clock.now()
        signed = await self._attestor.attested(review, act.candidate, onto=onto)
        if signed is None:
            return NotMerged("what it lands on is not signed as an environment asks", moved=True)
        try:
            made = await self._hosting.combine(
                change.repository,
                way,
                onto=onto,
                change=act.candidate.head,
                message=merge_message(change, way, act.clears, act.approvals, people, signed),
                committer=Person(COMMITTER, f"trimtab@{self._installation[:12]}", now),
                author=Person(full_name(author, people), address(author, people), now),
                sign=bool(signed),
            )
        except UserError as error:
            return NotMerged(str(error))
        if isinstance(made, Conflicts):
            return NotMerged(f"{way}: {made.conflicts[0].path} conflicts with {change.target}")
        return Made(made.revision, made.tree)

    def way_of(self, review: Review) -> Way:
        """The first of the ways that the branch allows."""
        protection = self._surroundings.protection(review.change.repository, review.change.target)
        return protection.spec.merge[0] if protection is not None else "merge"
