"""Who besides the server itself has a say in what is applied: webhooks and policies. What we may not read we take to be there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from trimtab.core.model.errors import TrimtabError
from trimtab.ports.clock import Clock

from .client import Client
from .discovery import UnknownKind
from .objects import Object
from .resources import Resource

GROUP = "admissionregistration.k8s.io"
KINDS = (
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicy",
)
BELIEVED_SECONDS = 30.0

_Rules = frozenset[tuple[str, str]]
_EVERYTHING: _Rules = frozenset({("*", "*")})


class Admission:
    """Of one server, read anew when it is older than half a minute."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._rules: _Rules = _EVERYTHING
        self._due = 0.0
        self._reading = asyncio.Lock()

    async def decides(self, resource: Resource) -> bool:
        """True when somebody may look at objects of this kind, as far as is known."""
        if self._due <= self._clock.monotonic():
            async with self._reading:
                if self._due <= self._clock.monotonic():
                    found = await asyncio.gather(*(self._read(kind) for kind in KINDS))
                    self._rules = frozenset(rule for rules in found for rule in rules)
                    self._due = self._clock.monotonic() + BELIEVED_SECONDS
        return self._decides(resource)

    def spares(self, resource: Resource) -> bool:
        """True when surely nobody looks at objects of this kind, by what was read lately; nothing is read for it."""
        return self._due > self._clock.monotonic() and not self._decides(resource)

    def _decides(self, resource: Resource) -> bool:
        return any(group in ("*", resource.group) and plural in ("*", "*/*", resource.plural) for group, plural in self._rules)

    async def _read(self, kind: str) -> _Rules:
        try:
            resource = await self._client.discovery.find(GROUP, kind)
            return frozenset(rule for one in await self._client.list(resource) for rule in _rules(one))
        except UnknownKind:
            return frozenset()
        except TrimtabError:
            return _EVERYTHING


def _rules(found: Object) -> Iterator[tuple[str, str]]:
    """(group, resource) for each that it may look at, whatever else narrows it down."""
    body: Any = found.body()
    for webhook in body.get("webhooks") or ():
        yield from _pairs(webhook.get("rules"))
    constraints = (body.get("spec") or {}).get("matchConstraints") or {}
    yield from _pairs(constraints.get("resourceRules"))


def _pairs(rules: Any) -> Iterator[tuple[str, str]]:
    for rule in rules or ():
        for group in rule.get("apiGroups") or ("*",):
            for resource in rule.get("resources") or ("*",):
                yield group, resource
