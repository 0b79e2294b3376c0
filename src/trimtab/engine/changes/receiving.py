"""What becomes of a push: which refs may move, and which Change it opens or updates.

    refs/heads/main (protected)   refused, with the command that works instead; an emergency push passes, loudly
    refs/for/main                 a Change: the ref that moves is refs/changes/12/1
    refs/heads/more               moves; with -o change, or where a Change comes from it, that Change gets a new patch set
    refs/tags/v1                  may be made by who may merge, and never moved or deleted
    everything else               refused

Whether it may be is asked of `fitness`, which Change is meant of `meaning`; what is owed until the refs have moved stands in `intents`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from trimtab.core.lifecycle.review import Review
from trimtab.core.model.names import Revision
from trimtab.core.model.rights import Action, Principal
from trimtab.core.model.text import one_line
from trimtab.engine.journal import Journal
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import Accept, Hosting, Push, Redirect, RefUpdate, Refuse, Verdict

from .desk import Desk
from .fitness import HEADS, Fitness
from .intents import Intent, Intents
from .meaning import Meaning
from .options import Options, options_of
from .surroundings import Surroundings
from .telling import tell

TAGS, FOR = "refs/tags/", "refs/for/"
LOOK_SECONDS_MAX = 30.0

Answer = tuple[Accept | Refuse | Redirect, Intent | None, list[str]]
"""The answer for one ref, what it means, and lines for the pusher."""


class Gate:
    """The `Receiver` of every hosted repository. ``number`` is the highest number of a Change so far, ``link`` makes an address of one."""

    def __init__(
        self,
        hosting: Hosting,
        desk: Desk,
        surroundings: Surroundings,
        journal: Journal,
        clock: Clock,
        *,
        number: int,
        link: str,
        emergency: Callable[[Revision], tuple[str, bytes]],
    ) -> None:
        """``emergency`` lets a Revision in past approvals, and returns the document that remembers it."""
        self._hosting, self._desk, self._surroundings, self._link = hosting, desk, surroundings, link
        self.intents = Intents(hosting, desk, journal, clock, number=number, emergency=emergency)
        self._fitness = Fitness(hosting, surroundings)
        self._meaning = Meaning(hosting, desk, self.intents, clock)
        self._pushed: dict[str, list[Intent]] = {}

    # --- before refs move ---------------------------------------------------------------------------------------------------

    async def judge(self, push: Push) -> Verdict:
        """Raises Refused for options that cannot be read, TransientError when an intent cannot be stored."""
        options = options_of(push.options)
        # A repository may have been made a moment ago, or got another default branch.
        self._surroundings.branches[push.repository] = (await self._hosting.get(push.repository)).default_branch
        await self.intents.settle()
        answers: list[Accept | Refuse | Redirect] = []
        intents: list[Intent] = []
        lines: list[str] = []
        for update in push.updates:
            answer, intent, said = await self._one(push, update, options)
            answers.append(answer)
            lines += said
            if intent is not None and not isinstance(answer, Refuse):
                intents.append(intent)
        if intents:
            self._pushed[push.id] = intents
            await self.intents.remember(intents)
        also = tuple(RefUpdate(one.kept, "", one.head) for one in intents if one.ref != one.kept)
        return Verdict(tuple(answers), also, tuple(dict.fromkeys(lines)))

    async def _one(self, push: Push, update: RefUpdate, options: Options) -> Answer:
        repository = push.repository
        if update.ref.startswith(FOR):
            return await self._proposal(push, update, options, update.ref.removeprefix(FOR), "")
        if update.ref.startswith(TAGS):
            return self._fitness.tag(push, update), None, []
        if not update.ref.startswith(HEADS):
            return Refuse("only branches, tags and refs/for/BRANCH can be pushed"), None, []
        branch = update.ref.removeprefix(HEADS)
        if self._surroundings.is_protected(repository, branch):
            return await self._protected(push, update, options, branch)
        if not update.new:
            denied = self._fitness.denied(push, Action.PROPOSE)
            return (Refuse(denied) if denied else Accept()), None, []
        source = self._meaning.coming_from(repository, branch)
        if options.change or source is not None:
            target = options.target or (source.change.target if source is not None else self._default(repository))
            return await self._proposal(push, update, options, target, branch)
        refused = await self._fitness.unfit(push, update, self._default(repository))
        return (Refuse(refused) if refused else Accept()), None, []

    async def _protected(self, push: Push, update: RefUpdate, options: Options, branch: str) -> Answer:
        if not update.old and update.new and branch == self._default(push.repository):
            denied = self._fitness.denied(push, Action.ADMINISTER)
            return (Refuse(denied) if denied else Accept()), None, []  # the first push: there is nothing to protect yet
        if not update.new:
            return Refuse(f"{branch} is protected and cannot be deleted"), None, []
        if update.old and not await push.history.contains(update.old, update.new):
            return Refuse(f"{branch} is protected: its history cannot be rewritten"), None, []
        if options.emergency:
            denied = self._fitness.denied(push, Action.EMERGENCY)
            denied = denied or await self._fitness.feigned(push, update)
            if denied:
                return Refuse(denied), None, []
            intent = await self._meaning.intent(push, update, options, branch, "", emergency=options.emergency)
            said = f"EMERGENCY: {branch} moves without review; change {intent.change} is opened for what comes after"
            return Accept(), intent, [said]
        if options.change:
            return await self._proposal(push, update, options, branch, "")
        return Refuse(f"{branch} is protected: propose a change instead"), None, list(_instead(branch))

    async def _proposal(self, push: Push, update: RefUpdate, options: Options, target: str, source: str) -> Answer:
        if not update.new:
            return Refuse("there is nothing to propose"), None, []
        heads = await self._hosting.refs(push.repository, HEADS)
        if HEADS + target not in heads:
            return Refuse(f"there is no branch {one_line(target, characters_max=100)} to change"), None, []
        if target == source:
            return Refuse("a branch cannot be merged into itself"), None, []
        refused = await self._fitness.unfit(push, update, target)
        if refused:
            return Refuse(refused), None, []
        if await push.history.contains(update.new, heads[HEADS + target]):
            return Refuse(f"{target} has all of this already"), None, []
        intent = await self._meaning.intent(push, update, options, target, source)
        if source:
            return Accept(), intent, []
        return Redirect(intent.kept), intent, []

    async def propose(self, repository: str, source: str, target: str, who: str) -> Review:
        """A Change from a branch that is there already, made by the server for ``who``; the one that comes from it, where there is one."""
        known = self._meaning.coming_from(repository, source)
        if known is not None:
            return known
        head = (await self._hosting.refs(repository, HEADS))[HEADS + source]
        update = RefUpdate(HEADS + source, "", head)
        push = Push(f"propose-{head}", repository, Principal(who), (update,), (), self._hosting.history(repository))
        intent = await self._meaning.intent(push, update, Options(change=True), target, source)
        await self.intents.remember([intent])
        await self._hosting.update_refs(repository, [RefUpdate(intent.kept, "", intent.head)])
        review = await self.intents.carry_out(intent)
        await self.intents.forget(intent)
        return review

    # --- after refs have moved ----------------------------------------------------------------------------------------------

    async def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        refs = {update.ref for update in moved}
        for intent in self._pushed.pop(push.id, []):
            if intent.kept in refs:
                review = await self.intents.carry_out(intent)
                yield f"change {review.change.number}: {one_line(review.change.title)}"
                yield f"  {self._link}{review.change.number}"
                review = await self._desk.settled(review.change.number, since=intent.time, seconds=LOOK_SECONDS_MAX)
                for line in tell(review):
                    yield line
            await self.intents.forget(intent)
        if any(ref.startswith(HEADS) for ref in refs):
            self._desk.target_moved(push.repository)

    def _default(self, repository: str) -> str:
        return self._surroundings.default_branch(repository)


def _instead(branch: str) -> Iterator[str]:
    yield f"{branch} moves by changes alone. To propose what you have:"
    yield f"    git push origin HEAD:refs/for/{branch}"
    yield "or, from a branch of its own:"
    yield "    git push -o change origin HEAD:refs/heads/MY-BRANCH"
