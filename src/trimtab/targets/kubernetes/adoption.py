"""Taking over what another tool has applied, so that a field which Git does not have really goes. Pure.

Server-side apply removes only fields that its own manager owns. What came by `kubectl apply`, Helm or another GitOps tool is in their
entries of ``managedFields``; at adoption their fields are put into ours, as kubectl itself does when it moves from client-side to
server-side apply (client-go, util/csaupgrade). Controllers that own single fields (an autoscaler's replicas) keep theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trimtab.core.model.manifest import Body

from .fields import Tree, names, tree
from .objects import Manager

INSTALLERS = frozenset(
    {
        "helm",
        "helm-controller",
        "kustomize-controller",
        "flux",
        "argocd",
        "argocd-controller",
        "argocd-application-controller",
        "before-first-apply",
        "Terraform",
        "HashiCorp",
        "pulumi-kubernetes",
        "kapp-server",
        "oc",
    }
)
_GIVEN = frozenset({"clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort", "volumeName"})
_INSTALLER_PREFIXES = ("kubectl", "helm", "pulumi-kubernetes")


def installer(entry: Manager) -> bool:
    """True for the entry of somebody who installs whole objects, as Git does from now on."""
    if entry.subresource:
        return False
    return entry.manager in INSTALLERS or entry.manager.startswith(_INSTALLER_PREFIXES)


def taken_over(entries: Sequence[Manager], manager: str) -> list[dict[str, Any]] | None:
    """The ``managedFields`` in which ``manager`` has the installers' fields; None when there is nothing to take over."""
    # An entry's fields are those of its version; entries of other versions cannot be joined with it.
    versions = [entry.api_version for entry in entries if _ours(entry, manager) or installer(entry)]
    if not any(installer(entry) and not _ours(entry, manager) for entry in entries):
        return None
    version = versions[0]
    all_of_it: Tree = {}
    kept = []
    for entry in entries:
        if entry.api_version == version and (_ours(entry, manager) or installer(entry)):
            all_of_it = joined(all_of_it, tree(bytes(entry.fields)))
        else:
            kept.append(written(entry))
    ours = Manager(manager, "Apply", version, fields=msgspec.Raw(msgspec.json.encode(all_of_it)))
    return [*kept, written(ours)]


def after(body: Body, entries: Sequence[Manager], manager: str) -> Body:
    """``body`` as it will be after the adoption: without what only installers own. ``entries`` are those of a dry-run of ours."""
    theirs: Tree = {}
    others: Tree = {}
    for entry in entries:
        if installer(entry) and not _ours(entry, manager):
            theirs = joined(theirs, tree(bytes(entry.fields)))
        else:
            others = joined(others, tree(bytes(entry.fields)))
    return _without(body, _difference(theirs, others)) if theirs else body


def defaulted(going: Any, fresh: Any, before: Any) -> Any:
    """``going`` with what the server will put where fields go: what it puts into ``fresh``, an object that is made of the same manifest. Of
    what it gives each object for itself, ``before`` has what stays.
    """
    if isinstance(going, dict) and isinstance(fresh, dict) and isinstance(before, dict):
        again = {
            name: before[name] if name in _GIVEN else value
            for name, value in fresh.items()
            if name in before and name not in going
        }
        kept = {name: defaulted(value, fresh.get(name), before.get(name)) for name, value in going.items()}
        return {**kept, **again}
    if (
        isinstance(going, list)
        and isinstance(fresh, list)
        and isinstance(before, list)
        and len(going) == len(fresh) == len(before)
    ):
        return [defaulted(*each) for each in zip(going, fresh, before, strict=True)]
    return going


def _ours(entry: Manager, manager: str) -> bool:
    return (entry.manager, entry.operation, entry.subresource) == (manager, "Apply", "")


def written(entry: Manager, fields: Tree | None = None) -> dict[str, Any]:
    """``entry`` as a server takes it, with ``fields`` in the place of its own."""
    whole = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": tree(bytes(entry.fields)) if fields is None else fields,
    }
    return whole | {name: value for name, value in (("time", entry.time), ("subresource", entry.subresource)) if value}


def joined(one: Tree, other: Tree) -> Tree:
    """All that is in either."""
    merged = dict(one)
    for name, inner in other.items():
        merged[name] = joined(merged[name], inner) if name in merged else inner
    return merged


def _difference(one: Tree, other: Tree) -> Tree:
    """What is in ``one`` and not in ``other``. A "." that is left in it stands for a branch of which ``other`` has nothing."""
    left: Tree = {}
    for name, inner in one.items():
        if name not in other:
            if name != "." or not other:
                left[name] = inner
        elif inner and other[name]:
            deeper = _difference(inner, other[name])
            if deeper:
                left[name] = deeper
    return left


def _without(value: Any, gone: Tree) -> Any:
    """``value`` without the leaves of ``gone``; None when nothing of it is left."""
    if not gone or "." in gone:
        return None
    if isinstance(value, dict):
        kept = {name: _without(inner, gone[f"f:{name}"]) if f"f:{name}" in gone else inner for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner is not None} or None
    if isinstance(value, list):
        left = [_without_element(element, gone) for element in value]
        return [element for element in left if element is not None] or None
    return value


def _without_element(element: Any, gone: Tree) -> Any:
    if not isinstance(element, dict):
        return None if f"v:{msgspec.json.encode(element).decode()}" in gone else element
    for name, inner in gone.items():
        if name.startswith("k:") and names(tree(name[2:].encode()), element):
            return _without(element, inner)
    return element
