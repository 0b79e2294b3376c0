"""A kind as an API server serves it, and the paths of its objects: pure.

Kubernetes names a thing twice: people write a kind ("Deployment" of `apps/v1`), paths carry a resource ("deployments").
Discovery joins the two; everything after it works on a `Resource`. Paths as in the Kubernetes API concepts page, "Resource URIs".
"""

from __future__ import annotations

import re
from functools import cached_property
from urllib.parse import quote

import msgspec

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


class Resource(msgspec.Struct, frozen=True, dict=True):
    """``Resource("apps", "v1", "deployments", "Deployment", namespaced=True)``. ``group`` is "" for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()
    subresources: frozenset[str] = frozenset()

    @cached_property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def root(self) -> str:
        """``/apis/apps/v1``."""
        return root(self.group, self.version)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of an object, or without ``name`` of a collection (of every namespace when ``namespace`` is "")."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", _quoted(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_quoted(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _quoted(name: str) -> str:
    """Nearly every name stands for itself, which is quickly seen."""
    return name if _PLAIN.fullmatch(name) else quote(name, safe="")


def root(group: str, version: str) -> str:
    """Where a group version lives: `/api/v1` for the core group, `/apis/GROUP/VERSION` for others."""
    return f"/apis/{quote(group, safe='')}/{quote(version, safe='')}" if group else f"/api/{quote(version, safe='')}"


def split(api_version: str) -> tuple[str, str]:
    """``"apps/v1"`` → ``("apps", "v1")``, ``"v1"`` → ``("", "v1")``."""
    group, _, version = api_version.rpartition("/")
    return group, version
