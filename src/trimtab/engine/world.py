"""What the engine knows right now, in memory. All of it can be made again from the store, Git and the targets.

The one place where Applications of an Environment meet: who claims which object, and whose rendering is in doubt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from trimtab.core.decide import limits
from trimtab.core.decide.plan import Elsewhere
from trimtab.core.lifecycle.state import Reconciliation
from trimtab.core.model.clearance import Clearance
from trimtab.core.model.config import (
    DEFAULT_ENVIRONMENT,
    Application,
    Configuration,
    Environment,
    Fleet,
    Metadata,
    Placement,
    Project,
)
from trimtab.core.model.errors import Problem
from trimtab.core.model.health import Health
from trimtab.core.model.hook import Ending
from trimtab.core.model.inventory import Inventory
from trimtab.core.model.mandate import OWN, Mandate
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.names import Identity, Key, Name, ObjectRef, Revision, name_of
from trimtab.core.model.plan import Plan
from trimtab.core.model.protection import EnvironmentApprovals

NOTHING = digest([])
"""Digest of the content of an Application that Git declares no more."""


@dataclass(frozen=True)
class Read:
    """What was read of one followed place. ``inputs`` as in `ports.renderer.Rendered`."""

    repository: str
    expression: str
    inputs: tuple[tuple[str, str], ...]

    @property
    def place(self) -> tuple[str, str]:
        return (self.repository, self.expression)


@dataclass(frozen=True)
class Content:
    """The rendered Manifests of one Key, all of its sources together. ``capabilities`` as in `ports.renderer.Rendered`."""

    digest: str
    manifests: tuple[Manifest, ...] = ()
    reads: tuple[Read, ...] = ()
    capabilities: str = ""

    @cached_property
    def identities(self) -> frozenset[Identity]:
        return frozenset(manifest.identity for manifest in self.manifests)


GONE = Content(NOTHING)


@dataclass(frozen=True)
class Offer:
    """The newest content of a Key, on its way to the lifecycle: its digest and the sequence of its Revision."""

    digest: str
    sequence: int


@dataclass
class Live:
    """What was seen of one Key when it was last looked at. ``refused`` is what the target says is wrong in the content itself."""

    plan: Plan | None = None
    health: Mapping[Identity, Health] = field(default_factory=dict)
    waves: Mapping[Identity, int] = field(default_factory=dict)
    looked: datetime | None = None
    refused: tuple[Problem, ...] = ()


@dataclass
class Head:
    """One followed (repository, revision expression). ``problem`` is why it does not move ("" while all is well)."""

    repository: str
    expression: str
    revision: Revision | None = None
    sequence: int = 0
    seen: datetime | None = None
    problem: str = ""
    remedy: str = ""
    rewritten: Revision | None = None


@dataclass
class World:
    """Mutable, and owned by the engine alone; every change happens between two awaits.

    ``taking`` says which Keys are about to change an object (or do right now), by its name, and what it is called there; ``ended`` what
    applications removed that are gone since, by Environment and sequence of the Revision. ``waiting`` are the names of what each Key's last
    look found to stay or go by what others want, here or in other Environments.
    """

    installation: str
    configuration: Configuration = field(default_factory=Configuration)
    states: dict[Key, Reconciliation] = field(default_factory=dict)
    inventories: dict[str, Inventory] = field(default_factory=lambda: defaultdict(Inventory))
    kept_environments: dict[str, Environment] = field(default_factory=dict)
    kept_accounts: dict[str, str] = field(default_factory=dict)
    endings: dict[Key, Ending] = field(default_factory=dict)
    """The hooks with which each Key ends, of the content that was healthy last."""
    contents: dict[Key, dict[str, Content]] = field(default_factory=lambda: defaultdict(dict))
    problems: dict[Key, tuple[Problem, ...]] = field(default_factory=dict)
    heads: dict[tuple[str, str], Head] = field(default_factory=dict)
    live: dict[Key, Live] = field(default_factory=lambda: defaultdict(Live))
    offers: dict[Key, Offer] = field(default_factory=dict)
    taking: dict[Name, tuple[tuple[Key, Identity], ...]] = field(default_factory=dict)
    ended: dict[tuple[str, int], frozenset[Identity]] = field(default_factory=dict)
    sequence: int = 0
    clearances: dict[Key, dict[str, Clearance]] = field(default_factory=lambda: defaultdict(dict))
    """By the digest of the content that they let in, the oldest first."""
    emergencies: set[Revision] = field(default_factory=set)
    """Revisions that were pushed past review, by somebody who may."""
    guards: bool = True
    """False where plans are only supposed: an approval is what they are made for."""
    _dependants: dict[Key, set[Key]] = field(default_factory=dict)
    _fleets: dict[Key, Fleet] = field(default_factory=dict)
    _claims: dict[str, dict[Identity, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    _claimed: dict[Key, frozenset[Identity]] = field(default_factory=dict)
    _named: dict[Name, tuple[tuple[str, Identity], ...]] = field(default_factory=dict)
    """Where something of a name is claimed, in all Environments together."""
    let_go: dict[tuple[str, Identity], int] = field(default_factory=dict)
    """Of what is owned and wanted no more: the sequence at which Git let it go, where that has been seen."""
    failed_at: dict[Key, int] = field(default_factory=dict)
    """The sequence at which each of ``problems`` was found last; of what could not even be fetched it is not known."""
    waiting: dict[Key, frozenset[Name]] = field(default_factory=dict)
    _waited_for: dict[Name, frozenset[Key]] = field(default_factory=dict)

    # --- configuration ------------------------------------------------------------------------------------------------------

    def environment(self, name: str) -> Environment | None:
        declared = self.configuration.environments.get(name) or self.kept_environments.get(name)
        if declared is None and name == DEFAULT_ENVIRONMENT:
            return Environment(metadata=Metadata(name=DEFAULT_ENVIRONMENT))
        return declared

    def application(self, key: Key) -> tuple[Application, Placement] | None:
        """The Application and its placement in the Key's Environment; None when Git does not declare it there."""
        application = self.configuration.applications.get(key.application)
        if application is None:
            return None
        for placement in application.spec.environments:
            if placement.name == key.environment:
                return application, placement
        return None

    def project(self, key: Key) -> Project | None:
        """Whose limits hold for ``key``; None for an Application that Git declares no more."""
        application = self.configuration.applications.get(key.application)
        return self.configuration.projects.get(application.spec.project) if application is not None else None

    def mandate(self, key: Key) -> Mandate:
        """In whose name what ``key`` wants is done. What an Application leaves behind is removed in the name that it had."""
        application = self.configuration.applications.get(key.application)
        if application is None:
            return Mandate(self.kept_accounts.get(key.application, ""))
        return limits.mandate(application, self.project(key))

    def in_use(self, environment: str) -> dict[Mandate, tuple[ObjectRef, ...]]:
        """What is wanted or owned in an Environment, by whose account it is acted on; Trimtab's own is always among them."""
        found: dict[Mandate, dict[ObjectRef, None]] = {OWN: {}}
        applications = {key.application for key in self.states if key.environment == environment}
        for name in sorted(applications | self.inventories[environment].applications()):
            key = Key(environment, name)
            wanted = [one.ref for content in self.contents.get(key, {}).values() for one in content.manifests]
            owned = [entry.ref for entry in self.inventories[environment].of(name).values()]
            found.setdefault(Mandate(self.mandate(key).account), {}).update(dict.fromkeys([*wanted, *owned]))
        return {mandate: tuple(refs) for mandate, refs in found.items()}

    def accounts(self, configuration: Configuration) -> dict[str, str]:
        """Of every Application that has an account of its own, is declared in ``configuration`` or has not ended."""
        declared = {
            name: limits.mandate(application, configuration.projects.get(application.spec.project)).account
            for name, application in configuration.applications.items()
        }
        alive = self.alive()
        kept = {name: account for name, account in self.kept_accounts.items() if name in alive}
        return {name: account for name, account in sorted({**kept, **declared}.items()) if account}

    def declared(self) -> Iterator[tuple[Key, Application, Placement]]:
        for name, application in self.configuration.applications.items():
            for placement in application.spec.environments:
                yield Key(placement.name, name), application, placement

    def configure(self, configuration: Configuration) -> None:
        """From now on this is what Git declares."""
        self.configuration = configuration
        self._dependants = defaultdict(set)
        for key, application, placement in self.declared():
            for environment in placement.after:
                self._dependants[Key(environment, key.application)].add(key)
            for other in application.needs(placement):
                self._dependants[other].add(key)
        self._fleets = {
            Key(member, name): fleet
            for name, fleets in configuration.fleets.items()
            for fleet in fleets
            for member in fleet.members
        }

    def alive(self) -> frozenset[str]:
        """Applications of which something is left, declared or not."""
        owners = {name for inventory in self.inventories.values() for name in inventory.applications()}
        return frozenset(owners | {key.application for key in self.states})

    def fleet(self, key: Key) -> Fleet | None:
        """The Environments that were selected together with that of ``key``."""
        return self._fleets.get(key)

    def dependants(self, key: Key) -> list[Key]:
        """The Keys whose gates ask about ``key``."""
        fleet = self._fleets.get(key)
        others = {Key(name, key.application) for name in fleet.members} - {key} if fleet is not None else set()
        return sorted(self._dependants.get(key, set()) | others)

    # --- what if --------------------------------------------------------------------------------------------------------------

    def supposing(
        self, configuration: Configuration, contents: Mapping[Key, Content], problems: Mapping[Key, tuple[Problem, ...]]
    ) -> World:
        """A World in which ``configuration`` holds and ``contents`` are on offer, for plans that nobody carries out.

        What is not altered is shared with this one, so it costs what is touched, and the claims of the Environments concerned.
        """
        other = replace(
            self,
            contents=defaultdict(dict, self.contents),
            problems={**self.problems, **problems},
            live=defaultdict(Live),
            offers=dict(self.offers),
            taking={},
            sequence=self.sequence + 1,
            guards=False,
            _dependants={},
            _claims=defaultdict(lambda: defaultdict(set), self._claims),
            _claimed=dict(self._claimed),
            _named=dict(self._named),
            let_go=dict(self.let_go),
            failed_at={key: sequence for key, sequence in self.failed_at.items() if key not in problems},
            waiting={},
            _waited_for={},
        )
        other.configure(configuration)
        for environment in {key.environment for key in contents}:
            claims = self._claims[environment]
            other._claims[environment] = defaultdict(set, {identity: set(names) for identity, names in claims.items()})
        for key, content in contents.items():
            other.contents[key] = dict(self.contents[key])
            other.offer(key, content, other.sequence)
        return other

    def guard(self, key: Key, state: Reconciliation) -> tuple[str, frozenset[str]]:
        """Why what is current of ``key`` may not begin without an approval ("" where it may), and the plan that a merge has cleared."""
        environment, current = self.environment(key.environment), state.current
        rule = environment.spec.approvals if environment is not None else EnvironmentApprovals()
        clearance = self.clearances[key].get(current.digest) if current is not None and key in self.clearances else None
        cleared = frozenset((clearance.hash,)) if clearance is not None and clearance.approvers else frozenset()
        begun = current is not None and (state.settled or state.announced or current.revision in self.emergencies)
        if not (rule.required or rule.owners) or begun or not self.guards:
            return "", cleared
        if clearance is None:
            return f"{key.environment} asks for an approval of this plan", cleared
        if rule.moved == "go":
            return "", cleared
        return f"the plan is not the one any more that change {clearance.change} was approved with", cleared

    def newest(self, key: Key) -> Content | None:
        """The content that Git wants of ``key`` at its newest Revision."""
        state, offer = self.states.get(key), self.offers.get(key)
        newest = offer or (state.pending or state.current if state is not None else None)
        return self.content(key, newest.digest) if newest is not None else None

    # --- contents and claims ------------------------------------------------------------------------------------------------

    def offer(self, key: Key, content: Content, sequence: int) -> frozenset[Identity]:
        """The newest content of a Key: from now on its objects are claimed. Returns what the one before it wanted and it does not."""
        before = self._newest(key)
        self.offers[key] = Offer(content.digest, sequence)
        self.restore(key, content)
        inventory = self.inventories[key.environment]
        for identity in before - content.identities:
            if inventory.get(identity) is not None:
                self.let_go[key.environment, identity] = sequence
        for identity in content.identities if self.let_go else ():
            self.let_go.pop((key.environment, identity), None)
        return before - self._newest(key)

    def restore(self, key: Key, content: Content) -> None:
        """Content that the Key has had all the time."""
        self.contents[key][content.digest] = content
        self._reclaim(key)

    def content(self, key: Key, digest: str) -> Content | None:
        return GONE if digest == NOTHING else self.contents[key].get(digest)

    def settle_contents(self, key: Key) -> frozenset[Identity]:
        """Drop contents that neither slot uses and that are not being offered; return the identities no longer claimed."""
        state = self.states.get(key)
        slots = (state.current, state.pending) if state is not None else ()
        offer = self.offers.get(key)
        used = {slot.digest for slot in (*slots, offer) if slot is not None}
        self.contents[key] = {name: content for name, content in self.contents[key].items() if name in used}
        return self._reclaim(key)

    def claims(self, key: Key, identities: Iterable[Identity]) -> dict[Identity, frozenset[str]]:
        """Who wants an object besides what is current of ``key``: other applications, and its own newest content."""
        claims, newest, own = self._claims[key.environment], self._newest(key), frozenset((key.application,))
        return {
            identity: (frozenset(claims[identity]) - own) | (own if identity in newest else frozenset())
            for identity in identities
            if identity in claims
        }

    def contenders(self, key: Key, claims: Mapping[Identity, frozenset[str]]) -> dict[Identity, frozenset[str]]:
        """Of ``claims`` that ``key`` is not alone with, those of applications at their newest Revision: who lets an object go there is not
        in the way of others, even while its older content runs on behind a gate.
        """
        return {
            identity: frozenset(name for name in names if identity in self._newest(Key(key.environment, name)))
            for identity, names in claims.items()
            if names - {key.application}
        }

    def _newest(self, key: Key) -> frozenset[Identity]:
        return _identities(self.newest(key)) or frozenset()

    def newest_wishes(self, key: Key) -> frozenset[Identity] | None:
        """What Git wants of ``key`` at its newest Revision; None where that is not known."""
        return _identities(self.newest(key) or (GONE if self.application(key) is None else None))

    def running_wishes(self, key: Key) -> frozenset[Identity] | None:
        """What is kept true of ``key``; None where that is not known."""
        state = self.states.get(key)
        current = state.current if state is not None else None
        return _identities(self.content(key, current.digest) if current is not None else GONE)

    def suspended(self, environment: str, applications: Iterable[str]) -> frozenset[str]:
        """Those of ``applications`` that somebody has suspended."""
        states = {name: self.states.get(Key(environment, name)) for name in applications}
        return frozenset(name for name, state in states.items() if state is not None and state.suspension is not None)

    def forget(self, key: Key) -> None:
        """The Key has ended. It may be declared again at this very moment: what is being offered stays."""
        state = self.states.pop(key, None)
        self.endings.pop(key, None)
        if state is not None and state.current is not None and state.removed:
            place = (key.environment, state.current.sequence)
            self.ended[place] = self.ended.get(place, frozenset()) | state.removed
        self.live.pop(key, None)
        self.wait(key, frozenset())
        self.settle_contents(key)

    def _reclaim(self, key: Key) -> frozenset[Identity]:
        wishes = [content.identities for content in self.contents.get(key, {}).values()]
        now = wishes[0] if len(wishes) == 1 else frozenset[Identity]().union(*wishes)
        before = self._claimed.get(key, frozenset())
        claims = self._claims[key.environment]
        for identity in now - before:
            if identity not in claims:
                self._name(key.environment, identity)
            claims[identity].add(key.application)
        for identity in before - now:
            claims[identity].discard(key.application)
            if not claims[identity]:
                del claims[identity]
                self._unname(key.environment, identity)
        self._claimed[key] = now
        return before - now

    def _name(self, environment: str, identity: Identity) -> None:
        name = name_of(identity)
        self._named[name] = (*self._named.get(name, ()), (environment, identity))

    def _unname(self, environment: str, identity: Identity) -> None:
        name = name_of(identity)
        left = tuple(place for place in self._named.get(name, ()) if place != (environment, identity))
        if left:
            self._named[name] = left
        else:
            self._named.pop(name, None)

    def claimed_elsewhere(self, environment: str, identity: Identity) -> Iterator[tuple[str, Identity]]:
        """Where else than in ``environment`` something of this name is claimed, and what it is called there."""
        return (place for place in self._named.get(name_of(identity), ()) if place[0] != environment)

    def claimants(self, environment: str, identities: Iterable[Identity]) -> frozenset[str]:
        claims = self._claims[environment]
        return frozenset(name for identity in identities for name in claims.get(identity, ()))

    def wait(self, key: Key, names: frozenset[Name]) -> None:
        """From now on what others want of ``names`` matters to ``key``."""
        before = self.waiting.get(key, frozenset())
        for name in before - names:
            left = self._waited_for[name] - {key}
            if left:
                self._waited_for[name] = left
            else:
                del self._waited_for[name]
        for name in names - before:
            self._waited_for[name] = self._waited_for.get(name, frozenset()) | {key}
        if names:
            self.waiting[key] = names
        else:
            self.waiting.pop(key, None)

    def waiting_for(self, identities: Iterable[Identity]) -> list[Key]:
        """The Keys to which it matters what becomes of these."""
        if not self.waiting:
            return []
        found = (self._waited_for.get(name_of(identity), frozenset()) for identity in identities)
        return sorted(frozenset[Key]().union(*found))

    def doubts(self, environment: str) -> tuple[str, ...]:
        """Why an object that no longer shows up in a rendering may still be wanted."""
        reasons = [
            f"application {key.application} fails to render" for key in self.unrendered() if key.environment == environment
        ]
        if not self.configuration.complete:
            reasons.append("some of the configuration in Git cannot be read")
        doubtful = self.configuration.doubtful
        # Of what a Generator in doubt has made, that one reason speaks for all.
        # Asked at every look of every Application, so what all of them together would cost is left out where nothing is in doubt.
        spoken_for = {
            f"Application/{name}"
            for name, one in (self.configuration.generated.items() if doubtful else ())
            if f"Generator/{one.generator}" in doubtful
        }
        written = [document for document in doubtful if document.startswith("Application/") and document not in spoken_for]
        reasons += [f"{document} is wrong in Git" for document in written]
        reasons += [f"{document} may not make all that it should" for document in doubtful if document.startswith("Generator/")]
        if environment != DEFAULT_ENVIRONMENT and environment not in self.configuration.environments:
            reasons.append(f"environment {environment} is no longer declared")
        return tuple(reasons)

    def unrendered(self) -> list[Key]:
        return sorted(key for key, problems in self.problems.items() if problems)

    def doubts_of(self, key: Key) -> tuple[str, ...]:
        """Why it is not known what Git wants of this very ``key``."""
        configuration, name = self.configuration, key.application
        reasons = []
        if key.environment != DEFAULT_ENVIRONMENT and key.environment not in configuration.environments:
            reasons.append(f"environment {key.environment} is no longer declared")
        if not configuration.complete:
            reasons.append("some of the configuration in Git cannot be read")
        if f"Application/{name}" in configuration.doubtful:
            reasons.append(f"Application/{name} is wrong in Git")
        if self.problems.get(key):
            reasons.append(f"application {name} fails to render")
        if name not in configuration.applications:
            generators = [document for document in configuration.doubtful if document.startswith("Generator/")]
            reasons += [f"{document} may not make all that it should" for document in generators]
        return tuple(reasons)

    def withheld(self, key: Key) -> tuple[str, ...]:
        """Why nothing of an application that its Generator makes no more is removed without approval."""
        leaving = self.configuration.leaving.get(key.application)
        return (leaving.held,) if leaving is not None and leaving.held else ()

    # --- the removal budget of the Environment ------------------------------------------------------------------------------

    def removed_elsewhere(
        self, key: Key, sequence: int, abroad: Callable[[Identity], bool] = lambda identity: False
    ) -> Elsewhere:
        """What the Revision with ``sequence`` removes from other applications than that of ``key``: those that are still to be looked
        at count as much as those that are done, so that it does not matter which of them comes first. ``abroad`` says what other
        Environments want and take over: that is no removal.
        """
        inventory = self.inventories[key.environment]
        ended = self.ended.get((key.environment, sequence), frozenset())
        removals = gone = len(ended)
        # What is on offer counts too: after a lost store nobody has a state yet.
        for other in dict.fromkeys((*self.states, *self.offers)):
            if other.environment != key.environment:
                continue
            state = self.states.get(other, Reconciliation())
            removed: frozenset[Identity] = frozenset()
            if state.current is not None and state.current.sequence == sequence:
                removed = state.removed
                gone += sum(inventory.get(identity) is None for identity in removed)
            if other != key:
                to_be = self._to_be_removed(other, state, sequence)
                removals += len(removed | {identity for identity in to_be if not abroad(identity)})
        return Elsewhere(removals, gone)

    def _to_be_removed(self, key: Key, state: Reconciliation, sequence: int) -> frozenset[Identity]:
        """What is owned, and not wanted at ``sequence`` by anybody, and not approved to go."""
        slot = state.pending or state.current
        offer = self.offers.get(key)
        newest = slot if slot is not None and (offer is None or offer.digest == slot.digest) else offer
        content = self.content(key, newest.digest) if newest is not None else None
        if newest is None or content is None or newest.sequence != sequence:
            return frozenset()
        wanted = {manifest.identity for manifest in content.manifests}
        claims = self._claims[key.environment]
        return frozenset(
            identity
            for identity, entry in self.inventories[key.environment].of(key.application).items()
            if identity not in wanted
            and not entry.hook
            and entry.uid not in state.granted
            and not claims.get(identity, set()) - {key.application}
        )


def _identities(content: Content | None) -> frozenset[Identity] | None:
    return content.identities if content is not None else None
