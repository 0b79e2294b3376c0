"""When an object of this machine is applied: a Task before the rest or after it, everything else in one wave. Pure."""

from __future__ import annotations

from trimtab.core.model.manifest import Manifest

WAVES = {"before": -1, "after": 1}
DEFAULT_WHEN = {"Task": "before"}


def wave(manifest: Manifest) -> int:
    """The annotated wave; else what ``spec.when`` says, or the kind."""
    if manifest.annotated_wave is not None:
        return manifest.annotated_wave
    spec = manifest.body.get("spec")
    when = spec.get("when", DEFAULT_WHEN.get(manifest.ref.kind)) if isinstance(spec, dict) else None
    return WAVES.get(when, 0) if isinstance(when, str) else 0
