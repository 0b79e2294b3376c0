"""The Target port on Kubernetes: server-side apply, drift by fingerprints, ownership on the objects.

What is ours and unchanged is known from watches and costs no request. What is new or changed is asked of the server by a dry-run; the
difference is between what it stores and what it would store. Nothing here removes what does not carry the expected uid.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem, TransientError, TrimtabError
from trimtab.core.model.health import Health
from trimtab.core.model.hook import Hook
from trimtab.core.model.leaving import Leave, Left
from trimtab.core.model.mandate import OWN, Location, Mandate
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Fixed, Observed, Owner, Scope
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.core.model.text import one_line
from trimtab.core.model.tree import Tree
from trimtab.core.model.views import Finding
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.target import NOTHING_LEFT, LogLine, LogWish, Preview

from . import adoption, checking, content, foreseeing, hooks, lasting, leaving, locating, options, order, podlogs, renamed, tree
from .autoscalers import Autoscalers
from .causes import Causes, selector_of
from .client import MANAGER, Client
from .cluster import Cluster, connect
from .connection import Impersonation
from .errors import Conflict, Invalid, NotFound
from .foreseeing import Foreseen, Foresight
from .judging import WAITING, Judging
from .known import Known, describe
from .objects import Object
from .ownership import CONFLICTS, DIGEST, itself, replaces
from .refusals import failed, problem
from .requests import Propagation, Selector
from .resources import Resource
from .rules import Rules
from .settings import KubernetesSettings
from .taking import Managers, take
from .whereabouts import Whereabouts

REQUESTS_AT_ONCE_MAX = 16
ABILITIES_SECONDS = 300.0
"""How long it may take until a kind that somebody else has defined is seen by charts that ask for it."""
GONE_SECONDS_MAX = 5.0
GONE_LOOK_SECONDS = 0.02
SERVED_SECONDS_MAX = 5.0
MANDATES_MAX = 1_000

log = logging.getLogger(__name__)


class KubernetesTargets:
    """The Environments on clusters. A changed ``spec.target`` gets a new connection."""

    def __init__(self, *, installation: str, clock: Clock, chance: Chance) -> None:
        self._installation, self._clock, self._chance = installation, clock, chance
        self._targets: dict[str, KubernetesTarget] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._whereabouts = Whereabouts(clock)

    def get(self, name: str, environment: Environment, mandate: Mandate = OWN) -> KubernetesTarget:
        settings = msgspec.convert(environment.target_settings, KubernetesSettings)
        known = self._targets.get(name)
        if known is not None and known.settings == settings:
            return known.under(mandate)
        client = connect(settings, self._clock, self._chance)
        if known is not None:
            task = asyncio.create_task(known.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        target = KubernetesTarget(name, settings, self._installation, self._clock, client, self._whereabouts)
        self._targets[name] = target
        return target.under(mandate)

    async def close(self) -> None:
        await asyncio.gather(*(target.close() for target in self._targets.values()), *self._closing)


class KubernetesTarget:
    """One Environment, under one mandate: what is asked and done for an Application is done with the rights of its account, while what the
    watches see is seen once, with Trimtab's own.
    """

    def __init__(
        self,
        name: str,
        settings: KubernetesSettings,
        installation: str,
        clock: Clock,
        client: Client,
        whereabouts: Whereabouts,
    ) -> None:
        self.name, self.settings = name, settings
        self._whereabouts = whereabouts
        self.mandate = OWN
        self.judging = Judging(Rules(settings.health)) if settings.health else None
        self.cluster = Cluster(installation, name, settings, client, clock, self._tell, self.judging)
        self._client = client
        self._installation = installation
        self._clock = clock
        self._places = asyncio.Semaphore(REQUESTS_AT_ONCE_MAX)
        self._autoscalers = Autoscalers(self.cluster, clock)
        self._foresight = Foresight(self.cluster, clock, self._places, self._autoscalers)
        self._others: OrderedDict[Mandate, KubernetesTarget] = OrderedDict()
        self._causes = Causes(self.cluster, clock, self._tell)
        self._woken: dict[Key, None] = {}
        self._some = asyncio.Event()
        self._version: str | None = None
        self._asked = 0.0

    def under(self, mandate: Mandate) -> KubernetesTarget:
        """The same Environment for whoever acts under ``mandate``. What one account has been told is not told to another."""
        if mandate == OWN:
            return self
        if mandate not in self._others:
            made = self._others[mandate] = copy.copy(self)
            made.mandate = mandate
            made._client = self._client.acting_as(Impersonation(user=mandate.account)) if mandate.account else self._client
            made._foresight = Foresight(self.cluster, self._clock, self._places, self._autoscalers, made._client)
        self._others.move_to_end(mandate)
        while len(self._others) > MANDATES_MAX:
            self._others.popitem(last=False)
        return self._others[mandate]

    async def close(self) -> None:
        await self._causes.close()
        if self.judging is not None:
            await self.judging.close()
        await self.cluster.close()

    def _tell(self, key: Key) -> None:
        self._woken[key] = None
        self._some.set()

    # --- the port -----------------------------------------------------------------------------------------------------------

    async def observe(self, scope: Scope) -> Mapping[Identity, Observed]:
        """From what the watches know. Objects that are not ours show up in `preview`, which asks the server."""
        await self._whereabouts.ask(self.cluster.client, self.name)
        if scope.refs is None:
            everything = [known for known in await self.cluster.everything() if self._ours(known)]
            return {known.ref.identity: self._observed(known, known.ref) for known in everything}
        found = [(ref, await self._known(ref)) for ref in scope.refs]
        # An object that has got a namespace in Git is asked for by both names; the last one is what Git says now.
        named = {
            (known.ref.group, known.ref.kind, known.namespace, known.ref.name): ref for ref, known in found if known is not None
        }
        there = {id(ref) for ref in named.values()}
        return {ref.identity: self._observed(known, ref) for ref, known in found if known is not None and id(ref) in there}

    async def locate(self, manifests: Sequence[Manifest]) -> Mapping[Identity, Location]:
        return await locating.locate(self.cluster, manifests)

    def place(self) -> str:
        return self._whereabouts.of(self.cluster.client)

    def called(self, identity: Identity) -> str:
        """As the object itself says it; "" for a kind of which it is not known whether it has namespaces."""
        group, kind, namespace, name = identity
        catalog = self.cluster.client.discovery.known
        resource = catalog.find(group, kind) if catalog is not None else None
        if resource is None:
            return ""
        return itself(group, kind, (namespace or self.cluster.namespace) if resource.namespaced else "", name)

    async def preview(
        self, manifests: Sequence[Manifest], leave: Mapping[Identity, Leave] = NOTHING_LEFT, *, shown: bool = True
    ) -> Preview:
        kept = [manifest for manifest in manifests if hooks.hook(manifest) is None]
        scaled = leaving.autoscaled(manifests)
        answers = await self._foreseen(kept, manifests, leave, scaled, shown=shown)
        left: dict[Identity, tuple[Left, ...]] = {}
        fixed: dict[Identity, Fixed] = {}
        bodies: dict[Identity, Body] = {}
        observed: dict[Identity, Observed | None] = {}
        problems = await self._wrong_hooks(manifests)
        for manifest, answer in zip(kept, answers, strict=True):
            if not isinstance(answer, Foreseen):
                problems += answer
                continue
            bodies[manifest.identity] = answer.body
            if answer.left:
                left[manifest.identity] = answer.left
            if answer.fixed is not None:
                fixed[manifest.identity] = answer.fixed
            if answer.asked:
                observed[manifest.identity] = await self._judged(answer.there)
        return Preview(
            bodies, (*problems, *_doubles(manifests, self.cluster.namespace)), observed, left, fixed, options.notes(manifests)
        )

    async def _foreseen(
        self,
        kept: Sequence[Manifest],
        beside: Sequence[Manifest],
        leave: Mapping[Identity, Leave],
        scaled: leaving.Beside,
        *,
        shown: bool,
    ) -> list[Foreseen | list[Problem]]:
        """For each of ``kept``, in order. Only those that something has to be waited for become tasks: first some of each kind, since
        what is learnt of them mostly answers for the rest.
        """
        wishes = {id(one): leave.get(one.identity, foreseeing.NOTHING) for one in kept}
        answers: dict[int, Foreseen | list[Problem]] = {}
        rest: Sequence[Manifest] = kept
        for most in (len(kept) if shown else foreseeing.FIRST_OF_A_KIND, len(kept)):
            for one in rest:
                at_once = self._foresight.at_once(one, wishes[id(one)], scaled, shown=shown)
                if at_once is not None:
                    answers[id(one)] = at_once
            asking = foreseeing.first_of_each_kind((one for one in rest if id(one) not in answers), most)
            asked = (self._foresight.foresee(one, beside, wishes[id(one)], scaled, shown=shown) for one in asking)
            answers |= dict(zip(map(id, asking), await asyncio.gather(*asked), strict=True))
            rest = [one for one in rest if id(one) not in answers]
        return [answers[id(one)] for one in kept]

    async def _wrong_hooks(self, manifests: Sequence[Manifest]) -> list[Problem]:
        found = [wrong for manifest in manifests for wrong in hooks.problems(manifest)]
        runs = [one for one in manifests if (hook := hooks.hook(one)) is not None and hook.deploys]
        answers = await asyncio.gather(*(self._foresight.could_run(manifest, manifests) for manifest in runs))
        return [*found, *(wrong for answer in answers for wrong in answer)]

    async def apply(self, step: Step, revision: str) -> Outcome:
        assert step.manifest is not None, "a step to apply has a manifest"
        try:
            at_hand = self.cluster.at_hand(step.ref)
            if at_hand is None:
                resource = await self._served(step.ref)
                place = self.cluster.place(resource, step.ref)
                kind = await self.cluster.kind(resource, place)
            else:
                resource, place, kind = at_hand
            known = kind.get(place, step.ref.name)
            # What somebody else owns by now and is left to them is not sent: it could only be older than theirs.
            wanted, gone = leaving.cut(step.manifest, step.left, await self._writers(step, resource, place, known))
            applied = await self._apply(step, wanted, resource)
        except TrimtabError as error:
            return failed(step, error)
        self._foresight.applied(wanted, kind.put(applied), resource, gone)
        return Applied(step.ref, applied.uid)

    async def remove(self, step: Step) -> Outcome:
        """Ask for the removal and wait a moment; what is held by its finalizers is Failed and tried again, not forgotten."""
        try:
            resource = await self.cluster.served(step.ref)
            if resource is None:
                return Applied(step.ref)
            await self._delete(step, resource)
            known = await self._gone(resource, step.ref, step.uid)
            if (step.ref.group, step.ref.kind) in leaving.AUTOSCALING:
                self._autoscalers.forget()
        except NotFound:
            return Applied(step.ref)
        except TrimtabError as error:
            return failed(step, error)
        return Applied(step.ref) if known is None else Failed(step.ref, _held(f"remove {step.ref}", known), _RELEASE)

    async def watch(self) -> AsyncIterator[Key]:
        while True:
            await self._some.wait()
            key = next(iter(self._woken))
            del self._woken[key]
            if not self._woken:
                self._some.clear()
            yield key

    async def capabilities(self) -> tuple[str, ...]:
        """``version=v1.36.3``, and ``api=GROUP/VERSION`` and ``api=GROUP/VERSION/KIND`` for all that is served."""
        now = self._clock.monotonic()
        if self._version is None or now - self._asked > ABILITIES_SECONDS:
            # Others install definitions too, and servers are upgraded.
            await self.cluster.client.discovery.refresh()
            self._version, self._asked = (await self.cluster.client.version()).git_version, now
        versions = await self.cluster.api_versions()
        return tuple(sorted({f"version={self._version}", *(f"api={each}" for each in versions)}))

    async def check(self, refs: Sequence[ObjectRef]) -> list[Finding]:
        account = self.mandate.account
        server = [] if account else await checking.check_server(self.cluster, self._clock)
        return [*server, *await checking.check_rights(self.cluster, self._client, account, refs)]

    def wave(self, manifest: Manifest) -> int:
        return order.wave(manifest)

    def hook(self, manifest: Manifest) -> Hook | None:
        return hooks.hook(manifest)

    def went(self, manifest: Manifest) -> Health | None:
        return lasting.went(self.cluster, manifest)

    def assess(self, observed: Observed, manifest: Manifest) -> Health:
        return msgspec.convert(observed.status.get("health"), Health)

    async def logs(self, ref: ObjectRef, wish: LogWish) -> AsyncIterator[LogLine]:
        """Of a Pod, or of the Pods that a workload selects; of all their containers, or of one."""
        async for line in podlogs.lines_of(self.cluster.client, podlogs.sources(await self._pods(ref), wish.container), wish):
            yield line

    async def children(self, ref: ObjectRef) -> Tree:
        return await tree.read(self.cluster, self.cluster.client, ref)

    # --- looking ------------------------------------------------------------------------------------------------------------

    def _observed(self, known: Known, ref: ObjectRef) -> Observed:
        return foreseeing.observed(msgspec.structs.replace(known, health=self._causes.health(known)), ref)

    async def _judged(self, there: Observed | None) -> Observed | None:
        """What was read just now, with the health that its rule gave it when the watch told of it."""
        if there is None or self.judging is None or not self.judging.concerns(there.ref.group, there.ref.kind):
            return there
        known = await self._known(there.ref)
        judged = known.health if known is not None and known.uid == there.uid else WAITING
        return msgspec.structs.replace(there, status={**there.status, "health": msgspec.to_builtins(judged)})

    def _ours(self, known: Known) -> bool:
        return known.owner is not None and known.owner.installation == self._installation

    async def _known(self, ref: ObjectRef) -> Known | None:
        at_hand = self.cluster.at_hand(ref)
        if at_hand is not None:
            _, place, kind = at_hand
            return kind.get(place, ref.name)
        resource = await self.cluster.served(ref)
        if resource is None:
            return None
        namespace = self.cluster.place(resource, ref)
        return (await self.cluster.kind(resource, namespace)).get(namespace, ref.name)

    async def _served(self, ref: ObjectRef) -> Resource:
        """The kind of what is to be applied; a definition that was accepted just now is served a moment later."""
        end = self._clock.monotonic() + SERVED_SECONDS_MAX
        while True:
            resource = await self.cluster.resource(ref)
            if resource is not None:
                return resource
            if self._clock.monotonic() >= end:
                raise TransientError(f"apply {ref}: the server does not serve {ref.kind} of {ref.api_version} yet")
            await self._clock.sleep(GONE_LOOK_SECONDS)

    def _forces(self, manifest: Manifest) -> bool:
        """The nearest word counts: the object's, the Application's, the Environment's."""
        return (manifest.annotations.get(CONFLICTS) or self.mandate.conflicts or self.settings.conflicts) == "force"

    # --- acting -------------------------------------------------------------------------------------------------------------

    async def _apply(self, step: Step, manifest: Manifest, resource: Resource) -> Object:
        """Raises ApiError. Only the very object of the Step is written to, should another one have taken its place."""
        if step.action == Action.ADOPT:
            await self._take_over(step, resource)
        if step.action == Action.RUN:
            return await self._run(step, manifest, resource)
        try:
            return await self._write(step, manifest, resource, step.uid)
        except Invalid as error:
            if not error.immutable and step.uid and self._forces(manifest) and await self._take_back(step, manifest, resource):
                return await self._write(step, manifest, resource, step.uid)
            if not (error.fixed and step.uid and replaces(manifest.annotations)):
                raise
        return await self._anew(step, manifest, resource)

    async def _writers(self, step: Step, resource: Resource, namespace: str, known: Known | None) -> tuple[leaving.Other, ...]:
        """Who else has written what is there; it is asked for where another Environment's watch has it."""
        if known is not None or not step.left or step.action != Action.HANDOVER:
            return known.others if known is not None else ()
        async with self._places:
            found = await self._foresight.there(resource, namespace, step.ref.name)
        return describe(found, self.cluster.namespace).others if found is not None else ()

    async def _run(self, step: Step, manifest: Manifest, resource: Resource) -> Object:
        """The object of a run is made once: what is there already with its digest is the answer to a request whose answer was lost."""
        if not step.uid:
            return await self._write(step, manifest, resource, "")
        async with self._places:
            found = await self._foresight.there(resource, self.cluster.place(resource, step.ref), step.ref.name)
        if found is not None and found.annotations.get(DIGEST) == manifest.digest:
            return found
        return await self._anew(step, manifest, resource)

    async def _anew(self, step: Step, manifest: Manifest, resource: Resource) -> Object:
        await self._delete(step, resource)
        known = await self._gone(resource, step.ref, step.uid)
        if known is not None:
            raise TransientError(_held(f"{step.action} {step.ref}", known), remedy=_RELEASE)
        return await self._write(step, manifest, resource, "")

    async def _write(self, step: Step, manifest: Manifest, resource: Resource, uid: str) -> Object:
        """Changes the object that has ``uid``, or without one makes it."""
        owner = Owner(self._installation, self.name, step.application)
        body = self._foresight.body(manifest, resource, owner, uid=uid, new=not uid)
        namespace = self.cluster.place(resource, step.ref)
        try:
            async with self._places:
                return await self._client.apply(resource, namespace, step.ref.name, body, force=self._forces(manifest))
        except Invalid as error:
            if "metadata.uid" in error.immutable:
                message = f"{step.action} {step.ref}: another object has taken its place; it is looked at anew"
                raise TransientError(message) from error
            raise
        except Conflict as error:
            if uid:
                raise
            self._foresight.newcomers.mistaken(resource, namespace)
            if error.fields:
                raise
            found = await self._made(step, resource, namespace, owner)
            if found is None:
                raise _in_the_way(step) from error
            return await self._write(step, manifest, resource, found)

    async def _made(self, step: Step, resource: Resource, namespace: str, owner: Owner) -> str | None:
        """The uid of what an earlier attempt of ours has made; None when it is somebody else's."""
        async with self._places:
            try:
                found = await self._client.get(resource, namespace, step.ref.name)
            except NotFound:
                return None
        return found.uid if describe(found, self.cluster.namespace).owner == owner else None

    async def _take_over(self, step: Step, resource: Resource) -> None:
        """Makes the fields of whoever installed it ours, so that those which Git does not have go with the apply."""
        place = (self.cluster.place(resource, step.ref), step.ref.name)
        await take(
            self._client, resource, place, step.uid, lambda found: adoption.taken_over(found.managers(), MANAGER), self._places
        )

    async def _take_back(self, step: Step, manifest: Manifest, resource: Resource) -> bool:
        """Makes ours what stands in the place of elements of ours whose key somebody has edited; True when there was any."""
        place = (self.cluster.place(resource, step.ref), step.ref.name)

        def managers(found: Object) -> Managers | None:
            entries = found.managers()
            edited = renamed.renamed(manifest.body, found.body(), entries, MANAGER)
            return renamed.taken_back(edited, entries, MANAGER) if edited else None

        return await take(self._client, resource, place, step.uid, managers, self._places)

    async def _delete(self, step: Step, resource: Resource) -> None:
        """Raises ApiError, and TransientError rather than that it takes others along."""
        propagation: Propagation = "Foreground" if self.settings.propagation == "foreground" else "Background"
        namespace = self.cluster.place(resource, step.ref)
        await content.spare(self.cluster, self._client, resource, step.ref, step.uid, f"{step.action}")
        async with self._places:
            await self._client.delete(resource, namespace, step.ref.name, uid=step.uid, propagation=propagation)

    async def _gone(self, resource: Resource, ref: ObjectRef, uid: str) -> Known | None:
        """None when it has gone; what is still there of it after a while."""
        end = self._clock.monotonic() + GONE_SECONDS_MAX
        namespace = self.cluster.place(resource, ref)
        kind = await self.cluster.kind(resource, namespace)
        while True:
            known = kind.get(namespace, ref.name)
            if known is None or known.uid != uid:
                return None
            if self._clock.monotonic() >= end or (known.deleting and set(known.finalizers) - _PATIENT):
                return known
            await self._clock.sleep(GONE_LOOK_SECONDS)

    async def _pods(self, ref: ObjectRef) -> list[Object]:
        """None for what is not there and for what has none."""
        resource = await self.cluster.served(ref)
        pods = await self.cluster.resource(ObjectRef("v1", "Pod", "", ""))
        if resource is None or pods is None:
            return []
        namespace = self.cluster.place(resource, ref)
        try:
            found = await self.cluster.client.get(resource, namespace, ref.name)
        except NotFound:
            return []
        if ref.kind == "Pod":
            return [found]
        select = selector_of(found.body())
        if not select:
            return []
        return await self.cluster.client.list(pods, Selector(namespace=namespace, labels=select))


