"""What would go with an object that holds others: a Namespace with all that is in it, a definition with every object of its kind.

The server takes those along without asking, whosever they are. So it is looked at before either goes, and whatever is there and not on
its way already stops that removal: what strangers have put there, another Application's, and what of ours is to be kept or waits for
somebody's yes. The rest of ours has gone by then, as removals go against the waves. Left out is what has an owner, because it goes or
stays with that, and what every Namespace gets by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trimtab.core.model.errors import TransientError
from trimtab.core.model.names import ObjectRef
from trimtab.core.model.text import one_line

from .client import Client
from .cluster import Cluster
from .errors import Forbidden, NotFound
from .objects import Object
from .requests import Selector
from .resources import Resource

WITH_CONTENT = "trimtab.dev/with-content"
"""Annotated as "true" where everything that is in it may go with it."""
SHOWN_MAX = 5
LOOKS_AT_ONCE_MAX = 16
_NAMESPACE, _DEFINITION = ("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")
_PASSING = frozenset(
    {
        *(("", "Event"), ("events.k8s.io", "Event"), ("coordination.k8s.io", "Lease")),
        *(("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")),
    }
)
"""Kinds that say something about others, and are written anew wherever those are."""
_GIVEN = frozenset(
    {
        *(("ServiceAccount", "default"), ("ServiceAccount", "builder"), ("ServiceAccount", "deployer")),
        *(("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "openshift-service-ca.crt"), ("ConfigMap", "istio-ca-root-cert")),
    }
)
_TOKEN_OF = "kubernetes.io/service-account.name"  # noqa: S105


async def spare(cluster: Cluster, client: Client, resource: Resource, ref: ObjectRef, uid: str, doing: str) -> None:
    """Raises TransientError, naming some of it, when ``ref`` holds what the removal of it would take along unasked, and while that cannot
    be told.
    """
    kind = (resource.group, resource.kind)
    if kind not in (_NAMESPACE, _DEFINITION):
        return
    itself = await client.get(resource, "", ref.name)
    if itself.uid != uid or itself.deleting or itself.annotations.get(WITH_CONTENT) == "true":
        return
    found = await (_inside(cluster, ref) if kind == _NAMESPACE else _of_kind(cluster, ref))
    if found:
        shown = ", ".join(found[:SHOWN_MAX]) + (" and more" if len(found) > SHOWN_MAX else "")
        raise TransientError(
            f"{doing} {ref}: it would take along what is not removed by this: {one_line(shown)}",
            remedy=f'Move that or remove it, or annotate {ref} with {WITH_CONTENT}: "true", on the cluster if Git has it no more',
        )


async def _inside(cluster: Cluster, ref: ObjectRef) -> list[str]:
    catalog = await cluster.client.discovery.refresh()
    cluster.expect_all(catalog, f"look into {ref}")
    chosen = [
        resource
        for resource in catalog.resources()
        if resource.namespaced and {"list", "delete"} <= resource.verbs and (resource.group, resource.kind) not in _PASSING
    ]
    places = asyncio.Semaphore(LOOKS_AT_ONCE_MAX)

    async def of(resource: Resource) -> Sequence[str]:
        async with places:
            return await _staying(cluster.client, resource, ref.name)

    return sorted({name for each in await asyncio.gather(*(of(resource) for resource in chosen)) for name in each})


async def _of_kind(cluster: Cluster, ref: ObjectRef) -> list[str]:
    """A definition is called as the resource that it defines."""
    catalog = await cluster.client.discovery.refresh()
    cluster.expect_all(catalog, f"look for what {ref} defines")
    return [
        name for resource in catalog.resources() if str(resource) == ref.name for name in await _staying(cluster.client, resource)
    ]


async def _staying(client: Client, resource: Resource, namespace: str = "") -> list[str]:
    """What would be taken along unasked, of one kind; when it is much, some of it. What we may not list is passed over."""
    found: list[str] = []
    more = ""
    while len(found) <= SHOWN_MAX:
        try:
            page = await client.heads(resource, Selector(namespace=namespace), more=more)
        except NotFound:
            break  # gone since the catalog was read
        except Forbidden as error:
            if not error.by_rights:
                raise
            break
        found += [
            _called(one, short=bool(namespace))
            for one in page.items
            if not one.deleting and not (namespace and _goes_by_itself(one))
        ]
        more = page.more
        if not more:
            break
    return found


def _goes_by_itself(one: Object) -> bool:
    return (
        bool(one.metadata.owner_references)
        or (one.resource.kind, one.name) in _GIVEN
        or (one.resource.kind == "Secret" and _TOKEN_OF in one.annotations)
        or (one.resource.kind == "RoleBinding" and one.name.startswith("system:"))
    )


def _called(one: Object, *, short: bool) -> str:
    return f"{one.resource.kind}/{one.name}" if short or not one.namespace else f"{one.resource.kind}/{one.namespace}/{one.name}"
