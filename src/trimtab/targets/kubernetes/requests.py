"""Every request that we send to an API server, as a value: pure. Names and bodies in, method, path and bytes out.

What may be sent a second time when the answer to the first was lost is decided here, where it is known what a request means:
reads, server-side apply (it says what should be), replacing at a resourceVersion, and removal of one uid. Paths and parameters as in
the Kubernetes API concepts page; the body of an apply is JSON, which is YAML too and cheaper on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from .resources import Resource

Propagation = Literal["Background", "Foreground", "Orphan"]

PAGE_ITEMS = 500
SECONDS = 30.0
LIST_SECONDS = 60.0
WATCH_SECONDS = 290.0
"""How long the server keeps a watch before it ends it; below the five minutes at which balancers cut what looks idle."""

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``target`` is path and query, encoded. ``doing`` opens every error message about it ("apply deployments.apps shop/web").

    ``repeatable``: may be sent again when it is not known whether the first was carried out.
    """

    method: str
    target: str
    doing: str
    repeatable: bool
    body: bytes = b""
    content_type: str = ""
    accept: str = "application/json"
    seconds: float = SECONDS
    compress: bool = False


class Selector(msgspec.Struct, frozen=True):
    """What to list or watch: one namespace or all (""), label and field selectors as text ("a=b,c in (d,e)")."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""


EVERYTHING = Selector()


def get(resource: Resource, namespace: str, name: str, *, subresource: str = "") -> Request:
    return Request(
        method="GET",
        target=resource.path(namespace, name, subresource),
        doing=_doing("read", resource, namespace, name, subresource),
        repeatable=True,
    )


def page(resource: Resource, select: Selector = EVERYTHING, *, limit: int = PAGE_ITEMS, more: str = "") -> Request:
    """One page of a consistent list. No resourceVersion: a cached answer may be older than what we have seen already."""
    query = {**_selected(select), "limit": str(limit) if limit else "", "continue": more}
    return Request(
        method="GET",
        target=_with(resource.path(select.namespace), query),
        doing=_doing("list", resource, select.namespace),
        repeatable=True,
        seconds=LIST_SECONDS,
        compress=True,
    )


def names(resource: Resource, select: Selector, *, more: str = "") -> Request:
    """As `page`, of the metadata alone."""
    return msgspec.structs.replace(page(resource, select, more=more), accept=METADATA)


def watch(resource: Resource, select: Selector, *, resource_version: str, seconds: float = WATCH_SECONDS) -> Request:
    query = {
        **_selected(select),
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(int(seconds)),
    }
    return Request(
        method="GET",
        target=_with(resource.path(select.namespace), query),
        doing=_doing("watch", resource, select.namespace),
        repeatable=True,
        seconds=seconds,
    )


def apply(
    resource: Resource,
    namespace: str,
    name: str,
    body: Mapping[str, Any] | bytes,
    *,
    manager: str,
    force: bool,
    dry_run: bool = False,
    subresource: str = "",
) -> Request:
    """Server-side apply. ``body`` needs apiVersion and kind; bytes are sent as they are. Unknown and doubled fields are errors."""
    query = {
        "fieldManager": manager,
        "force": "true" if force else "false",
        "fieldValidation": "Strict",
        "dryRun": "All" if dry_run else "",
    }
    return Request(
        method="PATCH",
        target=_with(resource.path(namespace, name, subresource), query),
        doing=_doing("preview" if dry_run else "apply", resource, namespace, name, subresource),
        repeatable=True,
        body=body if isinstance(body, bytes) else msgspec.json.encode(body),
        content_type=APPLY,
    )


def patch(
    resource: Resource,
    namespace: str,
    name: str,
    body: Mapping[str, Any] | Sequence[Any],
    *,
    manager: str,
    dry_run: bool = False,
    subresource: str = "",
) -> Request:
    """A JSON patch (a sequence; RFC 6902) or a JSON merge patch (a mapping; RFC 7396). Not repeated: a patch may add to a list."""
    return Request(
        method="PATCH",
        target=_with(resource.path(namespace, name, subresource), _writing(manager, dry_run)),
        doing=_doing("patch", resource, namespace, name, subresource),
        repeatable=False,
        body=msgspec.json.encode(body),
        content_type=MERGE if isinstance(body, Mapping) else JSON_PATCH,
    )


def create(
    resource: Resource,
    namespace: str,
    body: Mapping[str, Any],
    *,
    manager: str,
    dry_run: bool = False,
    name: str = "",
    subresource: str = "",
) -> Request:
    """POST to a collection, or with ``name`` and ``subresource`` to a subresource (a Pod's `eviction`)."""
    return Request(
        method="POST",
        target=_with(resource.path(namespace, name, subresource), _writing(manager, dry_run)),
        doing=_doing("create", resource, namespace, name or str(body.get("metadata", {}).get("name", "")), subresource),
        repeatable=False,
        body=msgspec.json.encode(body),
        content_type="application/json",
    )


def replace(
    resource: Resource,
    namespace: str,
    name: str,
    body: Mapping[str, Any],
    *,
    manager: str,
    resource_version: str,
    dry_run: bool = False,
    subresource: str = "",
) -> Request:
    """PUT at ``resource_version``, so that a second one cannot undo what came in between."""
    pinned = {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": resource_version}}
    return Request(
        method="PUT",
        target=_with(resource.path(namespace, name, subresource), _writing(manager, dry_run)),
        doing=_doing("replace", resource, namespace, name, subresource),
        repeatable=True,
        body=msgspec.json.encode(pinned),
        content_type="application/json",
    )


def delete(
    resource: Resource,
    namespace: str,
    name: str,
    *,
    uid: str,
    resource_version: str = "",
    propagation: Propagation = "Background",
    dry_run: bool = False,
) -> Request:
    """Removal of the object that has ``uid``, never of whatever carries its name by then."""
    if not uid:
        raise ValueError(f"removal of {resource} {namespace}/{name} without a uid")
    preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": preconditions,
        "propagationPolicy": propagation,
    }
    if dry_run:
        options["dryRun"] = ["All"]
    return Request(
        method="DELETE",
        target=resource.path(namespace, name),
        doing=_doing("remove", resource, namespace, name),
        repeatable=True,
        body=msgspec.json.encode(options),
        content_type="application/json",
    )


PODS = Resource("", "v1", "pods", "Pod", namespaced=True)


def logs(
    namespace: str,
    pod: str,
    *,
    container: str = "",
    follow: bool = False,
    tail: int | None = None,
    previous: bool = False,
    since_seconds: int | None = None,
    timestamps: bool = False,
    bytes_max: int | None = None,
) -> Request:
    query = {
        "container": container,
        "follow": "true" if follow else "",
        "tailLines": "" if tail is None else str(tail),
        "previous": "true" if previous else "",
        "sinceSeconds": "" if since_seconds is None else str(since_seconds),
        "timestamps": "true" if timestamps else "",
        "limitBytes": "" if bytes_max is None else str(bytes_max),
    }
    return Request(
        method="GET",
        target=_with(PODS.path(namespace, pod, "log"), query),
        doing=_doing("read the log of", PODS, namespace, pod),
        repeatable=True,
        accept="text/plain, application/json, */*",
        seconds=float("inf") if follow else LIST_SECONDS,
    )


def path(target: str, doing: str, *, accept: str = "application/json", compress: bool = False) -> Request:
    """A plain read of a path that is no resource: discovery, the version, a group's description."""
    return Request(method="GET", target=target, doing=doing, repeatable=True, accept=accept, compress=compress)


def _with(target: str, query: Mapping[str, str]) -> str:
    given = _encoded(tuple((name, value) for name, value in query.items() if value))
    return f"{target}?{given}" if given else target


@lru_cache(maxsize=256)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """Kept, because a thousand applies have the same parameters, and encoding them costs as much as the rest of a request's value."""
    return urlencode(query)


def _selected(select: Selector) -> dict[str, str]:
    return {"labelSelector": select.labels, "fieldSelector": select.fields}


def _writing(manager: str, dry_run: bool) -> dict[str, str]:
    return {"fieldManager": manager, "fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}


def _doing(verb: str, resource: Resource, namespace: str, name: str = "", subresource: str = "") -> str:
    what = f"{resource}/{subresource}" if subresource else str(resource)
    where = f"{namespace}/{name}" if namespace and name else namespace or name
    return f"{verb} {what} {where}" if where else f"{verb} {what}"
