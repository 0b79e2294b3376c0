"""Which namespace the objects of a commit would be in. The server says which kinds have one; a definition in the same commit says it
of kinds that are not served yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.core.model.mandate import Location
from trimtab.core.model.manifest import Manifest
from trimtab.core.model.names import Identity, ObjectRef

from .cluster import Cluster

DEFINITION = ("apiextensions.k8s.io", "CustomResourceDefinition")
NAMESPACE = ("", "Namespace")


async def locate(cluster: Cluster, manifests: Sequence[Manifest]) -> Mapping[Identity, Location]:
    """Raises TransientError when the server does not say what it serves."""
    found = [(one.identity, await _locate(cluster, one, manifests)) for one in manifests]
    return {identity: location for identity, location in found if location is not None}


async def _locate(cluster: Cluster, manifest: Manifest, beside: Sequence[Manifest]) -> Location | None:
    ref = manifest.ref
    if (ref.group, ref.kind) == NAMESPACE:
        return Location(ref.name, wide=True)
    resource = await cluster.resource(ref)
    spec = definition(beside, ref)
    if resource is None and spec is None:
        return None
    # A definition cannot change its scope, but it can be made anew: both have to say the same.
    scopes = {resource.namespaced} if resource is not None else set()
    if spec is not None:
        scopes.add(spec.get("scope") == "Namespaced")
    return Location(ref.namespace or cluster.namespace, wide=False) if scopes == {True} else Location()


def definition(beside: Sequence[Manifest], ref: ObjectRef) -> dict[str, Any] | None:
    """The spec of the one of ``beside`` that defines the kind of ``ref``."""
    found = defining(beside, ref)
    return found.body["spec"] if found is not None else None


def defining(beside: Sequence[Manifest], ref: ObjectRef) -> Manifest | None:
    """The one of ``beside`` that defines the kind of ``ref``."""
    for manifest in beside:
        if (manifest.ref.group, manifest.ref.kind) != DEFINITION:
            continue
        spec = manifest.body.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict) and (spec.get("group"), names.get("kind")) == (ref.group, ref.kind):
            return manifest
    return None
