"""The Target port on Kubernetes: server-side apply, drift by fingerprints, ownership on the objects.

What is ours and unchanged is known from watches and costs no request. What is new or changed is asked of the server by a dry-run; the
difference is between what it stores and what it would store. Nothing here removes what does not carry the expected uid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from trimtab.core.model.config import Environment
from trimtab.core.model.errors import Problem, TrimtabError
from trimtab.core.model.health import Health
from trimtab.core.model.manifest import Body, Manifest
from trimtab.core.model.names import Identity, Key, ObjectRef
from trimtab.core.model.observed import Observed, Owner, Scope
from trimtab.core.model.plan import Action, Applied, Failed, Outcome, Step
from trimtab.core.model.text import one_line, printable
from trimtab.ports.clock import Chance, Clock
from trimtab.ports.target import LogLine, Preview

from . import fields, order
from .cluster import Cluster, connect
from .errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from .known import Known, describe
from .objects import Object
from .ownership import stamped
from .requests import Propagation, Selector
from .resources import Resource
from .settings import KubernetesSettings
from .shape import shaped

REQUESTS_AT_ONCE_MAX = 16
GONE_SECONDS_MAX = 5.0
GONE_LOOK_SECONDS = 0.05
UNCHANGED: Body = {}
"""The body of what is surely as it was applied, on both sides of the comparison."""

log = logging.getLogger(__name__)


class KubernetesTargets:
    """The Environments on clusters. A changed ``spec.target`` gets a new connection."""

    def __init__(self, *, installation: str, clock: Clock, chance: Chance) -> None:
        self._installation, self._clock, self._chance = installation, clock, chance
        self._targets: dict[str, KubernetesTarget] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, name: str, environment: Environment) -> KubernetesTarget:
        settings = msgspec.convert(environment.target_settings, KubernetesSettings)
        known = self._targets.get(name)
        if known is not None and known.settings == settings:
            return known
        client = connect(settings, self._clock, self._chance)
        if known is not None:
            task = asyncio.create_task(known.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        target = KubernetesTarget(name, settings, self._installation, self._clock)
        target.cluster = Cluster(self._installation, name, settings, client, self._clock, target.tell)
        self._targets[name] = target
        return target

    async def close(self) -> None:
        await asyncio.gather(*(target.close() for target in self._targets.values()), *self._closing)


class KubernetesTarget:
    """One Environment."""

    cluster: Cluster

    def __init__(self, name: str, settings: KubernetesSettings, installation: str, clock: Clock) -> None:
        self.name, self.settings = name, settings
        self._installation = installation
        self._clock = clock
        self._places = asyncio.Semaphore(REQUESTS_AT_ONCE_MAX)
        self._verified: dict[Identity, tuple[str, str, str]] = {}
        self._woken: dict[Key, None] = {}
        self._some = asyncio.Event()

    async def close(self) -> None:
        await self.cluster.close()

    def tell(self, key: Key) -> None:
        self._woken[key] = None
        self._some.set()

    # --- the port -----------------------------------------------------------------------------------------------------------

    async def observe(self, scope: Scope) -> Mapping[Identity, Observed]:
        """From what the watches know. Objects that are not ours show up in `preview`, which asks the server."""
        if scope.refs is None:
            return {known.ref.identity: _observed(known) for known in await self.cluster.everything()}
        found = [(ref, await self._known(ref)) for ref in scope.refs]
        return {ref.identity: _observed(known, ref) for ref, known in found if known is not None}

    async def preview(self, manifests: Sequence[Manifest]) -> Preview:
        answers = await asyncio.gather(*(self._foresee(manifest, manifests) for manifest in manifests))
        bodies: dict[Identity, Body] = {}
        observed: dict[Identity, Observed | None] = {}
        problems: list[Problem] = []
        for manifest, answer in zip(manifests, answers, strict=True):
            if isinstance(answer, Problem):
                problems.append(answer)
                continue
            bodies[manifest.identity], there = answer
            if there is not _SAME:
                observed[manifest.identity] = there if isinstance(there, Observed) else None
        return Preview(bodies, (*problems, *_doubles(manifests, self.cluster.namespace)), observed)

    async def apply(self, step: Step, revision: str) -> Outcome:
        assert step.manifest is not None, "a step to apply has a manifest"
        try:
            resource = await self.cluster.resource(step.ref)
            if resource is None:
                return Failed(step.ref, f"apply {step.ref}: the server does not serve this kind yet")
            applied = await self._apply(step, step.manifest, resource)
        except TrimtabError as error:
            return _failed(step, error)
        known = (await self.cluster.kind(resource)).put(applied)
        self._verified[step.ref.identity] = (known.uid, step.manifest.digest, known.fingerprint)
        return Applied(step.ref, applied.uid)

    async def remove(self, step: Step) -> Outcome:
        """Ask for the removal and wait a moment; what is held by its finalizers is Failed and tried again, not forgotten."""
        try:
            resource = await self.cluster.served(step.ref)
            if resource is None:
                return Applied(step.ref)
            namespace = self.cluster.place(resource, step.ref)
            propagation: Propagation = "Foreground" if self.settings.propagation == "foreground" else "Background"
            async with self._places:
                await self.cluster.client.delete(resource, namespace, step.ref.name, uid=step.uid, propagation=propagation)
            return await self._gone(step, resource, namespace)
        except NotFound:
            return Applied(step.ref)
        except TrimtabError as error:
            return _failed(step, error)

    async def watch(self) -> AsyncIterator[Key]:
        while True:
            await self._some.wait()
            key = next(iter(self._woken))
            del self._woken[key]
            if not self._woken:
                self._some.clear()
            yield key

    def wave(self, manifest: Manifest) -> int:
        return order.wave(manifest)

    def assess(self, observed: Observed, manifest: Manifest) -> Health:
        found = observed.status.get("health")
        return msgspec.convert(found, Health)

    async def logs(self, ref: ObjectRef, *, lines: int, follow: bool) -> AsyncIterator[LogLine]:
        """Of a Pod, or of the Pods that a workload selects."""
        for pod in await self._pods(ref):
            async for line in self.cluster.client.logs(pod.namespace, pod.name, tail=lines, follow=follow):
                yield LogLine(pod.name, printable(line.decode(errors="replace")))

    # --- looking ------------------------------------------------------------------------------------------------------------

    async def _known(self, ref: ObjectRef) -> Known | None:
        resource = await self.cluster.served(ref)
        if resource is None:
            return None
        return (await self.cluster.kind(resource)).get(self.cluster.place(resource, ref), ref.name)

    async def _foresee(self, manifest: Manifest, manifests: Sequence[Manifest]) -> tuple[Body, object] | Problem:
        """What the server would store, and what it stores where that had to be asked (`_SAME`: it is as it was observed)."""
        resource = await self.cluster.resource(manifest.ref)
        if resource is None:
            return (manifest.body, _SAME) if _defines(manifests, manifest.ref) else _unknown_kind(manifest)
        if not resource.namespaced and manifest.ref.namespace:
            return _problem(manifest, "metadata.namespace", "objects of this kind have no namespace", "Remove metadata.namespace")
        known = (await self.cluster.kind(resource)).get(self.cluster.place(resource, manifest.ref), manifest.ref.name)
        if known is not None and self._unchanged(known, manifest, resource):
            return UNCHANGED, _SAME
        return await self._ask(manifest, resource, manifests)

    def _unchanged(self, known: Known, manifest: Manifest, resource: Resource) -> bool:
        """True when it is ours, was applied from this very Manifest, and nobody has touched a field of ours since."""
        owner = known.owner
        if owner is None or known.deleting or known.digest != manifest.digest or owner.installation != self._installation:
            return False
        seen = (known.uid, known.digest, known.fingerprint)
        if self._verified.get(manifest.identity) == seen:
            return True
        body = stamped(manifest, owner, placed=self._placed(resource, manifest.ref))
        if not fields.covers(known.managed, body):
            return False
        self._verified[manifest.identity] = seen
        return True

    async def _ask(self, manifest: Manifest, resource: Resource, manifests: Sequence[Manifest]) -> tuple[Body, object] | Problem:
        namespace, name = self.cluster.place(resource, manifest.ref), manifest.ref.name
        body = stamped(manifest, self._owner(manifest), placed=self._placed(resource, manifest.ref))
        try:
            async with self._places:
                foreseen = await self.cluster.client.apply(resource, namespace, name, body, force=True, dry_run=True)
                there = None if not foreseen.resource_version else await self.cluster.client.get(resource, namespace, name)
        except NotFound as error:
            if not error.names_object or _makes_namespace(manifests, namespace):
                return manifest.body, None
            return _problem(
                manifest, "metadata.namespace", f"there is no namespace {namespace}", "Create it in Git, or name another"
            )
        except Forbidden as error:
            if error.terminating:
                return _problem(manifest, "metadata.namespace", one_line(error.message), "Wait until the namespace is gone")
            raise
        except Invalid as error:
            return _problem(manifest, "", one_line(error.message), error.remedy)
        if there is None:
            return shaped(foreseen.body()), None
        return shaped(foreseen.body()), _looked(there, manifest.ref)

    def _owner(self, manifest: Manifest) -> Owner:
        # A dry-run is the same whoever asks; the true owner is written by `apply`.
        return Owner(self._installation, self.name, "preview")

    def _placed(self, resource: Resource, ref: ObjectRef) -> bool:
        return resource.namespaced and not ref.namespace

    # --- acting -------------------------------------------------------------------------------------------------------------

    async def _apply(self, step: Step, manifest: Manifest, resource: Resource) -> Object:
        namespace = self.cluster.place(resource, step.ref)
        owner = Owner(self._installation, self.name, step.application)
        body = stamped(manifest, owner, placed=self._placed(resource, step.ref))
        force = self.settings.conflicts == "force"
        async with self._places:
            if step.action == Action.REPLACE and step.uid:
                await self.cluster.client.delete(resource, namespace, step.ref.name, uid=step.uid, propagation="Foreground")
            return await self.cluster.client.apply(resource, namespace, step.ref.name, body, force=force)

    async def _gone(self, step: Step, resource: Resource, namespace: str) -> Outcome:
        end = self._clock.monotonic() + GONE_SECONDS_MAX
        kind = await self.cluster.kind(resource)
        while True:
            known = kind.get(namespace, step.ref.name)
            if known is None or known.uid != step.uid:
                return Applied(step.ref)
            if self._clock.monotonic() >= end:
                break
            await self._clock.sleep(GONE_LOOK_SECONDS)
        finalizers = ", ".join(known.finalizers) or "none named"
        return Failed(
            step.ref,
            f"remove {step.ref}: it is going, and its finalizers hold it: {one_line(finalizers)}",
            "See their controller",
        )

    async def _pods(self, ref: ObjectRef) -> list[Object]:
        resource = await self.cluster.resource(ref)
        pods = await self.cluster.resource(ObjectRef("v1", "Pod", "", ""))
        if resource is None or pods is None:
            return []
        namespace = self.cluster.place(resource, ref)
        found = await self.cluster.client.get(resource, namespace, ref.name)
        if ref.kind == "Pod":
            return [found]
        labels = ((found.body().get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return []
        select = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        return await self.cluster.client.list(pods, Selector(namespace=namespace, labels=select))


_SAME = object()


def _observed(known: Known, ref: ObjectRef | None = None) -> Observed:
    return Observed(
        ref or known.ref, known.uid, UNCHANGED, known.owner, known.digest, {"health": msgspec.to_builtins(known.health)}
    )


def _looked(found: Object, ref: ObjectRef) -> Observed:
    known = describe(found)
    status = {"health": msgspec.to_builtins(known.health)}
    return Observed(ref, found.uid, shaped(found.body()), known.owner, known.digest, status)


def _failed(step: Step, error: TrimtabError) -> Failed:
    transient = isinstance(error, ApiError) and not isinstance(error, Invalid | Forbidden)
    if isinstance(error, Conflict) and error.fields:
        managers = ", ".join(sorted({f"{conflict.manager}: {conflict.field}" for conflict in error.fields}))
        return Failed(
            step.ref,
            f"{step.action} {step.ref}: other managers own fields of it: {one_line(managers)}",
            error.remedy,
            transient=False,
        )
    if isinstance(error, Invalid) and error.immutable:
        names = ", ".join(error.immutable)
        return Failed(
            step.ref,
            f"{step.action} {step.ref}: {names} cannot be changed in place",
            "Remove the object first, or name it anew",
            transient=False,
        )
    return Failed(step.ref, one_line(error.message), error.remedy, transient=transient)


def _defines(manifests: Sequence[Manifest], ref: ObjectRef) -> bool:
    """True when one of ``manifests`` is the definition of the kind of ``ref``."""
    return any(
        manifest.ref.kind == "CustomResourceDefinition"
        and (manifest.body.get("spec") or {}).get("group") == ref.group
        and ((manifest.body.get("spec") or {}).get("names") or {}).get("kind") == ref.kind
        for manifest in manifests
    )


def _makes_namespace(manifests: Sequence[Manifest], namespace: str) -> bool:
    return any(manifest.ref.kind == "Namespace" and manifest.ref.name == namespace for manifest in manifests)


def _doubles(manifests: Sequence[Manifest], namespace: str) -> list[Problem]:
    """Two Manifests of one object, once because it names its namespace and once because it does not."""
    seen: dict[tuple[str, str, str, str], Manifest] = {}
    problems = []
    for manifest in manifests:
        place = (manifest.ref.group, manifest.ref.kind, manifest.ref.namespace or namespace, manifest.ref.name)
        if place in seen:
            other = seen[place]
            problems.append(
                _problem(manifest, "metadata.name", f"the same object is declared in {other.file}:{other.line}", "Remove one")
            )
        seen[place] = manifest
    return problems


def _unknown_kind(manifest: Manifest) -> Problem:
    what = f"the server does not serve {manifest.ref.kind} of {manifest.ref.api_version}"
    return _problem(
        manifest, "kind", what, "Correct apiVersion and kind, or put the definition of the kind into the same application"
    )


def _problem(manifest: Manifest, field: str, message: str, remedy: str) -> Problem:
    return Problem(f"{manifest.ref}: {message}", manifest.file, manifest.line, field, remedy)
