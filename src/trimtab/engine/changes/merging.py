"""Moves the target branch to what was looked at, and to nothing else.

The commit is made first, named by no ref; then the branch moves from the candidate's base to it, or it does not move. Whoever crashes
between the two has merged nothing; whoever crashes after finds the commit on the branch (`looking`).
"""

from __future__ import annotations

from trimtab.core.lifecycle.change import Happening, Merge, Merged, NotMerged, Review
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Conflicts, Hosting, Person, RefUpdate, Way

from .messages import address, full_name, merge_message
from .surroundings import Surroundings

COMMITTER = "Trimtab"


class Merger:
    """``installation`` names this Trimtab as the committer of what it merges."""

    def __init__(self, hosting: Hosting, surroundings: Surroundings, clock: Clock, installation: str) -> None:
        self._hosting, self._surroundings, self._clock, self._installation = hosting, surroundings, clock, installation

    async def merge(self, review: Review, act: Merge) -> Happening:
        """Raises TransientError when the repository cannot be written."""
        change, candidate = review.change, act.candidate
        way, author = self.way_of(review), change.author
        people = self._surroundings.people
        now = self._clock.now()
        made = await self._hosting.combine(
            change.repository,
            way,
            onto=candidate.base,
            change=candidate.head,
            message=merge_message(change, way, act.clears, act.approvals, people),
            committer=Person(COMMITTER, f"trimtab@{self._installation[:12]}", now),
            author=Person(full_name(author, people), address(author, people), now),
        )
        if isinstance(made, Conflicts):
            return NotMerged(f"{way}: {made.conflicts[0].path} conflicts with {change.target}", moved=False)
        if made.tree != candidate.tree:
            return NotMerged(f"a {way} would come to other files than those that were looked at; merge it another way")
        moved = await self._hosting.update_refs(
            change.repository, [RefUpdate(f"refs/heads/{change.target}", candidate.base, made.revision)]
        )
        return Merged(made.revision) if moved else NotMerged(f"{change.target} has moved", moved=True)

    def way_of(self, review: Review) -> Way:
        """The first of the ways that the branch allows."""
        protection = self._surroundings.protection(review.change.repository, review.change.target)
        return protection.spec.merge[0] if protection is not None else "merge"
