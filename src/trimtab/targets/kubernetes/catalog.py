"""Which kinds a server serves: pure. The documents of discovery in, a `Catalog` out.

A group version whose own server does not answer is *unavailable*: what it serves is unknown, which is not the same as nothing. All
look-ups keep the two apart, because "there is no such kind" lets a reconciler conclude that its objects are gone.
Aggregated discovery: KEP-3352, `apidiscovery.k8s.io/v2` and `v2beta1`; the older documents: meta/v1 APIGroupList, APIResourceList.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .resources import Resource

GroupVersion = tuple[str, str]


class Served(msgspec.Struct, frozen=True):
    """What one group version serves, by kind; None when its server does not answer."""

    group: str
    version: str
    resources: Mapping[str, Resource] | None


class Catalog:
    """Group versions in the server's order of preference."""

    def __init__(self, served: Iterable[Served] = ()) -> None:
        self._served: dict[GroupVersion, Served] = {(each.group, each.version): each for each in served}

    def get(self, group: str, version: str) -> Served | None:
        """None when the server does not list it."""
        return self._served.get((group, version))

    def find(self, group: str, kind: str) -> Resource | None:
        """The kind in the version that the server prefers, of those that serve it."""
        return next((one.resources[kind] for one in self.group(group) if one.resources and kind in one.resources), None)

    def group(self, group: str) -> list[Served]:
        return [each for each in self._served.values() if each.group == group]

    @property
    def unavailable(self) -> tuple[GroupVersion, ...]:
        """What nothing can be said about at the moment."""
        return tuple(key for key, each in self._served.items() if each.resources is None)

    def resources(self) -> Iterator[Resource]:
        """Each kind once, in its preferred version."""
        told: set[tuple[str, str]] = set()
        for each in self._served.values():
            for resource in (each.resources or {}).values():
                if (resource.group, resource.kind) not in told:
                    told.add((resource.group, resource.kind))
                    yield resource

    def api_versions(self) -> list[str]:
        """`apps/v1` and `apps/v1/Deployment`, as Helm's capabilities want them."""
        versions = []
        for (group, version), each in self._served.items():
            name = f"{group}/{version}" if group else version
            versions += [name, *(f"{name}/{kind}" for kind in each.resources or {})]
        return versions

    def with_served(self, served: Served) -> Catalog:
        """The same but for one group version, which goes last in its group when it is new."""
        return Catalog(
            [
                *(served if each.group == served.group and each.version == served.version else each for each in self._all()),
                *(() if self.get(served.group, served.version) else (served,)),
            ]
        )

    def without(self, group: str, version: str) -> Catalog:
        return Catalog(each for each in self._all() if (each.group, each.version) != (group, version))

    def _all(self) -> Iterable[Served]:
        return self._served.values()


class _Kind(msgspec.Struct, rename="camel"):
    kind: str = ""


class _Subresource(msgspec.Struct):
    subresource: str


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str = ""
    response_kind: _Kind | None = None
    verbs: list[str] = []
    subresources: list[_Subresource] = []


class _Version(msgspec.Struct):
    version: str
    freshness: str = ""
    resources: list[_Resource] = []


class _Name(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Name
    versions: list[_Version] = []


class _Aggregated(msgspec.Struct):
    kind: str
    items: list[_Group] = []


def aggregated(data: bytes) -> list[Served] | None:
    """The groups of an APIGroupDiscoveryList; None when ``data`` is another (older) document. Raises msgspec.DecodeError."""
    if msgspec.json.decode(data, type=_Header).kind != "APIGroupDiscoveryList":
        return None
    found = msgspec.json.decode(data, type=_Aggregated)
    return [_version(group.metadata.name, version) for group in found.items for version in group.versions]


def _version(group: str, version: _Version) -> Served:
    if version.freshness == "Stale":
        return Served(group, version.version, None)
    resources = {}
    for each in version.resources:
        kind = each.response_kind.kind if each.response_kind else ""
        if kind and kind not in resources:
            resources[kind] = Resource(
                group,
                version.version,
                each.resource,
                kind,
                namespaced=each.scope == "Namespaced",
                verbs=frozenset(each.verbs),
                subresources=frozenset(sub.subresource for sub in each.subresources),
            )
    return Served(group, version.version, resources)


class _Header(msgspec.Struct):
    kind: str = ""


class _GroupVersion(msgspec.Struct):
    version: str


class _LegacyGroup(msgspec.Struct, rename="camel"):
    name: str
    versions: list[_GroupVersion] = []
    preferred_version: _GroupVersion | None = None


class _Legacy(msgspec.Struct):
    """APIVersions (of the core group) or APIGroupList."""

    versions: list[str] = []
    groups: list[_LegacyGroup] = []


def legacy(data: bytes) -> list[GroupVersion]:
    """The group versions that an APIVersions or APIGroupList names, preferred ones first. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(data, type=_Legacy)
    pairs: list[GroupVersion] = [("", version) for version in found.versions]
    for group in found.groups:
        versions = [each.version for each in group.versions]
        preferred = group.preferred_version.version if group.preferred_version else ""
        pairs += [(group.name, version) for version in sorted(versions, key=lambda version: version != preferred)]
    return pairs


class _LegacyResource(msgspec.Struct):
    name: str
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] | None = None


class _LegacyResources(msgspec.Struct):
    resources: list[_LegacyResource] | None = None


def resources(group: str, version: str, data: bytes) -> Served:
    """One group version's APIResourceList. Raises msgspec.DecodeError."""
    listed = msgspec.json.decode(data, type=_LegacyResources).resources or []
    subresources: dict[str, set[str]] = {}
    for each in listed:
        plural, slash, subresource = each.name.partition("/")
        if slash:
            subresources.setdefault(plural, set()).add(subresource)
    found: dict[str, Resource] = {}
    for each in listed:
        if "/" in each.name or each.kind in found:
            continue
        more: dict[str, Any] = {"verbs": frozenset(each.verbs or ()), "subresources": frozenset(subresources.get(each.name, ()))}
        found[each.kind] = Resource(group, version, each.name, each.kind, namespaced=each.namespaced, **more)
    return Served(group, version, found)
