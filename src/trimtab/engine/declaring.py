"""From heads that moved to content for Keys: reads the configuration, renders what a commit may have changed, and posts the result.

Cost follows what changed: an Application whose inputs a commit leaves alone costs a few dictionary look-ups, not a rendering.

All renderings of a move are done, and all claims of objects known, before any Key acts on it. So an object that moves from one
Application to another in one commit is seen to be wanted before anybody thinks of removing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from trimtab.core.decide.configuration import ENDINGS, Adapters, configured, parse, zero_configuration
from trimtab.core.decide.elements import Ask, Seen, Unknown
from trimtab.core.decide.generators import Memory, leaving
from trimtab.core.decide.ignoring import as_before
from trimtab.core.decide.joining import join
from trimtab.core.decide.limits import outside_of
from trimtab.core.decide.positions import pinned
from trimtab.core.decide.reading import Reading
from trimtab.core.lifecycle.state import Declared, Happening, Unrenderable
from trimtab.core.model.config import Chart, Configuration, Environment, Helm, Jsonnet
from trimtab.core.model.errors import Problem, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.names import Key, Revision
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories, Tree, TreeEntry
from trimtab.ports.judge import Judge
from trimtab.ports.renderer import Rendered, Renderer
from trimtab.ports.store import Writes

from .companions import Companions
from .following import Follower, Moved
from .generating import Generating
from .journal import Journal
from .looking import Hands
from .rebuilding import Rebuilding
from .sources import Part, Place, Wish, wish_of
from .vouching import Voucher
from .vouching import encode as encode_trust
from .world import GONE, Content, Head, Read, World

CONFIGURATION_DIRECTORY = ".trimtab"
CONFIGURATION_FILE_BYTES_MAX = 1 << 20
CONFIGURATION_FILES_MAX = 20_000
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
        self._renderer = renderer
        self._hands = hands
        self._rebuilding = Rebuilding(hands)
        self._journal = journal
        self._clock = clock
        self._repository = repository
        self._adapters = adapters
        self._judge = judge
        self._voucher = voucher
        self._post = post
        self._wake = wake
        self._wishes: dict[Key, Wish] = {}
        self._readers: dict[str, dict[str, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._read_paths: dict[Key, tuple[tuple[str, str], ...]] = {}
        self._again: dict[Key, None] = {}
        self._changed: dict[Key, None] = {}
        self._told: set[Key] = set()
        self._generating = Generating(world, repositories, repository)
        self._memory = Memory()
        self._reading: Reading | None = None
        self._found: dict[Ask, Seen | Unknown] | None = None
        self._configuration_tree: str | None = None
        self._told_problems: tuple[str, ...] = ()
        self.posted = 0
        self.follower: Follower | None = None
        self.companions = Companions(journal)

    @property
    def home(self) -> tuple[str, str]:
        """Where the configuration comes from: repository and revision expression ("" = its default branch)."""
        return (self._repository, "")

    # --- a move -------------------------------------------------------------------------------------------------------------

    async def moved(self, moves: list[Moved]) -> bool:
        """Heads moved: render what they changed and post it. True when something has to be tried again soon."""
        assert self.follower is not None
        await self._configure(any((move.repository, move.expression) == self.home for move in moves))
        wishes = {key: wish_of(key, one, placement, self._repository) for key, one, placement in self._world.declared()}
        asked = {self._generating.place(ask) for ask in self._found or ()}
        self.follower.follow({self.home, *asked}.union(*(wish.places for wish in wishes.values())))
        unanswered = await self._rebuilding.ask({key.environment for key in wishes} | self._environments())
        affected = await self._affected(wishes, moves)
        self._wishes = wishes
        await self._render(affected)
        await self._undeclare(wishes)
        self._carry(wishes, affected)
        for key in self._changed:
            self._wake(key)
        self._changed.clear()
        self.posted = max([self.posted, *(move.sequence for move in moves)])
        return bool(self._again) or unanswered

    async def stop(self) -> None:
        await self._rebuilding.stop()

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
        wish = self._wishes.get(key)
        return wish.first.repository if wish is not None else self._repository

    def has_several_sources(self, key: Key) -> bool:
        wish = self._wishes.get(key)
        return wish is not None and len(wish.parts) > 1

    def head_of(self, key: Key) -> Head | None:
        """The head that ``key`` follows; None for one that Git declares no more."""
        wish = self._wishes.get(key)
        return self._world.heads.get(wish.first.place) if wish is not None else None

    def again(self, key: Key) -> None:
        """Render ``key`` at the next look, whatever its inputs say."""
        self._again[key] = None

    def tries_again(self, key: Key) -> bool:
        """True while ``key`` is rendered anew without a commit, because what went wrong may pass."""
        return key in self._again

    async def _configure(self, moved: bool) -> None:
        """``moved``: the head of the configuration repository. Others may matter too, to Generators."""
        head = self._world.heads[self.home]
        if head.revision is None:
            return
        tree = self._repositories.tree(self._repository, head.revision)
        entry = tree.entry(CONFIGURATION_DIRECTORY) if moved else None
        if moved and entry is None:
            await self._unconfigured(tree)
            return
        if entry is not None and entry.id != self._configuration_tree:
            self._reading, self._found = _parsed(tree, self._adapters), None
        if self._reading is None:
            return
        found = self._generating.look(self._reading.asks())
        # A commit that leaves the configuration alone may still be the one that signs what an earlier one changed.
        if found == self._found and not (moved and self._voucher.problem):
            return
        before = self._world.configuration
        made = configured(self._reading, before, found=found, alive=self._world.alive(), memory=self._memory)
        await self._adopt(await self._examined(made, tree))
        # Only now: had it not been recorded, it would have to be read again.
        self._found = found
        self._configuration_tree = entry.id if entry is not None else self._configuration_tree

    async def _examined(self, configuration: Configuration, tree: Tree) -> Configuration:
        """With what is wrong with the programs in it. A document of which an ignore rule is wrong, and a Policy, says what it said before."""
        found = await self._judge.examine(configuration) if self._judge is not None else ()
        if not found:
            return configuration
        ignoring = {(one.file, one.line) for one in found if one.field.startswith(("spec.ignore", "spec.rule", "spec.timezone"))}
        wrong = {name for name, origin in configuration.origins.items() if (origin.file, origin.line) in ignoring}
        problems = [pinned(one, tree.read(one.file, bytes_max=CONFIGURATION_FILE_BYTES_MAX)) for one in found if one.file]
        return as_before(
            configuration, self._world.configuration, wrong, problems=sorted(problems, key=lambda one: (one.file, one.line))
        )

    async def _unconfigured(self, tree: Tree) -> None:
        self._reading, self._configuration_tree = None, None
        configuration = zero_configuration(await self._renderer.discover(tree))
        gone = leaving(self._world.configuration, {}, configuration.applications, self._world.alive())
        await self._adopt(msgspec.structs.replace(configuration, leaving=gone))

    async def _adopt(self, configuration: Configuration) -> None:
        """Store it with what is to be told about it, then let it hold."""
        now = self._clock.now()
        problems = tuple(str(problem) for problem in configuration.problems)
        events = []
        if problems != self._told_problems:
            kind = "configuration.failed" if problems else "configuration.recovered"
            message = "; ".join(problems[:5]) or "every document is right"
            revision = self._world.heads[self.home].revision or ""
            events.append(Event(kind, now, message, revision=revision, data={"problems": list(problems[:50])}))
        kept, accounts = self._kept_environments(configuration), self._world.accounts(configuration)
        documents: list[tuple[str, bytes | None]] = [("configuration", msgspec.json.encode(configuration))]
        documents += [(f"environment/{name}", msgspec.json.encode(environment)) for name, environment in kept.items()]
        if accounts != self._world.kept_accounts:
            documents.append(("accounts", msgspec.json.encode(accounts)))
        told = self._voucher.problem
        at = self._world.heads[self.home].revision
        assert at is not None, "its head moved"
        trust = await self._voucher.consider(configuration, self._repository, at)
        if self._voucher.problem and self._voucher.problem != told:
            events.append(Event("trust.kept", now, self._voucher.problem, revision=at))
        if trust != self._voucher.trust:
            documents.append(("trust", encode_trust(trust)))
        await self._journal.write(Writes(events=tuple(events), documents=tuple(documents)))
        self._changed |= dict.fromkeys(self._respecified(configuration))
        if self._voucher.adopt(trust):
            self._changed |= dict.fromkeys(sorted(self._world.states))
        self._world.configure(configuration)
        self._world.kept_environments, self._world.kept_accounts = kept, accounts
        self._told_problems = problems

    def _respecified(self, configuration: Configuration) -> Iterator[Key]:
        """Keys with other gates, other rules or another budget than before: what that means for them has to be looked at."""
        before = self._world.configuration
        for name, application in configuration.applications.items():
            project = application.spec.project
            limited = before.projects.get(project) == configuration.projects.get(project)
            for placement in application.spec.environments:
                same = limited and before.applications.get(name) == application
                if not same or before.environments.get(placement.name) != configuration.environments.get(placement.name):
                    yield Key(placement.name, name)

        for name in before.leaving.keys() | configuration.leaving.keys():
            if before.leaving.get(name) != configuration.leaving.get(name):
                yield from (key for key in self._world.states if key.application == name)

    def _kept_environments(self, configuration: Configuration) -> dict[str, Environment]:
        """Environments that hold objects of ours: their target must be known even when Git no longer declares them."""
        known = {**self._world.kept_environments, **self._world.configuration.environments, **configuration.environments}
        return {
            name: known[name]
            for name in sorted(known)
            if len(self._world.inventories[name]) or name in configuration.environments
        }

    def _environments(self) -> set[str]:
        """Those that Git declares: even where nothing is wanted any more, something of ours may be left."""
        return {
            name for name in self._world.configuration.environments if f"Environment/{name}" in self._world.configuration.origins
        }

    # --- which Keys ---------------------------------------------------------------------------------------------------------

    async def _affected(self, wishes: dict[Key, Wish], moves: list[Moved]) -> list[Key]:
        """The Keys to render: new, differently declared, to be tried again, or with an input that a move changed."""
        affected = dict.fromkeys(key for key, wish in wishes.items() if self._wishes.get(key) != wish or key in self._again)
        for move in moves:
            place = (move.repository, move.expression)
            followers = {key for key, wish in wishes.items() if place in wish.places}
            for key in sorted(await self._touched(move, followers)):
                affected[key] = None
        for key in await self._elsewise(wishes):
            affected[key] = None
        return list(affected)

    async def _elsewise(self, wishes: dict[Key, Wish]) -> list[Key]:
        """The Keys whose content depends on what their target can do, where that has changed."""
        found: list[Key] = []
        abilities: dict[str, str] = {}
        for key in sorted(wishes):
            content = self._newest(key)
            if content is None or not content.capabilities:
                continue
            if key.environment not in abilities:
                try:
                    abilities[key.environment] = digest(await self._hands.target(key.environment).capabilities())
                except TrimtabError as error:
                    log.warning("ask environment %s what it can do: %s", key.environment, error)
                    abilities[key.environment] = ""
            if abilities[key.environment] not in ("", content.capabilities):
                found.append(key)
        return found

    async def _touched(self, move: Moved, followers: set[Key]) -> set[Key]:
        if move.old is None:
            return followers
        paths = await self._repositories.changed_paths(move.repository, move.old, move.new)
        if paths is None:
            tree = self._repositories.tree(move.repository, move.new)
            return {key for key in followers if not self._current(key, (move.repository, move.expression), tree)}
        return self._readers_of(move.repository, paths) & followers

    def _readers_of(self, repository: str, paths: Iterable[str]) -> set[Key]:
        readers = self._readers[repository]
        touched: set[Key] = set()
        for path in paths:
            while True:
                touched |= readers.get(path, set())
                if not path:
                    break
                path = path.rpartition("/")[0]
        return touched

    def _current(self, key: Key, place: Place, tree: Tree) -> bool:
        content = self._newest(key)
        return content is not None and all(
            self._renderer.current(read.inputs, tree) for read in content.reads if read.place == place
        )

    def _newest(self, key: Key) -> Content | None:
        state = self._world.states.get(key)
        slot = (state.pending or state.current) if state is not None else None
        return self._world.contents[key].get(slot.digest) if slot is not None else None

    # --- a tree that nobody has merged: nothing of it is remembered -----------------------------------------------------------

    async def configuration_of(self, places: Collection[Place], tree: Tree) -> Configuration:
        """What would be declared, were ``tree`` the head at ``places``."""
        reading = self._reading
        if self.home in places:
            entry = tree.entry(CONFIGURATION_DIRECTORY)
            if entry is None:
                return zero_configuration(await self._renderer.discover(tree))
            if entry.id != self._configuration_tree:
                reading = _parsed(tree, self._adapters)
        if reading is None:
            return self._world.configuration
        found = self._generating.suppose(reading.asks(), places, tree)
        if reading is self._reading and found == self._found:
            return self._world.configuration
        made = configured(reading, self._world.configuration, found=found, alive=self._world.alive())
        return await self._examined(made, tree) if self.home in places else made

    def wishes_of(self, configuration: Configuration) -> dict[Key, Wish]:
        """What ``configuration`` asks to be rendered."""
        return {
            Key(placement.name, name): wish_of(Key(placement.name, name), application, placement, self._repository)
            for name, application in configuration.applications.items()
            for placement in application.spec.environments
        }

    def affected_by(
        self, wishes: Mapping[Key, Wish], places: Collection[Place], tree: Tree, paths: Collection[str] | None
    ) -> list[Key]:
        """The Keys of ``wishes`` whose content may be another, were ``tree`` the head at ``places``; ``paths`` are the files in which it
        differs from the one that is (None: any).
        """
        other = {key for key, wish in wishes.items() if self._wishes.get(key) != wish}
        followers = {key for key, wish in wishes.items() if not wish.places.isdisjoint(places)}
        if paths is not None:
            touched = {key for repository in {one for one, _ in places} for key in self._readers_of(repository, paths)}
        else:
            touched = {key for key in followers if any(not self._current(key, place, tree) for place in places)}
        return sorted(other | (followers & touched))

    async def foresee(self, key: Key, wish: Wish, places: Collection[Place], tree: Tree, configuration: Configuration) -> Content:
        """The content of ``key``, were ``tree`` the head at ``places``. Raises TrimtabError."""
        trees = [tree if part.place in places else self._head_tree(part) for part in wish.parts]
        if self._emptied(key, wish, trees[0]):
            return GONE
        return await self._joined(key, wish, trees, configuration)

    def undeclared_in(self, configuration: Configuration, wishes: Mapping[Key, Wish]) -> list[Key]:
        """The Keys that run now, and that ``configuration`` wants no more."""
        if not configuration.complete:
            return []
        doubtful = frozenset(configuration.doubtful)
        gone = self._wishes.keys() - wishes.keys()
        return sorted(key for key in gone if f"Application/{key.application}" not in doubtful)

    def _head_tree(self, part: Part) -> Tree:
        head = self._world.heads.get(part.place)
        if head is None or head.revision is None:
            raise TransientError(
                f"render {part.request.application}: {part.repository} has not been fetched",
                remedy="It is followed once the change is merged; merge the declaration of the source first",
            )
        return self._repositories.tree(part.repository, head.revision)

    # --- rendering ----------------------------------------------------------------------------------------------------------

    async def _render(self, keys: list[Key]) -> None:
        places = asyncio.Semaphore(RENDERS_AT_ONCE_MAX)
        happenings = await asyncio.gather(*(self._one(key, places) for key in keys))
        for key, happening in zip(keys, happenings, strict=True):
            if happening is not None:
                self._post(key, happening)

    async def _one(self, key: Key, places: asyncio.Semaphore) -> Happening | None:
        wish = self._wishes[key]
        heads = [self._world.heads[part.place] for part in wish.parts]
        missing = next((head for head in heads if head.revision is None), None)
        if missing is not None:
            self._world.problems[key] = (Problem(missing.problem or "not fetched yet", remedy=missing.remedy),)
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
        self._world.problems.pop(key, None)
        self._offer(key, content, sequence)
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

    def _sequence(self, heads: list[Head]) -> int:
        """What is wanted follows from the content at the heads and from the configuration: the latest of them counts."""
        return max(self._declared_at(), *(head.sequence for head in heads))

    def _declared_at(self) -> int:
        """The sequence of the configuration: of its own head, and of those that Generators look at."""
        asked = [self._world.heads.get(self._generating.place(ask)) for ask in self._found or ()]
        return max(head.sequence for head in (self._world.heads[self.home], *asked) if head is not None)

    def _unrenderable(self, key: Key, wish: Wish, revision: Revision, sequence: int, error: TrimtabError) -> Unrenderable:
        self._world.problems[key] = error.problems
        if isinstance(error, TransientError):
            self._again[key] = None
        else:
            self._again.pop(key, None)
            self._reads(key, _declared_paths(wish), keep=True)
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
        if self._emptied(key, wish, trees[0]):
            self._reads(key, _declared_paths(wish), keep=True)
            return GONE
        content = await self._joined(key, wish, trees, self._world.configuration)
        self._reads(key, tuple((read.repository, path) for read in content.reads for path, _ in read.inputs))
        return content

    async def _joined(self, key: Key, wish: Wish, trees: list[Tree], configuration: Configuration) -> Content:
        """What the sources come to at ``trees``, one for each. Raises TrimtabError."""
        named = {part.request.source.name: tree for part, tree in zip(wish.parts, trees, strict=True) if part.request.source.name}
        parts = [(part, await self._render_part(key, part, tree, named)) for part, tree in zip(wish.parts, trees, strict=True)]
        manifests, twice = join((_called(part, index), one.manifests) for index, (part, one) in enumerate(parts, start=1))
        if twice:
            raise UserError(f"render {key}: {twice[0]}", problems=twice)
        application = configuration.applications.get(key.application)
        project = configuration.projects.get(application.spec.project) if application is not None else None
        problems = outside_of(project, manifests)
        if problems:
            raise UserError(f"render {key}: {problems[0]}", problems=problems)
        return _content_of(parts, manifests)

    async def _render_part(self, key: Key, part: Part, tree: Tree, named: dict[str, Tree]) -> Rendered:
        if not part.is_rendered:
            return Rendered((), (), digest([]))
        others = {name: other for name, other in named.items() if name != part.request.source.name}
        target = self._hands.target
        return await self._renderer.render(
            part.request, tree, others=others, capabilities=lambda: target(key.environment).capabilities()
        )

    def _emptied(self, key: Key, wish: Wish, tree: Tree) -> bool:
        """Git keeps no empty directory: when the last file goes, the path goes. Where something ran from it that is an empty
        rendering, for the removal budget to judge; where nothing did, it is a wrong path, for the renderer to report.
        """
        state = self._world.states.get(key)
        path = wish.first.request.path.strip("/")
        if state is None or state.current is None or path in ("", ".") or tree.entry(path) is not None or len(wish.parts) > 1:
            return False
        if state.current.digest == GONE.digest:
            return True
        try:
            ran_from = self._repositories.tree(wish.first.repository, Revision(state.current.revision))
        except UserError:
            return False
        return ran_from.entry(path) is not None

    def _reads(self, key: Key, paths: tuple[tuple[str, str], ...], *, keep: bool = False) -> None:
        """Remember which paths, each of a repository, lead to ``key``. A failed rendering keeps (``keep``) the ones that the last good
        one had.
        """
        before = self._read_paths.get(key, ())
        for repository, path in before:
            self._readers[repository][path].discard(key)
        if keep:
            paths = (*before, *paths)
        paths = tuple(dict.fromkeys((repository, "" if path == "." else path.strip("/")) for repository, path in paths))
        for repository, path in paths:
            self._readers[repository][path].add(key)
        self._read_paths[key] = paths

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
            self._world.problems.pop(key, None)
            self._again.pop(key, None)
            state = self._world.states.get(key)
            if state is not None and state.undeclared and GONE.digest in self._world.contents[key]:
                if self._voucher.carried(key, GONE.digest, self._commits(None)):
                    self._wake(key)
                continue
            self._offer(key, GONE, self._declared_at())
            assert head.revision is not None
            self._voucher.carried(key, GONE.digest, self._commits(None))
            self._post(key, Declared(head.revision, self._declared_at(), GONE.digest, undeclared=True))


def _declared_paths(wish: Wish) -> tuple[tuple[str, str], ...]:
    """Where a correction may come: in the directories that are named, and, with charts and files elsewhere, anywhere in the rest."""
    return tuple((part.repository, part.request.path if _stands_alone(wish, part) else "") for part in wish.parts)


def _stands_alone(wish: Wish, part: Part) -> bool:
    """True when nothing outside its directory can matter."""
    source = part.request.source
    return len(wish.parts) == 1 and (source.chart, source.helm, source.jsonnet) == (Chart(), Helm(), Jsonnet())


def _called(part: Part, number: int) -> str:
    return part.request.source.name or str(number)


def _content_of(parts: list[tuple[Part, Rendered]], manifests: tuple[Manifest, ...]) -> Content:
    places = {part.request.source.name: part.place for part, _ in parts if part.request.source.name}
    inputs: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for part, rendered in parts:
        inputs[part.place].update(rendered.inputs)
        for name, path, object_id in rendered.elsewhere:
            inputs[places[name]][path] = object_id
    whole = parts[0][1].digest if len(parts) == 1 else digest(sorted([*one.identity, one.digest] for one in manifests))
    capabilities = next((rendered.capabilities for _, rendered in parts if rendered.capabilities), "")
    return Content(whole, manifests, tuple(Read(*place, tuple(found.items())) for place, found in inputs.items()), capabilities)


def _parsed(tree: Tree, adapters: Adapters | None) -> Reading:
    """The documents in ``tree``; what cannot even be fetched from it is a Problem like any other."""
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for entry in tree.walk(CONFIGURATION_DIRECTORY):
        if not entry.path.endswith(ENDINGS):
            continue
        try:
            files[entry.path] = _content(tree, entry, len(files))
        except UserError as error:
            # No reader accepts a NUL, so all that the file declared before stays, and nothing counts as gone.
            files[entry.path] = b"\0"
            problems.append(Problem(error.message, entry.path, remedy=error.remedy))
    reading = parse(files, adapters=adapters)
    unread = {problem.file for problem in problems}
    reading.problems = [*problems, *(problem for problem in reading.problems if problem.file not in unread)]
    return reading


def _content(tree: Tree, entry: TreeEntry, files: int) -> bytes:
    if files >= CONFIGURATION_FILES_MAX:
        raise UserError(f"there are more than {CONFIGURATION_FILES_MAX} files of configuration", remedy="Use fewer, larger files")
    if entry.type != "blob":
        raise UserError(f"this is a {entry.type}, not a file", remedy="Put the file itself there")
    return tree.read(entry.path, bytes_max=CONFIGURATION_FILE_BYTES_MAX)
