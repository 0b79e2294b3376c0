"""Small builders, so that a test says what it is about and nothing else.

plan = decide([manifest("Process", "web", replicas=3)], observed={}, inventory=inventory(entry("Process", "old")))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from trimtab.core.model.config import (
    Application,
    ApplicationSpec,
    Environment,
    EnvironmentSpec,
    Metadata,
    Placement,
    RemovalBudget,
    Source,
)
from trimtab.core.model.inventory import Entry, Inventory
from trimtab.core.model.manifest import Body, Content, Manifest
from trimtab.core.model.names import Identity, ObjectRef
from trimtab.core.model.observed import Observed, Owner

API_VERSION = "host.trimtab.dev/v1"
INSTALLATION = "test"


def app(name: str, *environments: str | Placement, path: str = "", depends_on: Iterable[str] = (), **spec: Any) -> Application:
    """An Application in `host`, or in the named Environments. ``path`` is ``apps/NAME`` unless given."""
    placements = [Placement(name=place) if isinstance(place, str) else place for place in environments or ("host",)]
    source = spec.pop("source", Source(path=path or f"apps/{name}"))
    return Application(
        metadata=Metadata(name=name),
        spec=ApplicationSpec(source=source, environments=placements, depends_on=list(depends_on), **spec),
    )


def environment(name: str = "host", *, percent: int = 50, objects: int = 3, kind: Any = "memory", **spec: Any) -> Environment:
    """An Environment in memory. ``percent`` and ``objects`` are its removal budget, ``empty_render`` too where it is given; ``labels``."""
    metadata = Metadata(name=name, labels=spec.pop("labels", {}))
    budget = RemovalBudget(percent=percent, objects=objects, empty_render=spec.pop("empty_render", "hold"))
    return Environment(metadata=metadata, spec=EnvironmentSpec(target={"kind": kind}, removal=budget, **spec))


def ref(kind: str, name: str, *, namespace: str = "", api_version: str = API_VERSION) -> ObjectRef:
    return ObjectRef(api_version, kind, namespace, name)


def body(
    kind: str,
    name: str,
    *,
    namespace: str = "",
    api_version: str = API_VERSION,
    wave: int | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Body:
    """The JSON object of a manifest; what is not named here is a field of its spec."""
    notes = dict(annotations or {}) | ({} if wave is None else {"trimtab.dev/wave": str(wave)})
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if notes:
        metadata["annotations"] = notes
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def manifest(
    kind: str, name: str, *, file: str = "", line: int = 1, content: tuple[Content, ...] = (), **options: Any
) -> Manifest:
    """``manifest("Process", "web", wave=1, replicas=3)``; the options are those of `body`."""
    made = body(kind, name, **options)
    place = ref(kind, name, namespace=options.get("namespace", ""), api_version=made["apiVersion"])
    return Manifest(place, made, file or f"apps/{name}.yaml", line, content)


def observed(
    wanted: Manifest,
    *,
    uid: str = "uid-1",
    application: str | None = "shop",
    environment: str = "host",
    installation: str = INSTALLATION,
    status: Mapping[str, Any] | None = None,
    **drifted: Any,
) -> Observed:
    """What a target shows after ``wanted`` was applied. ``application=None``: nobody's. ``drifted`` takes the place of spec fields."""
    owner = None if application is None else Owner(installation, environment, application)
    shown = {**wanted.body, "spec": {**wanted.body.get("spec", {}), **drifted}} if drifted else wanted.body
    return Observed(wanted.ref, uid, shown, owner, wanted.digest if owner else "", dict(status or {"ready": True}))


def seen(*objects: Observed) -> dict[Identity, Observed]:
    """The answer of `Target.observe`."""
    return {found.ref.identity: found for found in objects}


def entry(
    wanted: Manifest | ObjectRef,
    *,
    application: str = "shop",
    environment: str = "host",
    uid: str = "uid-1",
    state: Literal["intended", "applied", "removing"] = "applied",
    digest: str = "",
    wave: int = 0,
    since: datetime | None = None,
) -> Entry:
    """The entry of an object that was applied as ``wanted`` says (or of which only the name matters)."""
    if isinstance(wanted, ObjectRef):
        return Entry(environment, application, wanted, digest, wave, state, uid, since)
    return Entry(environment, application, wanted.ref, digest or wanted.digest, wanted.wave, state, uid, since)


def inventory(*entries: Entry) -> Inventory:
    return Inventory(entries)


def files(path: str, *manifests: Manifest) -> dict[str, bytes]:
    """The manifests as JSON files below ``path``, for `FakeRemote.commit` and `FakeRenderer`."""
    return {f"{path}/{wanted.ref.kind.lower()}-{wanted.ref.name}.json": msgspec.json.encode(wanted.body) for wanted in manifests}
