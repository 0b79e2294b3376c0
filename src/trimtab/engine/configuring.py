"""Reads the configuration where its head is, and lets it hold once it is on the record; also what it would be at a tree that nobody has merged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from trimtab.core.decide.configuration import ENDINGS, Adapters, configured, parse, zero_configuration
from trimtab.core.decide.elements import Ask, Seen, Unknown
from trimtab.core.decide.generators import Memory, leaving
from trimtab.core.decide.ignoring import as_before
from trimtab.core.decide.positions import pinned
from trimtab.core.decide.reading import Reading
from trimtab.core.model.config import Configuration, Environment
from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.event import Event
from trimtab.core.model.names import Key
from trimtab.ports.clock import Clock
from trimtab.ports.git import Repositories, Tree, TreeEntry
from trimtab.ports.judge import Judge
from trimtab.ports.renderer import Renderer
from trimtab.ports.store import Writes

from .generating import Generating
from .journal import Journal
from .sources import Place
from .vouching import Voucher
from .vouching import encode as encode_trust
from .world import World

CONFIGURATION_DIRECTORY = ".trimtab"
CONFIGURATION_FILE_BYTES_MAX = 1 << 20
CONFIGURATION_FILES_MAX = 20_000


class Configuring:
    def __init__(
        self,
        world: World,
        repositories: Repositories,
        renderer: Renderer,
        journal: Journal,
        clock: Clock,
        *,
        repository: str,
        adapters: Adapters | None,
        voucher: Voucher,
        judge: Judge | None,
        changed: Callable[[Iterable[Key]], None],
    ) -> None:
        """``repository`` is the configuration repository; ``changed`` hears of Keys that other rules hold for now."""
        self._world, self._repositories, self._renderer = world, repositories, renderer
        self._journal, self._clock = journal, clock
        self._repository, self._adapters = repository, adapters
        self._voucher, self._judge, self._changed = voucher, judge, changed
        self._generating = Generating(world, repositories, repository)
        self._memory = Memory()
        self._reading: Reading | None = None
        self._found: dict[Ask, Seen | Unknown] | None = None
        self._configuration_tree: str | None = None
        self._told_problems: tuple[str, ...] = ()

    @property
    def home(self) -> Place:
        """Where the configuration comes from: repository and revision expression ("" = its default branch)."""
        return (self._repository, "")

    @property
    def asked(self) -> frozenset[Place]:
        """What Generators look at."""
        return frozenset(self._generating.place(ask) for ask in self._found or ())

    def sequence(self) -> int:
        """The sequence of the configuration: of its own head, and of those that Generators look at."""
        asked = [self._world.heads.get(place) for place in self.asked]
        return max(head.sequence for head in (self._world.heads[self.home], *asked) if head is not None)

    async def look(self, moved: bool) -> None:
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
            # Until it is on the record no tree is the one that holds: the next head may have the one of before again (seed 825).
            self._reading, self._found, self._configuration_tree = _parsed(tree, self._adapters), None, None
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
        self._changed(self._respecified(configuration))
        if self._voucher.adopt(trust):
            self._changed(sorted(self._world.states))
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

    def environments(self) -> set[str]:
        """Those that Git declares: even where nothing is wanted any more, something of ours may be left."""
        return {
            name for name in self._world.configuration.environments if f"Environment/{name}" in self._world.configuration.origins
        }

    async def supposed(self, places: Collection[Place], tree: Tree) -> Configuration:
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
