"""What becomes of a push: which refs may move, and which Change it opens or updates.

    refs/heads/main (protected)   refused, with the command that works instead; an emergency push passes, loudly
    refs/for/main                 a Change: the ref that moves is refs/changes/12/1
    refs/heads/more               moves; with -o change, or where a Change comes from it, that Change gets a new patch set
    refs/tags/v1                  may be made by who may merge, and never moved or deleted
    everything else               refused

What a push means is written down before its refs move (an *intent*), and is owed until it is carried out: by whoever moved the refs, or,
where that one crashed, failed or never came back, by the next who looks. The refs tell whether they moved.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from trimtab.core.decide.rights import may
from trimtab.core.lifecycle.change import opened
from trimtab.core.lifecycle.review import Pushed, Review
from trimtab.core.model.change import Change, PatchSet, Stage
from trimtab.core.model.errors import Refused
from trimtab.core.model.event import Event
from trimtab.core.model.names import Revision
from trimtab.core.model.rights import Action, Denied, Principal, Resource
from trimtab.core.model.text import one_line
from trimtab.engine.journal import Journal
from trimtab.ports.clock import Clock
from trimtab.ports.hosting import HOSTED, Accept, Commit, Hosting, Push, Redirect, RefUpdate, Refuse, Verdict
from trimtab.ports.store import Writes

from .desk import Desk
from .messages import proposed, reserved_in
from .options import Options, options_of
from .surroundings import Surroundings
from .telling import tell

HEADS, TAGS, FOR, CHANGES = "refs/heads/", "refs/tags/", "refs/for/", "refs/changes/"
NEW_COMMITS_MAX = 1_000
LOOK_SECONDS_MAX = 30.0
INTENT = "intent/"
PATHS_CHECKED_MAX = 10_000
OWED_SECONDS_MAX = 3_600.0
"""A push whose refs have not moved for so long will not move them any more."""


class Intent(msgspec.Struct, frozen=True):
    """What a push will have meant once ``ref`` is at ``head``: patch set ``patch_set`` of ``change``, or, for an emergency, a new head."""

    change: int
    patch_set: int
    repository: str
    target: str
    source: str
    ref: str
    head: Revision
    who: str
    time: datetime
    title: str = ""
    description: str = ""
    draft: bool = False
    emergency: str = ""


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
        self._hosting, self._desk, self._surroundings = hosting, desk, surroundings
        self._journal, self._clock = journal, clock
        self._number, self._link, self._emergency = number, link, emergency
        self._intents: dict[str, list[Intent]] = {}
        self._owed: dict[str, Intent] = {}
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- before refs move ---------------------------------------------------------------------------------------------------

    async def judge(self, push: Push) -> Verdict:
        """Raises Refused for options that cannot be read, TransientError when an intent cannot be stored."""
        options = options_of(push.options)
        # A repository may have been made a moment ago, or got another default branch.
        self._surroundings.branches[push.repository] = (await self._hosting.get(push.repository)).default_branch
        await self.settle()
        answers: list[Accept | Refuse | Redirect] = []
        intents: list[Intent] = []
        lines: list[str] = []
        for update in push.updates:
            answer, intent, said = await self._one(push, update, options)
            answers.append(answer)
            lines += said
            if intent is not None and not isinstance(answer, Refuse):
                intents.append(intent)
        await self._remember(push, intents)
        also = tuple(RefUpdate(_kept(one), "", one.head) for one in intents if one.ref != _kept(one))
        return Verdict(tuple(answers), also, tuple(dict.fromkeys(lines)))

    async def _one(
        self, push: Push, update: RefUpdate, options: Options
    ) -> tuple[Accept | Refuse | Redirect, Intent | None, list[str]]:
        """The answer for one ref, what it means, and lines for the pusher."""
        repository, who = push.repository, _principal(push)
        if update.ref.startswith(FOR):
            return await self._proposal(push, update, options, update.ref.removeprefix(FOR), "")
        if update.ref.startswith(TAGS):
            return self._tag(push, update), None, []
        if not update.ref.startswith(HEADS):
            return Refuse("only branches, tags and refs/for/BRANCH can be pushed"), None, []
        branch = update.ref.removeprefix(HEADS)
        if self._surroundings.is_protected(repository, branch):
            return await self._protected(push, update, options, branch)
        if not update.new:
            denied = self._denied(who, Action.PROPOSE, Resource(repository=f"{HOSTED}{repository}"))
            return (Refuse(denied) if denied else Accept()), None, []
        source = self._from(repository, branch)
        if options.change or source is not None:
            target = options.target or (source.change.target if source is not None else self._default(repository))
            return await self._proposal(push, update, options, target, branch)
        refused = await self._unfit(push, update, self._default(repository))
        return (Refuse(refused) if refused else Accept()), None, []

    async def _protected(
        self, push: Push, update: RefUpdate, options: Options, branch: str
    ) -> tuple[Accept | Refuse | Redirect, Intent | None, list[str]]:
        repository, who = push.repository, _principal(push)
        if not update.old and update.new and branch == self._default(repository):
            denied = self._denied(who, Action.ADMINISTER, Resource(repository=f"{HOSTED}{repository}"))
            return (Refuse(denied) if denied else Accept()), None, []  # the first push: there is nothing to protect yet
        if not update.new:
            return Refuse(f"{branch} is protected and cannot be deleted"), None, []
        if update.old and not await push.history.contains(update.old, update.new):
            return Refuse(f"{branch} is protected: its history cannot be rewritten"), None, []
        if options.emergency:
            denied = self._denied(who, Action.EMERGENCY, Resource(repository=f"{HOSTED}{repository}"))
            denied = denied or await self._feigned(push, update)
            if denied:
                return Refuse(denied), None, []
            intent = await self._intent(push, update, options, branch, "", emergency=options.emergency)
            return (
                Accept(),
                intent,
                [f"EMERGENCY: {branch} moves without review; change {intent.change} is opened for what comes after"],
            )
        if options.change:
            return await self._proposal(push, update, options, branch, "")
        return Refuse(f"{branch} is protected: propose a change instead"), None, list(_instead(branch))

    async def _proposal(
        self, push: Push, update: RefUpdate, options: Options, target: str, source: str
    ) -> tuple[Accept | Refuse | Redirect, Intent | None, list[str]]:
        if not update.new:
            return Refuse("there is nothing to propose"), None, []
        heads = await self._hosting.refs(push.repository, HEADS)
        if HEADS + target not in heads:
            return Refuse(f"there is no branch {one_line(target, characters_max=100)} to change"), None, []
        if target == source:
            return Refuse("a branch cannot be merged into itself"), None, []
        refused = await self._unfit(push, update, target)
        if refused:
            return Refuse(refused), None, []
        if await push.history.contains(update.new, heads[HEADS + target]):
            return Refuse(f"{target} has all of this already"), None, []
        intent = await self._intent(push, update, options, target, source)
        if source:
            return Accept(), intent, []
        return Redirect(_kept(intent)), intent, []

    def _tag(self, push: Push, update: RefUpdate) -> Accept | Refuse:
        if update.old:
            return Refuse("a tag is never moved or deleted: what it stands for may be running; make a new one")
        denied = self._denied(_principal(push), Action.MERGE, Resource(repository=f"{HOSTED}{push.repository}"))
        return Refuse(denied) if denied else Accept()

    async def _feigned(self, push: Push, update: RefUpdate) -> str:
        """Why new commits could be taken for merges of ours, or cannot be told from them."""
        heads = await self._hosting.refs(push.repository, HEADS)
        commits = await push.history.log(update.new, without=tuple(heads.values()), commits_max=NEW_COMMITS_MAX + 1)
        if len(commits) > NEW_COMMITS_MAX:
            return f"more than {NEW_COMMITS_MAX} new commits at once"
        wrong = next((commit for commit in commits if reserved_in(commit.message)), None)
        if wrong is None:
            return ""
        return f"commit {wrong.revision[:12]} has a line such as `Change:` or `Approved-by:`, which only merges have"

    async def _unfit(self, push: Push, update: RefUpdate, target: str) -> str:
        """Why the pusher may not propose this: a path that they have no right to, or a message that only merges may have."""
        feigned = await self._feigned(push, update)
        if feigned:
            return feigned
        heads = await self._hosting.refs(push.repository, HEADS)
        base = await push.history.base(heads[HEADS + target], update.new) if HEADS + target in heads else None
        paths = await push.history.changed_paths(base or "", update.new, paths_max=PATHS_CHECKED_MAX)
        return self._denied_path(push, paths)

    def _denied_path(self, push: Push, paths: frozenset[str] | None) -> str:
        who, people = _principal(push), self._surroundings.people
        for path in sorted(paths) if paths else [""]:
            found = may(who, Action.PROPOSE, Resource(repository=f"{HOSTED}{push.repository}", path=path), people)
            if isinstance(found, Denied):
                return one_line(f"{found.reason}. {found.remedy}")
        return ""

    def _denied(self, who: Principal, action: Action, resource: Resource) -> str:
        found = may(who, action, resource, self._surroundings.people)
        return one_line(f"{found.reason}. {found.remedy}") if isinstance(found, Denied) else ""

    # --- intents ------------------------------------------------------------------------------------------------------------

    async def _intent(
        self, push: Push, update: RefUpdate, options: Options, target: str, source: str, *, emergency: str = ""
    ) -> Intent:
        before = await self._updates(push, update, options, target, source) if not emergency else None
        if before is not None:
            change, patch_set = before.change.number, before.change.patch_sets[-1].number + 1
            if before.change.head == update.new:
                patch_set -= 1
        else:
            self._number += 1
            change, patch_set = self._number, 1
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
            _principal(push).user,
            self._clock.now(),
            options.title or title,
            options.description or description,
            options.draft,
            emergency,
        )
        return msgspec.structs.replace(intent, ref=update.ref if source or emergency else _kept(intent))

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
            return self._from(push.repository, source)
        who = _principal(push).user
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

    def _from(self, repository: str, branch: str) -> Review | None:
        """The open Change that comes from ``branch``."""
        for review in self._desk.reviews.values():
            change = review.change
            if change.stage == Stage.OPEN and (change.repository, change.source) == (repository, branch):
                return review
        return None

    async def _remember(self, push: Push, intents: list[Intent]) -> None:
        if not intents:
            return
        self._intents[push.id] = intents
        self._owed.update((_document(one), one) for one in intents)
        documents = tuple((_document(one), msgspec.json.encode(one)) for one in intents)
        await self._journal.write(Writes(documents=documents))

    async def restore(self, documents: dict[str, bytes]) -> None:
        """At the start: what was owed then is owed still, and no number is given twice."""
        for repository in await self._hosting.list():
            for ref in await self._hosting.refs(repository.name, CHANGES):
                number = ref.removeprefix(CHANGES).partition("/")[0]
                self._number = max(self._number, int(number) if number.isdecimal() else 0)
        owed = {name: msgspec.json.decode(body, type=Intent) for name, body in documents.items() if name.startswith(INTENT)}
        self._number = max([self._number, *(intent.change for intent in owed.values())])
        self._owed.update(owed)
        await self.settle()

    @property
    def owes(self) -> bool:
        return bool(self._owed)

    async def settle(self) -> None:
        """Carry out what refs have moved for, and forget what they will not move for any more."""
        for _, intent in sorted(self._owed.items(), key=lambda item: (item[1].change, item[1].patch_set)):
            refs = await self._hosting.refs(intent.repository, CHANGES)
            if refs.get(_kept(intent)) == intent.head:
                await self._carry_out(intent)
                await self._forget(intent)
            elif self._clock.now() - intent.time > timedelta(seconds=OWED_SECONDS_MAX):
                await self._forget(intent)

    async def propose(self, repository: str, source: str, target: str, who: str) -> Review:
        """A Change from a branch that is there already, made by the server for ``who``; the one that comes from it, where there is one."""
        known = self._from(repository, source)
        if known is not None:
            return known
        head = (await self._hosting.refs(repository, HEADS))[HEADS + source]
        update = RefUpdate(HEADS + source, "", head)
        push = Push(f"propose-{head}", repository, Principal(who), (update,), (), self._hosting.history(repository))
        intent = await self._intent(push, update, Options(change=True), target, source)
        await self._remember(push, [intent])
        await self._hosting.update_refs(repository, [RefUpdate(_kept(intent), "", intent.head)])
        review = await self._carry_out(intent)
        self._intents.pop(push.id, None)
        await self._forget(intent)
        return review

    # --- after refs have moved ----------------------------------------------------------------------------------------------

    async def received(self, push: Push, moved: tuple[RefUpdate, ...]) -> AsyncIterator[str]:
        refs = {update.ref for update in moved}
        intents = self._intents.pop(push.id, [])
        for intent in intents:
            if _kept(intent) in refs:
                review = await self._carry_out(intent)
                yield f"change {review.change.number}: {one_line(review.change.title)}"
                yield f"  {self._link}{review.change.number}"
                review = await self._desk.settled(review.change.number, since=intent.time, seconds=LOOK_SECONDS_MAX)
                for line in tell(review):
                    yield line
            await self._forget(intent)
        if any(ref.startswith(HEADS) for ref in refs):
            self._desk.target_moved(push.repository)

    async def _carry_out(self, intent: Intent) -> Review:
        """Once, whoever comes to it. Raises TransientError when it cannot be stored."""
        async with self._turns[intent.change]:
            known = self._desk.reviews.get(intent.change)
            if known is None:
                known = await self._journal.store.review(intent.change)
                if known is None:
                    return await self._begin(intent)
                if known.change.stage != Stage.OPEN:
                    return known
                known = self._desk.take_up(known)
            return await self._go_on(known, intent)

    async def _go_on(self, known: Review, intent: Intent) -> Review:
        if known.change.patch_sets[-1].number >= intent.patch_set:
            return known
        try:
            return await self._desk.ask(intent.change, Pushed(intent.head, intent.who))
        except Refused:
            return self._desk.reviews[intent.change]  # it has ended meanwhile

    async def _begin(self, intent: Intent) -> Review:
        patch_set = PatchSet(1, intent.head, intent.who, intent.time)
        change = Change(
            intent.change,
            intent.repository,
            intent.target,
            intent.source,
            intent.title or f"Change {intent.change}",
            intent.who,
            (patch_set,),
            intent.time,
            intent.description,
            intent.draft,
            emergency=intent.emergency,
        )
        decision = opened(change, self._clock.now())
        if intent.emergency:
            await self._journal.write(Writes(documents=(self._emergency(intent.head),)))
            decision = msgspec.structs.replace(decision, events=(*decision.events, _alarm(intent)))
        return await self._desk.begin(decision)

    async def _forget(self, intent: Intent) -> None:
        self._owed.pop(_document(intent), None)
        await self._journal.write(Writes(documents=((_document(intent), None),)))

    def _default(self, repository: str) -> str:
        return self._surroundings.default_branch(repository)


def _kept(intent: Intent) -> str:
    """Where a patch set stays, whatever becomes of its branch."""
    return f"{CHANGES}{intent.change}/{intent.patch_set}"


def _document(intent: Intent) -> str:
    return f"{INTENT}{intent.change}/{intent.patch_set}"


def _principal(push: Push) -> Principal:
    assert isinstance(push.principal, Principal), "the entrance makes them"
    return push.principal


def _messages(commits: list[Commit], push: Push, update: RefUpdate) -> Iterator[str]:
    if not commits:
        yield push.history.commit(update.new).message
    for commit in reversed(commits):
        if len(commit.parents) < 2 or len(commits) == 1:
            yield commit.message


def _instead(branch: str) -> Iterator[str]:
    yield f"{branch} moves by changes alone. To propose what you have:"
    yield f"    git push origin HEAD:refs/for/{branch}"
    yield "or, from a branch of its own:"
    yield "    git push -o change origin HEAD:refs/heads/MY-BRANCH"


def _alarm(intent: Intent) -> Event:
    return Event(
        "change.emergency",
        intent.time,
        f"EMERGENCY: {intent.who} pushed {intent.head[:12]} to {intent.target} past review: {intent.emergency}",
        revision=intent.head,
        data={"change": intent.change, "repository": intent.repository, "who": intent.who, "reason": intent.emergency},
    )
