"""One Environment's view of its cluster: the client, and what is known of each kind that matters there."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.core.model.errors import Refused, TransientError, UserError
from trimtab.core.model.names import Key, ObjectRef
from trimtab.ports.clock import Chance, Clock

from . import kubeconfig
from .catalog import Catalog
from .client import Client
from .discovery import UnknownKind
from .errors import Forbidden, NotFound
from .judging import Judging
from .known import DEAF_SECONDS_MAX, Kind, Known
from .lent import Lent
from .ownership import selector
from .requests import Selector
from .resources import Resource
from .settings import KubeconfigSecret, KubernetesSettings
from .sources import InFiles, InSecret

LOOKS_AT_ONCE_MAX = 16
HANDS_MAX = 10_000
NAMESPACES = "spec.target.namespaces of the Environment"
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"

log = logging.getLogger(__name__)


class Outside(Refused):
    """An object that is not in the namespaces which the Environment is confined to; ``field`` says so in its manifest."""

    def __init__(self, environment: str, ref: ObjectRef, namespace: str, allowed: Sequence[str]) -> None:
        where = f"it would be in {namespace}" if namespace else "objects of this kind are in none"
        self.field = "metadata.namespace" if namespace else "kind"
        self.words = f"environment {environment} is confined to namespaces ({', '.join(allowed)}), and {where}"
        remedy = f"Add it to {NAMESPACES}" if namespace else "Apply it in an Environment that is not confined"
        super().__init__(f"look at {ref}: {self.words}", remedy=remedy)


@dataclass
class Cluster:
    """Made when first asked for; `close` ends its watches and connections."""

    installation: str
    environment: str
    settings: KubernetesSettings
    client: Client
    clock: Clock
    told: Callable[[Key], None]
    judging: Judging | None = None
    kinds: dict[tuple[str, str, str], Kind] = field(default_factory=dict)
    _empty: dict[tuple[str, str, str], tuple[str, float]] = field(default_factory=dict)
    """At which version, and when, there was nothing of ours of a kind; a watch of it can begin there, without a list of its own."""
    _catalog: Catalog | None = None
    _hands: dict[tuple[str, str, str], tuple[Resource, str, Kind]] = field(default_factory=dict)
    """What `at_hand` has found by ``_catalog``, by version, kind and namespace."""
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)
    _looking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKS_AT_ONCE_MAX))

    @property
    def namespace(self) -> str:
        return self.settings.namespace or (self.settings.namespaces or [self.client.namespace])[0]

    def place(self, resource: Resource, ref: ObjectRef) -> str:
        """The namespace that ``ref`` lives in; "" for what has none. Raises Outside for one that we are not to look at or to write to:
        whatever is done here asks this first.
        """
        namespace = (ref.namespace or self.namespace) if resource.namespaced else ""
        if self.settings.namespaces and namespace not in self.settings.namespaces:
            raise Outside(self.environment, ref, namespace, self.settings.namespaces)
        return namespace

    async def resource(self, ref: ObjectRef) -> Resource | None:
        """The kind of ``ref`` in its own version; None when the server surely does not serve it. Raises TransientError."""
        try:
            return await self.client.discovery.resource(ref.api_version, ref.kind)
        except UnknownKind:
            return None

    async def served(self, ref: ObjectRef) -> Resource | None:
        """The kind of an object that may be there already, in whichever version is served."""
        try:
            return await self.client.discovery.find(ref.group, ref.kind, version=ref.api_version.rpartition("/")[2])
        except UnknownKind:
            return None

    def at_hand(self, ref: ObjectRef) -> tuple[Resource, str, Kind] | None:
        """The kind of ``ref``, where it lives, and what is known of its kind there, when none of it has to be waited for; else None."""
        catalog = self.client.discovery.known
        if catalog is not self._catalog or len(self._hands) >= HANDS_MAX:
            self._catalog = catalog
            self._hands.clear()
        which = (ref.api_version, ref.kind, ref.namespace)
        found = self._hands.get(which) or self._found(ref)
        if found is None or not found[2].sure:
            self._hands.pop(which, None)
            return None
        self._hands[which] = found
        return found

    def _found(self, ref: ObjectRef) -> tuple[Resource, str, Kind] | None:
        resource = self.client.discovery.at_hand(ref.api_version, ref.kind)
        if resource is None:
            return None
        try:
            namespace = self.place(resource, ref)
        except Outside:
            return None
        known = self.kinds.get((resource.group, resource.kind, namespace if self.settings.namespaces else ""))
        return (resource, namespace, known) if known is not None else None

    async def kind(self, resource: Resource, namespace: str) -> Kind:
        """What is known, surely, of the objects of a kind that are where something in ``namespace`` is: in that one where we are confined,
        else anywhere. Raises TransientError while nothing is known, Refused where we may not look.
        """
        within = namespace if self.settings.namespaces else ""
        place = (resource.group, resource.kind, within)
        if (known := self.kinds.get(place)) is not None and known.sure:
            return known
        async with self._making:
            known = self.kinds.get(place)
            if known is not None and known.ended is not None:
                await known.close()
                known = None
            if known is None:
                known = self.kinds[place] = self._kind(resource, within)
        try:
            await known.ready()
        except Forbidden as error:
            if error.by_rights and not self.settings.namespaces:
                error.remedy = f"Let its account list and watch {resource}, or name the namespaces that it is for in {NAMESPACES}"
            raise
        if known.ended is not None and await self.client.discovery.served(resource):
            # The path was not there and now it is: while a server starts, or a definition is made anew.
            raise TransientError(f"look at {resource}: {known.ended.message}", remedy="It is asked again by itself")
        return known

    async def everything(self) -> list[Known]:
        """All that is ours here, of every kind that we can list. Raises TransientError when any of it cannot be told."""
        catalog = await self.client.discovery.refresh()
        self.expect_all(catalog, "look at everything")
        chosen = [resource for resource in catalog.resources() if {"list", "watch", "patch"} <= resource.verbs]
        found = await asyncio.gather(*(self._all(one, within) for one in chosen for within in self._withins(one)))
        return [known for each in found for known in each]

    def _withins(self, resource: Resource) -> list[str]:
        """Where to look for a kind: everywhere at once (""), or in each namespace that we are confined to."""
        if not self.settings.namespaces:
            return [""]
        return self.settings.namespaces if resource.namespaced else []

    async def api_versions(self) -> list[str]:
        """All group versions and kinds that are served. Raises TransientError while it is unknown what one of them serves: a chart that
        is rendered without it could leave out what is there.
        """
        catalog = await self.client.discovery.catalog()
        self.expect_all(catalog, "ask what is served")
        # Whatever measures comes and goes with its server; only the group version is sure to be listed.
        return [each for each in catalog.api_versions() if each.count("/") < 2 or not _measures(each.partition("/")[0])]

    def expect_all(self, catalog: Catalog, doing: str) -> None:
        """Raises TransientError while it is unknown what some part of the server serves."""
        for group, version in catalog.unavailable:
            if not _measures(group):
                raise TransientError(
                    f"{doing} of environment {self.environment}: {group}/{version} does not answer",
                    remedy="What it holds cannot be told apart from what is gone; mend its APIService or remove it",
                )

    async def _all(self, resource: Resource, within: str) -> list[Known]:
        place = (resource.group, resource.kind, within)
        known = self.kinds.get(place)
        if known is None:
            try:
                async with self._looking:
                    found = await self.client.page(resource, self._select(within), limit=1)
                if not found.items:
                    self._empty[place] = ("" if found.more else found.resource_version, self.clock.monotonic())
                    return []
            except Forbidden:
                # What we may not list we cannot have applied: every apply needs the watch.
                log.info("look at everything of environment %s: %s may not be listed", self.environment, resource)
                return []
            except NotFound:
                return []  # gone since the catalog was read
        return (await self.kind(resource, within)).all()

    def _select(self, within: str) -> Selector:
        return Selector(namespace=within, labels=selector(self.installation, self.environment))

    def _kind(self, resource: Resource, within: str) -> Kind:
        since, asked = self._empty.pop((resource.group, resource.kind, within), ("", 0.0))
        if self.clock.monotonic() - asked > DEAF_SECONDS_MAX:
            since = ""  # what was there then is too old to be taken for what is there
        return Kind(
            self.client,
            resource,
            self._select(within),
            self.clock,
            self._moved,
            home=self.namespace,
            judging=self.judging,
            since=since,
        )

    async def close(self) -> None:
        await asyncio.gather(*(kind.close() for kind in self.kinds.values()))
        await self.client.close()

    def _moved(self, before: Known | None, after: Known | None) -> None:
        for known in (before, after):
            if known is not None and known.owner is not None:
                self.told(Key(self.environment, known.owner.application))


def _measures(group: str) -> bool:
    """True for measurements: nothing is applied there."""
    return group == "metrics.k8s.io" or group.endswith(".metrics.k8s.io")


def connect(settings: KubernetesSettings, clock: Clock, chance: Chance) -> Client:
    """The client that the settings describe. Raises UserError or TransientError."""
    _complete(settings)
    environment, secret = dict(os.environ), settings.kubeconfig_secret
    client = _client(settings, environment, clock, chance)
    if not secret.name:
        return client
    source = InSecret(client, secret)
    return Client(Lent(source, environment=environment, clock=clock, chance=chance), clock=clock, chance=chance)


def _client(settings: KubernetesSettings, environment: dict[str, str], clock: Clock, chance: Chance) -> Client:
    """By a kubeconfig of this machine, which is followed, or as the account of this Pod, whose token is.

    The context stays the one of the beginning: somebody who turns to another one on this machine means his own next command.
    """
    if _in_pod(settings, environment):
        return Client.connect(kubeconfig.in_cluster(environment), environment=environment, clock=clock, chance=chance)
    path = Path(settings.kubeconfig).expanduser() if settings.kubeconfig else None
    files = [one for one in kubeconfig.places(environment, path=path) if one.exists()]
    first = kubeconfig.load(environment, path=path, context=settings.context)
    source = InFiles(files, lambda: kubeconfig.load(environment, path=path, context=first.name))
    if not files:
        return Client.connect(first, environment=environment, clock=clock, chance=chance)
    carrier = Lent(source, environment=environment, clock=clock, chance=chance, first=first)
    return Client(carrier, clock=clock, chance=chance, namespace=first.namespace)


def _complete(settings: KubernetesSettings) -> None:
    """Raises UserError for what no server has to be asked about."""
    secret = settings.kubeconfig_secret
    if secret != KubeconfigSecret() and not (secret.namespace and secret.name):
        raise UserError("find the kubeconfig of kubeconfigSecret: it needs a namespace and a name", remedy="Set both")


def _in_pod(settings: KubernetesSettings, environment: dict[str, str]) -> bool:
    return not settings.kubeconfig and not settings.context and "KUBECONFIG" not in environment and IN_CLUSTER in environment
