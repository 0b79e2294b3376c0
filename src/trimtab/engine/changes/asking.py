"""What people ask for about Changes. Each command finds the Change, checks the right, and hands the wish to the desk; the answer is the
Change as it is then. Who acts is who asks: an approval is given under no other name.

    comment, resolve              propose or review, on the repository
    approve, unapprove            review, on what the plan touches, and only where the approval would count
    merge, unmerge                merge, on the repository; whoever asked for a merge may take it back
    close, reopen, edit           the author, who may propose; anybody who may merge
    create                        propose, on every path that is changed
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

import msgspec

from trimtab.core.lifecycle.review import (
    Approved,
    Closed,
    Drafted,
    Edited,
    MergeAsked,
    MergeTakenBack,
    Reopened,
    Review,
    Unapproved,
)
from trimtab.core.lifecycle.unmet import missing
from trimtab.core.model.change import Change, Comment, Requirement, Stage
from trimtab.core.model.changeviews import ChangeView, CommentsView
from trimtab.core.model.errors import NotFound, Refused, UserError
from trimtab.core.model.rights import OPERATOR, Action, Resource
from trimtab.core.model.text import one_line
from trimtab.engine.engine import Engine
from trimtab.ports.hosting import HOSTED, Push, RefUpdate, Refuse
from trimtab.ports.people import Asker

from .answering import environment_plan, may_see, office_of, readable, somewhere
from .fitness import HEADS
from .messages import DESCRIPTION_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, without_trailers
from .receiving import LOOK_SECONDS_MAX
from .showing import view_of

LOOK_EVERY_SECONDS = 0.02
REASON_CHARACTERS_MAX = 500


class ChangeCommands:
    _engine: Engine

    async def create_change(
        self, repository: str, branch: str, target: str, title: str, description: str, draft: bool, asker: Asker
    ) -> ChangeView:
        """A Change from a branch that is there: judged as its push would be."""
        office, name = office_of(self._engine), repository.removeprefix(HOSTED)
        doing = f"propose {one_line(branch)} of {one_line(name)}"
        resource = Resource(repository=f"{HOSTED}{name}")
        if not asker.may(Action.READ, resource):
            raise NotFound(f"{doing}: there is no such repository", remedy="See: trimtab repository list")
        asker.require(doing, Action.PROPOSE, resource)
        head = (await office.hosting.refs(name, HEADS)).get(f"{HEADS}{branch}", "")
        if not head:
            raise NotFound(f"{doing}: there is no such branch", remedy=f"Push it: git push origin {one_line(branch)}")
        known = _from(office.desk.reviews.values(), name, branch)
        if known is not None:
            raise Refused(f"{doing}: change {known.change.number} comes from it", remedy="Push to the branch to go on with it")
        update = RefUpdate(f"{HEADS}{branch}", head, head)
        options = ("change", *([f"target={target}"] if target else []), *(["draft"] if draft else []))
        push = Push(f"create-{name}-{head}", name, asker.principal, (update,), options, office.hosting.history(name))
        verdict = await office.gate.judge(push)
        answer = verdict.answers[0]
        if isinstance(answer, Refuse):
            raise Refused(f"{doing}: {answer.message}", remedy="; ".join(line.strip() for line in verdict.lines))
        if not await office.hosting.update_refs(name, verdict.also):
            raise Refused(f"{doing}: it has moved just now", remedy="Ask again")
        await _heard(office.gate.received(push, (update, *verdict.also)))
        made = _from(office.desk.reviews.values(), name, branch)
        assert made is not None, "it was carried out"
        if title or description:
            wanted = _edited(made.change, title, description, asker)
            made = await office.desk.ask(made.change.number, wanted)
        return await self._shown(made)

    async def comment(
        self,
        number: int,
        text: str,
        thread: int,
        file: str,
        line: int,
        environment: str,
        object: str,  # noqa: A002
        asker: Asker,
    ) -> CommentsView:
        review = await readable(self._engine, number, asker)
        _may_talk(review, asker)
        said = Comment(0, 0, 0, asker.user, review.change.created, text, 0, file, line, environment, object)
        if not thread:
            said = self._placed(review, said)
        elif file or environment or object:
            raise UserError(f"comment on change {number}: an answer stands where its thread does", remedy="Leave the place out")
        return CommentsView(await office_of(self._engine).talk.say(review.change, said, answers=thread))

    async def resolve_thread(self, number: int, thread: int, resolved: bool, asker: Asker) -> CommentsView:
        review = await readable(self._engine, number, asker)
        _may_talk(review, asker)
        talk = office_of(self._engine).talk
        return CommentsView(await talk.resolve(review.change, thread, asker.user, resolved=resolved))

    async def approve_change(self, number: int, environment: str, hash: str, asker: Asker) -> ChangeView:  # noqa: A002
        """Of that very plan; "" is the content. Raises Refused where it would not count, with the reason."""
        office = office_of(self._engine)
        review = await readable(self._engine, number, asker)
        doing = f"approve change {number}"
        plan = next((one for one in review.plans if one.environment == environment), None)
        asker.require(doing, Action.REVIEW, *office.surroundings.resources(review.change, plan, environment))
        _would_count(review, environment, asker.user)
        shown = office.looker.shown.get(number)
        approved = await office.desk.ask(number, Approved(asker.user, environment, hash))
        known = plan is not None and plan.hash == hash and shown is not None and shown.candidate == review.candidate
        if known and plan is not None and shown is not None and may_see(office, review.change, plan, asker):
            await office.approved.keep(number, asker.user, environment_plan(review.change, plan, shown, asker))
        return await self._shown(approved)

    async def unapprove_change(self, number: int, environment: str, asker: Asker) -> ChangeView:
        """One's own approvals; ``environment`` "" is every one."""
        await readable(self._engine, number, asker)
        return await self._shown(await office_of(self._engine).desk.ask(number, Unapproved(asker.user, environment)))

    async def merge_change(self, number: int, asker: Asker) -> ChangeView:
        """As soon as nothing is missing; the answer tells whether that was at once."""
        review = await readable(self._engine, number, asker)
        asker.require(f"merge change {number}", Action.MERGE, Resource(repository=review.change.address))
        asked = self._engine.parts.clock.now()
        await office_of(self._engine).desk.ask(number, MergeAsked(asker.user))
        return await self._shown(await self._merged(number, asked))

    async def unmerge_change(self, number: int, asker: Asker) -> ChangeView:
        review = await readable(self._engine, number, asker)
        if review.wish is None:
            raise UserError(f"change {number}: nobody has asked for its merge", remedy=f"See: trimtab change show {number}")
        if review.wish.who != asker.user:
            asker.require(f"take back the merge of change {number}", Action.MERGE, Resource(repository=review.change.address))
        return await self._shown(await office_of(self._engine).desk.ask(number, MergeTakenBack(asker.user)))

    async def close_change(self, number: int, reason: str, asker: Asker) -> ChangeView:
        review = await readable(self._engine, number, asker)
        _may_change(f"close change {number}", review.change, asker)
        closed = Closed(asker.user, one_line(reason, characters_max=REASON_CHARACTERS_MAX))
        return await self._shown(await office_of(self._engine).desk.ask(number, closed))

    async def reopen_change(self, number: int, asker: Asker) -> ChangeView:
        review = await readable(self._engine, number, asker)
        change, desk = review.change, office_of(self._engine).desk
        _may_change(f"reopen change {number}", change, asker)
        other = _from(desk.reviews.values(), change.repository, change.source) if change.source else None
        if other is not None and other.change.number != number:
            raise Refused(
                f"reopen change {number}: change {other.change.number} comes from its branch now", remedy="Use that one"
            )
        desk.reviews.setdefault(number, review)  # one that ended before this server started
        return await self._shown(await desk.ask(number, Reopened(asker.user)))

    async def edit_change(self, number: int, title: str, description: str | None, draft: bool | None, asker: Asker) -> ChangeView:
        """ "" and None leave what is there."""
        review = await readable(self._engine, number, asker)
        desk = office_of(self._engine).desk
        _may_change(f"edit change {number}", review.change, asker)
        if not title and description is None and draft is None:
            raise UserError(f"edit change {number}: there is nothing to change", remedy="Give a title, a description, or draft")
        if title or description is not None:
            review = await desk.ask(number, _edited(review.change, title, description, asker))
        if draft is not None and draft != review.change.draft:
            review = await desk.ask(number, Drafted(draft, asker.user))
        return await self._shown(review)

    async def _shown(self, review: Review) -> ChangeView:
        return view_of(review, await office_of(self._engine).talk.of(review.change.number))

    async def _merged(self, number: int, asked: datetime) -> Review:
        """Once it is known whether it can be merged now, and when it can, once it is."""
        desk, clock = office_of(self._engine).desk, self._engine.parts.clock
        while True:
            review = desk.reviews[number]
            looked = review.looked is not None and review.looked >= asked and not review.merging
            if review.change.stage != Stage.OPEN or review.wish is None or (looked and missing(review)):
                return review
            if review.attempt or (clock.now() - asked).total_seconds() > LOOK_SECONDS_MAX:
                return review
            await clock.sleep(LOOK_EVERY_SECONDS)

    def _placed(self, review: Review, said: Comment) -> Comment:
        """A comment at a line or a step that is there. Raises UserError for a place that is not."""
        change, patch_set = review.change, review.change.patch_sets[-1].number
        doing = f"comment on change {change.number}"
        if said.file:
            history = office_of(self._engine).hosting.history(change.repository)
            bases = [review.candidate.base] if review.candidate is not None else []
            if not any(history.tree(one).entry(said.file) is not None for one in (change.head, *bases)):
                raise NotFound(
                    f"{doing}: there is no file {one_line(said.file)}", remedy=f"See: trimtab change diff {change.number}"
                )
            return msgspec.structs.replace(said, patch_set=patch_set)
        if said.environment or said.object:
            shown = office_of(self._engine).looker.shown.get(change.number)
            steps = {
                str(step.ref)
                for key, plan in (shown.plans.items() if shown is not None else ())
                if key.environment == said.environment
                for step in (*plan.steps, *(hold.step for hold in plan.holds if hold.step is not None))
            }
            if said.object not in {"", *steps} or said.environment not in {plan.environment for plan in review.plans}:
                raise NotFound(
                    f"{doing}: it has no step {one_line(said.object)} in {one_line(said.environment) or 'no environment'}",
                    remedy=f"See: trimtab change plan {change.number}",
                )
        return msgspec.structs.replace(said, patch_set=patch_set)


