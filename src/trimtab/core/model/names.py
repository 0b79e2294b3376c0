"""Names of things: objects in a target, and the keys that the engine works on.

An object's *identity* leaves the version out, so that ``apps/v1beta1`` and ``apps/v1`` name the same Deployment
(Kubernetes API conventions, "group, kind, namespace, name").
"""

from __future__ import annotations

from functools import cached_property
from typing import NewType

import msgspec

Revision = NewType("Revision", str)
"""The full hexadecimal id of a commit."""

Identity = tuple[str, str, str, str]
"""(group, kind, namespace, name)."""

Name = tuple[str, str, str]
"""(group, kind, name): an Identity without its namespace, which two Environments may write differently and mean one object."""


def name_of(identity: Identity) -> Name:
    return identity[0], identity[1], identity[3]


class ObjectRef(msgspec.Struct, frozen=True, order=True, rename="camel", dict=True):
    """Which object: ``ObjectRef("host.trimtab.dev/v1", "Process", "", "web")``. ``namespace`` is "" where there is none."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    @cached_property
    def identity(self) -> Identity:
        return (self.group, self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class Key(msgspec.Struct, frozen=True, order=True):
    """What one lifecycle runs on: an Application in an Environment. A wake carries this and nothing else."""

    environment: str
    application: str

    def __str__(self) -> str:
        return f"{self.application}@{self.environment}"

    @classmethod
    def said(cls, text: str, environment: str) -> Key:
        """``name@environment`` as people write it; ``name`` alone is the one in ``environment``."""
        name, _, elsewhere = text.partition("@")
        return cls(elsewhere or environment, name)