_RELEASE = "See to the controller that has to remove them"
_PATIENT = frozenset({"foregroundDeletion", "kubernetes"})
"""Finalizers that the cluster itself removes."""


def _in_the_way(step: Step) -> TransientError:
    """What no look showed, as nobody's objects are not watched. Of a hook's name no look will, since it is not previewed under that."""
    if step.action != Action.RUN:
        return TransientError(f"{step.action} {step.ref}: it is there already; it is looked at anew")
    message = f"{step.action} {step.ref}: an object of this name is there already, and a hook takes nothing over"
    return TransientError(message, remedy="Remove it from the cluster, or give the hook another name")


def _held(doing: str, known: Known) -> str:
    """What it waits for: its finalizers, and where it is a Namespace what is left in that."""
    return f"{doing}: it {one_line(known.health.message)}" if known.deleting else f"{doing}: it is still there"


def _doubles(manifests: Sequence[Manifest], namespace: str) -> list[Problem]:
    """Two Manifests of one object, once because it names its namespace and once because it does not."""
    seen: dict[tuple[str, str, str, str], Manifest] = {}
    problems = []
    for manifest in manifests:
        place = (manifest.ref.group, manifest.ref.kind, manifest.ref.namespace or namespace, manifest.ref.name)
        if place in seen:
            other = seen[place]
            problems.append(
                problem(manifest, "metadata.name", f"the same object is declared in {other.file}:{other.line}", "Remove one")
            )
        seen[place] = manifest
    return problems
