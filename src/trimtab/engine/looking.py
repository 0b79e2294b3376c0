"""The hands of the lifecycle: `look` asks the target and Git what is and lets `plan` decide; `take` carries Steps out.

No opinion lives here. An exception of the target becomes a `Stumbled` or a `Failed`, never "there is nothing".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from trimtab.core.decide import limits
from trimtab.core.decide.hooks import Hooked
from trimtab.core.decide.plan import Elsewhere, Situation, forgotten, given_back, plan
from trimtab.core.lifecycle.occasion import occasion
from trimtab.core.lifecycle.state import Looked, Reconciliation, Stumbled, Took
from trimtab.core.model.config import Ignore, Project
from trimtab.core.model.deployment import Phase
from trimtab.core.model.errors import Awaited, Problem, Refused, TransientError, TrimtabError
from trimtab.core.model.event import Event
from trimtab.core.model.health import Health, HealthStatus
from trimtab.core.model.inventory import Entry
from trimtab.core.model.leaving import Leave
from trimtab.core.model.mandate import OWN, Mandate
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, Key, Name, ObjectRef, name_of
from trimtab.core.model.observed import Observed, Scope
from trimtab.core.model.plan import Action, Failed, Outcome, Plan, Step
from trimtab.ports.clock import Clock
from trimtab.ports.judge import Judge
from trimtab.ports.store import Writes
from trimtab.ports.target import Preview, Target, Targets

from .hooking import at_its_end, ending_of, ends, lasting, parted, phases, seen, to_preview, withheld
from .journal import Journal
from .leaving import Leaving
from .neighbours import Neighbours
from .passing import passed
from .world import NOTHING, Content, World

STEPS_AT_ONCE_MAX = 16

log = logging.getLogger(__name__)


Pin = Callable[[Key, str, tuple[Problem, ...]], tuple[Problem, ...]]


def unpinned(_: Key, __: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return problems


class Hands:
    def __init__(
        self,
        world: World,
        targets: Targets,
        journal: Journal,
        clock: Clock,
        pin: Pin = unpinned,
        judge: Judge | None = None,
    ) -> None:
        """``pin`` finds the lines of fields that a target has named; ``judge`` evaluates the expressions of ignore rules."""
        self._pin = pin
        self._leaving = Leaving(judge)
        self._world = world
        self._targets = targets
        self._journal = journal
        self._clock = clock
        self._rebuilt: dict[str, None] = {}
        self._rebuilding: dict[str, asyncio.Lock] = {}
        self._freed = asyncio.Event()
        self._mine: dict[Key, list[Identity]] = {}
        self._since: dict[Key, list[tuple[Key, list[Identity]]]] = {}
        """What others have done with since a look began: it may have seen how that was before."""
        self._actual = world
        self._places: dict[str, str] = {}
        self.owns_nothing = False
        """True while nothing can be ours but what the inventory has: then no Environment is searched for more."""
        self.placed: Callable[[], None] = lambda: None
        """Called when it has become known which place an Environment is at."""

    def elsewhere(self, world: World) -> Hands:
        """The same hands for a World that is only supposed: to look and to plan, never to act."""
        other = Hands(world, self._targets, self._journal, self._clock, self._pin)
        other._rebuilt, other._rebuilding, other._actual = self._rebuilt, self._rebuilding, self._actual
        return other

    def target(self, environment: str, mandate: Mandate = OWN) -> Target:
        """Raises TransientError when nobody declares the Environment (it may come back), UserError when it cannot be had here."""
        declared = self._world.environment(environment)
        if declared is None:
            raise TransientError(f"look at environment {environment}: it is not declared", remedy="Declare it in .trimtab/")
        return self._targets.get(environment, declared, mandate)

    async def look(self, key: Key, state: Reconciliation) -> Looked | Stumbled:
        assert state.current is not None, "only what is current is looked at"
        content = self._world.content(key, state.current.digest)
        if content is None:
            return Stumbled(
                f"the manifests of {state.current.revision[:12]} are not there any more; a new commit or a sync helps"
            )
        try:
            await self.rebuild(key.environment)
            target = self.target(key.environment, self._world.mandate(key))
            content = self._ending(key, content, target, state)
            looked = await self._decided(key, content, target, state, shown=False)
            if isinstance(looked, Looked) and _to_be_shown(looked.plan):
                looked = await self._decided(key, content, target, state, shown=True)
        except TrimtabError as error:
            return Stumbled(str(error), transient=isinstance(error, TransientError))
        return looked

    def _ending(self, key: Key, content: Content, target: Target, state: Reconciliation) -> Content:
        """With the hooks of the end of an Application, which Git has no more."""
        if content.digest != NOTHING or not ends(state):
            return content
        return Content(NOTHING, at_its_end(key, self._world, target))

    async def _decided(
        self, key: Key, content: Content, target: Target, state: Reconciliation, *, shown: bool
    ) -> Looked | Stumbled:
        since = self._since[key] = []
        try:
            situation = await self._situation(key, content, target, state, shown=shown)
            while not isinstance(situation, Stumbled) and self._moved(key, situation, since):
                await self._others_are_done(key, situation)
                since.clear()
                situation = await self._situation(key, content, target, state, shown=shown)
        finally:
            del self._since[key]
        return situation if isinstance(situation, Stumbled) else self._looked(key, content, target, situation)

    def begin(self, key: Key, steps: tuple[Step, ...]) -> None:
        """From now until `end`, nobody else plans anything for these objects: two plans from one look would both be carried out."""
        for identity in (step.ref.identity for step in steps):
            taking = self._world.taking.get(name_of(identity), ())
            self._world.taking[name_of(identity)] = (*taking, (key, identity))
            self._mine.setdefault(key, []).append(identity)

    def end(self, key: Key) -> tuple[Identity, ...]:
        """Returns what was being changed."""
        mine = self._mine.pop(key, [])
        for name in {name_of(identity) for identity in mine}:
            left = tuple(one for one in self._world.taking.pop(name, ()) if one[0] != key)
            if left:
                self._world.taking[name] = left
        if mine:
            for since in self._since.values():
                since.append((key, mine))
            self._freed.set()
        return tuple(mine)

    def _moved(self, key: Key, situation: Situation, since: list[tuple[Key, list[Identity]]]) -> bool:
        """True when another one is just changing one of the objects, or another Environment has done so since we looked; then what was
        observed of it is no base for a plan. Within an Environment, whose turn it was stands in the inventory.
        """
        if not self._world.taking and not since:
            return False
        neighbours = Neighbours(self._world, key, self._as_it_is)
        return self._taken(key, situation, neighbours) or self._done(key, situation, since, neighbours)

    def _done(self, key: Key, situation: Situation, since: list[tuple[Key, list[Identity]]], neighbours: Neighbours) -> bool:
        abroad = [(other, identity) for other, mine in since if other.environment != key.environment for identity in mine]
        if not abroad:
            return False
        ours: dict[Name, list[Identity]] = {}
        for one in situation.observed.keys() | situation.predicted.keys():
            ours.setdefault(name_of(one), []).append(one)
        return any(
            neighbours.same(one, other.environment, identity) is not False
            for other, identity in abroad
            for one in ours.get(name_of(identity), ())
        )

    def _taken(self, key: Key, situation: Situation, neighbours: Neighbours) -> bool:
        taking = self._world.taking
        return any(
            theirs == identity
            if other.environment == key.environment
            else neighbours.same(identity, other.environment, theirs) is not False
            for identity in (situation.observed.keys() | situation.predicted.keys() if taking else ())
            for other, theirs in taking.get(name_of(identity), ())
            if other != key
        )

    async def _others_are_done(self, key: Key, situation: Situation) -> None:
        while self._taken(key, situation, Neighbours(self._world, key, self._as_it_is)):
            self._freed.clear()
            await self._freed.wait()

    def _as_it_is(self, environment: str) -> Target:
        """The target of another Environment, where nobody only supposes it to be elsewhere. Raises TrimtabError."""
        declared, supposed = self._actual.environment(environment), self._world.environment(environment)
        if declared is None or supposed is None or supposed.spec.target != declared.spec.target:
            raise TransientError(f"look at environment {environment}: it is not there yet")
        return self._targets.get(environment, declared)

    def _answered(self, environment: str, target: Target) -> None:
        place = target.place()
        if self._places.get(environment, "") != place:
            self._places[environment] = place
            self.placed()

    async def inspect(self, key: Key, content: Content) -> Plan | list[Problem]:
        """A plan for ``content`` as things are, or what the target would refuse; nothing is changed. Raises TrimtabError."""
        await self.rebuild(key.environment)
        target = self.target(key.environment, self._world.mandate(key))
        state = self._world.states.get(key, Reconciliation())
        revision = next((one.revision for one in (state.pending, state.current) if one and one.digest == content.digest), "")
        if state.current is None or state.current.digest != content.digest:
            undeclared = self._world.application(key) is None
            state = Reconciliation(
                approved=state.approved,
                deployed=state.deployed or state.settled,
                occasion=occasion(state, content.digest),
                undeclared=undeclared,
            )
        content = self._ending(key, content, target, state)
        refs = self._refs(key, content)
        leave = await self._leaving.of(key, content, self._ignore(key))
        observed, preview = await self._ask(key, content, target, refs, leave, state)
        if preview.problems:
            return list(self._pin(key, revision, preview.problems)) if revision else list(preview.problems)
        return plan(self._describe(key, content, target, freshest(observed, preview), preview, leave, state))

    async def _situation(
        self, key: Key, content: Content, target: Target, state: Reconciliation, *, shown: bool = False
    ) -> Situation | Stumbled:
        refs = self._refs(key, content)
        leave = await self._leaving.of(key, content, self._ignore(key))
        observed, preview = await self._ask(key, content, target, refs, leave, state, shown=shown)
        if not set(self._refs(key, content)) <= set(refs):
            # Another application has given us something meanwhile. What was not asked about is not known to be gone.
            return await self._situation(key, content, target, state, shown=shown)
        assert state.current is not None, "only what is current is looked at"
        refused = self._pin(key, state.current.revision, preview.problems) if preview.problems else ()
        self._world.live[key].refused = refused
        if refused:
            words = "; ".join(str(problem) for problem in refused[:5])
            # Of the same commit, another Application may bring it in a moment. Once all of it has been there, it has been lost.
            awaited = not state.settled and all(isinstance(problem, Awaited) for problem in preview.problems)
            return Stumbled(words, transient=awaited)
        return self._describe(key, content, target, freshest(observed, preview), preview, leave, state)

    def _ignore(self, key: Key) -> tuple[Ignore, ...]:
        environment, found = self._world.environment(key.environment), self._world.application(key)
        of_environment = environment.spec.ignore if environment is not None else ()
        return (*of_environment, *(found[0].spec.ignore if found else ()))

    async def _ask(
        self,
        key: Key,
        content: Content,
        target: Target,
        refs: tuple[ObjectRef, ...],
        leave: Mapping[Identity, Leave],
        state: Reconciliation,
        *,
        shown: bool = True,
    ) -> tuple[Mapping[Identity, Observed], Preview]:
        """What is there and what would be stored; what the Project denies is not even asked about."""
        project, found = self._world.project(key), self._world.application(key)
        environment = self._world.environment(key.environment)
        assert environment is not None, "its target was just made"
        denied = limits.denied_as_declared(project, found[0], environment) if found is not None else []
        denied = denied or await denied_by(project, content.manifests, target)
        if denied:
            return {}, Preview({}, tuple(denied))
        manifests = to_preview(content.manifests, target, state)
        try:
            observed = await target.observe(Scope(key.environment, refs))
        except Refused:
            preview = await target.preview(manifests, leave)  # which knows the file and line of what we may not look at
            if not preview.problems:
                raise
            return {}, preview
        self._answered(key.environment, target)
        over = passed(key.application, manifests, observed, self._world.inventories[key.environment], target, state)
        kept = [manifest for manifest in manifests if manifest.identity not in over]
        return observed, await target.preview(kept, leave, shown=shown)

    def _refs(self, key: Key, content: Content) -> tuple[ObjectRef, ...]:
        owned = self._world.inventories[key.environment].of(key.application).values()
        refs = {entry.ref.identity: entry.ref for entry in owned} | {m.identity: m.ref for m in content.manifests}
        return tuple(refs.values())

    def _describe(
        self,
        key: Key,
        content: Content,
        target: Target,
        observed: Mapping[Identity, Observed],
        preview: Preview,
        leave: Mapping[Identity, Leave],
        state: Reconciliation,
    ) -> Situation:
        world = self._world
        environment, found = world.environment(key.environment), world.application(key)
        assert environment is not None, "its target was just asked"
        inventory = world.inventories[key.environment]
        identities = [*(manifest.identity for manifest in content.manifests), *inventory.of(key.application)]
        removing = inventory.of(key.application).keys() - content.identities
        claims = world.claims(key, identities)
        owners = {one.owner.application for one in observed.values() if one.owner is not None} - {key.application}
        sequence = state.current.sequence if state.current is not None else world.sequence
        hooks, desired = parted(content.manifests, target)
        owns = any(one.owner is not None and one.owner.installation == world.installation for one in observed.values())
        which = state.occasion or ("later" if owns or inventory.of(key.application) else "first")
        guard, cleared = world.guard(key, state)
        neighbours = Neighbours(world, key, self._as_it_is)
        unwanted = [identity for identity in removing if not claims.get(identity)]
        there = {identity: one for identity in content.identities if (one := observed.get(identity)) is not None}
        return Situation(
            key=key,
            installation=world.installation,
            desired=desired,
            predicted=preview.bodies,
            observed=observed,
            inventory=inventory,
            waves={manifest.identity: target.wave(manifest) for manifest in desired},
            claims=claims,
            contenders=world.contenders(key, claims),
            abroad=neighbours.of(unwanted, there),
            suspended=world.suspended(key.environment, owners),
            doubts=(*world.doubts(key.environment), *world.withheld(key)),
            budget=environment.spec.removal,
            elsewhere=world.removed_elsewhere(key, sequence, neighbours.wanted) if removing else Elsewhere(),
            leave=leave,
            left=preview.left,
            fixed=preview.fixed,
            notes=preview.notes,
            adopt=found[0].spec.adopt if found else False,
            approved=state.approved | cleared,
            guard=guard,
            granted=state.granted,
            removed=state.removed,
            owned=state.owned,
            hooks=tuple(Hooked(manifest, hook, phases(hook, state, which)) for manifest, hook in hooks),
            runs=state.runs,
            failed=state.current is not None and state.current.phase == Phase.FAILED,
            occasion=which,
            ending=state.undeclared,
            withheld=withheld(key, world, state),
            passed=passed(key.application, desired, observed, inventory, target, state),
        )

    def _looked(self, key: Key, content: Content, target: Target, situation: Situation) -> Looked:
        made = plan(situation)
        held = {hold.object.identity for hold in made.holds if hold.object is not None}
        health = {
            manifest.identity: situation.passed.get(manifest.identity)
            or _assess(target, manifest, situation.observed.get(manifest.identity))
            for manifest in situation.desired
            if manifest.identity not in held
        }
        live = self._world.live[key]
        live.plan, live.health, live.waves, live.looked = made, health, situation.waves, self._clock.now()
        self._world.wait(key, frozenset(map(name_of, [*situation.abroad, *_unwanted(situation)])))
        dropped, returned = forgotten(situation), given_back(situation)
        owned = situation.inventory.lasting_of(key.application) - lasting(situation, dropped, returned)
        return Looked(
            plan=made,
            health=health,
            waves=situation.waves,
            dropped=dropped,
            given_back=returned,
            owned=owned,
            remains=len(situation.inventory.of(key.application)) - len(dropped) - len(returned) - owned,
            hooks=tuple(seen(target, situation)),
            occasion=situation.occasion,
            lifted=made.hash in situation.approved,
            ending=ending_of(content.digest, situation.hooks),
        )

    async def take(self, key: Key, steps: tuple[Step, ...], state: Reconciliation) -> Took | Stumbled:
        current = state.current
        assert current is not None, "only what is current is applied"
        try:
            target = self.target(key.environment, self._world.mandate(key))
        except TrimtabError as error:
            return Stumbled(str(error), transient=isinstance(error, TransientError))
        places = asyncio.Semaphore(STEPS_AT_ONCE_MAX)
        outcomes = await asyncio.gather(*(self._one(target, step, current.revision, places) for step in steps))
        return Took(steps, tuple(outcomes))

    async def _one(self, target: Target, step: Step, revision: str, places: asyncio.Semaphore) -> Outcome:
        async with places:
            try:
                if step.action == Action.REMOVE:
                    return await target.remove(step)
                return await target.apply(step, revision)
            except TrimtabError as error:
                return Failed(step.ref, error.message, error.remedy, transient=isinstance(error, TransientError))
            except Exception as error:
                log.exception("%s %s", step.action, step.ref)
                return Failed(step.ref, f"an error in Trimtab itself: {type(error).__name__}: {error}")

    def rebuilt(self, environment: str) -> bool:
        """True once `rebuild` has had its answer."""
        return environment in self._rebuilt

    async def rebuild(self, environment: str) -> frozenset[str]:
        """Once per Environment and start: take back into the inventory what the target says is ours.

        Returns the Applications that were found to own something that the inventory had lost. Raises TrimtabError.
        """
        if environment in self._rebuilt:
            return frozenset()
        async with self._rebuilding.setdefault(environment, asyncio.Lock()):
            if environment in self._rebuilt:
                return frozenset()
            target = self.target(environment)
            # Where nothing can be ours, whether it answers, and from where, is all that there is to know.
            observed = await target.observe(Scope(environment, () if self.owns_nothing else None))
            self._answered(environment, target)
            inventory = self._world.inventories[environment]
            lost = [one for one in observed.values() if self._ours(one, environment) and inventory.get(one.ref.identity) is None]
            entries = tuple(_entry(one, environment) for one in lost)
            if entries:
                await self._journal.write(Writes(entries=entries, events=(self._rebuilt_event(environment, len(entries)),)))
            for entry in entries:
                inventory.put(entry)
            self._rebuilt[environment] = None
            return frozenset(entry.application for entry in entries)

    def _ours(self, observed: Observed, environment: str) -> bool:
        owner = observed.owner
        return owner is not None and owner.installation == self._world.installation and owner.environment == environment

    def _rebuilt_event(self, environment: str, count: int) -> Event:
        message = f"{count} objects were found on the target that the record had lost"
        return Event("inventory.rebuilt", self._clock.now(), message, environment=environment)


async def denied_by(project: Project | None, manifests: Sequence[Manifest], target: Target) -> list[Problem]:
    """What the limits of a Project are against, here: kinds, and places, of which the target knows more than Git says."""
    denied = limits.outside_of(project, manifests)
    if project is not None and limits.confines(project) and not denied:
        denied = limits.misplaced(project, manifests, await target.locate(manifests))
    return denied


def freshest(observed: Mapping[Identity, Observed], preview: Preview) -> Mapping[Identity, Observed]:
    """What was observed, with what the preview has read anew in its place."""
    if not preview.observed:
        return observed
    merged = {**observed, **preview.observed}
    return {identity: one for identity, one in merged.items() if one is not None}


def _to_be_shown(made: Plan) -> bool:
    """True when somebody will look at this plan to approve it: then nothing that it makes anew is taken for granted."""
    return any(hold.approvable for hold in made.holds) and any(step.action == Action.CREATE for step in made.steps)


def _unwanted(situation: Situation) -> frozenset[Identity]:
    """What is ours, and stays or goes by what others want."""
    wanted = {manifest.identity for manifest in situation.desired} | {hooked.manifest.identity for hooked in situation.hooks}
    return frozenset(situation.inventory.of(situation.key.application)) - wanted


def _assess(target: Target, manifest: Manifest, observed: Observed | None) -> Health:
    if observed is None:
        return Health(HealthStatus.MISSING, f"{manifest.ref} is not there", manifest.ref)
    return target.assess(observed, manifest)


def _entry(observed: Observed, environment: str) -> Entry:
    assert observed.owner is not None, "only what is ours is rebuilt"
    # The wave is not kept on the object. Removal order of a lost inventory is by name within one wave.
    return Entry(environment, observed.owner.application, observed.ref, observed.digest, 0, "applied", observed.uid)