def _from(reviews: Any, repository: str, branch: str) -> Review | None:
    """The open Change that comes from ``branch``."""
    for review in reviews:
        change = review.change
        if change.stage == Stage.OPEN and (change.repository, change.source) == (repository, branch):
            found: Review = review
            return found
    return None


async def _heard(lines: AsyncIterator[str]) -> None:
    """To the end: what a terminal would be told is shown by the answer."""
    async with aclosing(lines) as said:  # type: ignore[type-var]
        async for _ in said:
            pass


def _may_talk(review: Review, asker: Asker) -> None:
    here = Resource(repository=review.change.address)
    if not asker.may(Action.PROPOSE, here) and not somewhere(Action.REVIEW, review, asker):
        asker.require(f"comment on change {review.change.number}", Action.REVIEW, here)


def _may_change(doing: str, change: Change, asker: Asker) -> None:
    here = Resource(repository=change.address)
    if not (change.author == asker.user and asker.may(Action.PROPOSE, here)):
        asker.require(doing, Action.MERGE, here)


def _would_count(review: Review, environment: str, who: str) -> None:
    """Raises Refused with the reason why nobody would count it."""
    asked = [one for one in review.requirements if one.environment == environment]
    if not asked or any(who in one.eligible for one in asked):
        return
    change = review.change
    doing = f"approve change {change.number}"
    if who == OPERATOR:
        raise Refused(f"{doing}: the key of the machine is nobody whose approval counts", remedy=_ask(asked))
    if who == change.author:
        raise Refused(f"{doing}: you have proposed it, and your own approval does not count", remedy=_ask(asked))
    if who == change.last_pusher:
        raise Refused(f"{doing}: you have pushed to it last, and your own approval does not count", remedy=_ask(asked))
    by = "; ".join(dict.fromkeys(one.by for one in asked))
    raise Refused(f"{doing}: your approval would not count: what is asked for is one by {by}", remedy=_ask(asked))


def _ask(asked: list[Requirement]) -> str:
    people = sorted({name for one in asked for name in one.eligible})
    more = " and others" if len(people) > 5 else ""
    return f"Ask {', '.join(people[:5])}{more}" if people else "Nobody can approve it as the rules are"


def _edited(change: Change, title: str, description: str | None, asker: Asker) -> Edited:
    title = one_line(title, characters_max=TITLE_CHARACTERS_MAX) or change.title
    text = change.description if description is None else without_trailers(description).strip()
    return Edited(title, text[:DESCRIPTION_CHARACTERS_MAX], asker.user)
