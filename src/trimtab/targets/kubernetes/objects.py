"""Objects of an API server, read no further than somebody looks: the metadata at once, the rest on request.

A list of a thousand Deployments is megabytes of JSON of which a reconciler reads names, labels and fingerprints. So the metadata is
decoded (about a tenth of the cost), the bytes are kept, and `body`, `status` and `managers` decode what they are asked for.
The bytes of an object from a list are a view of the whole page: keep what you need of it, or `keep()` it, and let the page go.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from .resources import Resource

_NOTHING = msgspec.Raw(b"null")


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Manager(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `metadata.managedFields`. ``fields`` are the bytes of `fieldsV1`, as the server wrote them."""

    manager: str = ""
    operation: str = ""
    api_version: str = ""
    subresource: str = ""
    time: str = ""
    fields: msgspec.Raw = msgspec.field(default=_NOTHING, name="fieldsV1")


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The part of `metadata` that is read of every object. Times are RFC 3339 text as the server wrote them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    managed_fields: msgspec.Raw = _NOTHING


class _Head(msgspec.Struct, frozen=True):
    metadata: Metadata


class _Status(msgspec.Struct, frozen=True):
    status: msgspec.Raw = _NOTHING


_head = msgspec.json.Decoder(_Head).decode
_status = msgspec.json.Decoder(_Status).decode
_managers = msgspec.json.Decoder(list[Manager] | None).decode
_object = msgspec.json.Decoder(dict[str, Any]).decode


class Object:
    """One object as a server told it. ``warnings`` are those that came with the answer (`Warning` header)."""

    __slots__ = ("metadata", "raw", "resource", "warnings")

    def __init__(self, resource: Resource, raw: bytes | msgspec.Raw, warnings: tuple[str, ...] = ()) -> None:
        """Raises msgspec.DecodeError when ``raw`` is not an object with metadata."""
        self.resource = resource
        self.raw = raw
        self.metadata = _head(raw).metadata
        self.warnings = warnings

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def resource_version(self) -> str:
        return self.metadata.resource_version

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations or {}

    @property
    def deleting(self) -> bool:
        """True when it has been asked to go and waits for its finalizers."""
        return self.metadata.deletion_timestamp is not None

    def body(self) -> dict[str, Any]:
        """All of it, decoded anew for the caller to keep. Items of a list come without kind and apiVersion; here they have them."""
        body = _object(self.raw)
        body["apiVersion"], body["kind"] = self.resource.api_version, self.resource.kind
        return body

    def status(self) -> dict[str, Any]:
        """`status` alone, decoded; {} where there is none."""
        found = msgspec.json.decode(_status(self.raw).status)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def managers(self) -> list[Manager]:
        """Who owns which fields."""
        return _managers(self.metadata.managed_fields) or []

    def keep(self) -> Object:
        """The same with bytes of its own, so that the page it came in can go."""
        return Object(self.resource, bytes(self.raw), self.warnings)

    def __repr__(self) -> str:
        return f"<{self.resource} {self.namespace}/{self.name} uid={self.uid} rv={self.resource_version}>"


class Page(msgspec.Struct, frozen=True):
    """One page of a list. ``more`` is the token of the next one, "" at the end; ``resource_version`` is that of the whole list."""

    items: list[Object]
    resource_version: str
    more: str


class _ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    more: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


_list = msgspec.json.Decoder(_List).decode


def page(resource: Resource, data: bytes) -> Page:
    """The answer to a list. Raises msgspec.DecodeError when it is none."""
    found = _list(data)
    items = [Object(resource, raw) for raw in found.items or ()]
    return Page(items, found.metadata.resource_version, found.metadata.more)


class _Name(msgspec.Struct, frozen=True):
    name: str


class _Named(msgspec.Struct, frozen=True):
    metadata: _Name


class _Names(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: list[_Named] | None = None


_names = msgspec.json.Decoder(_Names).decode


def named(data: bytes) -> tuple[list[str], str]:
    """The names in a page of a list, and the token of the next one. Raises msgspec.DecodeError when it is none."""
    found = _names(data)
    return [item.metadata.name for item in found.items or ()], found.metadata.more
