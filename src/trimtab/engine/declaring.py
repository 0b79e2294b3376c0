"""From heads that moved to content for Keys: reads the configuration, renders what a commit may have changed, and posts the result.

Cost follows what changed: an Application whose inputs a commit leaves alone costs a few dictionary look-ups, not a rendering.

All renderings of a move are done, and all claims of objects known, before any Key acts on it. So an object that moves from one
Application to another in one commit is seen to be wanted before anybody thinks of removing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator

from trimtab.core.decide.configuration import Adapters
from trimtab.core.lifecycle.state import Declared, Happening, Unrenderable
from trimtab.core.model.config import Configuration
from trimtab.core.model.errors import Problem, TransientError, TrimtabError, UserError
from trimtab.core.model.manifest import digest
from trimtab.core.model.names import Key, Revision
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories, Tree
from trimtab.ports.judge import Judge
from trimtab.ports.renderer import Renderer

from .abilities import Abilities
from .companions import Companions
from .configuring import Configuring
from .contents import Contents, declared_paths
from .following import Follower, Moved
from .journal import Journal
from .looking import Hands
from .readers import Readers
from .rebuilding import Rebuilding
from .sources import Place, Wish, wish_of
from .vouching import Voucher
from .world import GONE, Content, Head, World

RENDERS_AT_ONCE_MAX = 8

log = logging.getLogger(__name__)


class Declarer:
    def __init__(
        self,
        world: World,
        repositories: Repositories,
        renderer: Renderer,
        hands: Hands,
        journal: Journal,
        clock: Clock,
        *,
        repository: str,
        adapters: Adapters | None,
        voucher: Voucher,
        judge: Judge | None = None,
        post: Callable[[Key, Happening], None],
        wake: Callable[[Key], None],
    ) -> None:
        """``repository`` is the configuration repository."""
        self._world = world
        self._repositories = repositories
        self._rebuilding = Rebuilding(hands)
        self._repository = repository
        self._voucher = voucher
        self._post = post
        self._wake = wake
        self.configuring = Configuring(
            world,
            repositories,
            renderer,
            journal,
            clock,
            repository=repository,
            adapters=adapters,
            voucher=voucher,
            judge=judge,
            changed=lambda keys: self._changed.update(dict.fromkeys(keys)),
        )
        self.abilities = Abilities(hands)
        self.contents = Contents(world, repositories, renderer, self.abilities)
        self.readers = Readers()
        self.wishes: dict[Key, Wish] = {}
        self._read: Configuration | None = None
        self._followers: defaultdict[Place, set[Key]] = defaultdict(set)
        self._environments: set[str] = set()
        self._capable: set[Key] = set()
        """Keys whose content depends on what their target can do."""
        self._renderer = renderer
        self._again: dict[Key, None] = {}
        self._changed: dict[Key, None] = {}
        self._told: set[Key] = set()
        self.posted = 0
        self.follower: Follower | None = None
        self.companions = Companions(journal)

    @property
    def home(self) -> Place:
        """Where the configuration comes from."""
        return self.configuring.home

    # --- a move -------------------------------------------------------------------------------------------------------------

    async def moved(self, moves: list[Moved]) -> bool:
        """Heads moved: render what they changed and post it. True when something has to be tried again soon."""
        assert self.follower is not None
        await self.configuring.look(any((move.repository, move.expression) == self.home for move in moves))
        wishes = self._wanted()
        self.follower.follow({self.home, *self.configuring.asked, *self._followers})
        self._rebuilding.begin(self._environments)
        affected = await self._affected(wishes, moves)
        self.wishes, self._read = wishes, self._world.configuration
        rendered = await self._render(affected)
        # Before anybody acts on what was rendered: what the record has lost is owned all the same.
        unanswered = await self._rebuilding.ask(self._environments)
        for key, happening in rendered:
            self._post(key, happening)
        await self._undeclare(wishes)
        self._carry(wishes, affected)
        for key in self._changed:
            self._wake(key)
        self._changed.clear()
        self.posted = max([self.posted, *(move.sequence for move in moves)])
        return bool(self._again) or unanswered

    async def stop(self) -> None:
        await self._rebuilding.stop()
        await self.abilities.stop()

    def _wanted(self) -> dict[Key, Wish]:
        """What the configuration asks for. The same value for as long as it is the same configuration: a commit that leaves it alone must
        not cost what all Applications together do.
        """
        if self._world.configuration is self._read:
            return self.wishes
        wishes = {key: wish_of(key, one, placement, self._repository) for key, one, placement in self._world.declared()}
        self._followers = defaultdict(set)
        for key, wish in wishes.items():
            for place in wish.places:
                self._followers[place].add(key)
        self._environments = {key.environment for key in wishes} | self.configuring.environments()
        return wishes

    def _carry(self, wishes: dict[Key, Wish], rendered: list[Key]) -> None:
        """The heads that left an Application alone carry its content too: one of them may have the signature that it waits for."""
        if not self._voucher.trust.rules:
            return
        for key in sorted(wishes.keys() - set(rendered)):
            offer, content = self._world.offers.get(key), self._newest(key)
            digest = offer.digest if offer is not None else content.digest if content is not None else ""
            if digest and self._voucher.carried(key, digest, self._commits(wishes[key])):
                self._wake(key)

    def _commits(self, wish: Wish | None) -> Iterator[tuple[str, Revision]]:
        """The heads of everything that content of ``wish`` is made from; of the configuration alone when nothing is wanted."""
        places = {self.home, *(wish.places if wish is not None else ())}
        for place in sorted(places):
            revision = self._world.heads[place].revision
            if revision is not None:
                yield place[0], revision

    def repository_of(self, key: Key) -> str:
        """Where the content of ``key`` comes from: of several sources, the first."""
        wish = self.wishes.get(key)
        return wish.first.repository if wish is not None else self._repository

    def has_several_sources(self, key: Key) -> bool:
        wish = self.wishes.get(key)
        return wish is not None and len(wish.parts) > 1

    def head_of(self, key: Key) -> Head | None:
        """The head that ``key`` follows; None for one that Git declares no more."""
        wish = self.wishes.get(key)
        return self._world.heads.get(wish.first.place) if wish is not None else None

    def again(self, key: Key) -> None:
        """Render ``key`` at the next look, whatever its inputs say."""
        self._again[key] = None

    def tries_again(self, key: Key) -> bool:
        """True while ``key`` is rendered anew without a commit, because what went wrong may pass."""
        return key in self._again

    # --- which Keys ---------------------------------------------------------------------------------------------------------

    async def _affected(self, wishes: dict[Key, Wish], moves: list[Moved]) -> list[Key]:
        """The Keys to render: new, differently declared, to be tried again, or with an input that a move changed."""
        other = {key for key, wish in wishes.items() if self.wishes.get(key) != wish} if wishes is not self.wishes else set[Key]()
        affected = dict.fromkeys(sorted(other | (self._again.keys() & wishes.keys())))
        for move in moves:
            followers = self._followers.get((move.repository, move.expression), set())
            for key in sorted(await self._touched(move, followers)):
                affected[key] = None
        for key in await self._elsewise(wishes):
            affected[key] = None
        return list(affected)

    async def _elsewise(self, wishes: dict[Key, Wish]) -> list[Key]:
        """The Keys whose content depends on what their target can do, where that has changed."""
        capable = {
            key: content for key in self._capable & wishes.keys() if (content := self._newest(key)) and content.capabilities
        }
        answers = await self.abilities.of_all(key.environment for key in capable)
        now = {environment: digest(answer) for environment, answer in answers.items()}
        return sorted(
            key for key, content in capable.items() if now.get(key.environment, content.capabilities) != content.capabilities
        )

    async def _touched(self, move: Moved, followers: set[Key]) -> set[Key]:
        if move.old is None:
            return followers
        paths = await self._repositories.changed_paths(move.repository, move.old, move.new)
        if paths is None:
            tree = self._repositories.tree(move.repository, move.new)
            return {key for key in followers if not self.current(key, (move.repository, move.expression), tree)}
        return self.readers.of(move.repository, paths) & followers

    def current(self, key: Key, place: Place, tree: Tree) -> bool:
        content = self._newest(key)
        return content is not None and all(
            self._renderer.current(read.inputs, tree) for read in content.reads if read.place == place
        )

    def _newest(self, key: Key) -> Content | None:
        state = self._world.states.get(key)
        slot = (state.pending or state.current) if state is not None else None
        return self._world.contents[key].get(slot.digest) if slot is not None else None

    # --- rendering ----------------------------------------------------------------------------------------------------------

    async def _render(self, keys: list[Key]) -> list[tuple[Key, Happening]]:
        places = asyncio.Semaphore(RENDERS_AT_ONCE_MAX)
        happenings = await asyncio.gather(*(self._one(key, places) for key in keys))
        return [(key, happening) for key, happening in zip(keys, happenings, strict=True) if happening is not None]

    async def _one(self, key: Key, places: asyncio.Semaphore) -> Happening | None:
        wish = self.wishes[key]
        heads = [self._world.heads[part.place] for part in wish.parts]
        missing = next((head for head in heads if head.revision is None), None)
        if missing is not None:
            self._world.problems[key] = (Problem(missing.problem or "not fetched yet", remedy=missing.remedy),)
            self._world.failed_at.pop(key, None)
            self._again[key] = None
            return None
        head = heads[0]
        assert head.revision is not None
        sequence = self._sequence(heads)
        commits = tuple(self._commits(wish))
        async with places:
            try:
                for part, one in zip(wish.parts, heads, strict=True):
                    assert one.revision is not None, "none is missing"
                    self._expect(part.repository, one.revision)
                await self._restore(key, wish, head)
                now = tuple(str(one.revision) for one in heads[1:])
                content = await self._content(key, wish, head.revision, now)
                await self.companions.keep(key, content.digest, now, self._used(key))
            except TrimtabError as error:
                return self._unrenderable(key, wish, head.revision, sequence, error)
        self._again.pop(key, None)
        if self._world.problems.pop(key, None):
            self._changed.update(dict.fromkeys(self._world.waiting))  # now it is known what it wants
        self._offer(key, content, sequence)
        (self._capable.add if content.capabilities else self._capable.discard)(key)
        self._voucher.carried(key, content.digest, commits)
        return Declared(head.revision, sequence, content.digest, first=self._first(key))

    def _expect(self, repository: str, revision: Revision) -> None:
        """Raises TransientError for a commit that only another machine has seen so far: this one's mirror may yet get it."""
        try:
            self._repositories.tree(repository, revision)
        except UserError as error:
            raise TransientError(error.message, remedy=error.remedy) from error

    def _first(self, key: Key) -> bool:
        first = key not in self._told
        self._told.add(key)
        return first

    def _offer(self, key: Key, content: Content, sequence: int) -> None:
        """Who waits for an object that ``key`` wants no more may have it now."""
        released = self._world.offer(key, content, sequence)
        for application in sorted(self._world.claimants(key.environment, released) - {key.application}):
            self._changed[Key(key.environment, application)] = None
        for other in self._world.waiting_for([*released, *content.identities]):
            self._changed[other] = None

    def _sequence(self, heads: list[Head]) -> int:
        """What is wanted follows from the content at the heads and from the configuration: the latest of them counts."""
        return max(self.configuring.sequence(), *(head.sequence for head in heads))

    def _unrenderable(self, key: Key, wish: Wish, revision: Revision, sequence: int, error: TrimtabError) -> Unrenderable:
        self._world.problems[key] = error.problems
        self._world.failed_at[key] = sequence
        if isinstance(error, TransientError):
            self._again[key] = None
        else:
            self._again.pop(key, None)
            self.readers.remember(key, declared_paths(wish), keep=True)
        return Unrenderable(revision, sequence, str(error.problems[0]), first=self._first(key))

    async def _restore(self, key: Key, wish: Wish, head: Head) -> None:
        """After a restart: what is current may be of an older Revision than the head; render it again, mostly from the cache.

        Raises TransientError when that has to be tried again: until then nobody knows what all of the environment wants.
        """
        state = self._world.states.get(key)
        current = state.current if state is not None else None
        if current is None or current.digest in self._world.contents[key]:
            return
        others = tuple(str(self._world.heads[part.place].revision) for part in wish.parts[1:])
        before = self.companions.of(key, current.digest)
        then = before if len(before) == len(others) else others
        if (current.revision, then) == (head.revision, others):
            return
        try:
            content = GONE if current.digest == GONE.digest else await self._content(key, wish, current.revision, then)
        except UserError as error:
            log.warning("render %s at %s, which runs: %s", key, current.revision[:12], error)
            return
        self._world.restore(key, content)

    def _used(self, key: Key) -> set[str]:
        """The digests of what runs and of what waits to."""
        state = self._world.states.get(key)
        slots = (state.current, state.pending) if state is not None else ()
        return {slot.digest for slot in slots if slot is not None}

    async def _content(self, key: Key, wish: Wish, revision: str, others: tuple[str, ...]) -> Content:
        """The first source at ``revision``, the others at theirs."""
        at = zip(wish.parts, (revision, *others), strict=True)
        trees = [self._repositories.tree(part.repository, Revision(each)) for part, each in at]
        if self.contents.emptied(key, wish, trees[0]):
            self.readers.remember(key, declared_paths(wish), keep=True)
            return GONE
        content = await self.contents.joined(key, wish, trees, self._world.configuration)
        self.readers.remember(key, tuple((read.repository, path) for read in content.reads for path, _ in read.inputs))
        return content

    # --- no longer declared -------------------------------------------------------------------------------------------------

    async def _undeclare(self, wishes: dict[Key, Wish]) -> None:
        """What Git declares no more is wanted no more, unless some of Git could not be read: then nobody knows."""
        if not self._world.configuration.complete or self._world.heads[self.home].revision is None:
            return
        owners = {
            Key(name, application) for name, owned in self._world.inventories.items() for application in owned.applications()
        }
        head = self._world.heads[self.home]
        for key in sorted((owners | self._world.states.keys()) - wishes.keys()):
            if f"Application/{key.application}" in self._world.configuration.doubtful:
                continue
            if self._world.problems.pop(key, None):
                self._changed.update(dict.fromkeys(self._world.waiting))
            self._again.pop(key, None)
            state = self._world.states.get(key)
            if state is not None and state.undeclared and GONE.digest in self._world.contents[key]:
                if self._voucher.carried(key, GONE.digest, self._commits(None)):
                    self._wake(key)
                continue
            self._offer(key, GONE, self.configuring.sequence())
            assert head.revision is not None
            self._voucher.carried(key, GONE.digest, self._commits(None))
            self._post(key, Declared(head.revision, self.configuring.sequence(), GONE.digest, undeclared=True))
