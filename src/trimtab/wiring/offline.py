"""Rendering and planning without a server: what stands in a directory now, committed or not, and what it would change.

The directory is taken as a Revision that nobody has committed: its files are written to a throw-away repository, which the same
code reads that reads any other. PATH is the root of a repository (all of its Applications), the directory of an Application that
its configuration declares, or any directory of manifests (an Application by the directory's name).
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from trimtab.core.decide.configuration import ENDINGS, configured, parse, zero_configuration
from trimtab.core.decide.hooks import Hooked, Occasion, main_of, phases_at
from trimtab.core.decide.joining import digest_of, join
from trimtab.core.decide.limits import mandate, sourced_elsewhere
from trimtab.core.decide.mask import mask, masked_plan
from trimtab.core.decide.plan import Situation, plan
from trimtab.core.decide.positions import pinned
from trimtab.core.lifecycle.occasion import occasion
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.config import DEFAULT_ENVIRONMENT, Configuration, Environment, Metadata, Project
from trimtab.core.model.errors import Problem, Refused, TrimtabError, UserError
from trimtab.core.model.inventory import Entry, Inventory
from trimtab.core.model.limits import DEFAULT
from trimtab.core.model.mandate import Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef, Revision
from trimtab.core.model.observed import Observed, Scope
from trimtab.core.model.plan import Action, Plan, Step
from trimtab.core.model.rendering import DETECTED, RenderSettings
from trimtab.core.model.views import DoctorView, Finding, ManifestView, PlanView, ProblemView, RenderView, combined_hash
from trimtab.engine.generating import look_here
from trimtab.engine.hooking import parted
from trimtab.engine.leaving import left_of
from trimtab.engine.looking import denied_by, freshest
from trimtab.engine.neighbours import Neighbours
from trimtab.engine.sources import Part, Wish, wish_of
from trimtab.engine.workers import state_document
from trimtab.engine.world import Content, World
from trimtab.git.repositories import GitRepositories
from trimtab.plumbing.clock import SystemChance, SystemClock
from trimtab.ports.git import Tree
from trimtab.ports.renderer import Capabilities, RenderRequest, nothing_special
from trimtab.ports.target import Target, Targets
from trimtab.render.renderer import TreeRenderer
from trimtab.store.peek import documents
from trimtab.targets.host.target import HostTargets

from .adapters import SETTINGS, ByKind
from .data import RECORD, kept
from .judge import SandboxJudge
from .rendering import unserved

CONFIGURATION_DIRECTORY = ".trimtab"
FILE_BYTES_MAX = 1 << 20
SNAPSHOT_SECONDS_MAX = 120.0


@dataclass(frozen=True)
class Rendering:
    """What one Application comes to in one Environment, or what is wrong with it."""

    key: Key
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Reading:
    """All that PATH declares, rendered."""

    configuration: Configuration
    renderings: tuple[Rendering, ...]

    def claims(self, environment: str) -> dict[Identity, frozenset[str]]:
        """Which Applications of an Environment want an object."""
        claims: dict[Identity, set[str]] = {}
        for one in self.renderings:
            if one.key.environment == environment:
                for manifest in one.manifests:
                    claims.setdefault(manifest.identity, set()).add(one.key.application)
        return {identity: frozenset(names) for identity, names in claims.items()}

    def doubts(self, environment: str) -> tuple[str, ...]:
        """Why an object that no rendering shows may still be wanted."""
        failed = [one.key for one in self.renderings if one.problems and one.key.environment == environment]
        return tuple(f"application {key.application} fails to render" for key in failed)

    def world(self, installation: str) -> World:
        """As if all of it were the newest content, and nothing had run yet."""
        made = World(installation)
        made.configure(self.configuration)
        for one in self.renderings:
            if one.problems:
                made.problems[one.key] = one.problems
            else:
                made.offer(one.key, Content("here", one.manifests), 1)
        return made

    def in_use(self, environment: str) -> dict[str, tuple[ObjectRef, ...]]:
        """The objects that Applications want in an Environment, by the account that would act on them; "" is always among them."""
        found: dict[str, list[ObjectRef]] = {"": []}
        for one in self.renderings:
            if one.key.environment == environment:
                application = self.configuration.applications.get(one.key.application)
                project = self.configuration.projects.get(application.spec.project) if application else None
                account = mandate(application, project).account
                found.setdefault(account, []).extend(manifest.ref for manifest in one.manifests)
        return {account: tuple(refs) for account, refs in found.items()}

    @property
    def problems(self) -> list[Problem]:
        return [*self.configuration.problems, *(problem for one in self.renderings for problem in one.problems)]


def offline_render(path: str, environment: str = "", settings: RenderSettings = DETECTED) -> RenderView:
    """The Manifests of PATH, in ``environment`` ("" = in every one that is declared). Raises UserError for a path that is none."""
    reading = asyncio.run(_read(Path(path), environment, settings))
    return RenderView(
        [ManifestView.of(manifest, mask(manifest.body)) for one in reading.renderings for manifest in one.manifests],
        [ProblemView.of(problem) for problem in reading.problems],
    )


def offline_plan(path: str, environment: str = "", data: str = "", settings: RenderSettings = DETECTED) -> PlanView:
    """What applying PATH would change on the target whose data directory is ``data`` ("" = on an empty one)."""
    return asyncio.run(_plan(Path(path), environment, Path(data).expanduser().resolve() if data else None, settings))


def offline_doctor(path: str, environment: str = "", data: str = "") -> DoctorView:
    """Whether the targets of PATH can be worked on: all of them, or that of ``environment``."""
    return asyncio.run(_doctor(Path(path), environment, Path(data).expanduser().resolve() if data else None))


async def _doctor(path: Path, environment: str, data: Path | None) -> DoctorView:
    findings: list[Finding] = []
    async with snapshot(path) as shot:
        place = data or shot.scratch / "empty"
        async with _targets(place, kept(place / "installation") or "none", shot.repositories) as targets:
            reading = await _reading(shot, environment, None, DETECTED)
            for name in sorted({one.key.environment for one in reading.renderings} | ({environment} if environment else set())):
                findings += await _examine(name, reading, targets)
    wrong = [Finding("configuration", "failed", str(problem), problem.remedy) for problem in reading.problems]
    return DoctorView([*wrong, *findings])


async def _examine(environment: str, reading: Reading, targets: Targets) -> list[Finding]:
    found: list[Finding] = []
    try:
        for account, refs in reading.in_use(environment).items():
            target = targets.get(environment, _environment(reading.configuration, environment), Mandate(account))
            found += await target.check(refs)
    except TrimtabError as error:
        return [Finding(f"environment {environment}", "failed", error.message, error.remedy)]
    answers = Finding(f"environment {environment}", "ok", "answers")
    return [answers, *(msgspec.structs.replace(one, check=f"environment {environment}: {one.check}") for one in found)]


async def _read(path: Path, environment: str, settings: RenderSettings) -> Reading:
    async with snapshot(path) as shot:
        return await _reading(shot, environment, None, settings)


async def _plan(path: Path, environment: str, data: Path | None, settings: RenderSettings) -> PlanView:
    async with snapshot(path) as shot:
        plans: list[Plan] = []
        place = data or shot.scratch / "empty"
        installation = kept(place / "installation") or "none"
        async with _targets(place, installation, shot.repositories) as targets:
            reading = await _reading(shot, environment, targets, settings)
            problems, world = reading.problems, reading.world(installation)
            recorded = _recorded(place / RECORD, [one.key for one in reading.renderings])
            await _locate(reading, targets)
            planning = _Planning(reading, targets, installation, shot.tree, problems)
            for one in reading.renderings:
                if not one.problems:
                    neighbours = Neighbours(world, one.key, partial(_target, reading, targets))
                    try:
                        plans += await _plan_of(one, planning, neighbours, recorded[one.key])
                    except (UserError, Refused) as error:  # which the next one need not share
                        problems += [problem for problem in error.problems if problem not in problems]
    return PlanView.of(plans, problems, combined=combined_hash(plans))


def _recorded(record: Path, keys: Sequence[Key]) -> dict[Key, Reconciliation]:
    """What a server has on its record about ``keys``, where there is one that may be read."""
    found = documents(record, [state_document(key) for key in keys])
    states = {}
    for key in keys:
        body = found.get(state_document(key))
        try:
            states[key] = msgspec.json.decode(body, type=Reconciliation) if body is not None else Reconciliation()
        except msgspec.DecodeError:
            states[key] = Reconciliation()
    return states


@asynccontextmanager
async def _targets(data: Path, installation: str, repositories: GitRepositories) -> AsyncIterator[Targets]:
    """Every adapter, for looking only: nothing is started on this machine, and a cluster is asked and not changed."""
    async with AsyncExitStack() as stack:
        host = HostTargets(data, installation=installation, contents=repositories, clock=SystemClock(), chance=SystemChance())
        await host.open()

        def clusters() -> Targets:
            from trimtab.targets.kubernetes.target import KubernetesTargets

            made = KubernetesTargets(installation=installation, clock=SystemClock(), chance=SystemChance())
            stack.push_async_callback(made.close)
            return made

        yield ByKind({"host": lambda: host, "kubernetes": clusters})


async def _locate(reading: Reading, targets: Targets) -> None:
    """Ask each Environment which place it is at, where there are several. One that does not answer could be any."""
    environments = sorted({one.key.environment for one in reading.renderings})
    for name in environments if len(environments) > 1 else ():
        with suppress(TrimtabError):
            await _target(reading, targets, name).observe(Scope(name, ()))


def _target(reading: Reading, targets: Targets, environment: str) -> Target:
    return targets.get(environment, _environment(reading.configuration, environment))


@dataclass
class _Planning:
    """What the plans of one PATH have in common; what an Environment has of ours, and who wants what there, is found out once."""

    reading: Reading
    targets: Targets
    installation: str
    tree: Tree
    problems: list[Problem]
    _owned: dict[str, Mapping[Identity, Observed]] = field(default_factory=dict)
    _claims: dict[str, Mapping[Identity, frozenset[str]]] = field(default_factory=dict)

    async def owned(self, environment: str, target: Target) -> Mapping[Identity, Observed]:
        if environment not in self._owned:
            self._owned[environment] = await target.observe(Scope(environment))
        return self._owned[environment]

    def claims(self, environment: str) -> Mapping[Identity, frozenset[str]]:
        if environment not in self._claims:
            self._claims[environment] = self.reading.claims(environment)
        return self._claims[environment]


async def _plan_of(one: Rendering, planning: _Planning, neighbours: Neighbours, recorded: Reconciliation) -> list[Plan]:
    reading, targets, problems = planning.reading, planning.targets, planning.problems
    configuration = reading.configuration
    environment = _environment(configuration, one.key.environment)
    application = configuration.applications.get(one.key.application)
    project = configuration.projects.get(application.spec.project) if application else None
    target = targets.get(one.key.environment, environment, mandate(application, project))
    denied = await denied_by(project, one.manifests, target)
    if denied:
        problems += (_pinned(problem, planning.tree) for problem in denied)
        return []
    rules = (*environment.spec.ignore, *(application.spec.ignore if application else ()))
    judge = SandboxJudge()
    try:
        leave = await left_of(one.manifests, rules, judge)
    finally:
        await judge.close()
    # First, because a target may learn from it where to look for what is there and nobody's.
    preview = await target.preview(one.manifests, leave)
    owned = await planning.owned(one.key.environment, target)
    named = await target.observe(Scope(one.key.environment, tuple(manifest.ref for manifest in one.manifests)))
    problems += (_pinned(problem, planning.tree) for problem in preview.problems)
    if preview.problems:
        return []
    hooks, desired = parted(one.manifests, target)
    entries = Inventory(_entries(owned, one.key.environment))
    observed, claims = freshest({**owned, **named}, preview), planning.claims(one.key.environment)
    wanted = {manifest.identity for manifest in one.manifests}
    unwanted = [identity for identity in entries.of(one.key.application) if identity not in wanted and not claims.get(identity)]
    # Without a server nobody knows whether they have been run; where nothing else is to be done, it is taken that they have.
    first = not entries.of(one.key.application)
    goes_back = occasion(recorded, digest_of(one.manifests)) == "back"
    which: Occasion = "first" if first else "back" if goes_back else "later"
    situation = Situation(
        key=one.key,
        installation=planning.installation,
        desired=desired,
        predicted=preview.bodies,
        observed=observed,
        waves={manifest.identity: target.wave(manifest) for manifest in desired},
        inventory=entries,
        claims=claims,
        abroad=neighbours.of(unwanted, {identity: there for identity, there in observed.items() if identity in wanted}),
        doubts=reading.doubts(one.key.environment),
        budget=environment.spec.removal,
        leave=leave,
        left=preview.left,
        fixed=preview.fixed,
        notes=preview.notes,
        adopt=application.spec.adopt if application else False,
        hooks=[Hooked(manifest, hook, phases_at(which, hook)) for manifest, hook in hooks],
    )
    made = plan(situation)
    # The same of what goes by itself when it has ended.
    sure = [step for step in main_of(made).steps if not _may_be_over(step, target)]
    if not first and not sure and not made.holds:
        made = msgspec.structs.replace(made, steps=())
    return [masked_plan(made)]


def _may_be_over(step: Step, target: Target) -> bool:
    return step.action == Action.CREATE and step.manifest is not None and target.went(step.manifest) is not None


def _entries(owned: Mapping[Identity, Observed], environment: str) -> Iterator[Entry]:
    for observed in owned.values():
        if observed.owner is not None:
            yield Entry(environment, observed.owner.application, observed.ref, observed.digest, 0, "applied", observed.uid)


def _pinned(problem: Problem, tree: Tree) -> Problem:
    if tree.entry(problem.file) is None:
        return problem  # no file of this repository, but one of a chart
    return pinned(problem, tree.read(problem.file, bytes_max=DEFAULT.file_bytes)) if problem.file else problem


def _environment(configuration: Configuration, name: str) -> Environment:
    return configuration.environments.get(name) or Environment(Metadata(name=name))


async def _reading(shot: Snapshot, environment: str, targets: Targets | None, settings: RenderSettings) -> Reading:
    """``targets`` are asked what they can do, where a result depends on it; None answers as one that says nothing of itself."""
    renderer = unserved(shot.scratch, settings)
    try:
        return await _rendered(renderer, shot.tree, shot.inside, environment, targets)
    finally:
        await renderer.close()  # It writes its cache behind our back, into the directory that is about to go.


async def _rendered(renderer: TreeRenderer, tree: Tree, inside: str, environment: str, targets: Targets | None) -> Reading:
    if tree.entry(CONFIGURATION_DIRECTORY) is None:
        configuration = zero_configuration(await renderer.discover(tree)) if not inside else Configuration()
    else:
        configuration = configuration_of(tree)
        _expect(environment, configuration)
    renderings = []
    for key, wish in _wishes(configuration, inside, environment):
        application = configuration.applications.get(key.application)
        project = configuration.projects.get(application.spec.project) if application else None
        renderings.append(await _rendering(renderer, key, wish, tree, _asking(targets, key, configuration), project))
    return Reading(configuration, tuple(renderings))


def _expect(environment: str, configuration: Configuration) -> None:
    """Raises UserError for an Environment that nobody declares or names. While documents are wrong, it may be one of those."""
    placed = {one.name for application in configuration.applications.values() for one in application.spec.environments}
    known = sorted({*configuration.environments, *placed, DEFAULT_ENVIRONMENT})
    if environment and environment not in known and not configuration.problems:
        raise UserError(f"find environment {environment}: nobody declares it", remedy=f"There are: {', '.join(known)}")


def _asking(targets: Targets | None, key: Key, configuration: Configuration) -> Capabilities:
    if targets is None:
        return nothing_special
    return lambda: targets.get(key.environment, _environment(configuration, key.environment)).capabilities()


async def _rendering(
    renderer: TreeRenderer, key: Key, wish: Wish, tree: Tree, capabilities: Capabilities, project: Project | None
) -> Rendering:
    others = {part.request.source.name: tree for part in wish.parts if part.request.source.name}
    limit = partial(sourced_elsewhere, project) if project is not None and project.spec.repositories else None
    found: list[tuple[str, tuple[Manifest, ...]]] = []
    try:
        for number, part in enumerate(wish.parts, start=1):
            if part.is_rendered:
                rendered = await renderer.render(part.request, tree, others=others, capabilities=capabilities, limit=limit)
                found.append((part.request.source.name or str(number), rendered.manifests))
    except TrimtabError as error:
        return Rendering(key, (), error.problems)
    return Rendering(key, *join(found))


def configuration_of(tree: Tree) -> Configuration:
    """What a tree declares, with what its Generators make of it."""
    documents = parse(_files(tree), adapters=SETTINGS)
    found = {ask: look_here(tree, ask) for ask in documents.asks()}
    return configured(documents, Configuration(), found=found)


def _files(tree: Tree) -> dict[str, bytes]:
    return {
        entry.path: tree.read(entry.path, bytes_max=FILE_BYTES_MAX)
        for entry in tree.walk(CONFIGURATION_DIRECTORY)
        if entry.type == "blob" and entry.path.endswith(ENDINGS)
    }


def _wishes(configuration: Configuration, inside: str, environment: str) -> list[tuple[Key, Wish]]:
    """The Applications of this very repository whose path is ``inside`` or below it; else ``inside`` itself as one."""
    found = []
    for name, application in sorted(configuration.applications.items()):
        for placement in application.spec.environments:
            key = Key(placement.name, name)
            wish = wish_of(key, application, placement, "")
            paths = [part.request.path.strip("/") for part in wish.parts]
            below = not inside or any(path == inside or path.startswith(inside + "/") for path in paths)
            if below and not any(part.repository for part in wish.parts) and environment in ("", placement.name):
                found.append((key, wish))
    if found or not inside:
        return found
    key = Key(environment or DEFAULT_ENVIRONMENT, inside.rpartition("/")[2])
    return [(key, Wish((Part("", "", RenderRequest(key.application, key.environment, inside)),)))]


@dataclass(frozen=True)
class Snapshot:
    """The Tree of the repository whose root is ``top``, as it stands on disk, the path ``inside`` it, and a scratch directory."""

    tree: Tree
    top: Path
    inside: str
    scratch: Path
    repositories: GitRepositories


@asynccontextmanager
async def snapshot(path: Path) -> AsyncIterator[Snapshot]:
    """What stands around ``path`` now."""
    path = path.expanduser().resolve()
    if not path.is_dir():
        raise UserError(f"read {path}: this is no directory", remedy="Name a directory of manifests, or a repository")
    top = _top(path)
    with tempfile.TemporaryDirectory(prefix="trimtab-") as name:
        scratch = Path(name)
        revision = await asyncio.to_thread(_commit, top, scratch / "snapshot.git")
        repositories = GitRepositories(scratch / "git")
        try:
            await repositories.fetch(str(scratch / "snapshot.git"))
            inside = path.relative_to(top).as_posix()
            tree = repositories.tree(str(scratch / "snapshot.git"), revision)
            yield Snapshot(tree, top, "" if inside == "." else inside, scratch, repositories)
        finally:
            await repositories.close()


def _top(path: Path) -> Path:
    """The root of the work tree that ``path`` is in, or ``path`` itself."""
    for parent in (path, *path.parents):
        if (parent / ".git").exists():
            return parent
    return path


def _commit(top: Path, repository: Path) -> Revision:
    """All files of ``top`` that Git does not ignore, as one commit of a new repository."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "LC_ALL": "C",
    }
    identity = [
        "-c",
        "user.name=trimtab",
        "-c",
        "user.email=trimtab@localhost",
        "-c",
        "commit.gpgSign=false",
        "-c",
        "core.hooksPath=/dev/null",
    ]

    def git(*arguments: str) -> str:
        command = ["git", *identity, f"--git-dir={repository}", f"--work-tree={top}", *arguments]
        done = subprocess.run(command, cwd=top, env=environment, capture_output=True, text=True, timeout=SNAPSHOT_SECONDS_MAX)
        if done.returncode:
            raise UserError(f"read {top}: git: {done.stderr.strip()[-300:]}", remedy="See that git can read every file there")
        return done.stdout.strip()

    subprocess.run(
        ["git", "init", "--quiet", "--bare", str(repository)], env=environment, check=True, timeout=SNAPSHOT_SECONDS_MAX
    )
    git("add", "--all", "--force" if not (top / ".git").exists() else "--all", ".")
    git("commit", "--quiet", "--allow-empty", "--message", "what stands here now")
    return Revision(git("rev-parse", "HEAD"))
