"""When an object of a cluster is applied: what others cannot do without comes first. Pure.

Definitions and namespaces go before every wave, because nothing of their kind or inside them can exist without them. What is
annotated with a wave goes there, whatever it is. Among the rest of a wave there is no order: many objects at once.
"""

from __future__ import annotations

from trimtab.core.decide.order import FOUNDATION
from trimtab.core.model.manifest import Manifest

FIRST = FOUNDATION
_FIRST_KINDS = frozenset(
    {("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition"), ("scheduling.k8s.io", "PriorityClass")}
)


def wave(manifest: Manifest) -> int:
    """The annotated wave, else `FIRST` for what others cannot do without, else 0."""
    if manifest.annotated_wave is not None:
        return manifest.annotated_wave
    return FIRST if (manifest.ref.group, manifest.ref.kind) in _FIRST_KINDS else 0
