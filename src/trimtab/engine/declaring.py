"""From heads that moved to content for Keys: reads the configuration, renders what a commit may have changed, and posts the result.

Cost follows what changed: an Application whose inputs a commit leaves alone costs a few dictionary look-ups, not a rendering.

All renderings of a move are done, and all claims of objects known, before any Key acts on it. So an object that moves from one
Application to another in one commit is seen to be wanted before anybody thinks of removing it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from trimtab.core.decide.configuration import ENDINGS, Adapters, read, zero_configuration
from trimtab.core.decide.limits import outside_of
from trimtab.core.lifecycle.state import Declared, Happening, Unrenderable
from trimtab.core.model.config import Application, Configuration, Environment, Placement
from trimtab.core.model.errors import Problem, TransientError, TrimtabError, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key, Revision
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories, Tree, TreeEntry
from trimtab.ports.renderer import Renderer, RenderRequest
from trimtab.ports.store import Writes

from .following import Follower, Moved
from .journal import Journal
from .looking import Hands
from .world import GONE, Content, Head, World

CONFIGURATION_DIRECTORY = ".trimtab"
CONFIGURATION_FILE_BYTES_MAX = 1 << 20
CONFIGURATION_FILES_MAX = 20_000
RENDERS_AT_ONCE_MAX = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wish:
    """What to render for a Key: when it is unchanged and so are its inputs, so is the content."""

    repository: str
    expression: str
    request: RenderRequest


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
        post: Callable[[Key, Happening], None],
        wake: Callable[[Key], None],
    ) -> None:
        """``repository`` is the configuration repository."""
        self._world = world
        self._repositories = repositories
        self._renderer = renderer
        self._hands = hands
        self._journal = journal
        self._clock = clock
        self._repository = repository
        self._adapters = adapters
        self._post = post
        self._wake = wake
        self._wishes: dict[Key, Wish] = {}
        self._readers: dict[str, dict[str, set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._read_paths: dict[Key, tuple[str, tuple[str, ...]]] = {}
        self._again: dict[Key, None] = {}
        self._changed: dict[Key, None] = {}
        self._told: set[Key] = set()
        self._configuration_tree: str | None = None
        self._told_problems: tuple[str, ...] = ()
        self.posted = 0
        self.follower: Follower | None = None

    @property
    def home(self) -> tuple[str, str]:
        """Where the configuration comes from: repository and revision expression ("" = its default branch)."""
        return (self._repository, "")

    # --- a move -------------------------------------------------------------------------------------------------------------

    async def moved(self, moves: list[Moved]) -> bool:
        """Heads moved: render what they changed and post it. True when something has to be tried again soon."""
        assert self.follower is not None
        if any((move.repository, move.expression) == self.home for move in moves):
            await self._configure()
        wishes = {key: self._wish(key, application, placement) for key, application, placement in self._world.declared()}
        self.follower.follow({self.home, *((wish.repository, wish.expression) for wish in wishes.values())})
        await self._rebuild({key.environment for key in wishes} | self._environments())
        affected = await self._affected(wishes, moves)
        self._wishes = wishes
        await self._render(affected)
        await self._undeclare(wishes)
        for key in self._changed:
            self._wake(key)
        self._changed.clear()
        self.posted = max([self.posted, *(move.sequence for move in moves)])
        return bool(self._again)

    def repository_of(self, key: Key) -> str:
        """Where the content of ``key`` comes from."""
        wish = self._wishes.get(key)
        return wish.repository if wish is not None else self._repository

    def head_of(self, key: Key) -> Head | None:
        """The head that ``key`` follows; None for one that Git declares no more."""
        wish = self._wishes.get(key)
        return self._world.heads.get((wish.repository, wish.expression)) if wish is not None else None

    def again(self, key: Key) -> None:
        """Render ``key`` at the next look, whatever its inputs say."""
        self._again[key] = None

    def tries_again(self, key: Key) -> bool:
        """True while ``key`` is rendered anew without a commit, because what went wrong may pass."""
        return key in self._again

    async def _configure(self) -> None:
        head = self._world.heads[self.home]
        assert head.revision is not None, "its head moved"
        tree = self._repositories.tree(self._repository, head.revision)
        entry = tree.entry(CONFIGURATION_DIRECTORY)
        if entry is None:
            configuration = zero_configuration(await self._renderer.discover(tree))
        elif entry.id == self._configuration_tree:
            return
        else:
            configuration = _read(tree, self._world.configuration, self._adapters)
        await self._adopt(configuration)
        # Only now: had it not been recorded, it would have to be read again.
        self._configuration_tree = entry.id if entry is not None else None

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
        kept = self._kept_environments(configuration)
        documents: list[tuple[str, bytes | None]] = [("configuration", msgspec.json.encode(configuration))]
        documents += [(f"environment/{name}", msgspec.json.encode(environment)) for name, environment in kept.items()]
        await self._journal.write(Writes(events=tuple(events), documents=tuple(documents)))
        self._changed |= dict.fromkeys(self._respecified(configuration))
        self._world.configure(configuration)
        self._world.kept_environments = kept
        self._told_problems = problems

    def _respecified(self, configuration: Configuration) -> Iterator[Key]:
        """Keys with other gates, other rules or another budget than before: what that means for them has to be looked at."""
        before = self._world.configuration
        for name, application in configuration.applications.items():
            for placement in application.spec.environments:
                same = before.applications.get(name) == application
                if not same or before.environments.get(placement.name) != configuration.environments.get(placement.name):
                    yield Key(placement.name, name)

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

    async def _rebuild(self, environments: Iterable[str]) -> None:
        for environment in sorted(environments):
            try:
                await self._hands.rebuild(environment)
            except TrimtabError as error:
                log.warning("look at environment %s: %s", environment, error)

    # --- which Keys ---------------------------------------------------------------------------------------------------------

    def _wish(self, key: Key, application: Application, placement: Placement) -> Wish:
        source = application.spec.source
        request = RenderRequest(key.application, key.environment, placement.path or source.path, source.renderer)
        return Wish(source.repository or self._repository, placement.revision or source.revision, request)

    async def _affected(self, wishes: dict[Key, Wish], moves: list[Moved]) -> list[Key]:
        """The Keys to render: new, differently declared, to be tried again, or with an input that a move changed."""
        affected = dict.fromkeys(key for key, wish in wishes.items() if self._wishes.get(key) != wish or key in self._again)
        for move in moves:
            followers = {
                key for key, wish in wishes.items() if (wish.repository, wish.expression) == (move.repository, move.expression)
            }
            for key in sorted(await self._touched(move, followers)):
                affected[key] = None
        return list(affected)

    async def _touched(self, move: Moved, followers: set[Key]) -> set[Key]:
        if move.old is None:
            return followers
        paths = await self._repositories.changed_paths(move.repository, move.old, move.new)
        if paths is None:
            tree = self._repositories.tree(move.repository, move.new)
            return {key for key in followers if not self._current(key, tree)}
        readers = self._readers[move.repository]
        touched: set[Key] = set()
        for path in paths:
            while True:
                touched |= readers.get(path, set())
                if not path:
                    break
                path = path.rpartition("/")[0]
        return touched & followers

    def _current(self, key: Key, tree: Tree) -> bool:
        state = self._world.states.get(key)
        slot = (state.pending or state.current) if state is not None else None
        content = self._world.contents[key].get(slot.digest) if slot is not None else None
        return content is not None and self._renderer.current(content.inputs, tree)

    # --- rendering ----------------------------------------------------------------------------------------------------------

    async def _render(self, keys: list[Key]) -> None:
        places = asyncio.Semaphore(RENDERS_AT_ONCE_MAX)
        happenings = await asyncio.gather(*(self._one(key, places) for key in keys))
        for key, happening in zip(keys, happenings, strict=True):
            if happening is not None:
                self._post(key, happening)

    async def _one(self, key: Key, places: asyncio.Semaphore) -> Happening | None:
        wish = self._wishes[key]
        head = self._world.heads[wish.repository, wish.expression]
        if head.revision is None:
            self._world.problems[key] = (Problem(head.problem or "not fetched yet", remedy=head.remedy),)
            self._again[key] = None
            return None
        async with places:
            try:
                self._expect(wish.repository, head.revision)
                await self._restore(key, wish, head)
                content = await self._content(key, wish, head.revision)
            except TrimtabError as error:
                return self._unrenderable(key, wish, head, error)
        self._again.pop(key, None)
        self._world.problems.pop(key, None)
        self._offer(key, content, self._sequence(head))
        return Declared(head.revision, self._sequence(head), content.digest, first=self._first(key))

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

    def _sequence(self, head: Head) -> int:
        """What is wanted follows from the content at ``head`` and from the configuration: the later of the two counts."""
        return max(head.sequence, self._world.heads[self.home].sequence)

    def _unrenderable(self, key: Key, wish: Wish, head: Head, error: TrimtabError) -> Unrenderable:
        assert head.revision is not None
        self._world.problems[key] = error.problems
        if isinstance(error, TransientError):
            self._again[key] = None
        else:
            self._again.pop(key, None)
            self._reads(key, wish.repository, (wish.request.path,), keep=True)
        return Unrenderable(head.revision, self._sequence(head), str(error.problems[0]), first=self._first(key))

    async def _restore(self, key: Key, wish: Wish, head: Head) -> None:
        """After a restart: what is current may be of an older Revision than the head; render it again, mostly from the cache.

        Raises TransientError when that has to be tried again: until then nobody knows what all of the environment wants.
        """
        state = self._world.states.get(key)
        current = state.current if state is not None else None
        if current is None or current.digest in self._world.contents[key] or current.revision == head.revision:
            return
        try:
            content = GONE if current.digest == GONE.digest else await self._content(key, wish, current.revision)
        except UserError as error:
            log.warning("render %s at %s, which runs: %s", key, current.revision[:12], error)
            return
        self._world.restore(key, content)

    async def _content(self, key: Key, wish: Wish, revision: str) -> Content:
        tree = self._repositories.tree(wish.repository, Revision(revision))
        if self._emptied(key, wish, tree):
            self._reads(key, wish.repository, (wish.request.path,), keep=True)
            return GONE
        rendered = await self._renderer.render(wish.request, tree)
        found = self._world.application(key)
        project = self._world.configuration.projects.get(found[0].spec.project) if found else None
        problems = outside_of(project, rendered.manifests)
        if problems:
            raise UserError(f"render {key}: {problems[0]}", problems=problems)
        self._reads(key, wish.repository, tuple(path for path, _ in rendered.inputs))
        return Content(rendered.digest, rendered.manifests, rendered.inputs)

    def _emptied(self, key: Key, wish: Wish, tree: Tree) -> bool:
        """Git keeps no empty directory: when the last file goes, the path goes. Where something ran from it that is an empty
        rendering, for the removal budget to judge; where nothing did, it is a wrong path, for the renderer to report.
        """
        state = self._world.states.get(key)
        path = wish.request.path.strip("/")
        if state is None or state.current is None or path in ("", ".") or tree.entry(path) is not None:
            return False
        if state.current.digest == GONE.digest:
            return True
        try:
            ran_from = self._repositories.tree(wish.repository, Revision(state.current.revision))
        except UserError:
            return False
        return ran_from.entry(path) is not None

    def _reads(self, key: Key, repository: str, paths: tuple[str, ...], *, keep: bool = False) -> None:
        """Remember which paths lead to ``key``. A failed rendering keeps (``keep``) the ones that the last good one had."""
        before_repository, before = self._read_paths.get(key, ("", ()))
        for path in before:
            self._readers[before_repository][path].discard(key)
        if keep and before_repository == repository:
            paths = (*before, *paths)
        paths = tuple(dict.fromkeys("" if path == "." else path.strip("/") for path in paths))
        for path in paths:
            self._readers[repository][path].add(key)
        self._read_paths[key] = (repository, paths)

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
                continue
            self._offer(key, GONE, head.sequence)
            assert head.revision is not None
            self._post(key, Declared(head.revision, head.sequence, GONE.digest, undeclared=True))


def _read(tree: Tree, before: Configuration, adapters: Adapters | None) -> Configuration:
    """The configuration in ``tree``; what cannot even be fetched from it is a Problem like any other."""
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
    read_well = read(files, before, adapters=adapters)
    if not problems:
        return read_well
    unread = {problem.file for problem in problems}
    others = (problem for problem in read_well.problems if problem.file not in unread)
    return msgspec.structs.replace(read_well, problems=(*problems, *others))


def _content(tree: Tree, entry: TreeEntry, files: int) -> bytes:
    if files >= CONFIGURATION_FILES_MAX:
        raise UserError(f"there are more than {CONFIGURATION_FILES_MAX} files of configuration", remedy="Use fewer, larger files")
    if entry.type != "blob":
        raise UserError(f"this is a {entry.type}, not a file", remedy="Put the file itself there")
    return tree.read(entry.path, bytes_max=CONFIGURATION_FILE_BYTES_MAX)
