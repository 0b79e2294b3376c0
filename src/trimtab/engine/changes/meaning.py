"""Which Change a push means: the open one that it goes on with, or a new one, under the title that its commits give it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.change import Stage
from trimtab.core.model.errors import Refused
from trimtab.core.model.names import Revision
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Commit, Hosting, Push, RefUpdate

from .desk import Desk
from .fitness import HEADS, NEW_COMMITS_MAX, principal
from .intents import Intent, Intents
from .messages import proposed
from .options import Options


class Meaning:
    def __init__(self, hosting: Hosting, desk: Desk, intents: Intents, clock: Clock) -> None:
        self._hosting, self._desk, self._intents, self._clock = hosting, desk, intents, clock

    async def intent(
        self, push: Push, update: RefUpdate, options: Options, target: str, source: str, *, emergency: str = ""
    ) -> Intent:
        before = await self._updates(push, update, options, target, source) if not emergency else None
        if before is not None:
            change, patch_set = before.change.number, before.change.patch_sets[-1].number + 1
            if before.change.head == update.new:
                patch_set -= 1
        else:
            change, patch_set = self._intents.next_number(), 1
        heads = await self._hosting.refs(push.repository, HEADS)
        commits = await push.history.log(update.new, without=tuple(heads.values()), commits_max=NEW_COMMITS_MAX)
        title, description = proposed(_messages(commits, push, update))
        intent = Intent(
            change,
            patch_set,
            push.repository,
            target,
            source,
            "",
            Revision(update.new),
            principal(push).user,
            self._clock.now(),
            options.title or title,
            options.description or description,
            options.draft,
            emergency,
        )
        return msgspec.structs.replace(intent, ref=update.ref if source or emergency else intent.kept)

    async def _updates(self, push: Push, update: RefUpdate, options: Options, target: str, source: str) -> Review | None:
        """The open Change that a push goes on with: the one that is named, that of its branch, or one that it descends from."""
        if options.number:
            named = self._desk.reviews.get(options.number)
            if named is None or named.change.stage != Stage.OPEN or named.change.repository != push.repository:
                raise Refused(
                    f"push to change {options.number}: there is no such open change here", remedy="Leave out its number"
                )
            if named.change.emergency:
                raise Refused(
                    f"push to change {options.number}: it is about what was pushed past review, which is there already",
                    remedy="Propose what comes after as another change: leave out its number",
                )
            return named
        if source:
            return self.coming_from(push.repository, source)
        who = principal(push).user
        candidates = [
            review
            for review in self._desk.reviews.values()
            if review.change.stage == Stage.OPEN
            and not review.change.source
            and not review.change.emergency  # what comes after is not what was pushed past review
            and (review.change.repository, review.change.target, review.change.author) == (push.repository, target, who)
        ]
        for review in sorted(candidates, key=lambda one: -one.change.number):
            if options.new:
                break
            if await push.history.contains(review.change.head, update.new):
                return review
        return None

    def coming_from(self, repository: str, branch: str) -> Review | None:
        """The open Change that comes from ``branch``."""
        for review in self._desk.reviews.values():
            change = review.change
            if change.stage == Stage.OPEN and (change.repository, change.source) == (repository, branch):
                return review
        return None


def _messages(commits: list[Commit], push: Push, update: RefUpdate) -> Iterator[str]:
    if not commits:
        yield push.history.commit(update.new).message
    for commit in reversed(commits):
        if len(commit.parents) < 2 or len(commits) == 1:
            yield commit.message
