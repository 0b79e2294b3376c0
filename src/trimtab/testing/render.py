"""A renderer that reads JSON only: each `*.json` file below the path is one object or a list of objects.

It keeps the contract that matters to an engine: the inputs are the path with its tree id, an unreadable file is a `UserError` with
one Problem for each, equal inputs are answered from a cache that outlives the engine. ``renders`` counts what was really read.
A directory with a file `CHARTS` is made of charts of the repositories that it lists. One with a file `CAPABILITIES` has an object more for each thing that the target can do, and files of values are manifests
like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from trimtab.core.model.errors import Problem, UserError
from trimtab.core.model.fetched import Fetched
from trimtab.core.model.manifest import Manifest, digest
from trimtab.core.model.names import ObjectRef
from trimtab.ports.git import Tree
from trimtab.ports.renderer import Capabilities, Limit, Rendered, RenderRequest, nothing_special

from .faults import Faults

FILE_BYTES_MAX = 1_000_000


@dataclass
class FakeRenderer:
    faults: Faults = field(default_factory=Faults.none)
    renders: int = 0
    _cache: dict[object, Rendered] = field(default_factory=dict)

    async def render(
        self,
        request: RenderRequest,
        tree: Tree,
        *,
        others: Mapping[str, Tree] = {},
        capabilities: Capabilities = nothing_special,
        limit: Limit | None = None,
    ) -> Rendered:
        await self.faults.point("render:before", f"{request.application}@{request.environment}")
        path = _clean(request.path)
        entry = tree.entry(path)
        if entry is None or entry.type != "tree":
            raise UserError(f"render {request.application}: {request.path} is no directory", remedy="Correct source.path")
        listed = f"{path}/CHARTS".lstrip("/")
        if limit is not None and tree.entry(listed) is not None:
            charts = tree.read(listed, bytes_max=FILE_BYTES_MAX).decode().splitlines()
            problems = limit([Fetched(one, file=listed, line=at) for at, one in enumerate(charts, start=1)])
            if problems:
                raise UserError(f"render {request.application}: {problems[0]}", problems=problems)
        elsewhere = tuple(_elsewhere(request, others))
        abilities = await capabilities() if tree.entry(f"{path}/CAPABILITIES".lstrip("/")) is not None else None
        key = (path, entry.id, elsewhere, abilities)
        cached = self._cache.get(key)
        if cached is not None:
            return msgspec.structs.replace(cached, cached=True)
        self.renders += 1
        manifests = [*_read(tree, path), *_of_values(elsewhere, others), *(_ability(each) for each in abilities or ())]
        inputs = ((path, entry.id),)
        whole = digest(sorted([*m.identity, m.digest] for m in manifests))
        can = digest(abilities) if abilities is not None else ""
        rendered = Rendered(tuple(manifests), inputs, whole, elsewhere=elsewhere, capabilities=can)
        self._cache[key] = rendered
        return rendered

    def current(self, rendered_inputs: tuple[tuple[str, str], ...], tree: Tree) -> bool:
        return all((entry.id if (entry := tree.entry(path)) else "") == id_ for path, id_ in rendered_inputs)

    async def discover(self, tree: Tree) -> list[str]:
        return [
            top.path
            for top in tree.entries("")
            if top.type == "tree"
            and not top.path.startswith(".")
            and any(entry.type == "blob" and entry.path.endswith(".json") for entry in tree.walk(top.path))
        ]


def _read(tree: Tree, path: str) -> Iterator[Manifest]:
    problems: list[Problem] = []
    seen: set[object] = set()
    for entry in tree.walk(path):
        if entry.type != "blob" or not entry.path.endswith(".json") or entry.path.startswith(".trimtab/"):
            continue
        try:
            found = msgspec.json.decode(tree.read(entry.path, bytes_max=FILE_BYTES_MAX))
            manifests = [_manifest(body, entry.path) for body in (found if isinstance(found, list) else [found])]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            problems.append(Problem(f"this is not an object: {error}", entry.path, 1, remedy="Correct the file"))
            continue
        for manifest in manifests:
            if manifest.identity in seen:
                problems.append(Problem(f"{manifest.ref} is there twice", entry.path, 1, remedy="Remove one of the two"))
            seen.add(manifest.identity)
            yield manifest
    if problems:
        raise UserError(f"render {path or '.'}: {problems[0]}", problems=problems)


def _elsewhere(request: RenderRequest, others: Mapping[str, Tree]) -> Iterator[tuple[str, str, str]]:
    for file in request.source.helm.value_files:
        name, _, path = file.removeprefix("$").partition("/")
        entry = others[name].entry(path) if name in others else None
        if entry is None:
            raise UserError(f"render {request.application}: there is no {file}", remedy="Correct valueFiles")
        yield name, path, entry.id


def _of_values(elsewhere: tuple[tuple[str, str, str], ...], others: Mapping[str, Tree]) -> Iterator[Manifest]:
    for name, path, _ in elsewhere:
        yield _manifest(msgspec.json.decode(others[name].read(path, bytes_max=FILE_BYTES_MAX)), path)


def _ability(word: str) -> Manifest:
    return _manifest({"apiVersion": "v1", "kind": "Ability", "metadata": {"name": word}}, "CAPABILITIES")


def _manifest(body: dict[str, Any], file: str) -> Manifest:
    metadata = body["metadata"]
    ref = ObjectRef(body["apiVersion"], body["kind"], metadata.get("namespace", ""), metadata["name"])
    return Manifest(ref, body, file, 1)


def _clean(path: str) -> str:
    return "" if path in ("", ".") else path.strip("/")
